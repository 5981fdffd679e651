// The method cublaslt of matrix_product.h. One implementation calls cuBLASLt (cublaslt_product.cpp), the other is for
// programs that are built without its headers (no_cublaslt.cpp).
#pragma once

#include "framework/kernels/cuda/product_request.h"

namespace gradus::cuda::products {

/// Its version if it can be used, `13.1.0`, or why not, in a sentence.
struct CublasLtState {
  bool usable;
  std::string version_or_reason;
};
const CublasLtState& cublaslt_state();

/// Whether cuBLASLt is usable and has an algorithm for this product, which is none that it does not take.
bool has_cublaslt_algorithm(const Request& request);
/// Only if it has.
void cublaslt_product(const Request& request, Stream stream);

}  // namespace gradus::cuda::products
