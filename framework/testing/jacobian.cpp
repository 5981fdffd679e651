#include "framework/testing/jacobian.h"

#include <set>

#include "framework/autograd/modes.h"
#include "framework/tensor/creation.h"

namespace gradus::testing {
namespace {

constexpr std::int64_t most_entries = 20000;

Hint about(Cause cause, std::string sentence) {
  return {.cause = cause, .input = "", .sentence = std::move(sentence), .share = 1};
}

}  // namespace

std::int64_t coordinate(const Shape& shape, std::int64_t element, int axis) {
  for (int a = shape.rank() - 1; a > axis; --a) element /= shape[a];
  return element % shape[axis];
}

std::string place_of(const Shape& shape, std::int64_t element) {
  std::string text;
  for (int axis = 0; axis < shape.rank(); ++axis)
    text += (axis ? "," : "") + std::to_string(coordinate(shape, element, axis));
  return "[" + text + "]";
}

Numbers broadcast_values(const Tensor& tensor, const Shape& shape) {
  if (!tensor.defined() || tensor.rank() > shape.rank()) return {};
  const int lead = shape.rank() - tensor.rank();
  for (int axis = 0; axis < tensor.rank(); ++axis) {
    if (tensor.shape()[axis] != shape[axis + lead] && tensor.shape()[axis] != 1) return {};
  }
  const Numbers values = tensor.to_vector<double>();
  Numbers result(static_cast<std::size_t>(shape.numel()));
  for (std::int64_t e = 0; e < shape.numel(); ++e) {
    std::int64_t from = 0;
    for (int axis = 0; axis < tensor.rank(); ++axis) {
      from = from * tensor.shape()[axis] + (tensor.shape()[axis] == 1 ? 0 : coordinate(shape, e, axis + lead));
    }
    result[e] = values[from];
  }
  return result;
}

std::optional<Jacobians> Jacobians::find(const Subject& subject, Line& line, const Tensors& cotangents,
                                         std::size_t input) {
  Jacobians found;
  const Tensor& x = line.inputs()[input];
  found.input_shape_ = x.shape();
  found.columns_ = x.numel();
  for (std::size_t k = 0; k < line.outputs().size(); ++k) {
    if (!cotangents[k].defined()) continue;
    const std::string name = k < subject.outputs.size() ? subject.outputs[k] : fmt::format("output {}", k);
    found.outputs_.push_back({name, line.outputs()[k].shape(), found.rows_});
    found.rows_ += line.outputs()[k].numel();
  }
  if (found.rows_ * found.columns_ > most_entries || found.rows_ == 0) return std::nullopt;
  found.true_.assign(found.rows_, Numbers(found.columns_));
  found.bars_ = found.claimed_ = found.true_;
  for (std::int64_t e = 0; e < found.columns_; ++e) {
    const Line::Column column = line.column(input, e);
    for (std::int64_t o = 0; o < found.rows_; ++o) {
      found.true_[o][e] = column.value[o];
      found.bars_[o][e] = column.bar[o];
      if (!std::isfinite(column.value[o])) return std::nullopt;
      found.scale_ = std::max(found.scale_, std::fabs(column.value[o]));
    }
  }
  std::int64_t row = 0;
  for (std::size_t k = 0; k < cotangents.size(); ++k) {
    if (!cotangents[k].defined()) continue;
    for (std::int64_t o = 0; o < cotangents[k].numel(); ++o, ++row) {
      Tensors units;
      for (std::size_t l = 0; l < cotangents.size(); ++l) {
        if (!cotangents[l].defined()) {
          units.emplace_back();
          continue;
        }
        Numbers values(static_cast<std::size_t>(cotangents[l].numel()), 0.0);
        if (l == k) values[o] = 1;
        units.push_back(from_values(cotangents[l].shape(), values, cotangents[l].dtype()));
      }
      found.claimed_[row] = numbers_of(subject.backward(line.inputs(), units)[input], found.columns_);
    }
  }
  if (found.outputs_.size() == 1) {
    const Shape& shape = found.outputs_[0].shape;
    const auto offer = [&](const std::string& name, const Numbers& values) {
      if (!values.empty()) found.by_output_.emplace_back(name, values);
    };
    for (std::size_t j = 0; j < line.inputs().size(); ++j) {
      if (line.inputs()[j].defined() && line.inputs()[j].rank() > 0)
        offer("'" + subject.inputs[j] + "'", broadcast_values(line.inputs()[j], shape));
    }
    const Numbers y = line.outputs()[0].to_vector<double>();
    Numbers one_minus = y;
    for (double& value : one_minus) value = 1 - value;
    offer("the output", y);
    offer("(1 - output)", one_minus);
  }
  return found;
}

bool Jacobians::same(double claimed, double expected, double bar) const {
  return std::fabs(claimed - expected) <= 20 * bar + 1e-8 * scale_;
}

Jacobians::Entry Jacobians::entry(std::int64_t out, std::int64_t in) const {
  const double expected = true_[out][in], claimed = claimed_[out][in], bar = bars_[out][in];
  const bool no_true = same(0, expected, bar), no_claim = std::fabs(claimed) <= 1e-12 * scale_;
  if (no_true && no_claim) return Entry::both_zero;
  if (same(claimed, expected, bar)) return Entry::equal;
  return no_claim ? Entry::missing : no_true ? Entry::invented : Entry::different;
}

std::optional<Hint> Jacobians::hint() const {
  for (const auto hypothesis :
       {&Jacobians::one_output_not_used, &Jacobians::two_outputs_swapped, &Jacobians::only_missing,
        &Jacobians::only_invented, &Jacobians::upstream_elsewhere, &Jacobians::factor_by_output}) {
    if (std::optional<Hint> found = (this->*hypothesis)()) return found;
  }
  return std::nullopt;
}

std::optional<Hint> Jacobians::one_output_not_used() const {
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

std::optional<Hint> Jacobians::two_outputs_swapped() const {
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

std::optional<Hint> Jacobians::only_missing() const {
  std::vector<std::pair<std::int64_t, std::int64_t>> kept, missing;  // (output element, input element)
  for (std::int64_t o = 0; o < rows_; ++o) {
    for (std::int64_t e = 0; e < columns_; ++e) {
      const Entry kind = entry(o, e);
      if (kind == Entry::invented || kind == Entry::different) return std::nullopt;
      if (kind == Entry::equal) kept.emplace_back(o, e);
      if (kind == Entry::missing) missing.emplace_back(o, e);
    }
  }
  if (kept.empty() || missing.empty()) return std::nullopt;
  if (rows_ == columns_ &&
      std::all_of(kept.begin(), kept.end(), [](const auto& at) { return at.first == at.second; }) &&
      std::all_of(missing.begin(), missing.end(), [](const auto& at) { return at.first != at.second; })) {
    return about(Cause::diagonal_only,
                 "each element gets the part of its own output alone; the other outputs that depend on it are left out "
                 "(the diagonal of the Jacobian only)");
  }
  for (const Output& output : outputs_) {
    for (int axis = 0; outputs_.size() == 1 && axis < output.shape.rank(); ++axis) {
      std::set<std::int64_t> used, lost;
      for (const auto& [o, e] : kept) used.insert(coordinate(output.shape, o - output.begin, axis));
      for (const auto& [o, e] : missing) lost.insert(coordinate(output.shape, o - output.begin, axis));
      if (std::any_of(lost.begin(), lost.end(), [&](std::int64_t at) { return used.contains(at); })) continue;
      if (used.size() == 1) {
        return about(
            Cause::slice_for_sum,
            fmt::format(
                "it is slice {} of the upstream gradient along axis {} (size {}): the sum over that axis is missing",
                *used.begin(), axis, output.shape[axis]));
      }
      return about(
          Cause::some_parts,
          fmt::format(
              "the upstream gradient counts at {} of {} places along axis {} only, the first that is lost is {}",
              used.size(), used.size() + lost.size(), axis, *lost.begin()));
    }
  }
  // The same element used several times.
  std::vector<std::int64_t> first_kept(columns_, rows_), last_kept(columns_, -1), first_lost(columns_, rows_),
      last_lost(columns_, -1);
  for (const auto& [o, e] : kept) {
    first_kept[e] = std::min(first_kept[e], o);
    last_kept[e] = std::max(last_kept[e], o);
  }
  for (const auto& [o, e] : missing) {
    first_lost[e] = std::min(first_lost[e], o);
    last_lost[e] = std::max(last_lost[e], o);
  }
  bool last = true, first = true;
  std::int64_t example = -1;
  for (std::int64_t e = 0; e < columns_; ++e) {
    if (last_lost[e] < 0) continue;
    example = e;
    last &= last_kept[e] >= 0 && first_kept[e] > last_lost[e];
    first &= last_kept[e] >= 0 && last_kept[e] < first_lost[e];
  }
  if (!last && !first) return std::nullopt;
  return about(Cause::last_use_only, fmt::format("elements that are used more than once, as {}, get the gradient of "
                                                 "their {} use only: `=` where `+=` is needed",
                                                 place_of(input_shape_, example), last ? "last" : "first"));
}

std::optional<Hint> Jacobians::only_invented() const {
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
      fmt::format("gradient arrives from outputs that do not depend on the element, as {}{} on {}: {}", output.name,
                  place_of(output.shape, example_out - output.begin), place_of(input_shape_, example_in),
                  later ? "always from an earlier position, so the causal mask is missing in backward"
                        : "a mask or a boundary of forward is missing in backward"));
}

std::optional<Hint> Jacobians::upstream_elsewhere() const {
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

std::optional<Hint> Jacobians::factor_by_output() const {
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
