// What is told to cuBLASLt: descriptors as the library itself reads them back, and how the emulation of its products
// answers wrong ones.
#include "framework/kernels/cuda/emulation/cublaslt.h"

#include <doctest/doctest.h>

#include <functional>

#include "framework/base/error.h"
#include "framework/kernels/cuda/cublaslt_descriptors.h"
#include "framework/kernels/cuda/dynamic_library.h"
#include "framework/kernels/cuda/emulation/cublaslt_description.h"
#include "framework/kernels/cuda/emulation/settings.h"
#include "tests/cuda/buffer.h"

using namespace gradus;
using namespace gradus::cuda::products;
using cuda::Epilogue;
using cuda::Precision;

namespace {

const CublasLt& real_library() {
  static const CublasLt library = load_cublaslt(cublaslt_files());
  return library;
}
const CublasLt& emulated_library() {
  static const CublasLt library = cuda::emulation::with_emulated_products(real_library());
  return library;
}

/// c (16,24) = a (16,32) b (32,24) with memory for all that a product may need.
struct Product {
  Buffer<std::byte> a{16 * 32 * 4}, b{32 * 24 * 4}, c{16 * 24 * 4}, vector{24 * 4}, pre_activation{16 * 24 * 4};
  Buffer<std::byte> workspace{workspace_bytes};
  Request request;

  explicit Product(Epilogue epilogue, DType in = DType::f32, DType out = DType::f32)
      : request{.in = in,
                .out = out,
                .m = 16,
                .n = 24,
                .k = 32,
                .batches = 1,
                .a = {a.data(), 32, false, 0},
                .b = {b.data(), 24, false, 0},
                .c = {c.data(), 24, false, 0},
                .alpha = 1,
                .beta = 0,
                .precision = Precision::full,
                .epilogue = epilogue,
                .bias = adds_bias(epilogue) ? vector.data() : nullptr,
                .pre_activation = {has_pre_activation(epilogue) ? pre_activation.data() : nullptr, 24, false, 0},
                .sums = has_sums(epilogue) ? vector.data() : nullptr} {}
};

/// The arguments of cublasLtMatmul, to be spoilt.
struct Call {
  ProductDescriptors descriptors;
  const void *a, *b;
  void* c;
  void* workspace;
  std::size_t workspace_bytes = cuda::products::workspace_bytes;
  cublasLtMatmulHeuristicResult_t found{};

  explicit Call(Product& product)
      : descriptors(emulated_library(), product.request),
        a(product.a.data()),
        b(product.b.data()),
        c(product.c.data()),
        workspace(product.workspace.data()) {}

  cublasStatus_t find() {
    int count = 0;
    const ProductDescriptors& as = descriptors;
    return emulated_library().MatmulAlgoGetHeuristic(nullptr, as.operation.get(), as.b.get(), as.a.get(), as.c.get(),
                                                     as.c.get(), as.preference.get(), 1, &found, &count);
  }
  void run() {
    const float alpha = 1, beta = 0;
    const ProductDescriptors& as = descriptors;
    emulated_library().Matmul(nullptr, as.operation.get(), &alpha, b, as.b.get(), a, as.a.get(), &beta, c, as.c.get(),
                              c, as.c.get(), &found.algo, workspace, workspace_bytes, nullptr);
  }
  template <class T>
  void set(cublasLtMatmulDescAttributes_t name, T value) {
    emulated_library().MatmulDescSetAttribute(descriptors.operation.get(), name, &value, sizeof value);
  }
  template <class T>
  void set(const Layout& layout, cublasLtMatrixLayoutAttribute_t name, T value) {
    emulated_library().MatrixLayoutSetAttribute(layout.get(), name, &value, sizeof value);
  }
};

std::string sentence_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const ContractError& error) {
    return error.what();
  }
  return "none";
}

/// What the emulation says to a product whose descriptors are changed by `spoil`, when an algorithm is asked for, and
/// when one found before is run; both the same.
std::string refusal(Epilogue epilogue, const std::function<void(Call&)>& spoil, DType in = DType::f32) {
  Product product(epilogue, in, in);
  Call call(product);
  CHECK(call.find() == CUBLAS_STATUS_SUCCESS);
  CHECK(sentence_of([&] { call.run(); }) == "none");
  spoil(call);
  const std::string when_run = sentence_of([&] { call.run(); });
  CHECK(sentence_of([&] { call.find(); }) == when_run);
  return when_run;
}

/// The same for what only a run can see.
std::string refusal_of_run(const std::function<void(Call&)>& spoil, std::int64_t k = 32) {
  Product product(Epilogue::none, DType::bf16, DType::f32);
  product.request.k = product.request.a.stride = k;
  Call call(product);
  CHECK(call.find() == CUBLAS_STATUS_SUCCESS);
  spoil(call);
  return sentence_of([&] { call.run(); });
}

