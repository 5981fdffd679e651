#include "framework/testing/line.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "framework/autograd/modes.h"
#include "framework/kernels/cpu/copy.h"
#include "framework/ops/decisions.h"
#include "framework/testing/numbers.h"

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
    double squares = 0;
    std::int64_t finite = 0;
    for (double value : base_.back()) {
      if (!std::isfinite(value)) continue;
      squares += value * value;
      ++finite;
    }
    typical_.push_back(squares > 0 ? std::sqrt(squares / double(finite)) : 1);
  }
  const DecisionScope decisions;
  const NoGradScope no_grad;
  outputs_ = subject_.forward(clones(inputs_));
  base_decisions_ = decisions.hash();
  for (const Tensor& output : outputs_) {
    base_outputs_.push_back(is_checked(output) ? output.to_vector<double>() : std::vector<double>{});
    half_unit_.push_back(is_checked(output) ? unit_roundoff_of(output.dtype()) : 0);
  }
  for (Tensor& output : outputs_)
    output = output.defined() ? cpu::clone(output) : output;  // a view of an input moves with it
}

void Line::set_cotangents(const Tensors& cotangents) {
  cotangents_.clear();
  double squares = 0, size = 0, upstream = 0;
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    cotangents_.push_back(cotangents[k].defined() ? cotangents[k].to_vector<double>() : std::vector<double>{});
    for (std::size_t e = 0; e < cotangents_[k].size(); ++e) {
      const double term = cotangents_[k][e] * base_outputs_[k][e];
      if (!std::isfinite(term)) continue;
      upstream += cotangents_[k][e] * cotangents_[k][e];
      size += term * term;
      squares += half_unit_[k] * half_unit_[k] * term * term;
    }
  }
  output_quantum_ = std::sqrt(squares);
  output_size_ = std::sqrt(size > 0 ? size : upstream);
}

void Line::move(const Direction& direction, double t, double& moved) {
  const std::vector<double>& from = base_[direction.input];
  visit_elements(inputs_[direction.input], [&]<class T>(T* x) {
    for (std::int64_t e = direction.begin; e < direction.end; ++e)
      x[e] = T(from[e] + (direction.signs && (*direction.signs)[e] < 0 ? -t : t));
    moved = t;
    if (direction.end - direction.begin == 1) {
      const double change = double(x[direction.begin]) - from[direction.begin];
      moved = direction.signs && (*direction.signs)[direction.begin] < 0 ? -change : change;
    }
  });
}

void Line::restore(const Direction& direction) {
  visit_elements(inputs_[direction.input], [&]<class T>(T* x) {
    for (std::int64_t e = direction.begin; e < direction.end; ++e) x[e] = T(base_[direction.input][e]);
  });
}

Tensors Line::evaluate(std::uint64_t& decisions) {
  ++evaluations_;
  const NoGradScope no_grad;
  const DecisionScope scope;
  Tensors outputs = subject_.forward(inputs_);
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    if (!base_outputs_[k].empty()) outputs[k] = cpu::contiguous(outputs[k]);
  }
  decisions = scope.hash();
  return outputs;
}

Evaluation Line::at(const Direction& direction, double t) {
  Evaluation result;
  move(direction, t, result.moved);
  std::uint64_t decisions = 0;
  Tensors outputs;
  try {
    outputs = evaluate(decisions);
  } catch (...) {
    restore(direction);
    throw;
  }
  result.valid = decisions == base_decisions_;
  double squares = 0;
  for (std::size_t k = 0; k < cotangents_.size(); ++k) {
    if (cotangents_[k].empty()) continue;
    visit_elements(outputs[k], [&]<class T>(const T* y) {
      for (std::size_t e = 0; e < cotangents_[k].size(); ++e) {
        const double now = y[e], before = base_outputs_[k][e];
        if (now == before || (std::isnan(now) && std::isnan(before))) continue;
        const double term = cotangents_[k][e] * (now - before),
                     quantum = half_unit_[k] * cotangents_[k][e] * std::max(std::fabs(now), std::fabs(before));
        result.value += term;
        result.magnitude += std::fabs(term);
        squares += quantum * quantum;
      }
    });
  }
  restore(direction);
  result.quantum = std::sqrt(squares);
  result.valid &= std::isfinite(result.value) && std::isfinite(result.quantum);
  return result;
}

Derivative Line::derivative(const Direction& direction, double good_enough, Effort effort) {
  const Curve curve = [&](double t) { return at(direction, t); };
  const bool single = direction.end - direction.begin == 1;
  const double typical = typical_[direction.input],
               own = single ? std::fabs(base_[direction.input][direction.begin]) : typical;
  const double noise_step = inputs_[direction.input].dtype() == DType::f64 ? 0x1p-46 : 0x1p-17;
  DerivativeOptions options{.good_enough = good_enough, .output_quantum = output_quantum_, .effort = effort};
  options.scale = own > 0 ? own : typical;
  options.noise_step = options.scale * noise_step;
  const Derivative first = differentiate(curve, options);
  const bool settled = first.conclusive && first.bar <= std::max(good_enough, 1e-8 * std::fabs(first.value));
  if (settled || !(own < 0.1 * typical)) return first;
  options.scale = typical;
  options.noise_step = typical * noise_step;
  const Derivative second = differentiate(curve, options);
  return second.conclusive && (!first.conclusive || second.bar < first.bar) ? second : first;
}

Derivative Line::quick_derivative(const Direction& direction, double good_enough, double noise) {
  return differentiate(
      [&](double t) { return at(direction, t); },
      {.scale = typical_[direction.input], .good_enough = good_enough, .noise = noise, .effort = Effort::quick});
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
      move(direction, t, moved[t]);
      std::uint64_t decisions = 0;
      const Tensors outputs = evaluate(decisions);
      for (std::size_t k = 0; k < base_outputs_.size(); ++k)
        place->second.first.push_back(base_outputs_[k].empty() ? std::vector<double>{}
                                                               : outputs[k].to_vector<double>());
      place->second.second = decisions == base_decisions_;
      restore(direction);
    }
    return place->second;
  };
  const double own = std::fabs(base_[input][element]), scale = own > 0.01 * typical_[input] ? own : typical_[input];
  const double noise_step = scale * (inputs_[input].dtype() == DType::f64 ? 0x1p-46 : 0x1p-17);
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
        result.quantum = half_unit_[k] * std::max(std::fabs(now), std::fabs(before));
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
