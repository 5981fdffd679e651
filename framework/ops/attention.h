// Scaled dot-product attention.
#pragma once

#include <cstdint>
#include <vector>

#include "framework/random/generator.h"
#include "framework/tensor/tensor.h"

namespace gradus {

struct OpSpec;

struct AttentionOptions {
  bool causal = false;      ///< query i sees the keys j <= i only, also where their numbers differ
  double dropout = 0;       ///< probability with which an attention weight is dropped
  std::int64_t seed = 0;    ///< key of dropout's random words
  std::int64_t stream = 0;  ///< their stream
  double scale = 0;         ///< factor of the scores; 0 stands for 1 / sqrt(D)
  std::vector<std::int64_t> lengths =
      {};  ///< of sequences that follow each other along T, each on its own; none: one sequence
};

/// softmax(scale q k^T) v for each batch b and head h: q (B,H,Tq,D), k (B,H,Tk,D), v (B,H,Tk,E) give (B,H,Tq,E). The
/// scores are never stored; backward computes them again. Vaswani et al. 2017, arXiv:1706.03762, equation 1.
/// With `lengths`, Tq = Tk is their sum, and a query sees keys of its own sequence only: ragged batches without
/// padding. The result is laid out as (B,Tq,H,E) in memory, so that merging the heads costs nothing.
Tensor scaled_dot_product_attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options = {},
                                    SourceLocation where = SourceLocation::current());

const OpSpec& attention_op();

}  // namespace gradus
