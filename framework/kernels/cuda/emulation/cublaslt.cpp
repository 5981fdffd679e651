#include "framework/kernels/cuda/emulation/cublaslt.h"

#include <bit>
#include <cstring>
#include <type_traits>
#include <vector>

#include "framework/base/bfloat16.h"
#include "framework/kernels/cuda/emulation/cublaslt_description.h"
#include "framework/kernels/cuda/emulation/stream.h"
#include "framework/kernels/shared/scalar_functions.h"

namespace gradus::cuda::emulation {
namespace {

/// The library's own functions, for reading descriptors back.
products::CublasLt& real_library() {
  static products::CublasLt library;
  return library;
}

/// What an algorithm of the emulation is: what it was found for, and what it wants.
struct Algorithm {
  std::uint64_t product;  ///< its place in known_products()
  std::uint64_t workspace;
  std::uint32_t alignments[4];  ///< of A, B, C, D
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

/// The product without the addresses of its vectors, of which only the alignment matters.
ProductDescription without_addresses(ProductDescription product) {
  const auto last_bits = [](void* pointer) {
    return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(pointer) % 16);
  };
  product.bias = last_bits(product.bias);
  product.auxiliary = last_bits(product.auxiliary);
  return product;
}

std::vector<ProductDescription>& known_products() {
  static std::vector<ProductDescription> products;
  return products;
}

/// The number at `place` of an array of one of three types.
template <class A>
A load(const void* data, std::int32_t type, std::int64_t place) {
  if (type == CUDA_R_64F) return static_cast<A>(static_cast<const double*>(data)[place]);
  if (type == CUDA_R_32F) return static_cast<A>(static_cast<const float*>(data)[place]);
  return static_cast<A>(static_cast<const bfloat16*>(data)[place]);
}
template <class A>
void store(void* data, std::int32_t type, std::int64_t place, A value) {
  if (type == CUDA_R_64F) {
    static_cast<double*>(data)[place] = value;
  } else if (type == CUDA_R_32F) {
    static_cast<float*>(data)[place] = static_cast<float>(value);
  } else {
    static_cast<bfloat16*>(data)[place] = bfloat16(value);
  }
}

struct Pointers {
  const void *a, *b, *c;
  void* d;
};

template <class A>
struct Scales {
  A alpha, beta;
};

/// `lines` of op(a) or op(b) along the depth, line by line for each place of the depth.
template <class A>
std::vector<A> factor(const ProductDescription& p, const MatrixDescription& matrix, const void* data,
                      bool lines_are_rows, std::int64_t batch) {
  const std::int64_t lines = lines_are_rows ? matrix.rows : matrix.columns, depth = p.depth();
  std::vector<A> values(lines * depth);
  for (std::int64_t k = 0; k < depth; ++k) {
    for (std::int64_t line = 0; line < lines; ++line) {
      const std::int64_t place = lines_are_rows ? matrix.place(line, k) : matrix.place(k, line);
      values[k * lines + line] = load<A>(data, matrix.type, batch * matrix.batch_stride + place);
    }
  }
  return values;
}

/// As a tensor core may take it: the bits that TF32 has not are left out.
void cut_to_tf32(std::vector<float>& values) {
  for (float& value : values) value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & 0xffffe000u);
}

/// Each line's sum, which goes where a bias would come from.
template <class A>
void store_sums(const ProductDescription& p, const std::vector<A>& values, std::int64_t lines) {
  for (std::int64_t line = 0; line < lines; ++line) {
    A sum = 0;
    for (std::int64_t k = 0; k < p.depth(); ++k) sum += values[k * lines + line];
    store(p.bias, p.d.type, line, sum);
  }
}

/// One element of D from its sum.
template <class A>
A finished(const ProductDescription& p, const Pointers& at, const Scales<A>& scales, std::int64_t row,
           std::int64_t column, std::int64_t place, A sum) {
  const functions::GeluTanh gelu;
  const std::int64_t in_auxiliary = column * p.auxiliary_leading + row;
  A value = scales.alpha * sum;
  if (scales.beta != A(0)) value += scales.beta * load<A>(at.c, p.c.type, place);
  if (p.adds_bias()) value += load<A>(p.bias, p.d.type, row);
  if (p.is_gelu_gradient()) return value * gelu.derivative(load<A>(p.auxiliary, p.d.type, in_auxiliary), A(0));
  if (!p.has_auxiliary()) return value;
  store(p.auxiliary, p.d.type, in_auxiliary, value);
  return gelu.value(value);
}

template <class A>
void compute(const ProductDescription& p, const Pointers& at, const Scales<A>& scales) {
  for (std::int64_t batch = 0; batch < p.d.batches; ++batch) {
    auto a = factor<A>(p, p.a, at.a, p.transpose_a == CUBLAS_OP_N, batch);
    auto b = factor<A>(p, p.b, at.b, p.transpose_b != CUBLAS_OP_N, batch);
    if (p.sums_a()) store_sums(p, a, p.d.rows);
    if (p.sums_b()) store_sums(p, b, p.d.columns);
    if constexpr (std::is_same_v<A, float>) {
      if (p.compute_type == CUBLAS_COMPUTE_32F_FAST_TF32) cut_to_tf32(a), cut_to_tf32(b);
    }
    std::vector<A> sums(p.d.rows);
    for (std::int64_t column = 0; column < p.d.columns; ++column) {
      sums.assign(p.d.rows, A(0));
      for (std::int64_t k = 0; k < p.depth(); ++k) {
        const A* const of_a = a.data() + k * p.d.rows;
        const A of_b = b[k * p.d.columns + column];
        for (std::int64_t row = 0; row < p.d.rows; ++row) sums[row] += of_a[row] * of_b;
      }
      for (std::int64_t row = 0; row < p.d.rows; ++row) {
        const std::int64_t place = batch * p.d.batch_stride + p.d.place(row, column);
        store(at.d, p.d.type, place, finished(p, at, scales, row, column, place, sums[row]));
      }
    }
  }
}

void check_pointer(const char* name, const void* pointer, std::uint32_t alignment) {
  if (!pointer) refuse_product("{} is a null pointer", name);
  if (reinterpret_cast<std::uintptr_t>(pointer) % alignment != 0) {
    refuse_product("{} is not aligned to {} bytes, for which the algorithm was found", name, alignment);
  }
}

void check_workspace(const Algorithm& algorithm, const void* workspace, std::size_t bytes) {
  if (algorithm.workspace == 0) return;
  if (!workspace || bytes < algorithm.workspace) {
    refuse_product("the algorithm wants a workspace of {} bytes, it gets {}", algorithm.workspace,
                   workspace ? bytes : 0);
  }
  if (reinterpret_cast<std::uintptr_t>(workspace) % 256 != 0)
    refuse_product("the workspace is not aligned to 256 bytes");
}

cublasStatus_t create(cublasLtHandle_t* handle) {
  static char context;
  *handle = reinterpret_cast<cublasLtHandle_t>(&context);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t find_algorithm(cublasLtHandle_t, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a,
                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                              cublasLtMatmulPreference_t preference, int, cublasLtMatmulHeuristicResult_t* results,
                              int* count) {
  const ProductDescription product = read_back(real_library(), {operation, a, b, c, d});
  check_description(product);
  *count = 0;
  if (!is_supported(product)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const auto preferred = [&]<class T>(cublasLtMatmulPreferenceAttributes_t name, T value) {
    std::size_t written = 0;
    real_library().MatmulPreferenceGetAttribute(preference, name, &value, sizeof value, &written);
    return value;
  };
  const auto alignment = [&](cublasLtMatmulPreferenceAttributes_t name) { return preferred(name, std::uint32_t{}); };
  Algorithm algorithm{.product = known_products().size(),
                      .workspace = 0,
                      .alignments = {alignment(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES),
                                     alignment(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES),
                                     alignment(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES),
                                     alignment(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES)}};
  // As if two halves of k were multiplied side by side.
  const std::uint64_t wanted = 2 * size_of(product.scale_type) * product.d.rows * product.d.columns * product.d.batches;
  const auto reductions = preferred(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{});
  const bool in_parts = product.depth() >= 64 && (reductions & CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE) != 0;
  if (in_parts && wanted <= preferred(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{})) {
    algorithm.workspace = wanted;
  }
  known_products().push_back(without_addresses(product));
  results[0] = {};
  std::memcpy(&results[0].algo, &algorithm, sizeof algorithm);
  results[0].workspaceSize = algorithm.workspace;
  results[0].state = CUBLAS_STATUS_SUCCESS;
  *count = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t multiply(cublasLtHandle_t, cublasLtMatmulDesc_t operation, const void* alpha, const void* a,
                        cublasLtMatrixLayout_t layout_a, const void* b, cublasLtMatrixLayout_t layout_b,
                        const void* beta, const void* c, cublasLtMatrixLayout_t layout_c, void* d,
                        cublasLtMatrixLayout_t layout_d, const cublasLtMatmulAlgo_t* found, void* workspace,
                        std::size_t workspace_bytes, cudaStream_t stream) {
  const ProductDescription product = read_back(real_library(), {operation, layout_a, layout_b, layout_c, layout_d});
  check_description(product);
  if (!found) refuse_product("there is no algorithm");
  Algorithm algorithm;
  std::memcpy(&algorithm, found, sizeof algorithm);
  if (!(known_products().at(algorithm.product) == without_addresses(product)))
    refuse_product("the algorithm was found for another product");
  check_pointer("A", a, algorithm.alignments[0]);
  check_pointer("B", b, algorithm.alignments[1]);
  check_pointer("C", c, algorithm.alignments[2]);
  check_pointer("D", d, algorithm.alignments[3]);
  check_workspace(algorithm, workspace, workspace_bytes);
  const auto queue = [&]<class A>(A) {
    const Scales<A> scales{*static_cast<const A*>(alpha), *static_cast<const A*>(beta)};
    submit(stream, [=] {
      if (algorithm.workspace > 0) std::memset(workspace, 0xff, algorithm.workspace);
      compute<A>(product, {a, b, c, d}, scales);
    });
  };
  product.scale_type == CUDA_R_64F ? queue(double{}) : queue(float{});
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

products::CublasLt with_emulated_products(const products::CublasLt& library) {
  real_library() = library;
  products::CublasLt emulated = library;
  emulated.Create = create;
  emulated.MatmulAlgoGetHeuristic = find_algorithm;
  emulated.Matmul = multiply;
  return emulated;
}

}  // namespace gradus::cuda::emulation
