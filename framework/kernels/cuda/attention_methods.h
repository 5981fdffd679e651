// The methods of attention.h, one by one.
#pragma once

#include "framework/kernels/cuda/attention.h"

namespace gradus::cuda::attention {

template <class T>
void naive_forward(const AttentionShape& shape, const AttentionForward<T>& operands, Stream stream);
template <class T>
void naive_backward(const AttentionShape& shape, const AttentionBackward<T>& operands, Stream stream);

constexpr std::int64_t most_tiled_width = 128;
template <class T>
void tiled_forward(const AttentionShape& shape, const AttentionForward<T>& operands, Stream stream);
template <class T>
void tiled_backward(const AttentionShape& shape, const AttentionBackward<T>& operands, Stream stream);

/// Both widths are multiples of 16, and rows begin at multiples of 16 bytes. In backward a block has a whole segment.
constexpr std::int64_t most_tensor_core_width = 128, most_backward_tensor_core_width = 64,
                       most_backward_tensor_core_rows = 128;
void tensor_core_forward(const AttentionShape& shape, const AttentionForward<bfloat16>& operands, Stream stream);
void tensor_core_backward(const AttentionShape& shape, const AttentionBackward<bfloat16>& operands, Stream stream);

/// A word that is 0, on the device.
const std::uint64_t* zero_on_device();

}  // namespace gradus::cuda::attention