cuda::emulation::ProductDescription description_of(const Request& request) {
  const ProductDescriptors as(real_library(), request);
  return cuda::emulation::read_back(real_library(),
                                    {as.operation.get(), as.b.get(), as.a.get(), as.c.get(), as.c.get()});
}

}  // namespace

TEST_CASE("cuBLASLt is found, and its descriptors say what the product says") {
  Product product(Epilogue::gelu, DType::bf16, DType::bf16);
  product.request.b.transposed = true;
  product.request.b.stride = 40;
  const auto told = description_of(product.request);
  CHECK(told.compute_type == CUBLAS_COMPUTE_32F);
  CHECK(told.scale_type == CUDA_R_32F);
  CHECK(told.epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS);
  CHECK(told.transpose_a == CUBLAS_OP_T);
  CHECK(told.transpose_b == CUBLAS_OP_N);
  CHECK(told.a == cuda::emulation::MatrixDescription{CUDA_R_16BF, CUBLASLT_ORDER_COL, 1, 32, 24, 40, 0});
  CHECK(told.b == cuda::emulation::MatrixDescription{CUDA_R_16BF, CUBLASLT_ORDER_COL, 1, 32, 16, 32, 0});
  CHECK(told.d == cuda::emulation::MatrixDescription{CUDA_R_16BF, CUBLASLT_ORDER_COL, 1, 24, 16, 24, 0});
  CHECK(told.bias == product.vector.data());
  CHECK(told.auxiliary == product.pre_activation.data());
  CHECK(told.auxiliary_leading == 24);
}

TEST_CASE("TF32 is told to cuBLASLt only if the caller chooses it, and doubles are summed in double") {
  Product product(Epilogue::none);
  CHECK(description_of(product.request).compute_type == CUBLAS_COMPUTE_32F);
  product.request.precision = Precision::tf32;
  CHECK(description_of(product.request).compute_type == CUBLAS_COMPUTE_32F_FAST_TF32);
  product.request.in = product.request.out = DType::f64;
  product.request.precision = Precision::full;
  CHECK(description_of(product.request).compute_type == CUBLAS_COMPUTE_64F);
  CHECK(description_of(product.request).scale_type == CUDA_R_64F);
}

