// The method cudnn of attention.h. One implementation calls cuDNN (cudnn_attention.cpp), the other is for programs that
// are built without its headers, and for the emulation, which computes none of its graphs (no_cudnn.cpp).
#pragma once

#include "framework/kernels/cuda/attention.h"

namespace gradus::cuda::attention {

/// Throws Error, in a sentence, if cuDNN cannot be used or has no engine for the operands.
void cudnn_forward(const AttentionShape& shape, const AttentionForward<bfloat16>& operands, Stream stream);
void cudnn_backward(const AttentionShape& shape, const AttentionBackward<bfloat16>& operands, Stream stream);

}  // namespace gradus::cuda::attention
