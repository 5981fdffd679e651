#include "framework/testing/hints.h"

#include <numeric>
#include <set>

#include "framework/tensor/creation.h"
#include "framework/testing/jacobian.h"

namespace gradus::testing {
namespace {

/// One number that a factor may be: a dimension in play.
struct Dimension {
  double size = 0;
  std::string text;
};

class HintFinder {
 public:
  HintFinder(const Subject& subject, Line& line, const Tensors& cotangents, const Tensors& gradients,
             const CheckReport& report, std::size_t report_input, std::size_t input)
      : subject_(subject),
        line_(line),
        cotangents_(cotangents),
        gradients_(gradients),
        report_(report),
        input_(input),
        of_input_(report.inputs[report_input]) {
    const std::size_t count = of_input_.elements.size();
    shape_ = of_input_.spec.shape;
    for (const ElementVerdict& element : of_input_.elements) {
      yours_.push_back(element.yours);
      expected_.push_back(element.expected);
      known_.push_back(element.verdict != Verdict::cannot_tell && std::isfinite(element.expected));
      wrong_.push_back(element.verdict == Verdict::disagree);
    }
    scale_ = std::max(largest_magnitude(expected_), largest_magnitude(yours_));
    for (std::size_t e = 0; e < count; ++e) slack_.push_back(4 * of_input_.elements[e].allowed + 1e-10 * scale_);
  }

  std::optional<Hint> find() {
    for (const auto hypothesis :
         {&HintFinder::not_finite, &HintFinder::zero, &HintFinder::sign, &HintFinder::constant_factor,
          &HintFinder::axes_permuted, &HintFinder::other_input, &HintFinder::some_parts,
          &HintFinder::wrong_where_a_condition_holds, &HintFinder::jacobian, &HintFinder::constant_residual,
          &HintFinder::residual_times_output, &HintFinder::wrong_order, &HintFinder::skip_connection,
          &HintFinder::factor_by_element, &HintFinder::wrong_point, &HintFinder::operand_exchanged,
          &HintFinder::rounded, &HintFinder::any_constant_factor}) {
      if (std::optional<Hint> hint = (this->*hypothesis)()) {
        hint->input = of_input_.name;
        return hint;
      }
    }
    return std::nullopt;
  }

 private:
  std::int64_t count() const { return static_cast<std::int64_t>(yours_.size()); }
  std::string place(std::int64_t element) const { return place_of(shape_, element); }

  bool fits(const Numbers& candidate, double widen = 1) const {
    for (std::int64_t e = 0; e < count(); ++e) {
      if (known_[e] && !(std::fabs(yours_[e] - candidate[e]) <= widen * slack_[e])) return false;
    }
    return true;
  }
  bool is_expected(const Numbers& candidate) const {
    for (std::int64_t e = 0; e < count(); ++e) {
      if (known_[e] && !(std::fabs(expected_[e] - candidate[e]) <= slack_[e])) return false;
    }
    return true;
  }

  /// With the share of the difference that `explanation` accounts for.
  Hint hint(Cause cause, std::string sentence, const Numbers& explanation) const {
    double left = 0, all = 0;
    for (std::int64_t e = 0; e < count(); ++e) {
      if (!known_[e] || !std::isfinite(yours_[e])) continue;
      left += (yours_[e] - explanation[e]) * (yours_[e] - explanation[e]);
      all += (yours_[e] - expected_[e]) * (yours_[e] - expected_[e]);
    }
    return {.cause = cause,
            .input = "",
            .sentence = std::move(sentence),
            .share = all > 0 ? std::clamp(1 - left / all, 0.0, 1.0) : 1};
  }
  Hint hint(Cause cause, std::string sentence) const {
    return {.cause = cause, .input = "", .sentence = std::move(sentence), .share = 1};
  }

  Numbers times_expected(double factor) const {
    Numbers result = expected_;
    for (double& value : result) value *= factor;
    return result;
  }

  // --- the whole gradient ---

