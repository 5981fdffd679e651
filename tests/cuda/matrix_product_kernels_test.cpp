// Matrix products with every epilogue, by every method, beside plain loops in double.
#include "framework/base/error.h"
#include "framework/kernels/cuda/cublaslt_product.h"
#include "framework/kernels/cuda/matrix_product.h"
#include "framework/kernels/shared/scalar_functions.h"
#include "tests/cuda/buffer.h"
#include "tests/cuda/kernel_values.h"
#include "tests/cuda/schedules.h"

using namespace gradus;
using cuda::Epilogue;
using cuda::Precision;
using cuda::ProductMethod;

namespace {

constexpr ProductMethod all_methods[] = {ProductMethod::naive, ProductMethod::tiles, ProductMethod::cublaslt};

struct Case {
  std::int64_t m, n, k;
  bool a_transposed = false, b_transposed = false;
  std::int64_t batches = 1;
  bool one_b = false;    ///< for all batches
  std::int64_t gap = 0;  ///< elements between two lines
  double alpha = 1, beta = 0;
  Epilogue epilogue = Epilogue::none;
  Precision precision = Precision::full;
};

/// Matrices (lines, length), each line followed by a gap but the last one of all.
template <class T>
struct Matrices {
  std::int64_t stride, batch_stride;
  std::vector<T> values;

  Matrices(std::int64_t lines, std::int64_t length, std::int64_t batches, std::int64_t gap, unsigned seed)
      : stride(length + gap), batch_stride(lines * stride) {
    const bool empty = lines == 0 || length == 0 || batches == 0;
    values = normal_values<T>(empty ? 0 : batches * batch_stride - gap, seed);
  }
  std::int64_t place(std::int64_t batch, std::int64_t line, std::int64_t i) const {
    return batch * batch_stride + line * stride + i;
  }
};

template <class T, class Out>
struct Arguments {
  Case given;
  Matrices<T> a, b;
  Matrices<Out> c, pre_activation;
  std::vector<Out> bias;

  explicit Arguments(const Case& x)
      : given(x),
        a(x.a_transposed ? x.k : x.m, x.a_transposed ? x.m : x.k, x.batches, x.gap, 1),
        b(x.b_transposed ? x.n : x.k, x.b_transposed ? x.k : x.n, x.one_b ? 1 : x.batches, x.gap, 2),
        c(x.m, x.n, x.batches, x.gap, 3),
        pre_activation(x.m, x.n, 1, (8 - x.n % 8) % 8, 4),
        bias(normal_values<Out>(x.n, 5)) {
    if (x.beta != 0) return;
    for (std::int64_t batch = 0; batch < x.batches; ++batch) {  // must not be read
      for (std::int64_t i = 0; i < x.m; ++i) {
        for (std::int64_t j = 0; j < x.n; ++j) c.values[c.place(batch, i, j)] = Out(float(NAN));
      }
    }
  }

  double a_at(std::int64_t batch, std::int64_t i, std::int64_t p) const {
    return double(a.values[given.a_transposed ? a.place(batch, p, i) : a.place(batch, i, p)]);
  }
  double b_at(std::int64_t batch, std::int64_t p, std::int64_t j) const {
    const std::int64_t own = given.one_b ? 0 : batch;
    return double(b.values[given.b_transposed ? b.place(own, j, p) : b.place(own, p, j)]);
  }
};

template <class Out>
struct Results {
  std::vector<Out> c, pre_activation, sums;
  bool operator==(const Results& other) const {
    return are_same(c, other.c) && are_same(pre_activation, other.pre_activation) && are_same(sums, other.sums);
  }
};

/// A product with its memory. Without `method`, has_run says whether cuBLASLt takes it.
template <class T, class Out>
class Run {
 public:
  explicit Run(const Arguments<T, Out>& x)
      : a_(x.a.values),
        b_(x.b.values),
        c_(x.c.values),
        pre_activation_(x.pre_activation.values),
        bias_(x.bias),
        sums_(x.given.epilogue == Epilogue::sums_of_a ? x.given.m : x.given.n) {
    const Case& given = x.given;
    const bool gelu = given.epilogue == Epilogue::gelu;
    product = {.m = given.m,
               .n = given.n,
               .k = given.k,
               .a = {a_.data(), x.a.stride, given.a_transposed, x.a.batch_stride},
               .b = {b_.data(), x.b.stride, given.b_transposed, given.one_b ? 0 : x.b.batch_stride},
               .c = {c_.data(), x.c.stride, x.c.batch_stride},
               .batches = given.batches,
               .alpha = Arithmetic<T>(given.alpha),
               .beta = Arithmetic<T>(given.beta),
               .precision = given.precision,
               .epilogue = given.epilogue};
    if (gelu || given.epilogue == Epilogue::bias) product.bias = bias_.data();
    if (gelu || given.epilogue == Epilogue::gelu_gradient) {
      product.pre_activation = {pre_activation_.data(), x.pre_activation.stride};
    }
    if (given.epilogue == Epilogue::sums_of_a || given.epilogue == Epilogue::sums_of_b) product.sums = sums_.data();
  }

