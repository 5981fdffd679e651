// Wrong exactly where something holds: a mask, an id, a sign, a threshold, a triangle.
#include <set>

#include "framework/testing/hint_finder.h"
#include "framework/testing/jacobian.h"

namespace gradus::testing {
namespace {

/// In how many ways `wrong` elements can lie among `all`, up to a million: what a coincidence would have to match.
double ways(std::int64_t all, std::int64_t wrong) {
  double result = 1;
  for (std::int64_t k = 1; k <= std::min(wrong, all - wrong) && result < 1e6; ++k)
    result *= double(all - k + 1) / double(k);
  return result;
}

std::string value_text(const Tensor& tensor, double value) {
  return tensor.dtype() == DType::boolean ? (value != 0 ? "true" : "false") : fmt::format("{:.0f}", value);
}

}  // namespace

Numbers HintFinder::by_element(std::size_t j) const {
  const Tensor& input = line_.inputs()[j];
  if (!input.defined() || input.numel() < 2) return {};
  bool leads = input.rank() < shape_.rank();
  for (int axis = 0; leads && axis < input.rank(); ++axis) leads = input.shape()[axis] == shape_[axis];
  if (!leads) return broadcast_values(input, shape_);
  const Numbers own = input.to_vector<double>();
  Numbers values(yours_.size());
  for (std::int64_t e = 0; e < count(); ++e) values[e] = own[e / (count() / input.numel())];
  return values;
}

/// Where the true gradient is zero, a right value says nothing about the condition.
template <class Condition>
bool HintFinder::wrong_exactly_where(Condition condition) const {
  bool spared = false;
  for (std::int64_t e = 0; e < count(); ++e) {
    if (!known_[e]) continue;
    const bool holds = condition(e);
    if (wrong_[e] && !holds) return false;
    if (wrong_[e] || is_zero(e)) continue;
    if (holds) return false;
    spared = true;
  }
  return spared;
}

Hint HintFinder::wrong_where(const std::string& where) const {
  bool passes = true, blocks = true;
  for (std::int64_t e = 0; e < count(); ++e) {
    if (!wrong_[e]) continue;
    passes &= is_zero(e);
    blocks &= yours_[e] == 0;
  }
  return hint(Cause::wrong_where, fmt::format("it is wrong exactly where {}{}", where,
                                              passes   ? ", where the true gradient is zero"
                                              : blocks ? ", where yours is zero"
                                                       : ""));
}

std::optional<Hint> HintFinder::wrong_where_a_condition_holds() {
  const std::int64_t wrong = std::count(wrong_.begin(), wrong_.end(), true), right = weighty(false);
  if (wrong == 0) return std::nullopt;
  if (ways(wrong + right, wrong) >= 25) {
    for (const auto kind :
         {&HintFinder::wrong_by_mask_or_id, &HintFinder::wrong_by_triangle, &HintFinder::wrong_by_sign}) {
      if (std::optional<Hint> found = (this->*kind)()) return found;
    }
  }
  return wrong_by_independence();
}

std::optional<Hint> HintFinder::wrong_by_mask_or_id() const {
  for (std::size_t j = 0; j < line_.inputs().size(); ++j) {
    const Tensor& input = line_.inputs()[j];
    if (!input.defined() || is_floating(input.dtype())) continue;
    const Numbers values = by_element(j);
    for (const double value : std::set<double>(values.begin(), values.end())) {
      if (wrong_exactly_where([&](std::int64_t e) { return values[e] == value; }))
        return wrong_where(fmt::format("'{}' is {}", subject_.inputs[j], value_text(input, value)));
    }
    if (values.empty() || input.dtype() == DType::boolean || input.rank() + 1 != shape_.rank()) continue;
    const int column = shape_.rank() - 1;
    if (wrong_exactly_where(
            [&](std::int64_t e) { return static_cast<double>(coordinate(shape_, e, column)) == values[e]; }))
      return wrong_where(fmt::format("the column is the one that '{}' names", subject_.inputs[j]));
  }
  return std::nullopt;
}

std::optional<Hint> HintFinder::wrong_by_triangle() const {
  if (shape_.rank() < 2) return std::nullopt;
  const int row = shape_.rank() - 2, column = shape_.rank() - 1;
  const auto offset = [&](std::int64_t e) { return coordinate(shape_, e, column) - coordinate(shape_, e, row); };
  if (wrong_exactly_where([&](std::int64_t e) { return offset(e) > 0; }))
    return wrong_where("the column is right of the diagonal (a causal mask?)");
  if (wrong_exactly_where([&](std::int64_t e) { return offset(e) < 0; }))
    return wrong_where("the column is left of the diagonal");
  if (wrong_exactly_where([&](std::int64_t e) { return offset(e) == 0; }))
    return wrong_where("row and column are equal: the diagonal");
  if (wrong_exactly_where([&](std::int64_t e) { return offset(e) != 0; }))
    return wrong_where("row and column differ: it is right on the diagonal only");
  return std::nullopt;
}

std::optional<Hint> HintFinder::wrong_by_sign() const {
  for (std::size_t j = 0; j < line_.inputs().size(); ++j) {
    const Tensor& input = line_.inputs()[j];
    if (!input.defined() || !is_floating(input.dtype()) || input.numel() < 2) continue;
    const Numbers values = broadcast_values(input, shape_);
    if (values.empty()) continue;
    const std::string& name = subject_.inputs[j];
    if (wrong_exactly_where([&](std::int64_t e) { return values[e] < 0; }))
      return wrong_where(fmt::format("'{}' is negative", name));
    if (wrong_exactly_where([&](std::int64_t e) { return values[e] > 0; }))
      return wrong_where(fmt::format("'{}' is positive", name));
  }
  return std::nullopt;
}

/// Any two sets can be told apart by some number: this is asked only when nothing else is left.
std::optional<Hint> HintFinder::wrong_beyond_a_threshold() {
  if (weighty(false) == 0 || ways(weighty(true) + weighty(false), weighty(true)) < 25) return std::nullopt;
  for (std::size_t j = 0; j < line_.inputs().size(); ++j) {
    const Tensor& input = line_.inputs()[j];
    if (!input.defined() || !is_floating(input.dtype()) || input.numel() < 2) continue;
    const Numbers values = broadcast_values(input, shape_);
    if (values.empty()) continue;
    const std::string& name = subject_.inputs[j];
    for (const bool of_magnitude : {false, true}) {
      double lowest_wrong = 1e300, highest_wrong = -1e300, lowest_right = 1e300, highest_right = -1e300;
      for (std::int64_t e = 0; e < count(); ++e) {
        if (!known_[e] || (!wrong_[e] && is_zero(e))) continue;
        const double value = of_magnitude ? std::fabs(values[e]) : values[e];
        double &low = wrong_[e] ? lowest_wrong : lowest_right, &high = wrong_[e] ? highest_wrong : highest_right;
        low = std::min(low, value);
        high = std::max(high, value);
      }
      const std::string text = of_magnitude ? "|" + name + "|" : "'" + name + "'";
      if (lowest_wrong > highest_right) {
        return wrong_where(
            fmt::format("{} is large (between {:.3g} and {:.3g} it begins)", text, highest_right, lowest_wrong));
      }
      if (highest_wrong < lowest_right) {
        return wrong_where(
            fmt::format("{} is small (it ends between {:.3g} and {:.3g})", text, highest_wrong, lowest_right));
      }
    }
  }
  return std::nullopt;
}

std::optional<Hint> HintFinder::wrong_by_independence() const {
  std::int64_t known = 0;
  for (std::int64_t e = 0; e < count(); ++e) {
    if (!known_[e]) continue;
    ++known;
    if (wrong_[e] != is_zero(e)) return std::nullopt;
  }
  if (known < 4 || weighty(false) == 0) return std::nullopt;
  return wrong_where(
      "the output does not depend on the element: a mask or a boundary of forward is missing in backward");
}

std::optional<Hint> HintFinder::mask_turned_round() {
  for (std::size_t j = 0; j < line_.inputs().size(); ++j) {
    const Tensor& input = line_.inputs()[j];
    if (!input.defined() || input.dtype() != DType::boolean) continue;
    const Numbers mask = by_element(j);
    if (mask.empty()) continue;
    for (const double counts : {1.0, 0.0}) {
      bool turned = weighty(true) > 0;
      for (std::int64_t e = 0; turned && e < count(); ++e)
        turned = mask[e] == counts ? yours_[e] == 0 && (!known_[e] || !is_zero(e)) : yours_[e] != 0 && is_zero(e);
      if (!turned) continue;
      return hint(Cause::wrong_where, fmt::format("it is zero where '{}' is {} and where the true one is not, and the "
                                                  "other way round: the mask is turned round",
                                                  subject_.inputs[j], value_text(input, counts)));
    }
  }
  return std::nullopt;
}

}  // namespace gradus::testing
