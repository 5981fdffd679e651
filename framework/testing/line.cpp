#include "framework/testing/line.h"

#include <algorithm>
#include <cmath>

#include "framework/autograd/modes.h"
#include "framework/kernels/cpu/copy.h"
#include "framework/ops/decisions.h"
#include "framework/random/generator.h"
#include "framework/tensor/creation.h"
#include "framework/testing/numbers.h"
#include "framework/testing/step_sweep.h"

namespace gradus::testing {
namespace {

double unit_roundoff_of(DType dtype) { return dtype == DType::f64 ? 0x1p-53 : 0x1p-24; }

bool is_checked(const Tensor& tensor) {
  return tensor.defined() && (tensor.dtype() == DType::f64 || tensor.dtype() == DType::f32);
}

template <class Body>
void visit_elements(const Tensor& tensor, Body&& body) {
  if (tensor.dtype() == DType::f64) body(tensor.mutable_data<double>());
  else body(tensor.mutable_data<float>());
}

}  // namespace

Line::Line(const Subject& subject, const Tensors& inputs) : subject_(subject) {
  for (const Tensor& input : inputs) {
    inputs_.push_back(input.defined() ? cpu::clone(input) : Tensor());
    base_.push_back(is_checked(input) ? input.to_vector<double>() : std::vector<double>{});
    long double squares = 0;  // numbers beyond 1e154 have none in double
    std::int64_t finite = 0;
    for (const long double value : base_.back()) {
      if (!std::isfinite(value)) continue;
      squares += value * value;
      ++finite;
    }
    typical_.push_back(squares > 0 ? static_cast<double>(std::sqrt(squares / finite)) : 1);
  }
  const DecisionScope decisions;
  const NoGradScope no_grad;
  outputs_ = subject_.forward(clones(inputs_));
  base_decisions_ = decisions.hash();
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    const Tensor& output = outputs_[k];
    base_outputs_.push_back(is_checked(output) ? output.to_vector<double>() : std::vector<double>{});
    const double declared = k < subject.accuracy.size() ? subject.accuracy[k] : 0;
    half_unit_.push_back(is_checked(output) ? unit_roundoff_of(output.dtype()) : 0);
    smallest_unit_.push_back(declared * largest_magnitude(base_outputs_.back()));
  }
  for (Tensor& output : outputs_)
    output = output.defined() ? cpu::clone(output) : output;  // a view of an input moves with it
}

void Line::set_cotangents(const Tensors& cotangents) {
  cotangents_.clear();
  moving_quanta_.clear();
  long double size = 0, upstream = 0;
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    cotangents_.push_back(cotangents[k].defined() ? cotangents[k].to_vector<double>() : std::vector<double>{});
    for (std::size_t e = 0; e < cotangents_[k].size(); ++e) {
      const long double term = static_cast<long double>(cotangents_[k][e]) * base_outputs_[k][e];
      if (!std::isfinite(term)) continue;
      upstream += cotangents_[k][e] * cotangents_[k][e];
      size += term * term;
    }
  }
  output_size_ = static_cast<double>(std::sqrt(size > 0 ? size : upstream));
}

double Line::move(const Direction& direction, double t) {
  const std::vector<double>& from = base_[direction.input];
  double moved = t;
  visit_elements(inputs_[direction.input], [&]<class T>(T* x) {
    for (std::int64_t e = direction.begin; e < direction.end; ++e)
      x[e] = T(from[e] + direction.sign(e) * t);
    if (direction.end - direction.begin == 1) {
      moved = direction.sign(direction.begin) * (double(x[direction.begin]) - from[direction.begin]);
    }
  });
  return moved;
}

void Line::restore(const Direction& direction) {
  visit_elements(inputs_[direction.input], [&]<class T>(T* x) {
    for (std::int64_t e = direction.begin; e < direction.end; ++e) x[e] = T(base_[direction.input][e]);
  });
}

Tensors Line::outputs_of(const Tensors& inputs) {
  ++evaluations_;
  const NoGradScope no_grad;
  Tensors outputs = subject_.forward(inputs);
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    if (!base_outputs_[k].empty()) outputs[k] = cpu::contiguous(outputs[k]);
  }
  return outputs;
}

bool Line::can_move(std::size_t input, std::int64_t element) const {
  const double value = base_[input][element];
  const Range range = input < subject_.ranges.size() ? subject_.ranges[input] : Range{};
  const double margin = 0x1p-16 * (range.high - range.low);
  return std::isfinite(value) && (!range.holds(value) || (range.holds(value - margin) && range.holds(value + margin)));
}

