// Fused attention on a device: the scores are never written to memory, and the dropped weights are those of the CPU
// (framework/kernels/cpu/attention.h). Shapes: q (B,H,Tq,D), k (B,H,Tk,D), v (B,H,Tk,E), out (B,H,Tq,E), log_sums and
// dots (B,H,Tq). T: double, float, bfloat16, which is computed in f32. Four ways, ours deterministic each:
//   naive         a thread for each number of the result; no shared memory; every width
//   tiles         tiles of queries and keys in shared memory, products in registers, softmax in one sweep over the keys
//   tensor_cores  the same for bf16 with m16n8k16 products; the weights are rounded to bf16 before they meet the values
//   cudnn         bf16 by NVIDIA's library, a graph for each direction; only where it is asked for, as a yardstick
// What one way saves, another one's backward may read.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "framework/base/bfloat16.h"
#include "framework/kernels/cuda/launch.h"
#include "framework/kernels/cuda/library_state.h"
#include "framework/kernels/shared/attention_shape.h"

namespace gradus::cuda {

enum class AttentionMethod { naive, tiles, tensor_cores, cudnn };

std::string_view to_string(AttentionMethod method);

/// Operands and results, all in the memory of the device.
template <class T>
struct AttentionForward {
  HeadView<T> q, k, v;
  MutableHeadView<T> out;
  Arithmetic<T>* log_sums;  ///< ln sum_j e^score, for backward
};
template <class T>
struct AttentionBackward {
  HeadView<T> q, k, v;
  const Arithmetic<T>* log_sums;
  HeadView<T> g;        ///< dL/dout
  Arithmetic<T>* dots;  ///< room for a number of each query
  MutableHeadView<T> dq, dk, dv;
  HeadView<T> out = {};  ///< what forward returned; only cudnn reads it
};

/// The method that is taken unless one is asked for. tensor_cores: bf16, D and E multiples of 16, rows that begin at
/// multiples of 16 bytes, and D and E up to 128; in backward up to 64, and segments of up to 128 queries and keys. Else
/// tiles for D and E up to 128; else naive. Never cudnn.
template <class T>
AttentionMethod attention_method(const AttentionShape& shape, const AttentionForward<T>& operands);
template <class T>
AttentionMethod attention_method(const AttentionShape& shape, const AttentionBackward<T>& operands);

/// ContractError if the method asked for does not take the operands. cudnn takes bf16 in one sequence, with D and E
/// multiples of 8, rows that begin at multiples of 16 bytes, at least one element of each operand, and no dropout:
/// its random masks are not those of the CPU. Backward needs `out`. What weights of 0 make of values that are infinite
/// or NaN is left to it. Error if it is not installed, or has no engine for the sizes. What it compiles for them and
/// the workspace are kept.
template <class T>
void attention_forward(const AttentionShape& shape, const AttentionForward<T>& operands, Stream stream,
                       std::optional<AttentionMethod> method = {});
template <class T>
void attention_backward(const AttentionShape& shape, const AttentionBackward<T>& operands, Stream stream,
                        std::optional<AttentionMethod> method = {});

const LibraryState& cudnn_state();

}  // namespace gradus::cuda
