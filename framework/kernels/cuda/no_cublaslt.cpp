// In a program built without cuBLASLt, products take the kernels of matrix_product.cu.
#include "framework/kernels/cuda/cublaslt_product.h"

namespace gradus::cuda::products {

const LibraryState& cublaslt_state() {
  static const LibraryState state{false, "built without cuBLASLt"};
  return state;
}

bool has_cublaslt_algorithm(const Request&) { return false; }

void cublaslt_product(const Request& request, Stream) {
  fail("[matrix_product] built without cuBLASLt: {}", describe(request));
}

}  // namespace gradus::cuda::products