/// Elements that are in their range to begin with stay there.
bool Line::leaves_range(const Direction& direction, double t) const {
  if (direction.input >= subject_.ranges.size() || !subject_.ranges[direction.input].is_declared()) return false;
  const Range& range = subject_.ranges[direction.input];
  for (std::int64_t e = direction.begin; e < direction.end; ++e) {
    const double before = base_[direction.input][e], now = before + direction.sign(e) * t;
    if (range.holds(before) && !range.holds(now)) return true;
  }
  return false;
}

std::optional<Tensors> Line::evaluate(const Direction& direction, double t, double& moved, std::uint64_t& decisions) {
  moved = t;
  if (leaves_range(direction, t)) return std::nullopt;
  moved = move(direction, t);
  const DecisionScope scope;
  std::optional<Tensors> outputs = unless_refused(subject_, [&] { return outputs_of(inputs_); });
  decisions = scope.hash();
  return outputs;
}

Evaluation Line::at(const Direction& direction, double t) {
  Evaluation result;
  std::uint64_t decisions = 0;
  const Displacement displacement(*this, direction);
  const std::optional<Tensors> outputs = evaluate(direction, t, result.moved, decisions);
  if (!outputs) {
    result.value = std::nan("");
    result.valid = false;
    return result;
  }
  result.valid = decisions == base_decisions_;
  long double squares = 0, sizes = 0, units_at_0 = 0;
  for (std::size_t k = 0; k < cotangents_.size(); ++k) {
    if (cotangents_[k].empty()) continue;
    visit_elements((*outputs)[k], [&]<class T>(const T* y) {
      for (std::size_t e = 0; e < cotangents_[k].size(); ++e) {
        const double now = y[e], before = base_outputs_[k][e], upstream = cotangents_[k][e];
        if (now == before || upstream == 0 || (std::isnan(now) && std::isnan(before))) continue;
        const double term = upstream * (now - before);
        const long double size = static_cast<long double>(upstream) * std::max(std::fabs(now), std::fabs(before));
        result.value += term;
        result.magnitude += std::fabs(term);
        sizes += size * size;
        const long double least = smallest_unit_[k] * std::fabs(upstream), unit = std::max(half_unit_[k] * std::fabs(size), least),
                          unit_at_0 = std::max<long double>(half_unit_[k] * std::fabs(upstream * before), least);
        squares += unit * unit;
        units_at_0 += unit_at_0 * unit_at_0;
      }
    });
  }
  result.quantum = static_cast<double>(std::sqrt(squares));
  result.size = static_cast<double>(std::sqrt(sizes));
  result.unit_at_0 = static_cast<double>(std::sqrt(units_at_0));
  result.valid &= std::isfinite(result.value) && std::isfinite(result.quantum);
  return result;
}

/// Relative to the size of a number. No power of two, on which products round less than elsewhere.
double Line::noise_spacing(std::size_t input) const {
  return inputs_[input].dtype() == DType::f64 ? 0x1.8p-47 : 0x1.8p-18;
}

double Line::largest_jump(const Direction& direction) {
  return largest_jump_nearby([&](double t) { return at(direction, t); },
                             std::max(typical_[direction.input], std::fabs(base_[direction.input][direction.begin])));
}

Derivative Line::derivative(const Direction& direction, double good_enough, Effort effort, double noise) {
  const Curve curve = [&](double t) { return at(direction, t); };
  const bool single = direction.end - direction.begin == 1;
  const double typical = typical_[direction.input],
               own = single ? std::fabs(base_[direction.input][direction.begin]) : typical;
  DerivativeOptions options{.good_enough = good_enough, .output_quantum = moving_quantum(direction.input), .noise = noise, .effort = effort};
  const auto with_scale = [&](double scale) {
    options.scale = scale;
    options.noise_step = scale * noise_spacing(direction.input);
    return differentiate(curve, options);
  };
  options.smallest_step = 4 * unit_roundoff_of(inputs_[direction.input].dtype()) * (single ? own : typical);
  if (effort == Effort::thorough) return with_scale(std::max(own, typical));
  const Derivative first = with_scale(own > 0 ? own : typical);
  const bool settled =
      first.conclusive && !first.constant && first.bar <= std::max(good_enough, 1e-8 * std::fabs(first.value));
  if (settled || !(own < 0.1 * typical)) return first;
  const Derivative second = with_scale(typical);
  return second.conclusive && (!first.conclusive || second.bar < first.bar) ? second : first;
}

