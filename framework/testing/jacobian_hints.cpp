#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "framework/testing/jacobian.h"

namespace gradus::testing {
namespace {

/// `claim`: what of the sentence is the same at every point, where not all of it is.
Finding about(Cause cause, std::string sentence, std::string claim = "") {
  return {.hint = {.cause = cause, .input = "", .sentence = sentence}, .claim = claim.empty() ? sentence : claim};
}

}  // namespace

std::optional<Finding> Jacobians::find_cause() const {
  for (const auto hypothesis :
       {&Jacobians::one_output_not_used, &Jacobians::two_outputs_swapped, &Jacobians::only_missing,
        &Jacobians::only_invented, &Jacobians::one_of_two_uses, &Jacobians::mean_over_uses,
        &Jacobians::upstream_elsewhere, &Jacobians::input_elsewhere, &Jacobians::not_transposed,
        &Jacobians::other_outputs_count, &Jacobians::sees_the_future, &Jacobians::factor_by_output,
        &Jacobians::output_times_line}) {
    if (std::optional<Finding> found = (this->*hypothesis)()) return found;
  }
  return std::nullopt;
}

std::optional<Finding> Jacobians::one_output_not_used() const {
  if (outputs_.size() < 2) return std::nullopt;
  const Output* unused = nullptr;
  for (const Output& output : outputs_) {
    std::int64_t equal = 0, missing = 0, other = 0;
    for (std::int64_t o = output.begin; o < output.end(); ++o) {
      for (std::int64_t e = 0; e < columns_; ++e) {
        const Entry kind = entry(o, e);
        equal += kind == Entry::equal;
        missing += kind == Entry::missing;
        other += kind == Entry::invented || kind == Entry::different;
      }
    }
    if (other > 0 || (missing > 0 && (equal > 0 || unused))) return std::nullopt;
    if (missing > 0) unused = &output;
  }
  if (!unused) return std::nullopt;
  return about(Cause::upstream_partly_used,
               fmt::format("the upstream gradient of the output '{}' is not used", unused->name));
}

std::optional<Finding> Jacobians::two_outputs_swapped() const {
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    for (std::size_t l = k + 1; l < outputs_.size(); ++l) {
      if (!(outputs_[k].shape == outputs_[l].shape)) continue;
      bool fits = true;
      for (std::int64_t o = 0; fits && o < rows_; ++o) {
        std::int64_t from = o;
        if (o >= outputs_[k].begin && o < outputs_[k].end()) from = o - outputs_[k].begin + outputs_[l].begin;
        else if (o >= outputs_[l].begin && o < outputs_[l].end()) from = o - outputs_[l].begin + outputs_[k].begin;
        for (std::int64_t e = 0; fits && e < columns_; ++e) fits = same(claimed_[o][e], true_[from][e], bars_[from][e]);
      }
      if (fits) {
        return about(Cause::upstream_partly_used,
                     fmt::format("the upstream gradients of the outputs '{}' and '{}' are swapped", outputs_[k].name,
                                 outputs_[l].name));
      }
    }
  }
  return std::nullopt;
}

std::optional<Finding> Jacobians::only_missing() const {
  Entries kept, missing;
  for (std::int64_t o = 0; o < rows_; ++o) {
    for (std::int64_t e = 0; e < columns_; ++e) {
      const Entry kind = entry(o, e);
      if (kind == Entry::invented || kind == Entry::different) return std::nullopt;
      if (kind == Entry::equal) kept.emplace_back(o, e);
      if (kind == Entry::missing) missing.emplace_back(o, e);
    }
  }
  if (kept.empty() || missing.empty()) return std::nullopt;
  for (const auto pattern : {&Jacobians::one_output_partly_used, &Jacobians::diagonal_kept, &Jacobians::slice_kept,
                             &Jacobians::one_use_kept, &Jacobians::triangle_lost, &Jacobians::places_lost}) {
    if (std::optional<Finding> found = (this->*pattern)(kept, missing)) return found;
  }
  return std::nullopt;
}

