// Attention, forward and backward, as graphs of cuDNN: bf16 in memory, f32 between the operations.
#pragma once

#include "framework/kernels/cuda/cudnn_graph.h"

namespace gradus::cuda::cudnn {

/// Sizes, and strides of each tensor along batch, head, row and column. q (B,H,Tq,D), k (B,H,Tk,D), v (B,H,Tk,E), out
/// and g (B,H,Tq,E); log_sums and dots (B,H,Tq) are packed.
struct AttentionLayout {
  std::int64_t batches, heads, queries, keys, width, value_width;
  bool causal;  ///< query i sees keys j <= i
  cudnnDataType_t type = CUDNN_DATA_BFLOAT16;
  Sizes q, k, v, out;
  Sizes g, dq, dk, dv;  ///< for backward

  auto operator<=>(const AttentionLayout&) const = default;
};

/// The ids of the graphs' tensors. scale and hidden, the score of a key that is not seen, are numbers on the host.
enum Operand : std::int64_t {
  id_q = 1,
  id_k,
  id_v,
  id_out,
  id_log_sums,
  id_scale,
  id_hidden,
  id_one,
  id_g,
  id_dots,
  id_dq,
  id_dk,
  id_dv
};

/// out and log_sums, ln sum_j e^score, from q, k, v.
Graph attention_forward_graph(const Cudnn& library, const AttentionLayout& layout);
/// dq, dk, dv and dots, sum_e g out, from q, k, v, out, log_sums, g.
Graph attention_backward_graph(const Cudnn& library, const AttentionLayout& layout);

}  // namespace gradus::cuda::cudnn