  std::optional<Hint> not_finite() {
    std::int64_t bad = 0, first = -1;
    for (std::int64_t e = 0; e < count(); ++e) {
      if (std::isfinite(yours_[e])) continue;
      if (bad++ == 0) first = e;
    }
    if (bad == 0) return std::nullopt;
    return hint(Cause::not_finite,
                fmt::format("{} of {} elements are NaN or infinite, the first at {}, where the true gradient is {:.6g}",
                            bad, count(), place(first), expected_[first]));
  }

  std::optional<Hint> zero() {
    const Numbers nothing(yours_.size(), 0.0);
    if (largest_magnitude(yours_) > 0) return std::nullopt;
    const bool arrives = gradients_[input_].defined();
    return hint(
        Cause::zero,
        arrives ? "it is zero everywhere" : "no gradient arrives at all (none is returned, or the graph is cut)",
        nothing);
  }

  std::optional<Hint> sign() {
    const Numbers negative = times_expected(-1);
    if (!fits(negative)) return std::nullopt;
    return hint(Cause::sign, "it is the negative of the expected one: a sign is wrong", negative);
  }

  std::vector<Dimension> dimensions() const {
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

  /// yours = factor * expected, least squares; nothing where that does not fit.
  std::optional<double> factor() const {
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

  std::optional<Hint> constant_factor() {
    const std::optional<double> found = factor();
    if (!found) return std::nullopt;
    const double factor = *found;
    const auto is = [&](double value) {
      return std::fabs(factor / value - 1) <= 1e-8 + 8 * of_input_.worst.allowed / std::max(scale_, 1e-300);
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
  std::optional<Hint> any_constant_factor() {
    const std::optional<double> found = factor();
    if (!found || count() < 2) return std::nullopt;
    return hint(Cause::constant_factor, fmt::format("it is {:.9g} times the expected one, everywhere", *found),
                times_expected(*found));
  }

  std::optional<Hint> axes_permuted() {
    const int rank = shape_.rank();
    if (rank < 2 || rank > 4) return std::nullopt;
    std::vector<int> order(rank);
    std::iota(order.begin(), order.end(), 0);
    while (std::next_permutation(order.begin(), order.end())) {
      // The expected gradient with its axes in another order, read row by row; only where the sizes agree is it the
      // same shape.
      bool same_shape = true;
      Shape permuted = shape_;
      for (int axis = 0; axis < rank; ++axis) {
        permuted[axis] = shape_[order[axis]];
        same_shape &= permuted[axis] == shape_[axis];
      }
      Numbers candidate(yours_.size());
      for (std::int64_t e = 0; e < count(); ++e) {
        std::vector<std::int64_t> at(rank);
        for (int axis = 0; axis < rank; ++axis) at[order[axis]] = coordinate(permuted, e, axis);
        std::int64_t from = 0;
        for (int axis = 0; axis < rank; ++axis) from = from * shape_[axis] + at[axis];
        candidate[e] = expected_[from];
      }
      if (largest_difference(candidate, expected_) <= 1e-9 * scale_ || !fits(candidate)) continue;
      std::string axes;
      for (int axis : order) axes += (axes.empty() ? "" : ",") + std::to_string(axis);
      return hint(Cause::transposed,
                  rank == 2 ? (same_shape ? "it is the transpose of the expected one"
                                          : "it holds the numbers of the transpose, without its shape")
                            : fmt::format("it is the expected one with its axes permuted to ({})", axes),
                  candidate);
    }
    return std::nullopt;
  }

  std::optional<Hint> other_input() {
    for (const InputReport& other : report_.inputs) {
      if (&other == &of_input_ || other.elements.size() != of_input_.elements.size()) continue;
      Numbers candidate;
      for (const ElementVerdict& element : other.elements) candidate.push_back(element.expected);
      if (largest_magnitude(candidate) == 0) continue;
      if (fits(candidate, 2))
        return hint(Cause::other_input, fmt::format("it is the gradient of '{}'", other.name), candidate);
      for (double& value : candidate) value = -value;
      if (fits(candidate, 2))
        return hint(Cause::other_input, fmt::format("it is minus the gradient of '{}'", other.name), candidate);
    }
    return std::nullopt;
  }

  // --- parts of it ---

  std::optional<Hint> some_parts() {
    for (int axis = 0; axis < shape_.rank(); ++axis) {
      std::set<std::int64_t> right, lost;
      bool fit = true;
      for (std::int64_t e = 0; fit && e < count(); ++e) {
        if (!known_[e] || std::fabs(expected_[e]) <= slack_[e]) {
          fit = !wrong_[e];
          continue;
        }
        (wrong_[e] ? lost : right).insert(coordinate(shape_, e, axis));
        fit = !wrong_[e] || yours_[e] == 0;
      }
      for (const std::int64_t at : lost) fit = fit && !right.contains(at);
      if (!fit || right.empty() || lost.empty()) continue;
      const auto list = [](const std::set<std::int64_t>& places) {
        if (places.size() > 1 && *places.rbegin() - *places.begin() + 1 == static_cast<std::int64_t>(places.size()))
          return fmt::format("{} to {}", *places.begin(), *places.rbegin());
        std::string text;
        for (const std::int64_t at : places) text += (text.empty() ? "" : ", ") + std::to_string(at);
        return text;
      };
      const char* kind = shape_.rank() == 1          ? "elements"
                         : axis + 1 == shape_.rank() ? "columns"
                         : axis + 2 == shape_.rank() ? "rows"
                                                     : "items";
      Numbers candidate = expected_;
      for (std::int64_t e = 0; e < count(); ++e) candidate[e] = wrong_[e] ? 0 : expected_[e];
      return hint(
          Cause::some_parts,
          fmt::format("it is right in {0} {1} along axis {2} and zero in {0} {3}", kind, list(right), axis, list(lost)),
          candidate);
    }
    return std::nullopt;
  }

  /// How unlikely it is that `wrong` of `all` elements coincide with a condition by chance.
  static double ways(std::int64_t all, std::int64_t wrong) {
    double result = 1;
    for (std::int64_t k = 1; k <= std::min(wrong, all - wrong) && result < 1e6; ++k)
      result *= double(all - k + 1) / double(k);
    return result;
  }

  std::optional<Hint> wrong_where_a_condition_holds() {
    std::int64_t wrong = 0, right = 0;
    for (std::int64_t e = 0; e < count(); ++e) {
      if (!known_[e]) continue;
      (wrong_[e] ? wrong : right) += 1;
    }
    if (wrong == 0 || right == 0) return std::nullopt;
    const bool telling = ways(wrong + right, wrong) >= 25;
    const auto holds_exactly = [&](auto&& condition) {
      bool any_right = false;
      for (std::int64_t e = 0; e < count(); ++e) {
        if (!known_[e]) continue;
        const bool holds = condition(e);
        // A right zero says nothing about the condition.
        if (wrong_[e] && !holds) return false;
        if (!wrong_[e] && holds && std::fabs(expected_[e]) > slack_[e]) return false;
        any_right |= !wrong_[e] && !holds;
      }
      return any_right;
    };
    const auto found = [&](const std::string& where) {
      bool passes = true, blocks = true;
      for (std::int64_t e = 0; e < count(); ++e) {
        if (!wrong_[e]) continue;
        passes &= std::fabs(expected_[e]) <= slack_[e];
        blocks &= yours_[e] == 0;
      }
      return hint(Cause::wrong_where, fmt::format("it is wrong exactly where {}{}", where,
                                                  passes   ? ", where the true gradient is zero"
                                                  : blocks ? ", where yours is zero"
                                                           : ""));
    };
    // A mask or ids: same shape, or leading axes of it (rows).
    for (std::size_t j = 0; telling && j < line_.inputs().size(); ++j) {
      const Tensor& other = line_.inputs()[j];
      if (!other.defined() || is_floating(other.dtype()) || other.numel() < 2) continue;
      Numbers values = broadcast_values(other, shape_);
      if (other.rank() < shape_.rank()) {  // one for each row
        bool leads = true;
        for (int axis = 0; axis < other.rank(); ++axis) leads &= other.shape()[axis] == shape_[axis];
        if (leads) {
          const Numbers own = other.to_vector<double>();
          values.resize(yours_.size());
          for (std::int64_t e = 0; e < count(); ++e) values[e] = own[e / (count() / other.numel())];
        }
      }
      if (values.empty()) continue;
      for (const double value : std::set<double>(values.begin(), values.end())) {
        if (!holds_exactly([&](std::int64_t e) { return values[e] == value; })) continue;
        const std::string text =
            other.dtype() == DType::boolean ? (value != 0 ? "true" : "false") : fmt::format("{:.0f}", value);
        return found(fmt::format("'{}' is {}", subject_.inputs[j], text));
      }
    }
    if (telling && shape_.rank() >= 2) {
      const int row = shape_.rank() - 2, column = shape_.rank() - 1;
      const auto offset = [&](std::int64_t e) { return coordinate(shape_, e, column) - coordinate(shape_, e, row); };
      if (holds_exactly([&](std::int64_t e) { return offset(e) > 0; }))
        return found("the column is right of the diagonal (a causal mask?)");
      if (holds_exactly([&](std::int64_t e) { return offset(e) < 0; }))
        return found("the column is left of the diagonal");
      if (holds_exactly([&](std::int64_t e) { return offset(e) == 0; }))
        return found("row and column are equal: the diagonal");
      if (holds_exactly([&](std::int64_t e) { return offset(e) != 0; }))
        return found("row and column differ: it is right on the diagonal only");
    }
    // A float input: negative, positive, beyond a threshold.
    for (std::size_t j = 0; telling && j < line_.inputs().size(); ++j) {
      const Tensor& other = line_.inputs()[j];
      if (!other.defined() || !is_floating(other.dtype()) || other.numel() < 2) continue;
      const Numbers values = broadcast_values(other, shape_);
      if (values.empty()) continue;
      const std::string& name = subject_.inputs[j];
      if (holds_exactly([&](std::int64_t e) { return values[e] < 0; }))
        return found(fmt::format("'{}' is negative", name));
      if (holds_exactly([&](std::int64_t e) { return values[e] > 0; }))
        return found(fmt::format("'{}' is positive", name));
      for (const bool of_magnitude : {false, true}) {
        double lowest_wrong = 1e300, highest_wrong = -1e300, lowest_right = 1e300, highest_right = -1e300;
        for (std::int64_t e = 0; e < count(); ++e) {
          if (!known_[e] || (!wrong_[e] && std::fabs(expected_[e]) <= slack_[e])) continue;
          const double value = of_magnitude ? std::fabs(values[e]) : values[e];
          double &low = wrong_[e] ? lowest_wrong : lowest_right, &high = wrong_[e] ? highest_wrong : highest_right;
          low = std::min(low, value);
          high = std::max(high, value);
        }
        const std::string text = of_magnitude ? "|" + name + "|" : "'" + name + "'";
        if (lowest_wrong > highest_right)
          return found(
              fmt::format("{} is large (between {:.3g} and {:.3g} it begins)", text, highest_right, lowest_wrong));
        if (highest_wrong < lowest_right)
          return found(
              fmt::format("{} is small (it ends between {:.3g} and {:.3g})", text, highest_wrong, lowest_right));
      }
    }
    if (wrong + right >= 4 &&
        std::all_of(of_input_.elements.begin(), of_input_.elements.end(), [&](const ElementVerdict& element) {
          const double slack = slack_[element.element];
          return element.verdict == Verdict::cannot_tell ||
                 (element.verdict == Verdict::disagree) == (std::fabs(element.expected) <= slack);
        })) {
      return found("the output does not depend on the element: a mask or a boundary of forward is missing in backward");
    }
    return std::nullopt;
  }

  std::optional<Hint> jacobian() {
    const std::optional<Jacobians> jacobians = Jacobians::find(subject_, line_, cotangents_, input_);
    return jacobians ? jacobians->hint() : std::nullopt;
  }

  std::optional<Hint> wrong_order() {
    Numbers a = yours_, b = expected_;
    if (std::set<double>(a.begin(), a.end()).size() < 3) return std::nullopt;
    std::sort(a.begin(), a.end());
    std::sort(b.begin(), b.end());
    const double widest = *std::max_element(slack_.begin(), slack_.end());
    if (!(largest_difference(a, b) <= widest)) return std::nullopt;
    std::int64_t stride = 1;
    for (int axis = shape_.rank() - 1; axis >= 0; --axis) {
      const std::int64_t size = shape_[axis];
      for (std::int64_t shift = 0; shift < size; ++shift) {  // 0: backwards
        Numbers candidate(yours_.size());
        for (std::int64_t e = 0; e < count(); ++e) {
          const std::int64_t at = coordinate(shape_, e, axis), from = shift == 0 ? size - 1 - at : (at + shift) % size;
          candidate[e] = expected_[e + (from - at) * stride];
        }
        if (!fits(candidate)) continue;
        return hint(Cause::wrong_order,
                    shift == 0 ? fmt::format("it is the expected one backwards along axis {}", axis)
                               : fmt::format("it is the expected one shifted by {} along axis {}", size - shift, axis),
                    candidate);
      }
      stride *= size;
    }
    return hint(Cause::wrong_order, "it holds the right numbers in other places");
  }

  // --- structure of the difference ---

  Numbers residual() const {
    Numbers result(yours_.size());
    for (std::int64_t e = 0; e < count(); ++e) result[e] = known_[e] ? yours_[e] - expected_[e] : 0;
    return result;
  }

  std::optional<Hint> constant_residual() {
    const Numbers difference = residual();
    for (int axis = shape_.rank() - 1; axis >= 0; --axis) {
      if (shape_[axis] < 2) continue;
      Numbers candidate = expected_;
      const Numbers means = fit_lines(difference, axis, Numbers(yours_.size(), 1.0), false);
      for (std::int64_t e = 0; e < count(); ++e) candidate[e] += means[e];
      if (!fits(candidate, 2)) continue;
      return hint(Cause::missing_mean_term,
                  fmt::format("the difference is constant along axis {}: the term with the mean (or the sum) over that "
                              "axis is missing or wrong",
                              axis),
                  candidate);
    }
    return std::nullopt;
  }

  /// Along each line of `axis`: the best multiple of `direction` (and a constant, if asked) to fit `values`.
  Numbers fit_lines(const Numbers& values, int axis, const Numbers& direction, bool with_constant) const {
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

  std::optional<Hint> residual_times_output() {
    const Numbers difference = residual();
    std::vector<std::pair<std::string, Numbers>> directions;
    for (std::size_t k = 0; k < line_.outputs().size(); ++k) {
      if (line_.outputs()[k].shape() == shape_)
        directions.emplace_back(line_.outputs().size() == 1 ? "the output" : fmt::format("output {}", k),
                                line_.outputs()[k].to_vector<double>());
    }
    directions.emplace_back("'" + of_input_.name + "'", line_.inputs()[input_].to_vector<double>());
    for (int axis = shape_.rank() - 1; axis >= 0; --axis) {
      const std::int64_t length = shape_[axis];
      if (length < 3 || count() / length < 1) continue;
      std::vector<std::pair<std::string, Numbers>> all = directions;
      Numbers centred = directions.back().second;
      const Numbers means = fit_lines(centred, axis, Numbers(yours_.size(), 1.0), false);
      for (std::int64_t e = 0; e < count(); ++e) centred[e] -= means[e];
      all.emplace_back("'" + of_input_.name + "' minus its mean", centred);
      for (const bool with_constant : {false, true}) {
        if (with_constant && length < 4) continue;
        for (const auto& [name, direction] : all) {
          if (with_constant && name.front() != 't' && name.back() != 'n')
            continue;  // the same fit as the centred input
          Numbers candidate = expected_;
          const Numbers part = fit_lines(difference, axis, direction, with_constant);
          for (std::int64_t e = 0; e < count(); ++e) candidate[e] += part[e];
          if (!fits(candidate, 2)) continue;
          return with_constant ? hint(Cause::missing_mean_term,
                                      fmt::format("the difference is one number for each line along axis {0} plus "
                                                  "another times {1}: the terms with the mean and with the variance "
                                                  "over that axis are missing or wrong",
                                                  axis, name),
                                      candidate)
                               : hint(Cause::missing_output_term,
                                      fmt::format("the difference is one number for each line along axis {} times {}: "
                                                  "the term with the sum over that axis is missing or wrong",
                                                  axis, name),
                                      candidate);
        }
      }
    }
    return std::nullopt;
  }

  std::optional<Hint> skip_connection() {
    for (std::size_t k = 0; k < cotangents_.size(); ++k) {
      if (!cotangents_[k].defined() || !(cotangents_[k].shape() == shape_)) continue;
      const Numbers upstream = cotangents_[k].to_vector<double>();
      for (const double sign : {-1.0, 1.0}) {
        Numbers candidate = expected_;
        for (std::int64_t e = 0; e < count(); ++e) candidate[e] += sign * upstream[e];
        if (!fits(candidate)) continue;
        return hint(Cause::last_use_only,
                    sign < 0 ? "the upstream gradient itself is missing from it: one use of the input (a skip "
                               "connection) does not count, `=` where `+=` is needed"
                             : "the upstream gradient is added to it once too often",
                    candidate);
      }
    }
    return std::nullopt;
  }

  std::optional<Hint> factor_by_element() {
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
        return hint(Cause::missing_factor,
                    missing ? fmt::format("the factor {} is missing", name)
                            : fmt::format("there is a factor {} too much", name),
                    candidate);
      }
    }
    return std::nullopt;
  }

  // --- where and how it was computed ---

  /// Each line of the last axis with mean 0 and variance 1, 1e-5 added as layer norm does.
  static Numbers normalised(const Numbers& values, const Shape& shape) {
    Numbers result = values;
    const std::int64_t n = shape.back();
    for (std::size_t row = 0; row < values.size(); row += n) {
      double mean = 0, variance = 0;
      for (std::int64_t c = 0; c < n; ++c) mean += values[row + c] / double(n);
      for (std::int64_t c = 0; c < n; ++c) variance += (values[row + c] - mean) * (values[row + c] - mean) / double(n);
      for (std::int64_t c = 0; c < n; ++c) result[row + c] = (values[row + c] - mean) / std::sqrt(variance + 1e-5);
    }
    return result;
  }

  Numbers backward_with(std::size_t j, const Tensor& replacement) const {
    Tensors inputs = line_.inputs();
    inputs[j] = replacement;
    return numbers_of(subject_.backward(inputs, cotangents_)[input_], count());
  }

  std::optional<Hint> wrong_point() {
    for (std::size_t j = 0; j < line_.inputs().size(); ++j) {
      const Tensor& own = line_.inputs()[j];
      if (!own.defined() || !is_floating(own.dtype()) || own.numel() < 2) continue;
      std::vector<std::pair<std::string, Numbers>> points;
      for (std::size_t k = 0; k < line_.outputs().size(); ++k) {
        if (line_.outputs()[k].defined() && line_.outputs()[k].shape() == own.shape() &&
            line_.outputs()[k].dtype() == own.dtype())
          points.emplace_back("the output", line_.outputs()[k].to_vector<double>());
      }
      if (own.rank() > 0 && own.shape().back() > 2)
        points.emplace_back("the normalised '" + subject_.inputs[j] + "'",
                            normalised(own.to_vector<double>(), own.shape()));
      for (const auto& [name, values] : points) {
        const Tensor elsewhere = from_values(own.shape(), values, own.dtype());
        try {
          const Numbers given_it = backward_with(j, elsewhere);
          const bool normalised_point = name.front() == 't' && name.back() == '\'';
          bool close = true;  // normalising is known to an epsilon only
          for (std::int64_t e = 0; e < count(); ++e)
            close &= std::fabs(given_it[e] - expected_[e]) <= (normalised_point ? 1e-3 * scale_ : slack_[e]);
          if (close) {
            return hint(Cause::wrong_point,
                        fmt::format("it would be right if '{}' were {}: backward uses the one where the other is meant",
                                    subject_.inputs[j], name));
          }
          if (j != input_ || count() > 400 || normalised_point) continue;
          Tensors moved = line_.inputs();
          moved[j] = elsewhere;
          Line there(subject_, moved);
          there.set_cotangents(cotangents_);
          Numbers candidate(yours_.size());
          for (std::int64_t e = 0; e < count(); ++e)
            candidate[e] = there.derivative({j, e, e + 1}, 1e-9 * scale_).value;
          if (fits(candidate, 4)) {
            return hint(Cause::wrong_point,
                        fmt::format("it is the right gradient for another point, where '{}' is {}: the derivative is "
                                    "taken at {} (or the input was already changed)",
                                    of_input_.name, name, name),
                        candidate);
          }
        } catch (const Error&) {  // a point outside the op's domain is not the one
        }
      }
    }
    return std::nullopt;
  }

  /// Right if an operand were transposed, or two operands exchanged.
  std::optional<Hint> operand_exchanged() {
    const Tensors& inputs = line_.inputs();
    for (std::size_t j = 0; j < inputs.size(); ++j) {
      if (!inputs[j].defined() || !is_floating(inputs[j].dtype())) continue;
      const int rank = inputs[j].rank();
      try {
        if (rank >= 2 && inputs[j].size(rank - 1) == inputs[j].size(rank - 2) && inputs[j].size(rank - 1) > 1) {
          Numbers values = inputs[j].to_vector<double>(), turned = values;
          const std::int64_t n = inputs[j].size(rank - 1);
          for (std::int64_t e = 0; e < static_cast<std::int64_t>(values.size()); ++e)
            turned[e] = values[e - e % (n * n) + (e % n) * n + e / n % n];
          if (is_expected(backward_with(j, from_values(inputs[j].shape(), turned, inputs[j].dtype())))) {
            return hint(Cause::transposed, fmt::format("it would be right if '{}' were transposed: it is used "
                                                       "untransposed, or transposed where it should not be",
                                                       subject_.inputs[j]));
          }
        }
        for (std::size_t k = j + 1; k < inputs.size(); ++k) {
          if (!inputs[k].defined() || inputs[k].spec() != inputs[j].spec()) continue;
          Tensors exchanged = inputs;
          std::swap(exchanged[j], exchanged[k]);
          const Tensors found = subject_.backward(exchanged, cotangents_);
          if (is_expected(numbers_of(found[input_], count()))) {
            return hint(Cause::other_input,
                        fmt::format("it would be right with '{}' and '{}' exchanged: the wrong operand is used",
                                    subject_.inputs[j], subject_.inputs[k]));
          }
        }
      } catch (const Error&) {
      }
    }
    return std::nullopt;
  }

  std::optional<Hint> rounded() {
    if (of_input_.spec.dtype != DType::f64) return std::nullopt;
    double largest = 0;
    bool singles = true, halves = true;
    std::int64_t up = 0, down = 0;
    for (std::int64_t e = 0; e < count(); ++e) {
      if (!known_[e]) continue;
      largest = std::max(largest, std::fabs(yours_[e] - expected_[e]));
      (yours_[e] > expected_[e] ? up : down) += 1;
      singles &= yours_[e] == static_cast<double>(static_cast<float>(yours_[e]));
      std::uint64_t bits;
      std::memcpy(&bits, &yours_[e], sizeof bits);
      halves &= (bits & ((1ull << 45) - 1)) == 0;
    }
    const double relative = largest / scale_;
    if (halves && relative <= 0x1p-6)
      return hint(
          Cause::rounded,
          fmt::format("every number of it is a bf16: it is rounded to bf16 (off by up to {:.1g} relative)", relative));
    if (singles && relative <= 1e-4)
      return hint(
          Cause::rounded,
          fmt::format("every number of it is an f32: it is rounded to f32 (off by up to {:.1g} relative)", relative));
    if (relative <= 2e-6 && up > 0 && down > 0)
      return hint(
          Cause::rounded,
          fmt::format("it is off by {:.1g} relative, up and down: something in it is computed in f32", relative));
    return std::nullopt;
  }

  const Subject& subject_;
  Line& line_;
  const Tensors &cotangents_, &gradients_;
  const CheckReport& report_;
  std::size_t input_;
  const InputReport& of_input_;
  Shape shape_;
  Numbers yours_, expected_, slack_;
  std::vector<bool> known_, wrong_;
  double scale_ = 0;
};

}  // namespace

std::optional<Hint> find_hint(const Subject& subject, Line& line, const Tensors& cotangents, const Tensors& gradients,
                              const CheckReport& report, std::size_t report_input, std::size_t input) {
  const InputReport& checked = report.inputs[report_input];
  if (checked.by_direction || checked.elements.empty()) return std::nullopt;
  return HintFinder(subject, line, cotangents, gradients, report, report_input, input).find();
}

}  // namespace gradus::testing
