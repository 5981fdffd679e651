// What cuBLASLt's descriptors say, read back and checked.
#pragma once

#include "framework/base/error.h"
#include "framework/kernels/cuda/cublaslt.h"

namespace gradus::cuda::emulation {

/// A matrix by columns.
struct MatrixDescription {
  std::int32_t type, order, batches;
  std::int64_t rows, columns, leading, batch_stride;

  std::int64_t place(std::int64_t row, std::int64_t column) const { return column * leading + row; }
  /// Elements from the first to the last one of a batch.
  std::int64_t extent() const { return (columns - 1) * leading + rows; }
  bool operator==(const MatrixDescription&) const = default;
};

/// d (rows,columns) = epilogue(alpha op(a) op(b) + beta c), with a `depth` along which op(a) and op(b) are multiplied.
struct ProductDescription {
  MatrixDescription a, b, c, d;
  std::int32_t compute_type, scale_type, pointer_mode, transpose_a, transpose_b;
  std::uint32_t epilogue;
  void *bias, *auxiliary;
  std::int64_t auxiliary_leading;
  std::int32_t bias_type, auxiliary_type;

  bool operator==(const ProductDescription&) const = default;
  bool adds_bias() const;
  bool has_auxiliary() const;
  bool is_gelu_gradient() const { return epilogue == CUBLASLT_EPILOGUE_DGELU; }
  bool sums_a() const { return epilogue == CUBLASLT_EPILOGUE_BGRADA; }
  bool sums_b() const { return epilogue == CUBLASLT_EPILOGUE_BGRADB; }
  std::int64_t depth() const { return transpose_a == CUBLAS_OP_N ? a.columns : a.rows; }
};

struct Descriptors {
  cublasLtMatmulDesc_t operation;
  cublasLtMatrixLayout_t a, b, c, d;
};

ProductDescription read_back(const products::CublasLt& library, const Descriptors& descriptors);

/// Throws ContractError if the library's documentation forbids it.
void check_description(const ProductDescription& product);

/// False for what is well formed, but has no algorithm.
bool is_supported(const ProductDescription& product);

template <class... Args>
[[noreturn]] void refuse_product(fmt::format_string<Args...> format, Args&&... args) {
  fail("[cublasLtMatmul, emulated] {}", fmt::format(format, std::forward<Args>(args)...));
}

std::size_t size_of(std::int32_t type);

}  // namespace gradus::cuda::emulation
