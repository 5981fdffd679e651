#include "framework/testing/contracts.h"

#include "framework/autograd/modes.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/tensor/creation.h"
#include "framework/testing/numbers.h"

namespace gradus::testing {
namespace {

class ContractChecker {
 public:
  ContractChecker(const Subject& subject, Line& line, const Tensors& cotangents, const Tensors& gradients,
                  const CheckOptions& options)
      : subject_(subject),
        line_(line),
        inputs_(line.inputs()),
        cotangents_(cotangents),
        options_(options),
        generator_(options.seed, 1u << 20) {
    yours_ = values_of(gradients);
  }

  std::vector<ContractReport> run() {
    inputs_unmodified();
    if (!broken()) same_again();
    if (!broken()) nothing_left_over();
    if (!broken()) same_for_any_thread_count();
    if (!broken()) linear();
    if (!broken()) missing_cotangent();
    if (!broken()) strided_inputs();
    return std::move(reports_);
  }

 private:
  using Values = std::vector<Numbers>;

  bool broken() const { return !reports_.empty() && !reports_.back().held; }
  void held(const char* name) { reports_.push_back({.name = name}); }
  void left_out(const char* name, const std::string& why) {
    reports_.push_back({.name = name, .finding = why, .skipped = true});
  }
  void broken_by(const char* name, Cause cause, const std::string& finding) {
    reports_.push_back({.name = name, .held = false, .finding = finding, .cause = cause});
  }

  Values values_of(const Tensors& gradients) const {
    Values values;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      values.push_back(subject_.differentiable[i] ? numbers_of(gradients[i], inputs_[i].numel()) : Numbers{});
    }
    return values;
  }
  Values gradients_at(const Tensors& inputs, const Tensors& cotangents) const {
    return values_of(subject_.backward(inputs, cotangents));
  }
  Tensors forward_at(const Tensors& inputs) const {
    const NoGradScope no_grad;
    return subject_.forward(inputs);
  }

