// Wrong exactly where something holds: a mask, an id, a sign, a threshold, a triangle, a place.
#include <map>
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
constexpr double enough_ways = 25;

std::string value_text(const Tensor& tensor, double value) {
  return tensor.dtype() == DType::boolean ? (value != 0 ? "true" : "false") : fmt::format("{:.0f}", value);
}

/// Wrong where `holds(e)`.
template <class Holds>
Marks where(std::int64_t count, Holds holds) {
  Marks marks(static_cast<std::size_t>(count));
  for (std::int64_t e = 0; e < count; ++e) marks[e] = holds(e) ? Mark::wrong : Mark::right;
  return marks;
}

/// Wrong where the condition on the value of input j holds.
template <class Holds>
std::function<Marks(const HintFinder&)> where_value(std::size_t j, Holds holds) {
  return [=](const HintFinder& at) {
    const Numbers values = at.by_element(j);
    return values.empty() ? Marks{} : where(at.count(), [&](std::int64_t e) { return holds(values[e]); });
  };
}

std::map<double, int> occurrences(const Numbers& values) {
  std::map<double, int> count;
  for (const double value : values) ++count[value];
  return count;
}

/// Which side of a threshold; open between its bounds.
Mark side(double value, double highest_right, double lowest_wrong) {
  return value >= lowest_wrong ? Mark::wrong : value <= highest_right ? Mark::right : Mark::open;
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
HintFinder::Support HintFinder::support_of(const Condition& condition) const {
  const Marks marks = condition.marks(*this);
  Support support;
  if (static_cast<std::int64_t>(marks.size()) != count()) return {.contradicted = true};
  for (std::int64_t e = 0; e < count(); ++e) {
    if (!known_[e]) continue;
    if (marks[e] == Mark::open) {
      support.missed += wrong_[e];
      continue;
    }
    if (!wrong_[e] && is_zero(e)) continue;
    if (wrong_[e] != (marks[e] == Mark::wrong) || (wrong_[e] && condition.yours_is_zero && yours_[e] != 0))
      support.contradicted = true;
    ++(wrong_[e] ? support.wrong : support.right);
  }
  return support;
}

HintFinder::Manner HintFinder::manner_of(const Marks& marks) const {
  bool passes = true, blocks = true;
  double along = 0, squares = 0;
  const auto is_there = [&](std::int64_t e) {
    return marks[e] == Mark::wrong || (marks[e] == Mark::open && wrong_[e]);
  };
  for (std::int64_t e = 0; e < count(); ++e) {
    if (!known_[e] || !is_there(e)) continue;
    passes &= is_zero(e);
    blocks &= yours_[e] == 0;
    along += yours_[e] * expected_[e];
    squares += expected_[e] * expected_[e];
  }
  if (passes) return {", where the true gradient is zero", {}};
  const double factor = blocks || squares == 0 ? 0 : along / squares;
  Numbers candidate = expected_;
  for (std::int64_t e = 0; e < count(); ++e) {
    if (is_there(e)) candidate[e] *= factor;
  }
  if (!fits(candidate, 1 + std::fabs(factor))) return {};
  return {blocks                         ? ", where yours is zero"
          : std::fabs(factor - 1) < 1e-3 ? fmt::format(", where it is off by {:.1g} relative", std::fabs(factor - 1))
                                         : fmt::format(", where it is {:.5g} times the expected one", factor),
          candidate};
}

std::vector<Finding> HintFinder::conditions(bool last_resort) const {
  std::vector<Finding> found;
  for (const Condition& condition : all_conditions()) {
    if (condition.last_resort != last_resort) continue;
    const Support support = support_of(condition);
    if (support.contradicted || support.wrong == 0 || support.right == 0 || support.missed > 0) continue;
    if (!condition.by_place && ways(support.wrong + support.right, support.wrong) < enough_ways) continue;
    found.push_back(finding(condition.cause, condition.where));
    found.back().condition = condition;
  }
  return found;
}

std::vector<Condition> HintFinder::all_conditions() const {
  std::vector<Condition> all;
  if (weighty(true) + weighty(false) == 0 || std::count(wrong_.begin(), wrong_.end(), true) == 0) return all;
  add_lost_parts(all);
  add_conditions_on_ids(all);
  add_conditions_on_triangles(all);
  add_conditions_on_signs(all);
  all.push_back(
      {.where = "gradient arrives exactly where the output does not depend on the element: what forward masks or "
                "leaves out is not left out in backward",
       .marks = [](const HintFinder& at) { return where(at.count(), [&](std::int64_t e) { return at.is_zero(e); }); }});
  const std::size_t with_a_reason = all.size();
  add_conditions_on_repetition(all);
  add_conditions_on_places(all);
  add_thresholds(all);
  for (std::size_t n = with_a_reason; n < all.size(); ++n) all[n].last_resort = true;
  return all;
}

void HintFinder::add_conditions_on_ids(std::vector<Condition>& all) const {
  for (std::size_t j = 0; j < line_.inputs().size(); ++j) {
    const Tensor& input = line_.inputs()[j];
    if (!input.defined() || is_floating(input.dtype())) continue;
    const std::string& name = subject_.inputs[j];
    const Numbers values = by_element(j);
    const std::set<double> distinct(values.begin(), values.end());
    for (const double value : distinct) {
      if (distinct.size() > 32) break;
      all.push_back({.where = fmt::format("it is wrong exactly where '{}' is {}", name, value_text(input, value)),
                     .marks = where_value(j, [value](double own) { return own == value; })});
    }
    if (values.empty() || input.dtype() == DType::boolean || input.rank() + 1 != shape_.rank()) continue;
    all.push_back({.where = fmt::format("it is wrong exactly where the column is the one that '{}' names", name),
                   .marks = [j](const HintFinder& at) {
                     const Numbers values = at.by_element(j);
                     const int column = at.shape().rank() - 1;
                     return where(at.count(), [&](std::int64_t e) {
                       return double(coordinate(at.shape(), e, column)) == values[e];
                     });
                   }});
  }
}

/// Rows that several ids name, elements whose id or value occurs more than once.
void HintFinder::add_conditions_on_repetition(std::vector<Condition>& all) const {
  for (std::size_t j = 0; j < line_.inputs().size(); ++j) {
    const Tensor& input = line_.inputs()[j];
    if (!input.defined() || input.dtype() == DType::boolean || input.numel() < 2) continue;
    const std::string& name = subject_.inputs[j];
    const bool ids = !is_floating(input.dtype());
    if (ids && shape_.rank() > 0) {
      all.push_back({.where = fmt::format("it is wrong only in the rows that '{}' names more than once", name),
                     .marks =
                         [j](const HintFinder& at) {
                           std::map<double, int> count = occurrences(at.tensor(j).to_vector<double>());
                           return where(at.count(), [&](std::int64_t e) {
                             return count[double(coordinate(at.shape(), e, 0))] > 1;
                           });
                         },
                     .cause = Cause::repeated_indices});
    }
    all.push_back({.where = fmt::format("it is wrong only where {} of '{}' occurs more than once",
                                        ids ? "an index" : "the value", name),
                   .marks =
                       [j](const HintFinder& at) {
                         const Numbers values = at.by_element(j);
                         std::map<double, int> count = occurrences(at.tensor(j).to_vector<double>());
                         return values.empty()
                                    ? Marks{}
                                    : where(at.count(), [&](std::int64_t e) { return count[values[e]] > 1; });
                       },
                   .cause = Cause::repeated_indices});
  }
}

void HintFinder::add_conditions_on_triangles(std::vector<Condition>& all) const {
  if (shape_.rank() < 2 || shape_[shape_.rank() - 1] != shape_[shape_.rank() - 2]) return;
  const auto offer = [&](const std::string& where_, bool (*holds)(std::int64_t offset)) {
    all.push_back({.where = "it is wrong exactly where " + where_,
                   .marks =
                       [holds](const HintFinder& at) {
                         const Shape& shape = at.shape();
                         return where(at.count(), [&](std::int64_t e) {
                           return holds(coordinate(shape, e, shape.rank() - 1) -
                                        coordinate(shape, e, shape.rank() - 2));
                         });
                       },
                   .by_place = true});
  };
  offer("the column is right of the diagonal (a causal mask?)", [](std::int64_t offset) { return offset > 0; });
  offer("the column is left of the diagonal", [](std::int64_t offset) { return offset < 0; });
  offer("row and column are equal: the diagonal", [](std::int64_t offset) { return offset == 0; });
  offer("row and column differ: it is right on the diagonal only", [](std::int64_t offset) { return offset != 0; });
}

void HintFinder::add_conditions_on_signs(std::vector<Condition>& all) const {
  std::vector<std::size_t> floating;
  for (std::size_t j = 0; j < line_.inputs().size(); ++j) {
    const Tensor& input = line_.inputs()[j];
    if (input.defined() && is_floating(input.dtype()) && !by_element(j).empty()) floating.push_back(j);
  }
  const auto offer = [&](const std::string& where_, std::function<Marks(const HintFinder&)> marks) {
    all.push_back({.where = "it is wrong exactly where " + where_, .marks = std::move(marks)});
  };
  for (const std::size_t j : floating) {
    offer(fmt::format("'{}' is negative", subject_.inputs[j]), where_value(j, [](double own) { return own < 0; }));
    offer(fmt::format("'{}' is positive", subject_.inputs[j]), where_value(j, [](double own) { return own > 0; }));
  }
  for (const std::size_t j : floating) {
    for (const std::size_t k : floating) {
      if (j == k || line_.inputs()[j].shape() != line_.inputs()[k].shape()) continue;
      offer(fmt::format("'{}' is less than '{}'", subject_.inputs[j], subject_.inputs[k]),
            [j, k](const HintFinder& at) {
              const Numbers a = at.by_element(j), b = at.by_element(k);
              return where(at.count(), [&](std::int64_t e) { return a[e] < b[e]; });
            });
    }
  }
}

std::vector<HintFinder::Axis> HintFinder::axes() const {
  const int rank = shape_.rank();
  std::vector<Axis> all;
  std::int64_t stride = 1;
  for (int axis = rank - 1; axis >= 0; --axis) {
    const char* kind = rank == 1 ? "element" : axis + 1 == rank ? "column" : axis + 2 == rank ? "row" : "item";
    all.push_back({kind, rank == 1 ? "" : fmt::format(" (axis {})", axis), stride, shape_[axis]});
    stride *= shape_[axis];
  }
  if (rank > 1) all.push_back({"element", " (counted row by row, from 0)", 1, count()});
  return all;
}

std::optional<std::pair<HintFinder::Places, HintFinder::Places>> HintFinder::wrong_and_right(const Axis& axis) const {
  Places wrong, right;
  for (std::int64_t e = 0; e < count(); ++e) {
    if (known_[e] && (wrong_[e] || !is_zero(e))) (wrong_[e] ? wrong : right).insert(axis.at(e));
  }
  const bool apart = std::none_of(wrong.begin(), wrong.end(), [&](std::int64_t at) { return right.contains(at); });
  if (!apart || wrong.empty() || right.empty()) return std::nullopt;
  return std::pair{wrong, right};
}

namespace {

std::function<Marks(const HintFinder&)> marks_by_place(std::function<std::int64_t(std::int64_t)> place,
                                                       std::set<std::int64_t> wrong, std::set<std::int64_t> right) {
  return [=](const HintFinder& at) {
    Marks marks;
    for (std::int64_t e = 0; e < at.count(); ++e) {
      marks.push_back(wrong.contains(place(e)) ? Mark::wrong : right.contains(place(e)) ? Mark::right : Mark::open);
    }
    return marks;
  };
}

/// `3 to 7`, `1, 4`.
std::string list_of(const std::set<std::int64_t>& places) {
  if (places.size() > 1 && *places.rbegin() - *places.begin() + 1 == static_cast<std::int64_t>(places.size()))
    return fmt::format("{} to {}", *places.begin(), *places.rbegin());
  std::string text;
  int named = 0;
  for (const std::int64_t at : places) {
    if (++named > 8) return fmt::format("{}, ... ({} in all)", text, places.size());
    text += (text.empty() ? "" : ", ") + std::to_string(at);
  }
  return text;
}

}  // namespace

/// Right in some rows (columns, items), and nothing at all in the others: of a single axis, the first that fits.
void HintFinder::add_lost_parts(std::vector<Condition>& all) const {
  for (const Axis& axis : axes()) {
    const auto places = wrong_and_right(axis);
    if (!places || (shape_.rank() > 1 && axis.size == count())) continue;
    const auto& [lost, right] = *places;
    all.push_back({.where = fmt::format("it is right in {0}s {1}{2} and zero in {0}s {3}", axis.kind, list_of(right),
                                        axis.name, list_of(lost)),
                   .marks = marks_by_place([axis](std::int64_t e) { return axis.at(e); }, lost, right),
                   .cause = Cause::some_parts,
                   .by_place = true,
                   .yours_is_zero = true});
  }
}

/// Along one axis all is wrong at some coordinates, while all is right at the others.
std::optional<Condition> HintFinder::at_some_places(const Axis& along) const {
  const auto places = wrong_and_right(along);
  if (!places || along.size < 3) return std::nullopt;
  const auto& [wrong, right] = *places;
  const auto& [kind, axis, stride, size] = along;
  const auto open = [&](std::int64_t at) { return !places->first.contains(at) && !places->second.contains(at); };
  const std::int64_t first = *wrong.begin(), last = *wrong.rbegin();
  Condition condition{.where = "",
                      .marks = marks_by_place([along](std::int64_t e) { return along.at(e); }, wrong, right),
                      .cause = Cause::some_places,
                      .by_place = true};
  const auto plural = kind + "s";
  const std::int64_t highest_right = *right.rbegin(), lowest_right = *right.begin();
  bool alternate = wrong.size() >= 3;  // every n-th
  const std::int64_t period = wrong.size() > 1 ? *std::next(wrong.begin()) - first : size;
  for (std::int64_t at = 0; alternate && at < size; ++at)
    alternate = open(at) || wrong.contains(at) == (at >= first % period && (at - first) % period == 0);
  if (wrong.size() == 1) {
    condition.where =
        fmt::format("it is wrong only in {} {}{}{}", kind, first, axis, last == size - 1 ? ", the last" : "");
    if (stride == 1 && size == count()) condition.cause = Cause::single_element;
  } else if (first > highest_right) {
    condition.cause = Cause::boundary;
    condition.where =
        fmt::format("it is right up to {0} {1}, and wrong from {0} {2} on{3}", kind, highest_right, first, axis);
  } else if (last < lowest_right) {
    condition.cause = Cause::boundary;
    condition.where =
        fmt::format("it is wrong up to {0} {1}, and right from {0} {2} on{3}", kind, last, lowest_right, axis);
  } else if (last - first + 1 == static_cast<std::int64_t>(wrong.size())) {
    condition.where = fmt::format("it is wrong only in {} {} to {}{}", plural, first, last, axis);
  } else if (alternate && period > 1) {
    condition.where = fmt::format("it is wrong only in every {} {}, from {} on{}",
                                  period == 2   ? "second"
                                  : period == 3 ? "third"
                                                : std::to_string(period) + "th",
                                  kind, first, axis);
  } else if (wrong.size() <= 8) {
    condition.where = fmt::format("it is wrong only in {} {}{}", plural, list_of(wrong), axis);
  } else {
    return std::nullopt;
  }
  return condition;
}

void HintFinder::add_conditions_on_places(std::vector<Condition>& all) const {
  const int rank = shape_.rank();
  std::int64_t wrong = 0, only = 0;
  for (std::int64_t e = 0; e < count(); ++e) {
    if (wrong_[e] && ++wrong > 0) only = e;
  }
  if (wrong == 1 && rank > 1) {
    if (std::optional<Condition> condition = at_some_places(axes().back())) {
      condition->where = fmt::format("element {} alone is wrong", place_of(shape_, only));
      all.push_back(std::move(*condition));
    }
  }
  for (const Axis& axis : axes()) {
    if (std::optional<Condition> condition = at_some_places(axis)) all.push_back(std::move(*condition));
  }
}

/// Whether the error of the wrong elements, followed as a power of the value, would show in the right element beside
/// them, too: if not, it only grows out of the bars there, as that of an approximation does.
bool HintFinder::jumps(const Numbers& values, std::int64_t beside, std::int64_t edge, std::int64_t farthest) const {
  const auto error = [&](std::int64_t e) { return std::fabs(yours_[e] - expected_[e]); };
  const auto size = [&](std::int64_t e) { return std::max(std::fabs(values[e]), 1e-300); };
  const double power = std::log(error(farthest) / error(edge)) / std::log(size(farthest) / size(edge));
  const double there = error(edge) * std::pow(size(beside) / size(edge), std::isfinite(power) ? power : 0);
  return std::min(error(edge) / allowed_[edge], there / allowed_[beside]) > 100;
}

/// Any two sets can be told apart by some number: so at least two elements on either side, and a jump, not an error
/// that grows out of the bars.
void HintFinder::add_thresholds(std::vector<Condition>& all) const {
  using ValuesAt = std::function<Numbers(const HintFinder&)>;
  const auto offer = [&](const std::string& name, const ValuesAt& values_at) {
    const Numbers values = values_at(*this);
    if (values.empty()) return;
    for (const bool of_magnitude : {false, true}) {
      const std::string text = of_magnitude ? "|" + name + "|" : "'" + name + "'";
      for (const double sign : {1.0, -1.0}) {
        const auto number = [=](double value) { return sign * (of_magnitude ? std::fabs(value) : value); };
        double highest_right = -INFINITY, lowest_wrong = INFINITY;
        std::int64_t edge = -1, farthest = -1, beside = -1, wrong = 0, right = 0;
        for (std::int64_t e = 0; e < count(); ++e) {
          if (!known_[e] || (!wrong_[e] && is_zero(e))) continue;
          ++(wrong_[e] ? wrong : right);
          if (!wrong_[e] && number(values[e]) > highest_right) highest_right = number(values[beside = e]);
          if (wrong_[e] && number(values[e]) < lowest_wrong) lowest_wrong = number(values[edge = e]);
          if (wrong_[e] && (farthest < 0 || number(values[e]) > number(values[farthest]))) farthest = e;
        }
        if (!(lowest_wrong > highest_right) || wrong < 2 || right < 2 || !jumps(values, beside, edge, farthest))
          continue;
        const double low = std::min(sign * highest_right, sign * lowest_wrong),
                     high = std::max(sign * highest_right, sign * lowest_wrong);
        all.push_back({.where = fmt::format("it is wrong exactly where {} is {} a value between {:.3g} and {:.3g}",
                                            text, sign > 0 ? "above" : "below", low, high),
                       .marks = [=](const HintFinder& at) {
                         Marks marks;
                         for (const double value : values_at(at))
                           marks.push_back(side(number(value), highest_right, lowest_wrong));
                         return marks;
                       }});
      }
    }
  };
  for (std::size_t j = 0; j < line_.inputs().size(); ++j) {
    if (line_.inputs()[j].defined() && is_floating(line_.inputs()[j].dtype()))
      offer(subject_.inputs[j], [j](const HintFinder& at) { return at.by_element(j); });
  }
  for (std::size_t k = 0; k < line_.outputs().size(); ++k) {
    if (!(line_.outputs()[k].shape() == shape_) || !is_floating(line_.outputs()[k].dtype())) continue;
    offer(k < subject_.outputs.size() ? subject_.outputs[k] : "output",
          [k](const HintFinder& at) { return at.output(k).to_vector<double>(); });
  }
}

std::optional<Finding> HintFinder::mask_turned_round() {
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
      return finding(Cause::wrong_where,
                     fmt::format("it is zero where '{}' is {} and where the true one is not, and the other way round: "
                                 "the mask is turned round",
                                 subject_.inputs[j], value_text(input, counts)));
    }
  }
  return std::nullopt;
}

}  // namespace gradus::testing