TEST_CASE("cuBLASLt may add the parts of a sum in one order only, in full, and in 32 MiB") {
  Product product(Epilogue::none);
  product.request.a.data = product.a.data() + 4;
  product.request.b.data = product.b.data() + 8;
  product.request.c.data = product.c.data() + 2;
  const ProductDescriptors as(real_library(), product.request);
  const auto preferred = [&]<class T>(cublasLtMatmulPreferenceAttributes_t name, T value) {
    std::size_t written = 0;
    real_library().MatmulPreferenceGetAttribute(as.preference.get(), name, &value, sizeof value, &written);
    return value;
  };
  CHECK(preferred(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{}) ==
        CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
  CHECK(preferred(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{}) == 32 * 1024 * 1024);
  CHECK(preferred(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, std::uint32_t{}) == 8);
  CHECK(preferred(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, std::uint32_t{}) == 4);
  CHECK(preferred(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, std::uint32_t{}) == 2);
  CHECK(preferred(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, std::uint32_t{}) == 2);
}

TEST_CASE("products by cuBLASLt are what is taken where it is there") {
  CHECK(cuda::products_by() == "cuBLASLt " + cuda::version_name(real_library().GetVersion()));
  Buffer<float> memory(64);
  float* const x = memory.data();
  cuda::MatrixProduct<float> product{.m = 2, .n = 3, .k = 4, .a = {x, 4}, .b = {x + 16, 3}, .c = {x + 32, 3}};
  CHECK(cuda::product_method(product) == cuda::ProductMethod::cublaslt);
  product.epilogue = Epilogue::bias;
  product.bias = x + 48;
  CHECK(cuda::product_method(product) == cuda::ProductMethod::cublaslt);
  product.bias = x + 49;  // not at 16 bytes
  CHECK(cuda::product_method(product) == cuda::ProductMethod::tiles);
  product.epilogue = Epilogue::gelu;
  product.bias = x + 48;
  product.pre_activation = {x + 52, 3};  // no multiple of 8
  CHECK(cuda::product_method(product) == cuda::ProductMethod::tiles);

  Buffer<bfloat16> halves(64);
  bfloat16* const h = halves.data();
  cuda::MatrixProduct<bfloat16> sums{.m = 2, .n = 3, .k = 4, .a = {h, 8}, .b = {h + 16, 3}, .c = {h + 32, 8}};
  sums.epilogue = Epilogue::sums_of_a;
  sums.sums = h + 48;
  CHECK(cuda::product_method(sums) == cuda::ProductMethod::tiles);  // the emulated heuristics have none
  sums.b.stride = 8;
  CHECK(cuda::product_method(sums) == cuda::ProductMethod::cublaslt);
}

TEST_CASE("a product at addresses of another alignment, or in another precision, has an algorithm of its own") {
  const std::vector<float> numbers{1, 2, 3, 4, 5, 6, 7, 8, 9};
  Buffer<float> a(numbers), b(numbers), c(9);
  const auto first_of_c = [&](std::int64_t of_a, std::int64_t of_b, std::int64_t of_c, Precision precision) {
    const cuda::MatrixProduct<float> product{.m = 2,
                                             .n = 2,
                                             .k = 2,
                                             .a = {a.data() + of_a, 2},
                                             .b = {b.data() + of_b, 2},
                                             .c = {c.data() + of_c, 2},
                                             .precision = precision};
    cuda::matrix_product(product, nullptr, cuda::ProductMethod::cublaslt);
    return c.values()[of_c];
  };
  CHECK(first_of_c(0, 0, 0, Precision::full) == 7);
  CHECK(first_of_c(1, 0, 0, Precision::full) == 11);
  CHECK(first_of_c(0, 1, 0, Precision::full) == 10);
  CHECK(first_of_c(0, 0, 1, Precision::full) == 7);
  CHECK(first_of_c(4, 4, 4, Precision::tf32) == 67);

  Buffer<float> pre_activation(std::vector<float>(32, 0.0f));
  for (std::int64_t stride : {8, 16}) {
    cuda::MatrixProduct<float> product{
        .m = 2, .n = 2, .k = 2, .a = {a.data(), 2}, .b = {b.data(), 2}, .c = {c.data(), 2}};
    product.epilogue = Epilogue::gelu_gradient;
    product.pre_activation = {pre_activation.data(), stride};
    cuda::matrix_product(product, nullptr, cuda::ProductMethod::cublaslt);
    CHECK(c.values()[0] == 3.5f);  // half of 7: the slope of GELU at 0
  }
}

TEST_CASE("the emulation of cuBLASLt cuts factors to TF32 if it is told to, and then only") {
  Buffer<float> a(std::vector<float>{1 + 0x1p-11f}), b(std::vector<float>{3}), c(1);
  cuda::MatrixProduct<float> product{
      .m = 1, .n = 1, .k = 1, .a = {a.data(), 1}, .b = {b.data(), 1}, .c = {c.data(), 1}};
  cuda::matrix_product(product, nullptr, cuda::ProductMethod::cublaslt);
  CHECK(c.values()[0] == 3 * (1 + 0x1p-11f));
  product.precision = Precision::tf32;
  cuda::matrix_product(product, nullptr, cuda::ProductMethod::cublaslt);
  CHECK(c.values()[0] == 3);
}

TEST_CASE("wrong descriptors are refused in a sentence") {
  constexpr auto none = Epilogue::none, bias = Epilogue::bias, gelu = Epilogue::gelu, sums = Epilogue::sums_of_b;
  const std::string who = "[cublasLtMatmul, emulated] ";
  CHECK(refusal(none, [](Call& call) { call.set(call.descriptors.a, CUBLASLT_MATRIX_LAYOUT_LD, std::int64_t{31}); }) ==
        who + "B has 32 rows and a leading dimension of 31");
  CHECK(refusal(none, [](Call& call) { call.set(CUBLASLT_MATMUL_DESC_TRANSA, std::int32_t{CUBLAS_OP_T}); }) ==
        who + "op(A) (32,24) and op(B) (32,16) do not make D (24,16)");
  CHECK(refusal(none, [](Call& call) {
          call.set(call.descriptors.b, CUBLASLT_MATRIX_LAYOUT_TYPE, std::int32_t{CUDA_R_16BF});
        }) == who + "compute type 68, scale type 0 and matrices of types 14, 0, 0, 0 do not go together");
  CHECK(refusal(none, [](Call& call) {
          call.set(call.descriptors.c, CUBLASLT_MATRIX_LAYOUT_ORDER, std::int32_t{CUBLASLT_ORDER_ROW});
        }) == who + "C is not stored by columns");
  CHECK(refusal(none, [](Call& call) {
          call.set(call.descriptors.c, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, std::int32_t{2});
        }) == who + "A has 1 batches, B 1, D 2");
  CHECK(refusal(none, [](Call& call) {
          for (const Layout* layout : {&call.descriptors.a, &call.descriptors.b, &call.descriptors.c}) {
            call.set(*layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, std::int32_t{2});
          }
        }) == who + "batches of D overlap: 384 elements, 0 apart");
  CHECK(refusal(none, [](Call& call) {
          call.set(CUBLASLT_MATMUL_DESC_POINTER_MODE, std::int32_t{CUBLASLT_POINTER_MODE_DEVICE});
        }) == who + "alpha and beta are not on the host");
  CHECK(refusal(none, [](Call& call) {
          call.set(CUBLASLT_MATMUL_DESC_EPILOGUE, std::uint32_t{CUBLASLT_EPILOGUE_RELU});
        }) == who + "epilogue 2 is not emulated");
  for (const auto epilogue : {bias, gelu, sums}) {
    CHECK(refusal(epilogue, [](Call& call) {
            call.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<void*>(nullptr));
          }).ends_with("has no bias pointer"));
  }
  CHECK(refusal(
            bias, [](Call& call) { call.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, std::int32_t{CUDA_R_32F}); },
            DType::bf16) == who + "the bias is of type 0, D of type 14");
  CHECK(refusal(gelu, [](Call& call) {
          call.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, static_cast<void*>(nullptr));
        }).ends_with("has no auxiliary pointer"));
  for (std::int64_t leading : {28, 16}) {
    CHECK(refusal(
              Epilogue::gelu_gradient, [=](Call& call) { call.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, leading); },
              DType::bf16) == who + "the auxiliary matrix has 24 rows and a leading dimension of " +
                                  std::to_string(leading) + ", which is to be a multiple of 8");
  }
}

