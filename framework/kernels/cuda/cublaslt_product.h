// The method cublaslt of matrix_product.h. One implementation calls cuBLASLt (cublaslt_product.cpp), the other is for
// programs that are built without its headers (no_cublaslt.cpp).
#pragma once

#include "framework/kernels/cuda/library_state.h"
#include "framework/kernels/cuda/product_request.h"

namespace gradus::cuda::products {

const LibraryState& cublaslt_state();

/// Whether cuBLASLt is usable and has an algorithm for this product, which is none that it does not take.
bool has_cublaslt_algorithm(const Request& request);
/// Only if it has.
void cublaslt_product(const Request& request, Stream stream);

}  // namespace gradus::cuda::products