  Results<Out> results(std::optional<ProductMethod> method) {
    cuda::matrix_product(product, nullptr, method);
    return {c_.values(), pre_activation_.values(), product.sums ? sums_.values() : std::vector<Out>()};
  }

  cuda::MatrixProduct<T, Out> product;

 private:
  Buffer<T> a_, b_;
  Buffer<Out> c_, pre_activation_, bias_, sums_;
};

/// Cases of cuBLASLt that it took, and that it did not.
int taken = 0, declined = 0;

template <class T, class Out>
bool takes(const Arguments<T, Out>& x, ProductMethod method) {
  if (method != ProductMethod::cublaslt) return true;
  const bool takes = cuda::product_method(Run<T, Out>(x).product) == method;
  ++(takes ? taken : declined);
  return takes;
}

/// Twice what k + 4 roundings to nearest cost: a tensor core cuts its sums off.
template <class T, class Out>
void check_results(const Arguments<T, Out>& x, const Results<Out>& found) {
  const Case& given = x.given;
  const functions::GeluTanh gelu;
  const double u = 2 * rounding_error<Arithmetic<T>>, out = rounding_error<Out>;
  const double of_factors = given.precision == Precision::tf32 ? 1.0 / 512 : 0;
  std::size_t wrong = 0;
  auto untouched = x.c.values;
  for (std::int64_t batch = 0; batch < given.batches; ++batch) {
    for (std::int64_t i = 0; i < given.m; ++i) {
      for (std::int64_t j = 0; j < given.n; ++j) {
        double sum = 0, magnitude = 0;
        for (std::int64_t p = 0; p < given.k; ++p) {
          const double term = x.a_at(batch, i, p) * x.b_at(batch, p, j);
          sum += term, magnitude += std::fabs(term);
        }
        double value = given.alpha * sum;
        double off = std::fabs(given.alpha) * magnitude * ((given.k + 4) * u + of_factors);
        const auto add = [&](double term) { value += term, off += 4 * u * (std::fabs(term) + std::fabs(value)); };
        const std::int64_t place = x.c.place(batch, i, j);
        if (given.beta != 0) add(given.beta * double(x.c.values[place]));
        if (given.epilogue == Epilogue::bias || given.epilogue == Epilogue::gelu) add(double(x.bias[j]));
        if (given.epilogue == Epilogue::gelu) {
          const double stored = double(found.pre_activation[x.pre_activation.place(0, i, j)]);
          wrong += !is_close(stored, value, off + out * std::fabs(value));
          off = 1.13 * off + 8 * u * std::fabs(value);
          value = gelu.value(value);
        }
        if (given.epilogue == Epilogue::gelu_gradient) {
          const double z = double(x.pre_activation.values[x.pre_activation.place(0, i, j)]);
          off = 1.13 * off + std::fabs(value) * (16 + 4 * std::fabs(z * z * z)) * u;
          value *= gelu.derivative(z, 0.0);
        }
        wrong += !is_close(double(found.c[place]), value, off + out * std::fabs(value));
        untouched[place] = found.c[place];
      }
    }
  }
  CHECK(wrong == 0);
  CHECK_MESSAGE(are_same(untouched, found.c), "the gaps of c are not to be written");
  const bool of_a = given.epilogue == Epilogue::sums_of_a;
  for (std::size_t line = 0; line < found.sums.size(); ++line) {
    double sum = 0, magnitude = 0;
    for (std::int64_t p = 0; p < given.k; ++p) {
      const double term = of_a ? x.a_at(0, line, p) : x.b_at(0, p, line);
      sum += term, magnitude += std::fabs(term);
    }
    wrong += !is_close(double(found.sums[line]), sum, (given.k + 4) * u * magnitude + out * std::fabs(sum));
  }
  CHECK(wrong == 0);
}

template <class T, class Out>
void check(const Case& given) {
  CAPTURE(given.m);
  CAPTURE(given.n);
  CAPTURE(given.k);
  CAPTURE(given.a_transposed);
  CAPTURE(given.b_transposed);
  CAPTURE(int(given.epilogue));
  const Arguments<T, Out> x(given);
  for (ProductMethod method : all_methods) {
    CAPTURE(to_string(method));
    if (takes(x, method)) check_results(x, Run<T, Out>(x).results(method));
  }
}

template <class T, class Out>
void check_all_shapes() {
  const std::int64_t shapes[][3] = {{1, 1, 1},    {2, 3, 4},     {31, 33, 17},  {64, 64, 16}, {65, 63, 33},
                                    {128, 8, 40}, {127, 1, 130}, {1, 129, 127}, {300, 3, 5},  {16, 24, 1000}};
  for (const auto& [m, n, k] : shapes) {
    for (bool a_transposed : {false, true}) {
      for (bool b_transposed : {false, true}) {
        check<T, Out>({.m = m, .n = n, .k = k, .a_transposed = a_transposed, .b_transposed = b_transposed});
      }
    }
    check<T, Out>({.m = m, .n = n, .k = k, .b_transposed = true, .gap = 3, .alpha = 0.5, .beta = 1});
    check<T, Out>({.m = m, .n = n, .k = k, .a_transposed = true, .gap = 8, .alpha = -1, .beta = 0.25});
  }
}

template <class T, class Out>
void check_epilogues() {
  constexpr Epilogue epilogues[] = {Epilogue::bias, Epilogue::gelu, Epilogue::gelu_gradient, Epilogue::sums_of_a,
                                    Epilogue::sums_of_b};
  for (Epilogue epilogue : epilogues) {
    const double beta = epilogue == Epilogue::gelu || epilogue == Epilogue::gelu_gradient ? 0 : 1;
    check<T, Out>({.m = 33, .n = 65, .k = 19, .b_transposed = true, .epilogue = epilogue});
    check<T, Out>({.m = 66, .n = 40, .k = 24, .gap = 8, .alpha = 0.5, .epilogue = epilogue});
    check<T, Out>({.m = 24, .n = 48, .k = 80, .a_transposed = true, .beta = beta, .epilogue = epilogue});
    check<T, Out>({.m = 1, .n = 1, .k = 1, .a_transposed = true, .b_transposed = true, .epilogue = epilogue});
    check<T, Out>({.m = 3, .n = 8, .k = 0, .beta = beta, .epilogue = epilogue});
    check<T, Out>({.m = 0, .n = 5, .k = 7, .epilogue = epilogue});
    check<T, Out>({.m = 5, .n = 0, .k = 7, .epilogue = epilogue});
  }
}

template <class T, class Out>
void check_batches() {
  check<T, Out>({.m = 17, .n = 9, .k = 21, .b_transposed = true, .batches = 5});
  check<T, Out>({.m = 8, .n = 72, .k = 16, .a_transposed = true, .batches = 3, .one_b = true, .gap = 8});
  check<T, Out>({.m = 3, .n = 5, .k = 2, .batches = 4, .gap = 1, .alpha = 2, .beta = 1});
  check<T, Out>({.m = 3, .n = 5, .k = 2, .batches = 0});
  check<T, Out>({.m = 3, .n = 5, .k = 0, .batches = 2});
}

/// The sentence in which a product is refused.
std::string refusal(const cuda::MatrixProduct<float>& product, std::optional<ProductMethod> method = {}) {
  try {
    cuda::matrix_product(product, nullptr, method);
  } catch (const ContractError& error) {
    return error.what();
  }
  return "none";
}

}  // namespace

