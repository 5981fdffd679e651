// The whole gradient off by one number: nothing of it, its negative, a factor, too few digits.
#include <cstring>

#include "framework/testing/hint_finder.h"
#include "framework/testing/jacobian.h"

namespace gradus::testing {

std::optional<Hint> HintFinder::not_finite() {
  std::int64_t bad = 0, first = -1;
  for (std::int64_t e = 0; e < count(); ++e) {
    if (std::isfinite(yours_[e])) continue;
    if (bad++ == 0) first = e;
  }
  if (bad == 0) return std::nullopt;
  return hint(Cause::not_finite,
              fmt::format("{} of {} elements are NaN or infinite, the first at {}, where the true gradient is {:.6g}",
                          bad, count(), place_of(shape_, first), expected_[first]));
}

std::optional<Hint> HintFinder::zero() {
  const Numbers nothing(yours_.size(), 0.0);
  if (largest_magnitude(yours_) > 0) return std::nullopt;
  const bool arrives = gradients_[input_].defined();
  return hint(Cause::zero,
              arrives ? "it is zero everywhere" : "no gradient arrives at all (none is returned, or the graph is cut)",
              nothing);
}

std::optional<Hint> HintFinder::sign() {
  const Numbers negative = times_expected(-1);
  if (!fits(negative)) return std::nullopt;
  return hint(Cause::sign, "it is the negative of the expected one: a sign is wrong", negative);
}

std::vector<HintFinder::Dimension> HintFinder::dimensions() const {
  std::vector<Dimension> found;
  const auto offer = [&](double size, const std::string& text) {
    if (size > 1) found.push_back({size, text});
  };
  const auto of = [&](const Shape& shape, const std::string& name) {
    for (int axis = 0; axis < shape.rank(); ++axis)
      offer(double(shape[axis]), fmt::format("the size of axis {} of '{}'", axis, name));
    if (shape.rank() < 2) return;
    offer(double(shape.numel()), fmt::format("the number of elements of '{}'", name));
    offer(double(shape.numel()) / double(std::max<std::int64_t>(1, shape.back())),
          fmt::format("the number of rows of '{}'", name));
    for (int axis = 0; axis + 1 < shape.rank(); ++axis)
      offer(double(shape[axis] * shape[axis + 1]),
            fmt::format("the size of axes {} and {} of '{}' together", axis, axis + 1, name));
  };
  for (std::size_t j = 0; j < line_.inputs().size(); ++j) {
    if (line_.inputs()[j].defined()) of(line_.inputs()[j].shape(), subject_.inputs[j]);
  }
  for (std::size_t k = 0; k < line_.outputs().size(); ++k)
    of(line_.outputs()[k].shape(), k < subject_.outputs.size() ? subject_.outputs[k] : "output");
  return found;
}

std::optional<double> HintFinder::factor() const {
  double along = 0, squares = 0;
  int weighty = 0;
  for (std::int64_t e = 0; e < count(); ++e) {
    if (!known_[e]) continue;
    along += yours_[e] * expected_[e];
    squares += expected_[e] * expected_[e];
    weighty += std::fabs(expected_[e]) > 1e-6 * scale_;
  }
  if (squares == 0 || (weighty < 2 && count() > 1)) return std::nullopt;
  const double factor = along / squares;
  if (!std::isfinite(factor) || factor == 0 || !fits(times_expected(factor), 1 + std::fabs(factor)))
    return std::nullopt;
  return factor;
}

std::optional<Hint> HintFinder::constant_factor() {
  const std::optional<double> found = factor();
  if (!found) return std::nullopt;
  const double factor = *found;
  double slack = 0;
  for (std::size_t e = 0; e < known_.size(); ++e) slack = known_[e] ? std::max(slack, slack_[e]) : slack;
  const auto is = [&](double value) {
    return std::fabs(factor / value - 1) <= 1e-8 + 2 * slack / std::max(scale_, 1e-300);
  };
  for (const Dimension& dimension : dimensions()) {
    if (!is(1 / dimension.size)) continue;
    return hint(Cause::mean_for_sum,
                fmt::format("it is exactly 1/{0:.0f} of the expected one; {0:.0f} is {1}: a mean where the sum "
                            "belongs (or forward sums where the mean is meant)",
                            dimension.size, dimension.text),
                times_expected(factor));
  }
  for (const auto& [value, text] :
       {std::pair{2.0, "twice"}, {0.5, "half of"}, {-2.0, "minus twice"}, {-0.5, "minus half of"}}) {
    if (is(value))
      return hint(Cause::constant_factor, fmt::format("it is exactly {} the expected one", text),
                  times_expected(factor));
  }
  for (const Dimension& dimension : dimensions()) {
    if (is(dimension.size)) {
      return hint(
          Cause::constant_factor,
          fmt::format("it is exactly {0:.0f} times the expected one; {0:.0f} is {1}: a sum where the mean belongs",
                      dimension.size, dimension.text),
          times_expected(factor));
    }
    for (const auto& [value, text] :
         {std::pair{std::sqrt(dimension.size), "times"}, {1 / std::sqrt(dimension.size), "divided by"}}) {
      if (!is(value)) continue;
      return hint(
          Cause::constant_factor,
          fmt::format("it is the expected one {0} sqrt({1:.0f}); {1:.0f} is {2}: a scale is missing or there twice",
                      text, dimension.size, dimension.text),
          times_expected(factor));
    }
  }
  return std::nullopt;
}

/// After everything that names more: with one element every difference is a factor, and says nothing.
std::optional<Hint> HintFinder::any_constant_factor() {
  const std::optional<double> found = factor();
  if (!found || count() < 2) return std::nullopt;
  return hint(Cause::constant_factor, fmt::format("it is {:.9g} times the expected one, everywhere", *found),
              times_expected(*found));
}

std::optional<Hint> HintFinder::factor_by_element() {
  std::vector<std::pair<std::string, Numbers>> factors;
  for (std::size_t j = 0; j < line_.inputs().size(); ++j) {
    if (line_.inputs()[j].defined() && line_.inputs()[j].rank() > 0)
      factors.emplace_back("'" + subject_.inputs[j] + "'", broadcast_values(line_.inputs()[j], shape_));
  }
  for (const Tensor& output : line_.outputs()) {
    if (!(output.shape() == shape_)) continue;
    factors.emplace_back("the output", output.to_vector<double>());
    factors.push_back({"(1 - output)", factors.back().second});
    factors.push_back({"(1 - output^2)", factors.back().second});
    for (double& value : factors[factors.size() - 2].second) value = 1 - value;
    for (double& value : factors.back().second) value = 1 - value * value;
  }
  for (const auto& [name, values] : factors) {
    if (values.empty() ||
        *std::max_element(values.begin(), values.end()) - *std::min_element(values.begin(), values.end()) < 1e-6)
      continue;
    for (const bool missing : {true, false}) {
      Numbers candidate = expected_;
      for (std::int64_t e = 0; e < count(); ++e)
        candidate[e] = missing ? expected_[e] / values[e] : expected_[e] * values[e];
      if (std::any_of(candidate.begin(), candidate.end(), [](double value) { return !std::isfinite(value); }) ||
          !fits(candidate, 1 + (missing ? 1 : largest_magnitude(values))))
        continue;
      return hint(
          Cause::missing_factor,
          missing ? fmt::format("the factor {} is missing", name) : fmt::format("there is a factor {} too much", name),
          candidate);
    }
  }
  return std::nullopt;
}

std::optional<Hint> HintFinder::rounded() {
  if (of_input_.spec.dtype != DType::f64) return std::nullopt;
  double largest = 0;
  std::int64_t up = 0, down = 0;
  for (std::int64_t e = 0; e < count(); ++e) {
    if (!known_[e]) continue;
    largest = std::max(largest, std::fabs(yours_[e] - expected_[e]));
    (yours_[e] > expected_[e] ? up : down) += 1;
  }
  const double relative = largest / scale_, unit = precision_of(yours_);
  if (unit > 0x1p-53 && relative <= 4 * unit) {
    const char* format = unit < 1e-4 ? "f32" : "bf16";
    return hint(Cause::rounded,
                fmt::format("every number of it is one of {0}: it is rounded to {0} (off by up to {1:.1g} "
                            "relative)",
                            format, relative));
  }
  if (relative <= 2e-6 && up > 0 && down > 0) {
    return hint(Cause::rounded,
                fmt::format("it is off by {:.1g} relative, up and down: something in it is computed in f32", relative));
  }
  return std::nullopt;
}

}  // namespace gradus::testing
