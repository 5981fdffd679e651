// Broken promises as causes: which of them explains a wrong gradient, and what more can be said of it.
#include "framework/tensor/creation.h"
#include "framework/testing/hints.h"
#include "framework/testing/numbers.h"

namespace gradus::testing {
namespace {

Tensors times(const Tensors& tensors, double factor) {
  Tensors result = tensors;
  for (Tensor& tensor : result) {
    if (!tensor.defined()) continue;
    Numbers values = tensor.to_vector<double>();
    for (double& value : values) value *= factor;
    tensor = from_values(tensor.shape(), values, tensor.dtype());
  }
  return result;
}

Tensors in_f32(const Tensors& tensors) {
  Tensors result = tensors;
  for (Tensor& tensor : result) {
    if (!tensor.defined()) continue;
    Numbers values = tensor.to_vector<double>();
    for (double& value : values) value = static_cast<float>(value);
    tensor = from_values(tensor.shape(), values, tensor.dtype());
  }
  return result;
}

class PromiseHints {
 public:
  PromiseHints(const Subject& subject, const Tensors& inputs, const Tensors& cotangents, const Tensors& gradients)
      : subject_(subject), inputs_(inputs), cotangents_(cotangents), gradients_(gradients) {}

  /// From some size of the upstream gradient on it stays the same: clipped element by element, by its length, or
  /// clipped before it is multiplied.
  std::optional<Hint> clipped() const {
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      if (!subject_.differentiable[i]) continue;
      const Numbers large = gradient(i, times(cotangents_, 0x1p30)), larger = gradient(i, times(cotangents_, 0x1p40));
      const double most = largest_magnitude(large);
      if (most == 0 || !all_finite(large) || largest_difference(large, larger) > 1e-6 * most) continue;
      const Numbers small = gradient(i, times(cotangents_, 0x1p-30));
      if (largest_difference(small, large) <= 1e-6 * most)
        return Hint{Cause::not_linear, subject_.inputs[i],
                    "it is the same for an upstream gradient of any size: one of them is normalised"};
      const auto at_most = std::count_if(large.begin(), large.end(),
                                         [&](double value) { return std::fabs(value) >= most * (1 - 1e-9); });
      double squares = 0;
      for (const double value : large) squares += value * value;
      const std::string what =
          at_most >= 2 && 2 * at_most >= std::count_if(large.begin(), large.end(), [](double v) { return v != 0; })
              ? fmt::format("no element of it grows beyond {:.6g}: it is clipped", most)
              : fmt::format(
                    "it does not grow with the upstream gradient, once that is large (its length stays {:.6g}): "
                    "one of them is clipped",
                    std::sqrt(squares));
      return Hint{Cause::clipped, subject_.inputs[i], what};
    }
    return std::nullopt;
  }

  /// The digits of the upstream gradient that f32 has not make no difference.
  std::optional<Hint> upstream_in_f32() const {
    const Tensors rounded = in_f32(cotangents_), moved = times(rounded, 1 + 3 * 0x1p-23);
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      if (!subject_.differentiable[i]) continue;
      const Numbers yours = numbers_of(gradients_[i], inputs_[i].numel());
      if (largest_magnitude(yours) == 0 || gradient(i, rounded) != yours || gradient(i, moved) == yours) continue;
      return Hint{Cause::rounded, subject_.inputs[i],
                  "it does not depend on what f32 has no digits for in the upstream gradient, which is rounded to it"};
    }
    return std::nullopt;
  }

  /// For a much larger upstream gradient, another gradient than one as much larger.
  std::optional<Hint> not_proportional() const {
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      if (!subject_.differentiable[i]) continue;
      Numbers yours = numbers_of(gradients_[i], inputs_[i].numel());
      for (double& value : yours) value *= 0x1p30;
      if (largest_difference(gradient(i, times(cotangents_, 0x1p30)), yours) > 1e-6 * largest_magnitude(yours))
        return Hint{Cause::not_linear, subject_.inputs[i],
                    "a much larger upstream gradient does not give a gradient that is as much larger"};
    }
    return std::nullopt;
  }

  /// Backward does not look at what an input is now.
  bool ignores_an_input() const {
    const Tensors elsewhere = halfway();
    for (std::size_t j = 0; j < inputs_.size(); ++j) {
      if (!subject_.differentiable[j]) continue;
      Tensors moved = clones(inputs_);
      moved[j] = elsewhere[j];
      const Tensors now = subject_.backward(moved, clones(cotangents_));
      bool ignored = true;
      for (std::size_t i = 0; i < inputs_.size(); ++i)
        ignored &= !subject_.differentiable[i] || same_bits(now[i], gradients_[i]);
      if (ignored) return true;
    }
    return false;
  }

  /// Another gradient after forward and backward have run elsewhere.
  bool changes_with_history() const {
    const Tensors elsewhere = halfway();
    subject_.forward(elsewhere);
    for (const bool after_backward : {false, true}) {
      if (after_backward) subject_.backward(clones(elsewhere), clones(cotangents_));
      for (std::size_t i = 0; i < inputs_.size(); ++i) {
        if (!subject_.differentiable[i]) continue;
        const Numbers yours = numbers_of(gradients_[i], inputs_[i].numel());
        if (largest_difference(gradient(i, cotangents_), yours) > 1e-12 * largest_magnitude(yours)) return true;
      }
    }
    return false;
  }

 private:
  Numbers gradient(std::size_t i, const Tensors& cotangents) const {
    return numbers_of(subject_.backward(clones(inputs_), clones(cotangents))[i], inputs_[i].numel());
  }
  /// Every value halfway to the next one of its input, around the end: where the op is sure to be defined.
  Tensors halfway() const {
    Tensors moved = clones(inputs_);
    for (std::size_t i = 0; i < moved.size(); ++i) {
      if (!subject_.differentiable[i]) continue;
      const Numbers values = moved[i].to_vector<double>();
      Numbers between = values;
      for (std::size_t e = 0; e < values.size(); ++e) between[e] += 0.1 * (values[(e + 1) % values.size()] - values[e]);
      moved[i] = from_values(moved[i].shape(), between, moved[i].dtype());
    }
    return moved;
  }

  const Subject& subject_;
  const Tensors &inputs_, &cotangents_, &gradients_;
};

}  // namespace

std::optional<Hint> hint_of_broken_promise(const Subject& subject, Line& line, const Tensors& cotangents,
                                           const Tensors& gradients, const CheckReport& report,
                                           const ContractReport& contract) {
  const PromiseHints hints(subject, line.inputs(), cotangents, gradients);
  const bool wrong_here = std::any_of(report.inputs.begin(), report.inputs.end(),
                                      [](const InputReport& input) { return input.verdict == Verdict::disagree; });
  // What is wrong at another point need not be kept from this one: that is so only where calls leave something behind,
  // or backward is deaf to an input.
  const bool is_stale = contract.cause == Cause::stale_state &&
                        (hints.changes_with_history() || (!wrong_here && hints.ignores_an_input()));
  if (is_stale || (contract.cause != Cause::stale_state && contract.cause != Cause::not_linear))
    return Hint{contract.cause, "", contract.finding};
  std::optional<Hint> hint = hints.clipped();
  if (!hint) hint = hints.upstream_in_f32();
  if (hint) return hint;
  return contract.cause == Cause::not_linear ? Hint{contract.cause, "", contract.finding} : hints.not_proportional();
}

}  // namespace gradus::testing