/// Of several outputs one is left out at some of its elements.
std::optional<Finding> Jacobians::one_output_partly_used(const Entries& kept, const Entries& missing) const {
  if (outputs_.size() < 2) return std::nullopt;
  const Output& output = *std::find_if(outputs_.begin(), outputs_.end(),
                                       [&](const Output& each) { return missing[0].first < each.end(); });
  std::set<std::int64_t> lost;
  for (const auto& [o, e] : missing) lost.insert(o);
  const auto is_elsewhere = [&](const auto& at) { return at.first < output.begin || at.first >= output.end(); };
  if (std::any_of(missing.begin(), missing.end(), is_elsewhere) ||
      std::all_of(kept.begin(), kept.end(), is_elsewhere) ||
      std::any_of(kept.begin(), kept.end(), [&](const auto& at) { return lost.contains(at.first); }))
    return std::nullopt;
  return about(
      Cause::upstream_partly_used,
      fmt::format("the upstream gradient of the output '{}' is not used at {} of its elements, the first is {}",
                  output.name, lost.size(), place_of(output.shape, *lost.begin() - output.begin)),
      "some of " + output.name);
}

std::optional<Finding> Jacobians::diagonal_kept(const Entries& kept, const Entries& missing) const {
  const auto on_diagonal = [](const auto& at) { return at.first == at.second; };
  if (rows_ != columns_ || !std::all_of(kept.begin(), kept.end(), on_diagonal) ||
      std::any_of(missing.begin(), missing.end(), on_diagonal))
    return std::nullopt;
  return about(Cause::diagonal_only,
               "each element gets the part of its own output alone; the other outputs that depend on it are left out "
               "(the diagonal of the Jacobian only)");
}

/// All that counts lies at one coordinate of some axes, and all that is lost at others.
std::optional<Finding> Jacobians::slice_kept(const Entries& kept, const Entries& missing) const {
  if (outputs_.size() != 1) return std::nullopt;
  const Shape& shape = outputs_[0].shape;
  std::vector<int> axes;
  std::string slice, sizes;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const auto here = [&](const auto& at) {
      return coordinate(shape, at.first, axis) == coordinate(shape, kept[0].first, axis);
    };
    const bool fixed = shape[axis] > 1 && std::all_of(kept.begin(), kept.end(), here) &&
                       !std::all_of(missing.begin(), missing.end(), here);
    if (fixed) axes.push_back(axis);
    slice += (axis ? "," : "") + (fixed ? std::to_string(coordinate(shape, kept[0].first, axis)) : std::string(":"));
  }
  const bool apart = std::all_of(missing.begin(), missing.end(), [&](const auto& at) {
    return std::any_of(axes.begin(), axes.end(), [&](int axis) {
      return coordinate(shape, at.first, axis) != coordinate(shape, kept[0].first, axis);
    });
  });
  std::set<std::int64_t> with_kept, with_both;
  for (const auto& [o, e] : kept) with_kept.insert(e);
  for (const auto& [o, e] : missing) {
    if (with_kept.contains(e)) with_both.insert(e);
  }
  if (axes.empty() || !apart || with_both.empty()) return std::nullopt;  // no sum lost a term
  std::string summed;
  for (const int axis : axes)
    summed += fmt::format("{}axis {} (size {})", summed.empty() ? "" : " and ", axis, shape[axis]);
  return about(Cause::slice_for_sum,
               fmt::format("it is slice [{}] of the upstream gradient: the sum over {} is missing", slice, summed));
}