bool Line::reaches_unbounded(const Direction& direction) {
  const double scale = std::max(typical_[direction.input], std::fabs(base_[direction.input][direction.begin]));
  for (double share = 0.5; share > 0x1p-24; share /= 2) {
    for (const double side : {1.0, -1.0}) {
      double moved = 0;
      std::uint64_t decisions = 0;
      const Displacement displacement(*this, direction);
      const std::optional<Tensors> outputs = evaluate(direction, side * share * scale, moved, decisions);
      if (!outputs) continue;
      for (std::size_t k = 0; k < outputs_.size(); ++k) {
        if (base_outputs_[k].empty()) continue;
        const Numbers now = (*outputs)[k].to_vector<double>();
        for (std::size_t e = 0; e < now.size(); ++e) {
          const double before = base_outputs_[k][e];
          if (!std::isfinite(before) && now[e] != before && !(std::isnan(now[e]) && std::isnan(before)))
            return true;
        }
      }
    }
  }
  return false;
}

bool Line::moves_elsewhere(std::size_t input) {
  const Range range = input < subject_.ranges.size() ? subject_.ranges[input] : Range{};
  const auto with_values = [&](const Numbers& values) {
    Tensors inputs = inputs_;
    inputs[input] = from_values(inputs_[input].shape(), values, inputs_[input].dtype());
    return outputs_of(inputs);
  };
  const auto differ = [&](const Tensors& here, const Tensors& there) {
    for (std::size_t k = 0; k < outputs_.size(); ++k) {
      if (cotangents_[k].empty()) continue;
      const Numbers a = here[k].to_vector<double>(), b = there[k].to_vector<double>();
      for (std::size_t e = 0; e < a.size(); ++e) {
        if (a[e] != b[e] && std::isfinite(a[e]) && std::isfinite(b[e])) return true;
      }
    }
    return false;
  };
  for (int trial = 0; trial < 12; ++trial) {
    StreamReader reader(7, static_cast<std::uint64_t>(trial));
    Numbers there = base_[input];
    for (double& value : there) {
      const double factor = std::ldexp(trial % 2 ? -1.0 : 1.0, trial / 2) * (0.5 + reader.next_uniform());
      value = range.is_declared() && trial < 6 ? range.low + reader.next_uniform() * (range.high - range.low)
                                               : factor * (value != 0 ? value : typical_[input]);
    }
    Numbers near = there;
    for (double& value : near) value *= 1.001;
    const bool is_outside = range.is_declared() && trial >= 6;
    try {
      if (differ(with_values(there), with_values(near))) return true;
    } catch (const Error& error) {
      if (!is_outside && (!subject_.is_refusal || !subject_.is_refusal(error))) throw;
    }
  }
  return false;
}

Derivative Line::quick_derivative(const Direction& direction, double good_enough, double noise) {
  return differentiate(
      [&](double t) { return at(direction, t); },
      {.scale = typical_[direction.input], .good_enough = good_enough, .noise = noise, .effort = Effort::quick});
}

