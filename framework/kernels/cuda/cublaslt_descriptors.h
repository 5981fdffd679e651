// A matrix product as cuBLASLt's descriptors say it.
//
// cuBLASLt stores matrices by columns, and its epilogues want it so. A row-major matrix, read by columns, is its
// transpose; so it is told to compute c^T (n,m) = b^T (n,k) a^T (k,m): its A is our b, its B is our a, rows of its
// result are columns of ours, and a bias for each of its rows is ours for each column.
#pragma once

#include "framework/kernels/cuda/cublaslt.h"
#include "framework/kernels/cuda/product_request.h"

namespace gradus::cuda::products {

/// Bytes that an algorithm may use beside the operands.
inline constexpr std::size_t workspace_bytes = 32 << 20;

/// Of an address, as far as algorithms care: 16 bytes at most.
std::uint32_t alignment_of(const void* address);

class ProductDescriptors {
  const CublasLt& library_;

 public:
  /// Throws Error, naming the call and the product, if cuBLASLt refuses.
  ProductDescriptors(const CublasLt& library, const Request& request);

  /// Bias, sums and pre_activation of this request, which is otherwise as that of the constructor.
  void point_to(const Request& request);

  Operation operation;
  Layout b, a, c;  ///< in the order of cuBLASLt's arguments
  Preference preference;

 private:
  Layout layout_of(const Request& request, const Matrix& matrix, std::int64_t rows, std::int64_t columns, DType dtype);

  template <class T>
  void set(cublasLtMatmulDescAttributes_t name, const T& value, const Request& request);
};

/// Throws Error if `status` is not success: `[cuda] cublasLtMatmul: STATUS: a (3,4) f32, ...`.
void check_status(const CublasLt& library, cublasStatus_t status, const char* call, const Request& request);

}  // namespace gradus::cuda::products
