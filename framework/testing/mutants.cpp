#include "framework/testing/mutants.h"

#include <algorithm>
#include <cmath>

#include "framework/autograd/modes.h"
#include "framework/tensor/creation.h"

namespace gradus::testing {
namespace {

/// Applies `change` to the row-major values of every gradient.
template <class Change>
std::function<void(Tensors&)> on_values(Change change) {
  return [change](Tensors& gradients) {
    for (Tensor& gradient : gradients) {
      if (!gradient.defined() || gradient.numel() == 0) continue;
      std::vector<double> values = gradient.to_vector<double>();
      change(values, gradient.shape());
      gradient = from_values(gradient.shape(), values, gradient.dtype());
    }
  };
}

bool any(const Tensors& gradients, const std::function<bool(const Tensor&)>& condition) {
  return std::any_of(gradients.begin(), gradients.end(), [&](const Tensor& g) { return g.defined() && g.numel() > 0 && condition(g); });
}
bool always(const Tensors& gradients) {
  return any(gradients, [](const Tensor&) { return true; });
}
bool several_elements(const Tensors& gradients) {
  return any(gradients, [](const Tensor& g) { return g.numel() > 1; });
}
bool is_square(const Tensor& g) { return g.rank() == 2 && g.shape()[0] == g.shape()[1] && g.shape()[0] > 1; }

using Values = std::vector<double>;

}  // namespace

const std::vector<Mutant>& all_mutants() {
  static const std::vector<Mutant> mutants = {
      {"zero", always, on_values([](Values& v, const Shape&) { std::fill(v.begin(), v.end(), 0.0); })},
      {"sign flipped", always, on_values([](Values& v, const Shape&) { for (double& x : v) x = -x; })},
      {"doubled", always, on_values([](Values& v, const Shape&) { for (double& x : v) x *= 2; })},
      {"halved", always, on_values([](Values& v, const Shape&) { for (double& x : v) x /= 2; })},
      {"all ones", always, on_values([](Values& v, const Shape&) { std::fill(v.begin(), v.end(), 1.0); })},
      {"mean in place of sum", several_elements, on_values([](Values& v, const Shape&) { for (double& x : v) x /= static_cast<double>(v.size()); })},
      {"first element missing", always, on_values([](Values& v, const Shape&) { v[0] = 0; })},
      {"last element doubled", always, on_values([](Values& v, const Shape&) { v.back() *= 2; })},
      {"shifted by one", several_elements, on_values([](Values& v, const Shape&) { std::rotate(v.begin(), v.begin() + 1, v.end()); })},
      {"reversed", several_elements, on_values([](Values& v, const Shape&) { std::reverse(v.begin(), v.end()); })},
      {"transposed", [](const Tensors& gradients) { return any(gradients, is_square); },
       [](Tensors& gradients) {
         for (Tensor& g : gradients) {
           if (g.defined() && is_square(g)) g = g.window(g.shape(), {g.strides()[1], g.strides()[0]}, g.offset());
         }
       }},
      {"one element not a number", always, on_values([](Values& v, const Shape&) { v[v.size() / 2] = NAN; })},
      {"one element off by 1e-5 of the scale", always, on_values([](Values& v, const Shape&) {
         double scale = 0;
         for (double x : v) scale = std::max(scale, std::fabs(x));
         v[v.size() / 2] += 1e-5 * scale;
       })},
      {"mean taken off", several_elements, on_values([](Values& v, const Shape&) {
         double mean = 0;
         for (double x : v) mean += x / static_cast<double>(v.size());
         for (double& x : v) x -= mean;
       })},
  };
  return mutants;
}

OpSpec mutate(const OpSpec& spec, const Mutant& mutant) {
  OpSpec damaged = spec;
  const auto right = spec.cpu.backward ? spec.cpu.backward : spec.backward_composite;
  damaged.cpu.backward = [right, &mutant](BackwardCall& call) {
    right(call);
    Tensors gradients = call.take_gradients();
    {
      const NoGradScope no_grad;
      mutant.damage(gradients);
    }
    for (std::size_t i = 0; i < gradients.size(); ++i) call.set_gradient(i, gradients[i]);
  };
  return damaged;
}

std::vector<std::pair<std::string, std::vector<double>>> damaged_gradients(const std::vector<double>& gradient,
                                                                           const Shape& shape) {
  std::vector<std::pair<std::string, std::vector<double>>> damaged;
  const auto damage = [&](const char* name, auto&& change) {
    damaged.emplace_back(name, gradient);
    change(damaged.back().second);
  };
  damage("zero", [](Values& v) { std::fill(v.begin(), v.end(), 0.0); });
  damage("sign flipped", [](Values& v) {
    for (double& x : v) x = -x;
  });
  damage("doubled", [](Values& v) {
    for (double& x : v) x *= 2;
  });
  if (shape.rank() > 0 && shape[0] > 1) {
    damage("first row dropped",
           [&](Values& v) { std::fill_n(v.begin(), v.size() / static_cast<std::size_t>(shape[0]), 0.0); });
  }
  damage("rolled by one", [](Values& v) { std::rotate(v.begin(), v.begin() + 1, v.end()); });
  if (shape.rank() == 2 && shape[0] == shape[1]) {
    damage("transposed", [&](Values& v) {
      for (std::int64_t r = 0; r < shape[0]; ++r) {
        for (std::int64_t c = 0; c < shape[1]; ++c) v[r * shape[1] + c] = gradient[c * shape[1] + r];
      }
    });
  }
  return damaged;
}

}  // namespace gradus::testing