  /// The first input whose two gradients differ by more than `relative` of their scale.
  int differing_input(const Values& a, const Values& b, double relative) const {
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (a[i].empty()) continue;
      const double scale = std::max(largest_magnitude(a[i]), largest_magnitude(b[i]));
      if (relative > 1e-12 && scale <= line_.negligible_gradient(i)) continue;  // rounding alone
      if (!(largest_difference(a[i], b[i]) <= relative * scale)) return static_cast<int>(i);
    }
    return -1;
  }
  double rounding(std::size_t i) const {
    return inputs_[i].dtype() == DType::f64 && subject_.backward_dtype == DType::f64 ? 1e-11 : 1e-4;
  }
  double rounding() const {
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      if (subject_.differentiable[i] && rounding(i) > 1e-6) return 1e-4;
    }
    return 1e-11;
  }

  /// Another point in the neighbourhood: floating inputs that are differentiated move by up to 3 %.
  Tensors nearby() {
    Tensors moved = clones(inputs_);
    for (std::size_t i = 0; i < moved.size(); ++i) {
      if (!subject_.differentiable[i]) continue;
      Numbers values = moved[i].to_vector<double>();
      const Numbers factors =
          random_uniform({moved[i].numel()}, generator_, DType::f64, 0.97, 1.03).to_vector<double>();
      for (std::size_t e = 0; e < values.size(); ++e) values[e] *= factors[e];
      moved[i] = from_values(moved[i].shape(), values, moved[i].dtype());
    }
    return moved;
  }

  void inputs_unmodified() {
    constexpr const char* name = "inputs unmodified";
    for (const bool in_backward : {false, true}) {
      const Tensors given = clones(inputs_), upstream = clones(cotangents_);
      if (in_backward) subject_.backward(given, upstream);
      else forward_at(given);
      for (std::size_t i = 0; i < given.size(); ++i) {
        if (same_bits(given[i], inputs_[i])) continue;
        return broken_by(
            name, Cause::modifies_input,
            fmt::format("{} changes its input '{}'", in_backward ? "backward" : "forward", subject_.inputs[i]));
      }
      for (std::size_t k = 0; k < upstream.size(); ++k) {
        if (!same_bits(upstream[k], cotangents_[k]))
          return broken_by(name, Cause::modifies_input, "backward changes the upstream gradient");
      }
    }
    held(name);
  }

  void same_again() {
    constexpr const char* name = "deterministic";
    Values calls[3];
    for (Values& call : calls) call = gradients_at(inputs_, cotangents_);
    for (std::size_t i = 0; i < yours_.size(); ++i) {
      const Numbers &second = calls[0][i], &third = calls[1][i], &fourth = calls[2][i];
      const bool settled = largest_difference(second, third) == 0 && largest_difference(third, fourth) == 0;
      if (settled && largest_difference(yours_[i], second) == 0) continue;
      if (settled) {
        return broken_by(name, Cause::stale_state,
                         fmt::format("the first call gives another gradient of '{}' than all later ones: they see what "
                                     "it left",
                                     subject_.inputs[i]));
      }
      Numbers grown = fourth;
      for (std::size_t e = 0; e < grown.size(); ++e) grown[e] = fourth[e] - third[e] - (third[e] - second[e]);
      if (largest_magnitude(grown) <= 1e-9 * largest_magnitude(fourth)) {
        return broken_by(name, Cause::stale_state,
                         fmt::format("every call adds to the gradient of '{}': something is left over from the call "
                                     "before (a buffer not cleared)",
                                     subject_.inputs[i]));
      }
      return broken_by(name, Cause::not_deterministic,
                       fmt::format("the same call gives another gradient of '{}'", subject_.inputs[i]));
    }
    const Tensors outputs = forward_at(inputs_), again = forward_at(inputs_);
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      if (!same_bits(outputs[k], again[k]))
        return broken_by(name, Cause::not_deterministic, "the same call gives another output");
    }
    held(name);
  }

  void nothing_left_over() {
    constexpr const char* name = "nothing left over from other calls";
    const Tensors elsewhere = nearby();
    forward_at(elsewhere);
    const Values after_forward = gradients_at(inputs_, cotangents_);
    if (const int i = differing_input(yours_, after_forward, 1e-13); i >= 0) {
      return broken_by(
          name, Cause::stale_state,
          fmt::format(
              "the gradient of '{}' changes when forward has run on other inputs in between: backward reads what the "
              "last forward saved, whatever call that was",
              subject_.inputs[i]));
    }
    const Values there = gradients_at(elsewhere, cotangents_);
    const Values after_backward = gradients_at(inputs_, cotangents_);
    if (const int i = differing_input(yours_, after_backward, 1e-13); i >= 0) {
      return broken_by(
          name, Cause::stale_state,
          fmt::format("the gradient of '{}' depends on the calls before: backward keeps something between calls",
                      subject_.inputs[i]));
    }
    // Kept since the very first call: right here, wrong at any other point.
    Line other(subject_, elsewhere);
    other.set_cotangents(cotangents_);
    Generator signs_from(options_.seed, 77);
    for (std::size_t i = 0; i < there.size(); ++i) {
      if (!subject_.differentiable[i] || there[i].empty()) continue;
      auto signs = std::make_shared<std::vector<std::int8_t>>();
      double along = 0, squares = 0, along_here = 0;
      StreamReader reader(options_.seed, 900 + i);
      for (std::size_t e = 0; e < there[i].size(); ++e) {
        signs->push_back(reader.next_integer(0, 1) == 0 ? -1 : 1);
        along += signs->back() * there[i][e];
        along_here += signs->back() * yours_[i][e];
        squares += there[i][e] * there[i][e];
      }
      const Direction direction{i, 0, static_cast<std::int64_t>(there[i].size()), signs};
      const double slack = 1e-5 * std::sqrt(squares);
      const auto fits = [&](const Derivative& derivative, double claimed) {
        return std::fabs(derivative.value - claimed) <= 10 * derivative.bar + slack;
      };
      const Derivative here = line_.derivative(direction, 0);
      if (!here.conclusive || !fits(here, along_here)) continue;
      Derivative expected = other.derivative(direction, 0);
      if (expected.conclusive && !fits(expected, along))
        expected = other.derivative(direction, 0, Line::Effort::thorough);
      if (!expected.conclusive || fits(expected, along)) continue;
      return broken_by(name, Cause::stale_state,
                       fmt::format("the gradient of '{}' is right at the first point and wrong at the next one ({:.6g} "
                                   "where {:.6g} is expected along a "
                                   "direction): backward uses tensors kept from an earlier call",
                                   subject_.inputs[i], along, expected.value));
    }
    held(name);
  }

  void same_for_any_thread_count() {
    constexpr const char* name = "same for 1 and 3 threads";
    if (subject_.own_process) return left_out(name, "a process of its own");
    for (const int count : {1, 3}) {
      const Values now = [&] {
        const cpu::SharingScope everything_is_shared(count);
        return gradients_at(inputs_, cotangents_);
      }();
      if (const int i = differing_input(yours_, now, 0); i >= 0) {
        return broken_by(name, Cause::not_deterministic,
                         fmt::format("the gradient of '{}' is another with {} threads", subject_.inputs[i], count));
      }
    }
    held(name);
  }

  Tensors scaled(const Tensors& cotangents, double factor) const {
    Tensors result;
    for (const Tensor& cotangent : cotangents) {
      if (!cotangent.defined()) {
        result.push_back(cotangent);
        continue;
      }
      Numbers values = cotangent.to_vector<double>();
      for (double& value : values) value *= factor;
      result.push_back(from_values(cotangent.shape(), values, cotangent.dtype()));
    }
    return result;
  }

  /// Zero but for the elements begin, begin + 2, ...
  static Tensors every_second(const Tensors& cotangents, std::size_t begin) {
    Tensors result;
    for (const Tensor& cotangent : cotangents) {
      result.push_back(cotangent);
      if (!cotangent.defined()) continue;
      Numbers values = cotangent.to_vector<double>();
      for (std::size_t e = 1 - begin; e < values.size(); e += 2) values[e] = 0;
      result.back() = from_values(cotangent.shape(), values, cotangent.dtype());
    }
    return result;
  }

  void linear() {
    constexpr const char* name = "linear in the upstream gradient";
    const Values of_zero = gradients_at(inputs_, scaled(cotangents_, 0)),
                 of_twice = gradients_at(inputs_, scaled(cotangents_, 2));
    Tensors other, sum;
    for (const Tensor& cotangent : cotangents_) {
      if (!cotangent.defined()) {
        other.push_back(cotangent);
        sum.push_back(cotangent);
        continue;
      }
      other.push_back(random_normal(cotangent.shape(), generator_, cotangent.dtype(), 0, options_.cotangent_scale));
      Numbers a = cotangent.to_vector<double>();
      const Numbers b = other.back().to_vector<double>();
      for (std::size_t e = 0; e < a.size(); ++e) a[e] += b[e];
      sum.push_back(from_values(cotangent.shape(), a, cotangent.dtype()));
    }
    const Values of_other = gradients_at(inputs_, other), of_sum = gradients_at(inputs_, sum);
    Values parts = gradients_at(inputs_, every_second(cotangents_, 0));
    const Values of_odd = gradients_at(inputs_, every_second(cotangents_, 1));
    for (std::size_t i = 0; i < yours_.size(); ++i) {
      if (yours_[i].empty() || !all_finite(yours_[i])) continue;  // what is not finite is said elsewhere
      // A sum's rounding is relative to the largest of its terms.
      const double scale =
          std::max({largest_magnitude(yours_[i]), largest_magnitude(of_other[i]), largest_magnitude(of_sum[i]),
                    largest_magnitude(parts[i]), largest_magnitude(of_odd[i])});
      const auto complain = [&](Cause cause, const std::string& what) {
        broken_by(name, cause, fmt::format("gradient of '{}': {}", subject_.inputs[i], what));
      };
      if (largest_magnitude(yours_[i]) > 0 && largest_difference(yours_[i], of_twice[i]) == 0 &&
          largest_difference(yours_[i], of_other[i]) <= 1e-14 * scale) {
        return complain(Cause::upstream_ignored,
                        "the same for every upstream gradient: the upstream gradient is ignored");
      }
      if (!(largest_difference(of_zero[i], Numbers(of_zero[i].size(), 0.0)) == 0))
        return complain(Cause::not_linear, "a zero upstream gradient gives something else than zero");
      Numbers twice = yours_[i], added = yours_[i];
      for (std::size_t e = 0; e < twice.size(); ++e) {
        twice[e] *= 2;
        added[e] += of_other[i][e];
      }
      const double slack = scale <= line_.negligible_gradient(i) ? 2 * scale : rounding(i) * scale;
      if (!(largest_difference(twice, of_twice[i]) <= slack))
        return complain(Cause::not_linear, "twice the upstream gradient does not give twice the gradient");
      const double off = largest_difference(added, of_sum[i]);
      const double unit = std::max(precision_of(yours_[i]), precision_of(of_other[i]));
      if (off > slack && off <= 8 * unit * scale) {
        return complain(Cause::rounded, fmt::format("the gradient of a sum of upstream gradients is the sum of their "
                                                    "gradients to {:.1g} only: something is rounded to {}",
                                                    off / scale, unit < 1e-4 ? "f32" : "bf16"));
      }
      for (std::size_t e = 0; e < twice.size(); ++e) parts[i][e] += of_odd[i][e];
      if (!(off <= slack) || !(largest_difference(parts[i], yours_[i]) <= slack)) {
        return complain(Cause::not_linear,
                        "the gradient of a sum of upstream gradients is not the sum of their gradients");
      }
    }
    held(name);
  }

  void missing_cotangent() {
    constexpr const char* name = "an output that nothing depends on";
    if (subject_.own_process) return left_out(name, "always given, as zeros");
    int floating = 0;
    for (const Tensor& cotangent : cotangents_) floating += cotangent.defined();
    if (floating < 2) return left_out(name, "one output");
    for (std::size_t k = 0; k < cotangents_.size(); ++k) {
      if (!cotangents_[k].defined()) continue;
      Tensors without = cotangents_, with_zero = cotangents_;
      without[k] = Tensor();
      with_zero[k] = zeros_like(cotangents_[k]);
      if (const int i = differing_input(gradients_at(inputs_, with_zero), gradients_at(inputs_, without), rounding());
          i >= 0) {
        return broken_by(name, Cause::upstream_partly_used,
                         fmt::format("gradient of '{}': no upstream gradient for output {} is not the same as zero",
                                     subject_.inputs[i], k));
      }
    }
    held(name);
  }

  void strided_inputs() {
    constexpr const char* name = "any memory layout";
    if (subject_.own_process) return left_out(name, "always contiguous");
    Tensors strange;
    bool any = false;
    for (const Tensor& input : inputs_) {
      if (!input.defined() || input.rank() == 0 || input.numel() < 2) {
        strange.push_back(input);
        continue;
      }
      Shape strides = Shape::filled(input.rank(), 0);  // axes reversed in memory, every second element, an offset
      std::int64_t step = 2;
      for (int axis = 0; axis < input.rank(); ++axis) {
        strides[axis] = step;
        step *= std::max<std::int64_t>(1, input.shape()[axis]);
      }
      const Tensor room = zeros({step + 3}, input.dtype()), view = room.window(input.shape(), strides, 3);
      cpu::copy(view, input);
      strange.push_back(view);
      any = true;
    }
    if (!any) return left_out(name, "scalars only");
    const Tensors outputs = forward_at(strange);
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      if (!cotangents_[k].defined()) continue;
      const Numbers now = outputs[k].to_vector<double>(), before = line_.outputs()[k].to_vector<double>();
      if (largest_difference(now, before) <= rounding() * largest_magnitude(before)) continue;
      return broken_by(name, Cause::memory_layout,
                       fmt::format("output {} is another when the inputs are transposed or strided in memory", k));
    }
    if (const int i = differing_input(yours_, gradients_at(strange, cotangents_), rounding()); i >= 0) {
      return broken_by(
          name, Cause::memory_layout,
          fmt::format("the gradient of '{}' is another when the inputs are transposed or strided in memory",
                      subject_.inputs[i]));
    }
    held(name);
  }

  const Subject& subject_;
  Line& line_;
  const Tensors& inputs_;
  const Tensors& cotangents_;
  const CheckOptions& options_;
  Generator generator_;
  Values yours_;
  std::vector<ContractReport> reports_;
};

}  // namespace

std::vector<ContractReport> check_contracts(const Subject& subject, Line& line, const Tensors& cotangents,
                                            const Tensors& gradients, const CheckOptions& options) {
  return ContractChecker(subject, line, cotangents, gradients, options).run();
}

}  // namespace gradus::testing
