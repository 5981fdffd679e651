#include "framework/kernels/cuda/cublaslt_descriptors.h"

#include <algorithm>
#include <bit>

namespace gradus::cuda::products {
namespace {

cudaDataType_t cuda_type(DType dtype) {
  return dtype == DType::f64 ? CUDA_R_64F : dtype == DType::f32 ? CUDA_R_32F : CUDA_R_16BF;
}

cublasComputeType_t compute_type(const Request& request) {
  if (request.in == DType::f64) return CUBLAS_COMPUTE_64F;
  return request.precision == Precision::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

cublasLtEpilogue_t cublaslt_epilogue(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::none: return CUBLASLT_EPILOGUE_DEFAULT;
    case Epilogue::bias: return CUBLASLT_EPILOGUE_BIAS;
    case Epilogue::gelu: return CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    case Epilogue::gelu_gradient: return CUBLASLT_EPILOGUE_DGELU;
    case Epilogue::sums_of_a: return CUBLASLT_EPILOGUE_BGRADB;
    case Epilogue::sums_of_b: return CUBLASLT_EPILOGUE_BGRADA;
  }
  return CUBLASLT_EPILOGUE_DEFAULT;
}

/// A new descriptor: `create` fills in the pointer.
template <class Descriptor, class Create>
Owned<Descriptor> make(const CublasLt& library, const Request& request, const char* call,
                       cublasStatus_t (*destroy)(Descriptor*), Create create) {
  Descriptor* made = nullptr;
  check_status(library, create(&made), call, request);
  return {made, destroy};
}

Operation make_operation(const CublasLt& library, const Request& request) {
  return make<cublasLtMatmulDescOpaque_t>(
      library, request, "cublasLtMatmulDescCreate", library.MatmulDescDestroy, [&](auto** made) {
        const cudaDataType_t type_of_factors = request.in == DType::f64 ? CUDA_R_64F : CUDA_R_32F;
        return library.MatmulDescCreate(made, compute_type(request), type_of_factors);
      });
}

/// Intermediate sums of a product cut along k are kept in full and added in order: deterministic, as atomics and sums
/// in c's own type would not be.
Preference make_preference(const CublasLt& library, const Request& request) {
  auto preference = make<cublasLtMatmulPreferenceOpaque_t>(
      library, request, "cublasLtMatmulPreferenceCreate", library.MatmulPreferenceDestroy,
      [&](auto** made) { return library.MatmulPreferenceCreate(made); });
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t name, auto value) {
    check_status(library, library.MatmulPreferenceSetAttribute(preference.get(), name, &value, sizeof value),
                 "cublasLtMatmulPreferenceSetAttribute", request);
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{workspace_bytes});
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(request.b.data));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(request.a.data));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(request.c.data));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(request.c.data));
  return preference;
}

}  // namespace

void check_status(const CublasLt& library, cublasStatus_t status, const char* call, const Request& request) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  fail<Error>("[cuda] {}: {}: {}", call, library.GetStatusString(status), describe(request));
}

std::uint32_t alignment_of(const void* address) {
  return 1u << std::min(std::countr_zero(reinterpret_cast<std::uintptr_t>(address)), 4);
}

ProductDescriptors::ProductDescriptors(const CublasLt& library, const Request& request)
    : library_(library),
      operation(make_operation(library, request)),
      b(layout_of(request, request.b, request.k, request.n, request.in)),
      a(layout_of(request, request.a, request.m, request.k, request.in)),
      c(layout_of(request, request.c, request.m, request.n, request.out)),
      preference(make_preference(library, request)) {
  const auto transposition = [](const Matrix& matrix) { return matrix.transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
  set(CUBLASLT_MATMUL_DESC_TRANSA, std::int32_t{transposition(request.b)}, request);
  set(CUBLASLT_MATMUL_DESC_TRANSB, std::int32_t{transposition(request.a)}, request);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, std::uint32_t{cublaslt_epilogue(request.epilogue)}, request);
  point_to(request);
}

void ProductDescriptors::point_to(const Request& request) {
  if (adds_bias(request.epilogue)) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, request.bias, request);
  if (has_sums(request.epilogue)) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, request.sums, request);
  if (has_pre_activation(request.epilogue)) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, request.pre_activation.data, request);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, request.pre_activation.stride, request);
  }
}

/// Of a matrix (rows, columns) or, transposed, (columns, rows) in memory.
Layout ProductDescriptors::layout_of(const Request& request, const Matrix& matrix, std::int64_t rows,
                                     std::int64_t columns, DType dtype) {
  if (matrix.transposed) std::swap(rows, columns);
  auto layout = make<cublasLtMatrixLayoutOpaque_t>(
      library_, request, "cublasLtMatrixLayoutCreate", library_.MatrixLayoutDestroy,
      [&](auto** made) { return library_.MatrixLayoutCreate(made, cuda_type(dtype), columns, rows, matrix.stride); });
  const auto set_batch = [&](cublasLtMatrixLayoutAttribute_t name, auto value) {
    check_status(library_, library_.MatrixLayoutSetAttribute(layout.get(), name, &value, sizeof value),
                 "cublasLtMatrixLayoutSetAttribute", request);
  };
  if (request.batches > 1) {
    set_batch(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<std::int32_t>(request.batches));
    set_batch(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, matrix.batch_stride);
  }
  return layout;
}

template <class T>
void ProductDescriptors::set(cublasLtMatmulDescAttributes_t name, const T& value, const Request& request) {
  check_status(library_, library_.MatmulDescSetAttribute(operation.get(), name, &value, sizeof value),
               "cublasLtMatmulDescSetAttribute", request);
}

}  // namespace gradus::cuda::products