/// Of each element that lost something one use is left, the first or the last.
std::optional<Finding> Jacobians::one_use_kept(const Entries& kept, const Entries& missing) const {
  std::vector<int> uses_kept(columns_);
  std::vector<std::int64_t> kept_at(columns_), first_lost(columns_, rows_), last_lost(columns_, -1);
  for (const auto& [o, e] : kept) {
    ++uses_kept[e];
    kept_at[e] = o;
  }
  for (const auto& [o, e] : missing) {
    first_lost[e] = std::min(first_lost[e], o);
    last_lost[e] = std::max(last_lost[e], o);
  }
  bool last = true, first = true;
  std::int64_t example = -1;
  for (std::int64_t e = 0; e < columns_; ++e) {
    if (last_lost[e] < 0 && uses_kept[e] > 1) return std::nullopt;  // one that keeps all its uses
    if (last_lost[e] < 0) continue;
    if (uses_kept[e] != 1) return std::nullopt;
    example = e;
    last &= kept_at[e] > last_lost[e];
    first &= kept_at[e] < first_lost[e];
  }
  if (!last && !first) return std::nullopt;
  return about(Cause::last_use_only,
               fmt::format("elements that are used more than once, as {}, get the gradient of their {} use only: `=` "
                           "where `+=` is needed",
                           place_of(input_shape_, example), last ? "last" : "first"),
               last ? "last use" : "first use");
}

std::optional<Finding> Jacobians::triangle_lost(const Entries& kept, const Entries& missing) const {
  if (outputs_.size() != 1 || outputs_[0].shape.rank() < 2) return std::nullopt;
  const Shape& shape = outputs_[0].shape;
  const int row = shape.rank() - 2, column = shape.rank() - 1;
  const auto side = [&](const auto& at) {
    const std::int64_t offset = coordinate(shape, at.first, column) - coordinate(shape, at.first, row);
    return (offset > 0) - (offset < 0);
  };
  for (const auto& [which, text] : {std::pair{0, "on"}, {1, "right of"}, {-1, "left of"}}) {
    const auto there = [&](const auto& at) { return side(at) == which; };
    if (!std::all_of(missing.begin(), missing.end(), there) || std::any_of(kept.begin(), kept.end(), there)) continue;
    return about(Cause::wrong_where,
                 fmt::format("the upstream gradient does not count {} the diagonal, where the output does", text));
  }
  return std::nullopt;
}

std::optional<Finding> Jacobians::places_lost(const Entries& kept, const Entries& missing) const {
  if (outputs_.size() != 1) return std::nullopt;
  const Shape& shape = outputs_[0].shape;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    std::set<std::int64_t> used, lost;
    for (const auto& [o, e] : kept) used.insert(coordinate(shape, o, axis));
    for (const auto& [o, e] : missing) lost.insert(coordinate(shape, o, axis));
    if (std::any_of(lost.begin(), lost.end(), [&](std::int64_t at) { return used.contains(at); })) continue;
    return about(
        Cause::some_parts,
        fmt::format("the upstream gradient counts at {} of {} places along axis {} only, the first that is lost is {}",
                    used.size(), used.size() + lost.size(), axis, *lost.begin()),
        fmt::format("places {} along axis {}", fmt::join(lost, ","), axis));
  }
  return std::nullopt;
}

/// Two uses that reach the same output leave half of it there where one of them does not count.
std::optional<Finding> Jacobians::one_of_two_uses() const {
  std::int64_t halves = 0, missing = 0, equal = 0, example = 0;
  for (std::int64_t o = 0; o < rows_; ++o) {
    for (std::int64_t e = 0; e < columns_; ++e) {
      const Entry kind = entry(o, e);
      missing += kind == Entry::missing;
      equal += kind == Entry::equal;
      if (kind == Entry::invented) return std::nullopt;
      if (kind != Entry::different) continue;
      if (!same(2 * claimed_[o][e], true_[o][e], bars_[o][e])) return std::nullopt;
      if (halves++ == 0) example = e;
    }
  }
  if (halves == 0 || missing == 0 || equal == 0) return std::nullopt;
  return about(Cause::last_use_only,
               fmt::format("one of two uses does not count, as of {}: half of the derivative where both reach the same "
                           "output, nothing where the lost one reaches another",
                           place_of(input_shape_, example)),
               "one of two uses");
}

