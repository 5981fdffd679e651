// Clipping and AdamW over many tensors, beside plain loops in double and the ops on the CPU.
#include <memory>
#include <numeric>

#include "framework/kernels/cuda/optimizer.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"
#include "tests/cuda/buffer.h"
#include "tests/cuda/kernel_values.h"
#include "tests/cuda/schedules.h"

using namespace gradus;
using cuda::AdamWConstants;
using cuda::FlatTensor;
using cuda::GlobalNorm;

namespace {

/// Tensors of these sizes, each of an allocation of its own; every third one begins one element after that.
template <class T>
struct DeviceTensors {
  DeviceTensors(const std::vector<std::int64_t>& sizes, unsigned seed, bool positive = false) {
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      std::vector<T> values = normal_values<T>(sizes[i] + skipped(i), seed + i);
      if (positive)
        for (T& value : values) value = T(std::fabs(double(value)));
      buffers.push_back(std::make_unique<Buffer<T>>(values));
      tensors.push_back({buffers[i]->data() + skipped(i), sizes[i]});
    }
  }
  static int skipped(std::size_t i) { return i % 3 == 2; }
  std::vector<T> values(std::size_t i) const {
    const auto all = buffers[i]->values();
    return {all.begin() + skipped(i), all.end()};
  }
  std::span<const FlatTensor<T>> span() const { return tensors; }

  std::vector<std::unique_ptr<Buffer<T>>> buffers;
  std::vector<FlatTensor<T>> tensors;
};

template <class T>
Tensor on_cpu(const std::vector<T>& values) {
  return from_values({std::int64_t(values.size())}, std::vector<double>(values.begin(), values.end()), dtype_of<T>);
}

/// More tensors than a table takes, some of none, one and several blocks.
std::vector<std::int64_t> many_sizes() {
  std::vector<std::int64_t> sizes = {1, 0, 31, 33, 127, 128, 129, 1000, 4096, 4097, 9001};
  for (int i = 0; i < 300; ++i) sizes.push_back(i % 7);
  return sizes;
}

template <class T>
double norm_of(const std::vector<T>& all) {
  return std::sqrt(
      std::accumulate(all.begin(), all.end(), 0.0, [](double sum, T x) { return sum + double(x) * double(x); }));
}

