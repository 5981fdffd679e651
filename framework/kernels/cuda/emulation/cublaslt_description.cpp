#include "framework/kernels/cuda/emulation/cublaslt_description.h"

#include <algorithm>

namespace gradus::cuda::emulation {
namespace {

using products::CublasLt;

void require(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) refuse_product("{} returns {}", call, static_cast<int>(status));
}

MatrixDescription read_back(const CublasLt& library, cublasLtMatrixLayout_t layout) {
  const auto get = [&]<class T>(cublasLtMatrixLayoutAttribute_t name, T& value) {
    std::size_t written = 0;
    require(library.MatrixLayoutGetAttribute(layout, name, &value, sizeof value, &written),
            "cublasLtMatrixLayoutGetAttribute");
  };
  MatrixDescription matrix{};
  std::uint64_t rows = 0, columns = 0;
  get(CUBLASLT_MATRIX_LAYOUT_TYPE, matrix.type);
  get(CUBLASLT_MATRIX_LAYOUT_ORDER, matrix.order);
  get(CUBLASLT_MATRIX_LAYOUT_ROWS, rows);
  get(CUBLASLT_MATRIX_LAYOUT_COLS, columns);
  get(CUBLASLT_MATRIX_LAYOUT_LD, matrix.leading);
  get(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, matrix.batches);
  get(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, matrix.batch_stride);
  matrix.rows = static_cast<std::int64_t>(rows);
  matrix.columns = static_cast<std::int64_t>(columns);
  return matrix;
}

void check_matrix(const char* name, const MatrixDescription& matrix) {
  if (matrix.order != CUBLASLT_ORDER_COL) refuse_product("{} is not stored by columns", name);
  if (matrix.rows < 1 || matrix.columns < 1) refuse_product("{} is empty", name);
  if (matrix.leading < matrix.rows) {
    refuse_product("{} has {} rows and a leading dimension of {}", name, matrix.rows, matrix.leading);
  }
}

void check_shapes(const ProductDescription& p) {
  for (const std::int32_t transposition : {p.transpose_a, p.transpose_b}) {
    if (transposition != CUBLAS_OP_N && transposition != CUBLAS_OP_T) {
      refuse_product("a real matrix cannot be transposed in the way {}", transposition);
    }
  }
  const bool a_plain = p.transpose_a == CUBLAS_OP_N, b_plain = p.transpose_b == CUBLAS_OP_N;
  const std::int64_t rows = a_plain ? p.a.rows : p.a.columns, columns = b_plain ? p.b.columns : p.b.rows;
  const std::int64_t depth_of_b = b_plain ? p.b.rows : p.b.columns;
  if (p.depth() != depth_of_b || rows != p.d.rows || columns != p.d.columns) {
    refuse_product("op(A) ({},{}) and op(B) ({},{}) do not make D ({},{})", rows, p.depth(), depth_of_b, columns,
                   p.d.rows, p.d.columns);
  }
  if (!(p.c == p.d)) refuse_product("C and D have different layouts, which is for results out of place only");
}

void check_batches(const ProductDescription& p) {
  if (p.a.batches != p.d.batches || p.b.batches != p.d.batches) {
    refuse_product("A has {} batches, B {}, D {}", p.a.batches, p.b.batches, p.d.batches);
  }
  if (p.d.batches > 1 && p.d.batch_stride < p.d.extent()) {
    refuse_product("batches of D overlap: {} elements, {} apart", p.d.extent(), p.d.batch_stride);
  }
}

bool are_types_documented(const ProductDescription& p) {
  const auto types = {p.a.type, p.b.type, p.c.type, p.d.type};
  const auto all = [&](cudaDataType_t type) { return std::ranges::count(types, std::int32_t{type}) == 4; };
  const bool half = p.a.type == CUDA_R_16BF && p.b.type == CUDA_R_16BF && p.c.type == p.d.type &&
                    (p.d.type == CUDA_R_16BF || p.d.type == CUDA_R_32F);
  switch (p.compute_type) {
    case CUBLAS_COMPUTE_64F: return p.scale_type == CUDA_R_64F && all(CUDA_R_64F);
    case CUBLAS_COMPUTE_32F: return p.scale_type == CUDA_R_32F && (all(CUDA_R_32F) || half);
    case CUBLAS_COMPUTE_32F_FAST_TF32: return p.scale_type == CUDA_R_32F && all(CUDA_R_32F);
    default: return false;
  }
}

void check_types(const ProductDescription& p) {
  if (!are_types_documented(p)) {
    refuse_product("compute type {}, scale type {} and matrices of types {}, {}, {}, {} do not go together",
                   p.compute_type, p.scale_type, p.a.type, p.b.type, p.c.type, p.d.type);
  }
  if (p.pointer_mode != CUBLASLT_POINTER_MODE_HOST) refuse_product("alpha and beta are not on the host");
}

void check_epilogue(const ProductDescription& p) {
  const auto type_or_default = [&](std::int32_t type) { return type < 0 ? p.d.type : type; };
  switch (p.epilogue) {
    case CUBLASLT_EPILOGUE_DEFAULT: return;
    case CUBLASLT_EPILOGUE_BIAS:
    case CUBLASLT_EPILOGUE_GELU_AUX_BIAS:
    case CUBLASLT_EPILOGUE_DGELU:
    case CUBLASLT_EPILOGUE_BGRADA:
    case CUBLASLT_EPILOGUE_BGRADB: break;
    default: refuse_product("epilogue {} is not emulated", p.epilogue);
  }
  if (p.d.batches > 1) refuse_product("an epilogue of {} batches is not emulated", p.d.batches);
  if (p.adds_bias() || p.sums_a() || p.sums_b()) {
    if (!p.bias) refuse_product("epilogue {} has no bias pointer", p.epilogue);
    if (type_or_default(p.bias_type) != p.d.type) {
      refuse_product("the bias is of type {}, D of type {}", p.bias_type, p.d.type);
    }
  }
  if (p.has_auxiliary()) {
    if (!p.auxiliary) refuse_product("epilogue {} has no auxiliary pointer", p.epilogue);
    if (p.auxiliary_leading % 8 != 0 || p.auxiliary_leading < p.d.rows) {
      refuse_product("the auxiliary matrix has {} rows and a leading dimension of {}, which is to be a multiple of 8",
                     p.d.rows, p.auxiliary_leading);
    }
    if (type_or_default(p.auxiliary_type) != p.d.type) {
      refuse_product("the auxiliary matrix is of type {}, D of type {}", p.auxiliary_type, p.d.type);
    }
  }
}

}  // namespace

