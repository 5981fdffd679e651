// Products of matrices by oneDNN, on the calling thread. Built without oneDNN, nothing is available.
#pragma once

#include <string_view>

#include "framework/kernels/cpu/gemm.h"

namespace gradus::cpu::onednn {

/// Whether this processor's products of `dtype` are oneDNN's.
bool is_available(DType dtype);
/// As bf16_products().
std::string_view bf16_products();

/// c (m,n) = a (m,k) b (k,n) + bias (n), which may be null. The kernel for a shape is made at its first use and kept,
/// so shapes should be few. <float, float>, <bfloat16, bfloat16>, <bfloat16, float>.
template <class T, class Out>
void product(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<T> a, Matrix<T> b, const float* bias, Out* c,
             std::int64_t c_stride);

}  // namespace gradus::cpu::onednn