/// Each element's gradient divided by the number of outputs that it reaches.
std::optional<Finding> Jacobians::mean_over_uses() const {
  std::set<std::int64_t> counts;
  for (std::int64_t e = 0; e < columns_; ++e) {
    std::int64_t uses = 0;
    for (std::int64_t o = 0; o < rows_; ++o) uses += !same(0, true_[o][e], bars_[o][e]);
    for (std::int64_t o = 0; o < rows_; ++o) {
      if (!same(double(std::max<std::int64_t>(uses, 1)) * claimed_[o][e], true_[o][e], bars_[o][e]))
        return std::nullopt;
    }
    if (uses > 0) counts.insert(uses);
  }
  if (counts.size() < 2) return std::nullopt;
  return about(Cause::mean_for_sum,
               fmt::format("every element's gradient is divided by the number of its uses ({} to {}): a mean where the "
                           "sum belongs",
                           *counts.begin(), *counts.rbegin()),
               "mean over uses");
}

std::optional<Finding> Jacobians::only_invented() const {
  std::int64_t invented = 0, equal = 0, example_out = 0, example_in = 0;
  bool later = outputs_.size() == 1 && outputs_[0].shape.rank() >= 1 && input_shape_.rank() >= 1;
  const int out_axis = outputs_[0].shape.rank() >= 2 ? outputs_[0].shape.rank() - 2 : 0,
            in_axis = input_shape_.rank() >= 2 ? input_shape_.rank() - 2 : 0;
  for (std::int64_t o = 0; o < rows_; ++o) {
    for (std::int64_t e = 0; e < columns_; ++e) {
      const Entry kind = entry(o, e);
      if (kind == Entry::missing || kind == Entry::different) return std::nullopt;
      equal += kind == Entry::equal;
      if (kind != Entry::invented) continue;
      if (invented++ == 0) {
        example_out = o;
        example_in = e;
      }
      later = later && coordinate(input_shape_, e, in_axis) > coordinate(outputs_[0].shape, o, out_axis);
    }
  }
  if (invented == 0 || equal == 0) return std::nullopt;
  const Output& output =
      *std::find_if(outputs_.begin(), outputs_.end(), [&](const Output& each) { return example_out < each.end(); });
  return about(
      Cause::wrong_where,
      fmt::format("gradient arrives from outputs that do not depend on the element, as {}{} on {}{}", output.name,
                  place_of(output.shape, example_out - output.begin), place_of(input_shape_, example_in),
                  later ? ": always from an earlier position, so the causal mask is missing in backward" : ""),
      later ? "from earlier positions" : "from other outputs");
}

std::optional<Finding> Jacobians::upstream_elsewhere() const {
  if (outputs_.size() != 1) return std::nullopt;
  const Shape& shape = outputs_[0].shape;
  /// Whether output element o is given the upstream gradient of from(o); -1: of none.
  const auto fits = [&](auto&& from) {
    for (std::int64_t o = 0; o < rows_; ++o) {
      const std::int64_t source = from(o);
      for (std::int64_t e = 0; e < columns_; ++e) {
        if (!(source < 0 ? std::fabs(claimed_[o][e]) <= 1e-12 * scale_
                         : same(claimed_[o][e], true_[source][e], bars_[source][e])))
          return false;
      }
    }
    return true;
  };
  std::int64_t stride = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    const std::int64_t size = shape[axis];
    for (std::int64_t shift = -(size - 1); shift < size; ++shift) {
      if (shift == 0) continue;
      for (const bool around : {false, true}) {
        if (!fits([&](std::int64_t o) {
              const std::int64_t at = coordinate(shape, o, axis), to = at - shift;
              if (to < 0 || to >= size) return around ? o + ((to + size) % size - at) * stride : -1;
              return o - shift * stride;
            })) {
          continue;
        }
        return about(Cause::wrong_order,
                     fmt::format("the upstream gradient is read {} {} too far along axis {}: a wrong offset",
                                 std::abs(shift), std::abs(shift) == 1 ? "place" : "places", axis));
      }
    }
    if (size > 1 && fits([&](std::int64_t o) { return o + (size - 1 - 2 * coordinate(shape, o, axis)) * stride; })) {
      return about(Cause::wrong_order, fmt::format("the upstream gradient is read backwards along axis {}", axis));
    }
    stride *= size;
  }
  if (shape.rank() >= 2 && shape[shape.rank() - 1] == shape[shape.rank() - 2]) {
    const std::int64_t size = shape.back();
    if (fits([&](std::int64_t o) { return o - o % (size * size) + (o % size) * size + o / size % size; })) {
      return about(Cause::transposed, "the upstream gradient is used transposed");
    }
  }
  return std::nullopt;
}