std::size_t size_of(std::int32_t type) { return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2; }

bool ProductDescription::adds_bias() const {
  return epilogue == CUBLASLT_EPILOGUE_BIAS || epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
}
bool ProductDescription::has_auxiliary() const {
  return epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS || epilogue == CUBLASLT_EPILOGUE_DGELU;
}

ProductDescription read_back(const CublasLt& library, const Descriptors& descriptors) {
  ProductDescription p{};
  p.a = read_back(library, descriptors.a);
  p.b = read_back(library, descriptors.b);
  p.c = read_back(library, descriptors.c);
  p.d = read_back(library, descriptors.d);
  const auto get = [&]<class T>(cublasLtMatmulDescAttributes_t name, T& value) {
    std::size_t written = 0;
    require(library.MatmulDescGetAttribute(descriptors.operation, name, &value, sizeof value, &written),
            "cublasLtMatmulDescGetAttribute");
  };
  get(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE, p.compute_type);
  get(CUBLASLT_MATMUL_DESC_SCALE_TYPE, p.scale_type);
  get(CUBLASLT_MATMUL_DESC_POINTER_MODE, p.pointer_mode);
  get(CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_a);
  get(CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_b);
  get(CUBLASLT_MATMUL_DESC_EPILOGUE, p.epilogue);
  get(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
  get(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, p.bias_type);
  get(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, p.auxiliary);
  get(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, p.auxiliary_leading);
  get(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE, p.auxiliary_type);
  return p;
}

void check_description(const ProductDescription& product) {
  check_matrix("A", product.a);
  check_matrix("B", product.b);
  check_matrix("C", product.c);
  check_matrix("D", product.d);
  check_types(product);
  check_shapes(product);
  check_batches(product);
  check_epilogue(product);
}

// Stricter than the documentation, which leaves it to the heuristics what else has no algorithm.
bool is_supported(const ProductDescription& p) {
  if (p.epilogue == CUBLASLT_EPILOGUE_DEFAULT) return true;
  if (p.d.type == CUDA_R_64F) return false;
  const auto in_16_bytes = [](const MatrixDescription& matrix) {
    return matrix.leading * static_cast<std::int64_t>(size_of(matrix.type)) % 16 == 0;
  };
  return p.a.type != CUDA_R_16BF || (in_16_bytes(p.a) && in_16_bytes(p.b) && in_16_bytes(p.d));
}

}  // namespace gradus::cuda::emulation