template <class T>
std::vector<T> together(const DeviceTensors<T>& tensors) {
  std::vector<T> all;
  for (std::size_t i = 0; i < tensors.tensors.size(); ++i) {
    const auto values = tensors.values(i);
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

template <class T>
GlobalNorm norm_on_device(const DeviceTensors<T>& gradients, double max_norm, Buffer<GlobalNorm>& norm) {
  Buffer<char> workspace(cuda::global_norm_workspace_bytes<T>(gradients.span()));
  Buffer<T> rounded(1);
  cuda::global_norm<T>(norm.data(), rounded.data(), gradients.span(), max_norm, workspace.data(), nullptr);
  cuda::clip<T>(gradients.span(), norm.data(), nullptr);
  const GlobalNorm found = norm.values()[0];
  CHECK(are_same(rounded.values(), {T(found.norm)}));
  return found;
}

template <class T>
void check_clip(const std::vector<std::int64_t>& sizes, double max_norm) {
  CAPTURE(max_norm);
  const DeviceTensors<T> gradients(sizes, 1);
  const std::vector<T> before = together(gradients);
  Buffer<GlobalNorm> norm(1);
  const GlobalNorm found = norm_on_device(gradients, max_norm, norm);
  const double expected = norm_of(before), factor = std::min(1.0, max_norm / (expected + 1e-6));
  CHECK(is_close(found.norm, expected, before.size() * rounding_error<double> * expected));
  CHECK(is_close(found.clip_factor, factor, (before.size() + 4) * rounding_error<double> * factor));
  const std::vector<T> after = together(gradients);
  // The factor above is off by its sum's roundings. Then it is rounded, and the product; of bf16, in f32, a third time.
  const double bound = factor * ((before.size() + 4) * rounding_error<double> + 2.01 * rounding_error<Arithmetic<T>> +
                                 1.01 * rounding_error<T>);
  bool as_expected = true;
  for (std::size_t i = 0; i < before.size(); ++i) {
    as_expected &=
        is_close(double(after[i]), double(before[i]) * factor, factor < 1 ? bound * std::fabs(double(before[i])) : 0);
  }
  CHECK(as_expected);
}

/// The op on the CPU does the same.
template <class T>
void check_clip_beside_cpu(double max_norm) {
  const std::vector<std::int64_t> sizes = {5, 130, 1, 4100};
  const DeviceTensors<T> gradients(sizes, 1);
  Tensors copies;
  for (std::size_t i = 0; i < sizes.size(); ++i) copies.push_back(on_cpu(gradients.values(i)));
  const double norm = clip_by_global_norm_(copies, max_norm).template to_vector<double>()[0];
  Buffer<GlobalNorm> on_device(1);
  CHECK(is_close(T(norm_on_device(gradients, max_norm, on_device).norm), norm, 2 * rounding_error<T> * norm));
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const auto found = gradients.values(i);
    const auto expected = copies[i].template to_vector<double>();
    for (std::size_t j = 0; j < found.size(); ++j)
      CHECK(is_close(found[j], expected[j], 4 * rounding_error<T> * std::fabs(expected[j])));
  }
}

/// What a parameter and its moments are after a step, and how far a T may be from that: a few roundings of each term.
struct Updated {
  double w, m, v, w_bound, m_bound, v_bound;
};

Updated update(double w, double g, double m, double v, const AdamWConstants& c, double learning_rate, double decay,
               std::int64_t t, double clip, double u) {
  g *= clip;
  Updated to;
  to.m = c.beta1 * m + (1 - c.beta1) * g;
  to.v = c.beta2 * v + (1 - c.beta2) * g * g;
  const double unbiased_m = to.m / (1 - std::pow(c.beta1, t)), unbiased_v = to.v / (1 - std::pow(c.beta2, t));
  const double divisor = std::sqrt(unbiased_v) + c.epsilon, step = learning_rate * unbiased_m / divisor;
  to.w = (1 - learning_rate * decay) * w - step;
  to.m_bound = u * (3 * std::fabs(c.beta1 * m) + 5 * std::fabs((1 - c.beta1) * g));
  to.v_bound = u * 9 * to.v;
  to.w_bound = u * (4 * std::fabs(w) + 16 * std::fabs(step)) +
               1.01 * learning_rate * to.m_bound / (1 - std::pow(c.beta1, t)) / divisor;
  return to;
}

constexpr AdamWConstants constants{0.9, 0.95, 1e-8};
constexpr double learning_rate = 6e-3;
constexpr std::int64_t step_count = 3;

template <class T, class Gradient>
struct AdamWProblem {
  explicit AdamWProblem(const std::vector<std::int64_t>& sizes)
      : parameters(sizes, 1),
        gradients(sizes, 2001),
        first(sizes, 4001),
        second(sizes, 6001, true),
        copies(sizes, 8001) {
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      tensors.push_back({parameters.tensors[i].values, gradients.tensors[i].values, first.tensors[i].values,
                         second.tensors[i].values, i % 4 == 1 ? nullptr : copies.tensors[i].values, sizes[i],
                         decay(i)});
    }
  }
  static double decay(std::size_t i) { return i % 2 ? 0.1 : 0; }
  void run(const GlobalNorm* norm, const AdamWStep* on_device, const T* if_finite = nullptr) const {
    const AdamWStep step =
        on_device ? AdamWStep{NAN, NAN, NAN} : adamw_step(constants.beta1, constants.beta2, learning_rate, step_count);
    cuda::adamw<T, Gradient>(tensors, constants, step, on_device, norm, if_finite, nullptr);
  }

  DeviceTensors<T> parameters;
  DeviceTensors<Gradient> gradients;
  DeviceTensors<T> first, second;
  DeviceTensors<bfloat16> copies;
  std::vector<cuda::AdamWTensor<T, Gradient>> tensors;
};