/// The numbers of each output are right, but at other elements.
std::optional<Finding> Jacobians::input_elsewhere() const {
  std::string example;
  for (std::int64_t o = 0; o < rows_; ++o) {
    Numbers a = claimed_[o], b = true_[o];
    std::sort(a.begin(), a.end());
    std::sort(b.begin(), b.end());
    const double bar = largest_magnitude(bars_[o]);
    std::int64_t from = -1, to = -1;
    for (std::int64_t e = 0; e < columns_; ++e) {
      if (!same(a[e], b[e], bar)) return std::nullopt;
      const Entry kind = entry(o, e);
      if (kind == Entry::missing) from = e;
      if (kind == Entry::invented) to = e;
    }
    if (from < 0 || to < 0 || !example.empty()) continue;
    const Output& output =
        *std::find_if(outputs_.begin(), outputs_.end(), [&](const Output& each) { return o < each.end(); });
    example = fmt::format("{}{} to {}, not to {}", output.name, place_of(output.shape, o - output.begin),
                          place_of(input_shape_, to), place_of(input_shape_, from));
  }
  if (example.empty()) return std::nullopt;
  return about(Cause::wrong_order, "the right numbers go to the wrong elements, as that of " + example,
               "wrong elements");
}

std::optional<Finding> Jacobians::not_transposed() const {
  if (rows_ != columns_) return std::nullopt;
  bool symmetric = true;  // then transposing it says nothing
  for (std::int64_t o = 0; o < rows_; ++o) {
    for (std::int64_t e = 0; e < columns_; ++e) {
      if (!same(claimed_[o][e], true_[e][o], bars_[e][o])) return std::nullopt;
      symmetric = symmetric && same(true_[o][e], true_[e][o], bars_[o][e] + bars_[e][o]);
    }
  }
  if (symmetric) return std::nullopt;
  return about(
      Cause::transposed,
      "it is the Jacobian times the upstream gradient, not the transposed one: backward does what forward does "
      "where it should undo it");
}

/// Some outputs count that should not, others do not that should: another mask than forward's.
std::optional<Finding> Jacobians::other_outputs_count() const {
  std::int64_t lost = -1, invented = -1, right = -1;
  for (std::int64_t o = 0; o < rows_; ++o) {
    std::set<Entry> kinds;
    for (std::int64_t e = 0; e < columns_; ++e) kinds.insert(entry(o, e));
    kinds.erase(Entry::both_zero);
    if (kinds.empty()) continue;
    if (kinds.size() > 1 || kinds.contains(Entry::different)) return std::nullopt;
    (kinds.contains(Entry::missing) ? lost : kinds.contains(Entry::invented) ? invented : right) = o;
  }
  if (lost < 0 || invented < 0 || right < 0 || outputs_.size() != 1) return std::nullopt;
  return about(Cause::wrong_where,
               fmt::format("other outputs count than in forward: {} does not, which depends on the input, {} does, "
                           "which does not: a mask is turned round or transposed",
                           place_of(outputs_[0].shape, lost), place_of(outputs_[0].shape, invented)),
               "another mask");
}

