// The gradient of a sum of upstream gradients is the sum of their gradients, at every size of theirs.
#include <cmath>

#include "framework/tensor/creation.h"
#include "framework/testing/contract_checker.h"
#include "framework/testing/own_rounding.h"

namespace gradus::testing {
namespace {

Tensors scaled(const Tensors& cotangents, double factor) {
  Tensors result;
  for (const Tensor& cotangent : cotangents) {
    if (!cotangent.defined()) {
      result.push_back(cotangent);
      continue;
    }
    Numbers values = cotangent.to_vector<double>();
    for (double& value : values) value *= factor;
    result.push_back(from_values(cotangent.shape(), values, cotangent.dtype()));
  }
  return result;
}

/// Zero but for the elements begin, begin + 2, ...
Tensors every_second(const Tensors& cotangents, std::size_t begin) {
  Tensors result;
  for (const Tensor& cotangent : cotangents) {
    result.push_back(cotangent);
    if (!cotangent.defined()) continue;
    Numbers values = cotangent.to_vector<double>();
    for (std::size_t e = 1 - begin; e < values.size(); e += 2) values[e] = 0;
    result.back() = from_values(cotangent.shape(), values, cotangent.dtype());
  }
  return result;
}

}  // namespace

/// Where terms as large as the outputs cancel, their rounding is left.
double ContractChecker::rounding_of_terms(std::size_t input) const {
  return 64 * unit_of_gradient(subject_, inputs_[input]) * line_.output_size() / std::min(1.0, line_.typical_size(input));
}

/// Powers of two scale without rounding: a backward that treats large or small upstream gradients in another way shows.
std::optional<double> ContractChecker::wrong_size_of_upstream(std::size_t input, double slack) const {
  const bool single = rounding(input) > 1e-6;
  const double largest = largest_magnitude(yours_[input]);
  for (const int power : {40, -40}) {
    const double factor = std::ldexp(1.0, single ? power / 2 : power), size = largest * factor;
    if (!(size < (single ? 1e30 : 1e280) && size > (single ? 1e-30 : 1e-280))) continue;
    Numbers back = gradients_at(inputs_, scaled(cotangents_, factor))[input];
    for (double& value : back) value /= factor;
    if (!(largest_difference(back, yours_[input]) <= slack)) return factor;
  }
  return std::nullopt;
}

void ContractChecker::linear() {
  constexpr const char* name = "linear in the upstream gradient";
  const Values of_zero = gradients_at(inputs_, scaled(cotangents_, 0)),
               of_twice = gradients_at(inputs_, scaled(cotangents_, 2));
  Tensors other, sum;
  for (const Tensor& cotangent : cotangents_) {
    if (!cotangent.defined()) {
      other.push_back(cotangent);
      sum.push_back(cotangent);
      continue;
    }
    Numbers a = cotangent.to_vector<double>();
    Numbers b = random_normal(cotangent.shape(), generator_, DType::f64, 0, options_.cotangent_scale).to_vector<double>();
    for (std::size_t e = 0; e < a.size(); ++e) {
      if (a[e] == 0) b[e] = 0;  // left out
      a[e] += b[e];
    }
    other.push_back(from_values(cotangent.shape(), b, cotangent.dtype()));
    sum.push_back(from_values(cotangent.shape(), a, cotangent.dtype()));
  }
  const Values of_other = gradients_at(inputs_, other), of_sum = gradients_at(inputs_, sum);
  Values parts = gradients_at(inputs_, every_second(cotangents_, 0));
  const Values of_odd = gradients_at(inputs_, every_second(cotangents_, 1));
  for (std::size_t i = 0; i < yours_.size(); ++i) {
    if (yours_[i].empty() || !all_finite(yours_[i])) continue;  // what is not finite is said elsewhere
    // A sum's rounding is relative to the largest of its terms.
    const double scale =
        std::max({largest_magnitude(yours_[i]), largest_magnitude(of_other[i]), largest_magnitude(of_sum[i]),
                  largest_magnitude(parts[i]), largest_magnitude(of_odd[i])});
    const auto complain = [&](Cause cause, const std::string& what) {
      broken_by(name, cause, fmt::format("gradient of '{}': {}", subject_.inputs[i], what));
    };
    if (largest_magnitude(yours_[i]) > 0 && largest_difference(yours_[i], of_twice[i]) == 0 &&
        largest_difference(yours_[i], of_other[i]) <= 1e-14 * scale) {
      return complain(Cause::upstream_ignored,
                      "the same for every upstream gradient: the upstream gradient is ignored");
    }
    if (!(largest_difference(of_zero[i], Numbers(of_zero[i].size(), 0.0)) == 0))
      return complain(Cause::not_linear, "a zero upstream gradient gives something else than zero");
    Numbers twice = yours_[i], added = yours_[i];
    for (std::size_t e = 0; e < twice.size(); ++e) {
      twice[e] *= 2;
      added[e] += of_other[i][e];
    }
    const double slack = (scale <= line_.negligible_gradient(i) ? 2 * scale : rounding(i) * scale) +
                         4 * largest_magnitude(own_rounding_[i]) + rounding_of_terms(i);
    if (!(largest_difference(twice, of_twice[i]) <= slack))
      return complain(Cause::not_linear, "twice the upstream gradient does not give twice the gradient");
    if (const std::optional<double> factor = wrong_size_of_upstream(i, slack)) {
      return complain(Cause::not_linear, fmt::format("{:.0e} times the upstream gradient does not give so much of the "
                                                     "gradient: it is clipped, cut off or overflows",
                                                     *factor));
    }
    const double off = largest_difference(added, of_sum[i]);
    const double unit = std::max(precision_of(yours_[i]), precision_of(of_other[i]));
    if (off > slack && off <= 8 * unit * scale) {
      return complain(Cause::rounded, fmt::format("the gradient of a sum of upstream gradients is the sum of their "
                                                  "gradients to {:.1g} only: something is rounded to {}",
                                                  off / scale, unit < 1e-4 ? "f32" : "bf16"));
    }
    for (std::size_t e = 0; e < twice.size(); ++e) parts[i][e] += of_odd[i][e];
    if (!(off <= slack) || !(largest_difference(parts[i], yours_[i]) <= slack)) {
      return complain(Cause::not_linear,
                      "the gradient of a sum of upstream gradients is not the sum of their gradients");
    }
  }
  held(name);
}

}  // namespace gradus::testing