template <class T, class Gradient>
void check_adamw(const std::vector<std::int64_t>& sizes, double clip) {
  const AdamWProblem<T, Gradient> problem(sizes), before(sizes);
  Buffer<GlobalNorm> norm(std::vector<GlobalNorm>{{NAN, clip}});
  problem.run(clip < 1 ? norm.data() : nullptr, nullptr);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const auto w = before.parameters.values(i), m = before.first.values(i), v = before.second.values(i);
    const auto g = before.gradients.values(i);
    const auto new_w = problem.parameters.values(i), new_m = problem.first.values(i), new_v = problem.second.values(i);
    bool as_expected = true;
    std::vector<bfloat16> rounded(w.size());
    for (std::size_t j = 0; j < w.size(); ++j) {
      const Updated to = update(w[j], double(g[j]), m[j], v[j], constants, learning_rate, before.decay(i), step_count,
                                clip, rounding_error<T>);
      as_expected &= is_close(new_w[j], to.w, to.w_bound) && is_close(new_m[j], to.m, to.m_bound) &&
                     is_close(new_v[j], to.v, to.v_bound);
      rounded[j] = bfloat16(new_w[j]);
    }
    CAPTURE(sizes[i]);
    CHECK(as_expected);
    CHECK(are_same(problem.gradients.values(i), g));
    CHECK(are_same(problem.copies.values(i), problem.tensors[i].copy ? rounded : before.copies.values(i)));
  }
}

template <class T>
void check_adamw_beside_cpu() {
  const std::vector<std::int64_t> sizes = {1, 130, 4101};
  const AdamWProblem<T, T> problem(sizes), before(sizes);
  problem.run(nullptr, nullptr);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const Tensor w = on_cpu(before.parameters.values(i)), g = on_cpu(before.gradients.values(i)),
                 m = on_cpu(before.first.values(i)), v = on_cpu(before.second.values(i));
    adamw_step_(w, g, m, v,
                {.learning_rate = learning_rate,
                 .beta1 = constants.beta1,
                 .beta2 = constants.beta2,
                 .epsilon = constants.epsilon,
                 .weight_decay = before.decay(i),
                 .step = step_count});
    const auto as_on_cpu = [](const std::vector<T>& found, const Tensor& expected) {
      const auto values = expected.template to_vector<double>();
      for (std::size_t j = 0; j < found.size(); ++j) {
        // Where products and sums are fused differs; terms of a few units may cancel.
        if (!is_close(found[j], values[j], 4 * rounding_error<T> * std::max(1.0, std::fabs(values[j])))) return false;
      }
      return true;
    };
    CHECK(as_on_cpu(problem.parameters.values(i), w));
    CHECK(as_on_cpu(problem.first.values(i), m));
    CHECK(as_on_cpu(problem.second.values(i), v));
  }
}

}  // namespace

TEST_CASE("the global norm of many tensors, and clipping by it") {
  for (double max_norm : {1.0, 1e9}) {
    check_clip<double>(many_sizes(), max_norm);
    check_clip<float>(many_sizes(), max_norm);
    check_clip<bfloat16>(many_sizes(), max_norm);
  }
  check_clip<float>({0}, 1);
  check_clip<float>({1}, 0.5);
}

TEST_CASE("clipping under every schedule") {
  for_each_schedule([] { check_clip<float>({1, 33, 4097, 0, 5000}, 1); });
}

TEST_CASE("clipping as the op on the CPU does it") {
  for (double max_norm : {0.5, 1e9}) {
    check_clip_beside_cpu<double>(max_norm);
    check_clip_beside_cpu<float>(max_norm);
  }
}