/// Along the last axis of the output the difference is the output times something common to the whole line.
std::optional<Finding> Jacobians::output_times_line() const {
  if (outputs_.size() != 1 || outputs_[0].shape.rank() == 0 || outputs_[0].shape.back() < 3) return std::nullopt;
  const std::int64_t length = outputs_[0].shape.back();
  for (std::int64_t line = 0; line < rows_; line += length) {
    bool any = false;
    std::int64_t pivot = line;
    for (std::int64_t o = line; o < line + length; ++o) {
      if (std::fabs(output_[o]) > std::fabs(output_[pivot])) pivot = o;
    }
    if (output_[pivot] == 0) return std::nullopt;
    for (std::int64_t e = 0; e < columns_; ++e) {
      const double common = (claimed_[pivot][e] - true_[pivot][e]) / output_[pivot];
      for (std::int64_t o = line; o < line + length; ++o) {
        if (!same(claimed_[o][e], true_[o][e] + common * output_[o], bars_[o][e] + bars_[pivot][e]))
          return std::nullopt;
      }
      any |= !same(0, common * output_[pivot], bars_[pivot][e]);
    }
    if (!any) return std::nullopt;  // not a term that is missing everywhere
  }
  return about(
      Cause::missing_output_term,
      "the difference is what the upstream gradient and the output have in common on each line, times something "
      "the same for the whole line: the term with sum(output * upstream gradient) is missing or wrong");
}

/// Nothing is lost, and what no output may see arrives from all the earlier ones.
std::optional<Finding> Jacobians::sees_the_future() const {
  if (outputs_.size() != 1 || outputs_[0].shape.rank() < 2 || input_shape_.rank() < 2) return std::nullopt;
  const int out_axis = outputs_[0].shape.rank() - 2, in_axis = input_shape_.rank() - 2;
  std::int64_t leaks = 0, pairs = 0;
  for (std::int64_t o = 0; o < rows_; ++o) {
    for (std::int64_t e = 0; e < columns_; ++e) {
      const bool later = coordinate(input_shape_, e, in_axis) > coordinate(outputs_[0].shape, o, out_axis);
      const Entry kind = entry(o, e);
      if (kind == Entry::missing || (kind == Entry::invented && !later)) return std::nullopt;
      if (later && !same(0, true_[o][e], bars_[o][e])) return std::nullopt;
      pairs += later;
      leaks += kind == Entry::invented;
    }
  }
  if (leaks == 0 || 4 * leaks < pairs) return std::nullopt;
  return about(
      Cause::wrong_where,
      "gradient arrives from earlier positions, which cannot see the element: the causal mask is missing where "
      "backward computes the weights");
}

std::optional<Finding> Jacobians::factor_by_output() const {
  for (const auto& [name, factor] : by_output_) {
    const double spread =
        *std::max_element(factor.begin(), factor.end()) - *std::min_element(factor.begin(), factor.end());
    if (!(spread > 1e-6)) continue;
    for (const bool missing : {true, false}) {
      bool fits = true;
      for (std::int64_t o = 0; fits && o < rows_; ++o) {
        for (std::int64_t e = 0; fits && e < columns_; ++e) {
          const double more = missing ? claimed_[o][e] * factor[o] : claimed_[o][e],
                       less = missing ? true_[o][e] : true_[o][e] * factor[o];
          fits = same(more, less, bars_[o][e] * std::max(1.0, std::fabs(factor[o])));
        }
      }
      if (fits) {
        return about(Cause::missing_factor, missing ? fmt::format("the factor {} is missing", name)
                                                    : fmt::format("there is a factor {} too much", name));
      }
    }
  }
  return std::nullopt;
}

}  // namespace gradus::testing
