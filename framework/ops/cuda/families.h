// What the files of this folder have for one another: each installs the CUDA kernels of a family of ops.
#pragma once

#include "framework/kernels/elements.h"

namespace gradus::cuda {

void install_attention();
void install_dropout();
void install_elements();
void install_elementwise();
void install_indexing();
void install_memory();
void install_optimizer();
void install_products();
void install_reductions();
void install_rows();

// Of ElementKernels.
Tensor sum_over(const Tensor& tensor, const std::vector<bool>& reduced, DType dtype);
bool all_finite(const Tensor& tensor);
std::int64_t first_outside(const Tensor& index, std::int64_t size, std::optional<std::int64_t> except);

}  // namespace gradus::cuda