TEST_CASE("matrix products of every kind of shape, in every dtype") {
  check_all_shapes<double, double>();
  check_all_shapes<float, float>();
  check_all_shapes<bfloat16, bfloat16>();
  check_all_shapes<bfloat16, float>();
}

TEST_CASE("every epilogue of matrix products, in every dtype") {
  check_epilogues<double, double>();
  check_epilogues<float, float>();
  check_epilogues<bfloat16, bfloat16>();
  check_epilogues<bfloat16, float>();
}

TEST_CASE("batches of matrix products, in every dtype") {
  check_batches<double, double>();
  check_batches<float, float>();
  check_batches<bfloat16, bfloat16>();
  check_batches<bfloat16, float>();
}

TEST_CASE("matrix products in TF32, which only the caller chooses") {
  check<float, float>({.m = 40, .n = 56, .k = 72, .b_transposed = true, .precision = Precision::tf32});
  check<float, float>({.m = 24,
                       .n = 16,
                       .k = 200,
                       .a_transposed = true,
                       .epilogue = Epilogue::sums_of_a,
                       .precision = Precision::tf32});
}

TEST_CASE("the bits of a matrix product are the same in every run, under every schedule") {
  for (ProductMethod method : all_methods) {
    CAPTURE(to_string(method));
    const Arguments<float, float> plain({.m = 67, .n = 66, .k = 50, .b_transposed = true});
    const Arguments<bfloat16, float> sums(
        {.m = 72, .n = 64, .k = 130, .a_transposed = true, .epilogue = Epilogue::sums_of_a});
    const Arguments<bfloat16, bfloat16> gelu(
        {.m = 40, .n = 72, .k = 24, .b_transposed = true, .epilogue = Epilogue::gelu});
    const auto check_bits = [method]<class T, class Out>(const Arguments<T, Out>& x) {
      if (!takes(x, method)) return;
      const Results<Out> first = Run<T, Out>(x).results(method);
      for_each_schedule([&] { CHECK(Run<T, Out>(x).results(method) == first); });
    };
    check_bits(plain);
    check_bits(sums);
    check_bits(gelu);
  }
}