double Line::moving_quantum(std::size_t input) {
  const auto [found, is_new] = moving_quanta_.try_emplace(input, 0);
  if (!is_new) return found->second;
  std::vector<std::vector<bool>> moves;
  for (const auto& values : base_outputs_) moves.emplace_back(values.size(), false);
  const auto note = [&](const std::optional<Tensors>& outputs) {
    for (std::size_t k = 0; outputs && k < moves.size(); ++k) {
      if (base_outputs_[k].empty()) continue;
      const Numbers now = (*outputs)[k].to_vector<double>();
      for (std::size_t e = 0; e < now.size(); ++e)
        moves[k][e] = moves[k][e] || (now[e] != base_outputs_[k][e] && !std::isnan(now[e]));
    }
  };
  const Range range = input < subject_.ranges.size() ? subject_.ranges[input] : Range{};
  // By its size, by less, and by ever more: what stands still beside a small number may not beside a large one.
  const double typical = typical_[input];
  std::vector<double> sizes = {typical, typical / 64, typical, typical * 0x1p10};
  if (!subject_.own_process) sizes.insert(sizes.end(), {typical * 0x1p30, typical * 0x1p100, typical * 0x1p300, typical * 0x1p900, 1e300});
  for (std::size_t trial = 0; trial < sizes.size(); ++trial) {
    StreamReader reader(11, trial);
    if (range.is_declared()) {
      Tensors inputs = inputs_;
      Numbers values = base_[input];
      for (double& value : values) value = range.low + reader.next_uniform() * (range.high - range.low);
      inputs[input] = from_values(inputs_[input].shape(), values, inputs_[input].dtype());
      note(unless_refused(subject_, [&] { return outputs_of(inputs); }));
      continue;
    }
    auto signs = std::make_shared<std::vector<std::int8_t>>(base_[input].size());
    for (std::int8_t& sign : *signs) sign = reader.next_integer(0, 1) ? 1 : -1;
    const Direction direction{input, 0, static_cast<std::int64_t>(signs->size()), signs};
    const Displacement displacement(*this, direction);
    double moved = 0;
    std::uint64_t decisions = 0;
    note(evaluate(direction, sizes[trial], moved, decisions));
  }
  const bool any = std::any_of(moves.begin(), moves.end(), [](const std::vector<bool>& of_output) {
    return std::find(of_output.begin(), of_output.end(), true) != of_output.end();
  });
  long double squares = 0;
  for (std::size_t k = 0; k < moves.size(); ++k) {
    for (std::size_t e = 0; e < moves[k].size() && !cotangents_[k].empty(); ++e) {
      const long double upstream = std::fabs(cotangents_[k][e]),
                        unit = upstream * std::max(half_unit_[k] * std::fabs(base_outputs_[k][e]), smallest_unit_[k]);
      if ((moves[k][e] || !any) && std::isfinite(unit)) squares += unit * unit;
    }
  }
  return found->second = static_cast<double>(std::sqrt(squares));
}

double Line::unresolved_gradient(std::size_t input, std::int64_t element) {
  return 4 * moving_quantum(input) / std::max(typical_[input], std::fabs(base_[input][element]));
}

double Line::negligible_gradient(std::size_t input) const {
  return 256 * unit_roundoff_of(inputs_[input].dtype()) * output_size_ / typical_[input];
}

std::int64_t Line::output_elements() const {
  std::int64_t count = 0;
  for (const auto& values : base_outputs_) count += static_cast<std::int64_t>(values.size());
  return count;
}

Line::Column Line::column(std::size_t input, std::int64_t element) {
  // Every output has its own ladder, and all ladders ask for nearly the same steps: the function is evaluated once for
  // each.
  std::map<double, std::pair<Values, bool>> seen;
  const Direction direction{input, element, element + 1};
  std::map<double, double> moved;
  const auto values_at = [&](double t) -> const std::pair<Values, bool>& {
    const auto [place, is_new] = seen.try_emplace(t);
    if (is_new) {
      std::uint64_t decisions = 0;
      const Displacement displacement(*this, direction);
      const std::optional<Tensors> outputs = evaluate(direction, t, moved[t], decisions);
      for (std::size_t k = 0; k < base_outputs_.size(); ++k) {
        Numbers values = outputs && !base_outputs_[k].empty() ? (*outputs)[k].to_vector<double>() : Numbers{};
        place->second.first.push_back(outputs ? values : Numbers(base_outputs_[k].size(), std::nan("")));
      }
      place->second.second = outputs && decisions == base_decisions_;
    }
    return place->second;
  };
  const double own = std::fabs(base_[input][element]), scale = own > 0.01 * typical_[input] ? own : typical_[input];
  const double noise_step = scale * noise_spacing(input);
  Column column;
  for (std::size_t k = 0; k < base_outputs_.size(); ++k) {
    for (std::size_t e = 0; e < base_outputs_[k].size(); ++e) {
      const double before = base_outputs_[k][e];
      const Curve curve = [&](double t) {
        const auto& [values, same_branch] = values_at(t);
        const double now = values[k][e];
        Evaluation result{.moved = moved[t], .valid = same_branch};
        if (now == before || (std::isnan(now) && std::isnan(before))) return result;
        result.value = now - before;
        result.magnitude = std::fabs(result.value);
        result.size = std::max(std::fabs(now), std::fabs(before));
        result.quantum = std::max(half_unit_[k] * result.size, smallest_unit_[k]);
        result.unit_at_0 = std::max(half_unit_[k] * std::fabs(before), smallest_unit_[k]);
        result.valid &= std::isfinite(result.value);
        return result;
      };
      const Derivative found = differentiate(
          curve, {.scale = scale, .noise_step = noise_step, .output_quantum = half_unit_[k] * std::fabs(before)});
      column.value.push_back(found.conclusive ? found.value : std::nan(""));
      column.bar.push_back(found.constant ? 0 : found.bar);
    }
  }
  return column;
}

}  // namespace gradus::testing
