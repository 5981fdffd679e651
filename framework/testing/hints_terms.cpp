// A term is missing: what is left over has the structure of a mean, of the output, of the upstream gradient.
#include "framework/testing/hint_finder.h"
#include "framework/testing/jacobian.h"

namespace gradus::testing {

Numbers HintFinder::residual() const {
  Numbers result(yours_.size());
  for (std::int64_t e = 0; e < count(); ++e) result[e] = known_[e] ? yours_[e] - expected_[e] : 0;
  return result;
}

Numbers HintFinder::fit_lines(const Numbers& values, int axis, const Numbers& direction, bool with_constant) const {
  Numbers result(values.size(), 0.0);
  std::int64_t stride = 1;
  for (int a = shape_.rank() - 1; a > axis; --a) stride *= shape_[a];
  for (std::int64_t e = 0; e < count(); ++e) {
    if (coordinate(shape_, e, axis) != 0) continue;
    double n = 0, sum_d = 0, sum_v = 0, dd = 0, dv = 0;
    for (std::int64_t at = 0; at < shape_[axis]; ++at) {
      const double d = direction[e + at * stride], v = values[e + at * stride];
      n += 1;
      sum_d += d;
      sum_v += v;
      dd += d * d;
      dv += d * v;
    }
    double slope = dd > 0 ? dv / dd : 0, constant = 0;
    if (with_constant) {
      const double spread = dd - sum_d * sum_d / n;
      slope = spread > 0 ? (dv - sum_d * sum_v / n) / spread : 0;
      constant = (sum_v - slope * sum_d) / n;
    }
    for (std::int64_t at = 0; at < shape_[axis]; ++at)
      result[e + at * stride] = slope * direction[e + at * stride] + constant;
  }
  return result;
}

/// Where some lines are right, it is not a term that is missing from all of them.
bool HintFinder::is_wrong_in_every_line(int axis) const {
  std::int64_t stride = 1;
  for (int a = shape_.rank() - 1; a > axis; --a) stride *= shape_[a];
  std::vector<bool> wrong(static_cast<std::size_t>(count() / shape_[axis]));
  for (std::int64_t e = 0; e < count(); ++e) {
    if (wrong_[e]) wrong[e / (stride * shape_[axis]) * stride + e % stride] = true;
  }
  return std::count(wrong.begin(), wrong.end(), false) == 0;
}

std::optional<Finding> HintFinder::constant_residual() {
  const Numbers difference = residual();
  for (int axis = shape_.rank() - 1; axis >= 0; --axis) {
    if (shape_[axis] < 2 || !is_wrong_in_every_line(axis)) continue;
    Numbers candidate = expected_;
    const Numbers means = fit_lines(difference, axis, Numbers(yours_.size(), 1.0), false);
    for (std::int64_t e = 0; e < count(); ++e) candidate[e] += means[e];
    if (!fits(candidate, 2)) continue;
    return finding(
        Cause::missing_mean_term,
        fmt::format("the difference is constant along axis {}: the term with the mean (or the sum) over that "
                    "axis is missing or wrong",
                    axis),
        candidate);
  }
  return std::nullopt;
}

std::optional<Finding> HintFinder::residual_times_output() {
  const Numbers difference = residual();
  std::vector<std::pair<std::string, Numbers>> directions;
  for (std::size_t k = 0; k < line_.outputs().size(); ++k) {
    if (!(line_.outputs()[k].shape() == shape_)) continue;
    const std::string name = line_.outputs().size() == 1 ? "the output" : fmt::format("output {}", k);
    directions.emplace_back(name, line_.outputs()[k].to_vector<double>());
    directions.push_back({"the exponential of " + name, directions.back().second});
    for (double& value : directions.back().second) value = std::exp(value);
  }
  directions.emplace_back("'" + of_input_.name + "'", line_.inputs()[input_].to_vector<double>());
  for (int axis = shape_.rank() - 1; axis >= 0; --axis) {
    const std::int64_t length = shape_[axis];
    if (length < 3 || count() / length < 1 || !is_wrong_in_every_line(axis)) continue;
    std::vector<std::pair<std::string, Numbers>> all = directions;
    Numbers centred = directions.back().second;
    const Numbers means = fit_lines(centred, axis, Numbers(yours_.size(), 1.0), false);
    for (std::int64_t e = 0; e < count(); ++e) centred[e] -= means[e];
    all.emplace_back("'" + of_input_.name + "' minus its mean", centred);
    for (const bool with_constant : {false, true}) {
      if (with_constant && length < 4) continue;
      for (const auto& [name, direction] : all) {
        if (with_constant && name.front() != 't' && name.back() != 'n') continue;  // the same fit as the centred input
        Numbers candidate = expected_;
        const Numbers part = fit_lines(difference, axis, direction, with_constant);
        for (std::int64_t e = 0; e < count(); ++e) candidate[e] += part[e];
        if (!fits(candidate, 2)) continue;
        return with_constant ? finding(Cause::missing_mean_term,
                                       fmt::format("the difference is one number for each line along axis {0} plus "
                                                   "another times {1}: the terms with the mean and with the variance "
                                                   "over that axis are missing or wrong",
                                                   axis, name),
                                       candidate)
                             : finding(Cause::missing_output_term,
                                       fmt::format("the difference is one number for each line along axis {} times {}: "
                                                   "the term with the sum over that axis is missing or wrong",
                                                   axis, name),
                                       candidate);
      }
    }
  }
  return std::nullopt;
}

std::optional<Finding> HintFinder::skip_connection() {
  for (std::size_t k = 0; k < cotangents_.size(); ++k) {
    if (!cotangents_[k].defined() || !(cotangents_[k].shape() == shape_)) continue;
    const Numbers upstream = cotangents_[k].to_vector<double>();
    if (count() > 1 && fits(upstream)) {
      return finding(Cause::missing_factor,
                     "it is the upstream gradient itself: the op's own derivative is not in it, at most that of a skip "
                     "connection",
                     upstream);
    }
    for (const double sign : {-1.0, 1.0}) {
      Numbers candidate = expected_;
      for (std::int64_t e = 0; e < count(); ++e) candidate[e] += sign * upstream[e];
      if (!fits(candidate)) continue;
      return finding(Cause::last_use_only,
                     sign < 0 ? "the upstream gradient itself is missing from it: one use of the input (a skip "
                                "connection) does not count, `=` where `+=` is needed"
                              : "the upstream gradient is added to it once too often",
                     candidate);
    }
  }
  return std::nullopt;
}

}  // namespace gradus::testing