TEST_CASE("what is not finite in a matrix product stays in its row or column") {
  Arguments<float, float> x({.m = 70, .n = 66, .k = 20});
  x.a.values[x.a.place(0, 3, 19)] = NAN;
  x.b.values[x.b.place(0, 7, 65)] = INFINITY;
  for (ProductMethod method : all_methods) {
    if (!takes(x, method)) continue;
    CAPTURE(to_string(method));
    const auto found = Run<float, float>(x).results(method);
    std::size_t wrong = 0;
    for (std::int64_t i = 0; i < 70; ++i) {
      for (std::int64_t j = 0; j < 66; ++j) {
        const float c = found.c[x.c.place(0, i, j)];
        wrong += i == 3 ? !std::isnan(c) : j == 65 ? !std::isinf(c) : !std::isfinite(c);
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("a matrix product that contradicts itself is refused in a sentence") {
  Buffer<float> memory(64);
  float* const x = memory.data();
  const cuda::MatrixProduct<float> right{.m = 2, .n = 3, .k = 4, .a = {x, 4}, .b = {x, 3}, .c = {x, 3}};
  CHECK(refusal(right) == "none");
  const auto with = [&](auto change) {
    auto product = right;
    change(product);
    return refusal(product);
  };
  CHECK(with([](auto& p) { p.a.stride = 3; }) ==
        "[matrix_product] a has lines of 4 elements and a stride of 3: a (2,4) f32, b (4,3) f32, c (2,3) f32");
  CHECK(with([](auto& p) { p.b.transposed = true; })
            .starts_with(
                "[matrix_product] b has lines of 4 elements and a stride of 3: a (2,4) f32, b (4,3) f32 transposed"));
  CHECK(with([](auto& p) { p.k = -1; }).starts_with("[matrix_product] a size is negative"));
  CHECK(with([](auto& p) { p.c.data = nullptr; }).starts_with("[matrix_product] c has no memory"));
  CHECK(with([](auto& p) {
          p.batches = 2;
        }).starts_with("[matrix_product] the batches of c overlap: a batch has 6 elements, its stride is 0"));
  CHECK(with([](auto& p) {
          p.batches = 2, p.a.batch_stride = -1;
        }).starts_with("[matrix_product] a has a batch stride of -1"));
  CHECK(with([](auto& p) { p.epilogue = Epilogue::bias; }).starts_with("[matrix_product] bias has no memory"));
  CHECK(with([](auto& p) { p.epilogue = Epilogue::sums_of_b; }).starts_with("[matrix_product] sums has no memory"));
  CHECK(with([&](auto& p) {
          p.bias = x;
        }).starts_with("[matrix_product] bias is given to an epilogue that does not use it"));
  CHECK(with([&](auto& p) {
          p.epilogue = Epilogue::gelu, p.bias = x;
        }).starts_with("[matrix_product] pre_activation has no memory"));
  CHECK(with([&](auto& p) {
          p.epilogue = Epilogue::gelu_gradient, p.pre_activation = {x, 8}, p.beta = 1;
        }).starts_with("[matrix_product] beta is 1, but this epilogue takes only 0"));
  CHECK(with([&](auto& p) {
          p.epilogue = Epilogue::sums_of_a, p.sums = x, p.batches = 2, p.c.batch_stride = 6;
        }).starts_with("[matrix_product] 2 batches, but an epilogue takes only 1"));
  cuda::MatrixProduct<bfloat16> halves{.m = 0, .n = 0, .k = 0, .precision = Precision::tf32};
  CHECK_THROWS_AS(cuda::matrix_product(halves, nullptr), ContractError);
}

TEST_CASE("cuBLASLt asked for what it does not take is refused in a sentence") {
  Buffer<float> memory(64);
  float* const x = memory.data();
  cuda::MatrixProduct<float> product{.m = 2, .n = 3, .k = 0, .a = {x, 4}, .b = {x, 3}, .c = {x, 3}};
  CHECK(refusal(product, ProductMethod::cublaslt).starts_with("[matrix_product] cublaslt does not take this product"));
}

TEST_CASE("cuBLASLt took most of what was asked of it above, where it can be used") {
  const auto& state = cuda::products::cublaslt_state();
  MESSAGE(taken, " taken, ", declined, " declined");
  CHECK((state.usable ? taken >= 2 * declined : taken == 0));
}