TEST_CASE("an algorithm is refused for what it was not found for") {
  const std::string who = "[cublasLtMatmul, emulated] ";
  CHECK(refusal_of_run([](Call&) {}) == "none");
  CHECK(refusal_of_run([](Call& call) { call.set(call.descriptors.a, CUBLASLT_MATRIX_LAYOUT_LD, std::int64_t{40}); }) ==
        who + "the algorithm was found for another product");
  CHECK(refusal_of_run([](Call& call) { call.a = static_cast<const std::byte*>(call.a) + 2; }) ==
        who + "B is not aligned to 16 bytes, for which the algorithm was found");
  CHECK(refusal_of_run([](Call& call) { call.c = nullptr; }) == who + "C is a null pointer");
}

TEST_CASE("an algorithm that cuts a long sum in parts wants its workspace") {
  const std::string who = "[cublasLtMatmul, emulated] ";
  CHECK(refusal_of_run([](Call& call) { call.workspace = nullptr; }) == "none");
  // bf16 in the same memory: k of 64 fits a, not b, whose columns are then fewer
  const auto with_long_sum = [&](const std::function<void(Call&)>& spoil) {
    Product product(Epilogue::none, DType::bf16, DType::f32);
    product.request.k = product.request.a.stride = 64;
    product.request.n = product.request.b.stride = product.request.c.stride = 16;
    Call call(product);
    CHECK(call.find() == CUBLAS_STATUS_SUCCESS);
    CHECK(call.found.workspaceSize == 2048);
    spoil(call);
    return sentence_of([&] { call.run(); });
  };
  CHECK(with_long_sum([](Call&) {}) == "none");
  CHECK(with_long_sum([](Call& call) { call.workspace = nullptr; }) ==
        who + "the algorithm wants a workspace of 2048 bytes, it gets 0");
  CHECK(with_long_sum([](Call& call) { call.workspace_bytes = 2047; }) ==
        who + "the algorithm wants a workspace of 2048 bytes, it gets 2047");
  CHECK(with_long_sum([](Call& call) { call.workspace = static_cast<std::byte*>(call.workspace) + 128; }) ==
        who + "the workspace is not aligned to 256 bytes");
}

TEST_CASE("what cuBLASLt refuses is said with the call and the product") {
  Product product(Epilogue::none);
  try {
    check_status(real_library(), CUBLAS_STATUS_NOT_SUPPORTED, "cublasLtMatmul", product.request);
    FAIL("nothing is thrown");
  } catch (const Error& error) {
    const std::string text = error.what();
    CHECK(text.starts_with("[cuda] cublasLtMatmul: "));
    CHECK(text.ends_with(": a (16,32) f32, b (32,24) f32, c (16,24) f32"));
  }
}

TEST_CASE("a library that is missing, foreign or of another version is a sentence") {
  const auto why_not = [](const std::function<void()>& body) -> std::string {
    try {
      body();
    } catch (const Error& error) {
      return error.what();
    }
    return "none";
  };
  CHECK(why_not([] {
          load_cublaslt({"libno_such.so.1", "/nowhere/libno_such.so.1"});
        }).find("/nowhere/libno_such.so.1") != std::string::npos);
  CHECK(why_not([] { load_cublaslt({"libm.so.6"}); }) == "cuBLASLt has no function cublasLtCreate");
  CHECK(why_not([] { require_version(CUBLAS_VER_MAJOR * 10000 + 203); }) == "none");
  CHECK(why_not([] { require_version(110406); }) ==
        "cuBLASLt is of version 11.4.6, expected is " + std::to_string(CUBLAS_VER_MAJOR) + ".x");
}
