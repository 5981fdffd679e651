// The whole gradient at once: not finite, nothing of it, its negative, another tensor as a factor.
#include "framework/testing/hint_finder.h"
#include "framework/testing/jacobian.h"

namespace gradus::testing {

std::optional<Finding> HintFinder::not_finite() {
  std::int64_t bad = 0, first = -1;
  for (std::int64_t e = 0; e < count(); ++e) {
    if (std::isfinite(yours_[e])) continue;
    if (bad++ == 0) first = e;
  }
  if (bad == 0) return std::nullopt;
  Finding found =
      finding(Cause::not_finite,
              fmt::format("{} of {} elements are NaN or infinite, the first at {}, where the true gradient is {:.6g}",
                          bad, count(), place_of(shape_, first), expected_[first]));
  found.is_plain = true;
  return found;
}

std::optional<Finding> HintFinder::zero() {
  const Numbers nothing(yours_.size(), 0.0);
  if (largest_magnitude(yours_) > 0 || !all_finite(yours_)) return std::nullopt;
  const bool arrives = gradients_[input_].defined();
  return finding(
      Cause::zero,
      arrives ? "it is zero everywhere" : "no gradient arrives at all (none is returned, or the graph is cut)",
      nothing);
}

std::optional<Finding> HintFinder::sign() {
  const Numbers negative = times_expected(-1);
  if (!fits(negative)) return std::nullopt;
  return finding(Cause::sign, "it is the negative of the expected one: a sign is wrong", negative);
}

std::optional<Finding> HintFinder::factor_by_element() {
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
      return finding(
          Cause::missing_factor,
          missing ? fmt::format("the factor {} is missing", name) : fmt::format("there is a factor {} too much", name),
          candidate);
    }
  }
  return std::nullopt;
}

}  // namespace gradus::testing