TEST_CASE("gradients that are not finite: their norm tells, and NaN does not spread") {
  Buffer<float> gradient(std::vector<float>{NAN, 1, 2});
  const FlatTensor<float> tensor{gradient.data(), 3};
  Buffer<GlobalNorm> norm(1);
  Buffer<char> workspace(cuda::global_norm_workspace_bytes<float>(std::span(&tensor, 1)));
  cuda::global_norm<float>(norm.data(), nullptr, std::span(&tensor, 1), 1, workspace.data(), nullptr);
  cuda::clip<float>(std::span(&tensor, 1), norm.data(), nullptr);
  CHECK(std::isnan(norm.values()[0].norm));
  CHECK(norm.values()[0].clip_factor == 1);
  CHECK(gradient.values()[1] == 1);
}

TEST_CASE("a norm whose squares overflow") {
  const auto norm_of_values = [](auto values) {
    using T = typename decltype(values)::value_type;
    Buffer<T> gradient(values);
    const FlatTensor<T> tensor{gradient.data(), std::int64_t(values.size())};
    Buffer<GlobalNorm> norm(1);
    Buffer<char> workspace(cuda::global_norm_workspace_bytes<T>(std::span(&tensor, 1)));
    cuda::global_norm<T>(norm.data(), nullptr, std::span(&tensor, 1), 1, workspace.data(), nullptr);
    cuda::synchronize(nullptr);
    return norm.values()[0];
  };
  const GlobalNorm wide = norm_of_values(std::vector<double>{3e200, 0, -4e200});
  CHECK(is_close(wide.norm, 5e200, 1e186));
  CHECK(is_close(wide.clip_factor, 2e-201, 1e-215));
  CHECK(is_close(norm_of_values(std::vector<float>{3e30f, -4e30f}).norm, 5e30, 1e24));
  CHECK(std::isinf(norm_of_values(std::vector<double>{1, INFINITY}).norm));
  CHECK(std::isnan(norm_of_values(std::vector<double>{NAN, 1e200}).norm));
}

TEST_CASE("adamw over many tensors") {
  check_adamw<double, double>(many_sizes(), 1);
  check_adamw<float, float>(many_sizes(), 0.37);
  check_adamw<float, bfloat16>(many_sizes(), 0.37);
}

TEST_CASE("adamw under every schedule") {
  for_each_schedule([] { check_adamw<float, float>({1, 33, 4097, 0, 5000}, 1); });
}

TEST_CASE("adamw as the op on the CPU does it") {
  check_adamw_beside_cpu<double>();
  check_adamw_beside_cpu<float>();
}

TEST_CASE("the step of adamw may lie on the device") {
  const std::vector<std::int64_t> sizes = {100};
  const AdamWProblem<float, float> here(sizes), there(sizes);
  Buffer<AdamWStep> step(
      std::vector<AdamWStep>{adamw_step(constants.beta1, constants.beta2, learning_rate, step_count)});
  here.run(nullptr, nullptr);
  there.run(nullptr, step.data());
  CHECK(are_same(here.parameters.values(0), there.parameters.values(0)));
  CHECK(are_same(here.first.values(0), there.first.values(0)));
}

TEST_CASE("adamw leaves everything where a number is not finite") {
  const std::vector<std::int64_t> sizes = {100};
  const AdamWProblem<float, float> before(sizes), problem(sizes);
  for (const float number : {INFINITY, -INFINITY, NAN}) {
    problem.run(nullptr, nullptr, Buffer<float>(std::vector<float>{number}).data());
    CHECK(are_same(problem.parameters.values(0), before.parameters.values(0)));
    CHECK(are_same(problem.first.values(0), before.first.values(0)));
    CHECK(are_same(problem.second.values(0), before.second.values(0)));
  }
  problem.run(nullptr, nullptr, Buffer<float>(std::vector<float>{1e38f}).data());
  CHECK_FALSE(are_same(problem.parameters.values(0), before.parameters.values(0)));
}
