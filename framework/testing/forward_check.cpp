#include "framework/testing/forward_check.h"

#include <algorithm>
#include <cmath>

#include "framework/autograd/modes.h"
#include "framework/random/generator.h"
#include "framework/tensor/creation.h"
#include "framework/testing/jacobian.h"
#include "framework/testing/numbers.h"

namespace gradus::testing {
namespace {

/// Where the reference itself moves by more than this share of its largest element, nothing can be told.
constexpr double coarsest_reference = 1e-2;
constexpr int movement_trials = 4;
/// Of the largest element: so much of its own noise a forward is forgiven.
constexpr double most_own_noise = 0x1p-20;
/// Times the largest movement that the trials saw.
constexpr double movements_allowed = 64;
constexpr std::uint64_t movement_stream = std::uint64_t{1} << 51;

bool any_in_f32(const Tensors& tensors) {
  return std::any_of(tensors.begin(), tensors.end(),
                     [](const Tensor& t) { return t.defined() && t.dtype() == DType::f32; });
}

class Comparer {
 public:
  Comparer(const Subject& subject, const Tensors& inputs, const Subject& reference, const Tensors& reference_inputs,
           std::uint64_t seed)
      : subject_(subject), reference_(reference), inputs_(inputs), reference_inputs_(reference_inputs), seed_(seed) {
    expected_ = ask(reference_inputs_);
    yours_ = subject_.forward(clones(inputs));
    in_f32_ = any_in_f32(inputs) || any_in_f32(yours_) || any_in_f32(reference_inputs) || any_in_f32(expected_);
  }

  ForwardComparison run() {
    if (yours_.size() != expected_.size()) {
      return differs(fmt::format("the forward has {} outputs, that of {} has {}", yours_.size(), reference_.name,
                                 expected_.size()));
    }
    for (std::size_t k = 0; k < yours_.size(); ++k) {
      if (!expected_[k].defined()) continue;
      if (yours_[k].shape() != expected_[k].shape() ||
          is_floating(yours_[k].dtype()) != is_floating(expected_[k].dtype())) {
        return differs(fmt::format("forward gives {} as {} {}, {} as {} {}", name(k), to_string(yours_[k].shape()),
                                   to_string(yours_[k].dtype()), reference_.name, to_string(expected_[k].shape()),
                                   to_string(expected_[k].dtype())));
      }
    }
    reference_movement_ = movement(reference_inputs_, expected_, [&](const Tensors& moved) { return ask(moved); });
    own_movement_ = movement(inputs_, yours_, subject_.forward);
    if (std::none_of(expected_.begin(), expected_.end(), [](const Tensor& t) { return t.defined() && t.numel() > 0; }))
      return {Verdict::cannot_tell,
              fmt::format("there is nothing to compare with {}: no output has elements", reference_.name)};
    ForwardComparison result;
    for (std::size_t k = 0; k < yours_.size() && result.verdict != Verdict::disagree; ++k) {
      if (!expected_[k].defined() || expected_[k].numel() == 0) continue;
      const ForwardComparison output = compare_output(k);
      if (worse(result.verdict, output.verdict) != result.verdict) result = output;
    }
    return result;
  }

 private:
  static ForwardComparison differs(const std::string& finding) { return {Verdict::disagree, finding}; }
  std::string name(std::size_t k) const {
    return k < subject_.outputs.size() ? subject_.outputs[k] : std::to_string(k);
  }

  Tensors ask(const Tensors& inputs) const {
    try {
      return reference_.forward(clones(inputs));
    } catch (const Error& error) {
      throw ReferenceError(fmt::format("{} does not take these inputs: {}", reference_.name, error.what()));
    }
  }

  /// How far each element of the outputs goes when the inputs move by a rounding error.
  template <class Forward>
  std::vector<Numbers> movement(const Tensors& inputs, const Tensors& outputs, Forward&& forward) const {
    std::vector<Numbers> result, before;
    for (const Tensor& output : outputs) {
      before.push_back(output.defined() ? output.to_vector<double>() : Numbers());
      result.emplace_back(before.back().size(), 0.0);
    }
    for (int trial = 0; trial < movement_trials; ++trial) {
      const Tensors moved = forward(in_last_bits(inputs, trial));
      for (std::size_t k = 0; k < outputs.size(); ++k) {
        if (!outputs[k].defined() || moved[k].shape() != outputs[k].shape()) continue;
        const Numbers after = moved[k].to_vector<double>();
        for (std::size_t e = 0; e < after.size(); ++e) {
          const double distance = std::fabs(after[e] - before[k][e]);
          if (std::isfinite(distance)) result[k][e] = std::max(result[k][e], distance);
        }
      }
    }
    return result;
  }

  Tensors in_last_bits(Tensors inputs, int trial) const {
    StreamReader reader(seed_, movement_stream + static_cast<std::uint64_t>(trial));
    const double step = in_f32_ ? 0x1p-23 : 0x1p-52;
    for (Tensor& input : inputs) {
      if (!input.defined() || !is_floating(input.dtype())) continue;
      Numbers values = input.to_vector<double>();
      for (double& value : values) value *= reader.next_integer(0, 1) ? 1 + step : 1 - step;
      input = from_values(input.shape(), values, input.dtype());
    }
    return inputs;
  }

  /// Of the largest element. What `subject` says of its own accuracy does not count.
  double share_allowed(std::size_t k) const {
    const double declared = k < reference_.accuracy.size() ? reference_.accuracy[k] : 0;
    return std::max(in_f32_ ? 0x1p-16 : 0x1p-26, declared);
  }

  ForwardComparison compare_output(std::size_t k) const {
    const Numbers yours = yours_[k].to_vector<double>(), expected = expected_[k].to_vector<double>();
    const bool exact = !is_floating(expected_[k].dtype());
    const double scale = largest_magnitude(expected), share = exact ? 0 : share_allowed(k);
    std::size_t told = 0, different = 0, worst = 0;
    double worst_excess = -1;
    for (std::size_t e = 0; e < expected.size(); ++e) {
      double allowed = 0;
      if (!exact) {
        allowed = share * scale + movements_allowed * reference_movement_[k][e] +
                  std::min(movements_allowed * own_movement_[k][e], most_own_noise * scale);
      }
      if (std::isnan(expected[e]) || allowed > coarsest_reference * scale) continue;
      ++told;
      const double difference = std::fabs(yours[e] - expected[e]);
      if (yours[e] == expected[e] || difference <= allowed) continue;
      ++different;
      const double excess = std::isfinite(difference) ? difference : std::numeric_limits<double>::max();
      if (excess > worst_excess) worst_excess = excess, worst = e;
    }
    if (different > 0) return differs(describe(k, yours[worst], expected[worst], worst, different, scale));
    if (told > 0 || scale == 0) return {};
    return {Verdict::cannot_tell,
            fmt::format("at this point {} says nothing about {}: it is NaN there, or rounding of the "
                        "inputs alone moves it by more than {:g} %",
                        reference_.name, name(k), 100 * coarsest_reference / movements_allowed)};
  }

  std::string describe(std::size_t k, double yours, double expected, std::size_t element, std::size_t different,
                       double scale) const {
    std::string pair = fmt::format("yours {:.6g}, expected {:.6g}", yours, expected);
    if (fmt::format("{:.6g}", yours) == fmt::format("{:.6g}", expected))
      pair = fmt::format("yours {:.17g}, expected {:.17g}", yours, expected);
    std::string text = fmt::format("forward differs from {} at {}{}: {}", reference_.name, name(k),
                                   place_of(expected_[k].shape(), static_cast<std::int64_t>(element)), pair);
    const auto count = static_cast<std::size_t>(expected_[k].numel());
    if (count > 1) text += fmt::format("; {} of {} elements differ", different, count);
    if (std::fabs(yours - expected) < 0x1p-20 * scale) text += ", by no more than rounding to f32 would explain";
    return text;
  }

  const NoGradScope no_grad_;
  const Subject &subject_, &reference_;
  const Tensors &inputs_, &reference_inputs_;
  std::uint64_t seed_;
  Tensors yours_, expected_;
  std::vector<Numbers> reference_movement_, own_movement_;  ///< [output][element]
  bool in_f32_ = false;
};

}  // namespace

ForwardComparison compare_forwards(const Subject& subject, const Tensors& inputs, const Subject& reference,
                                   const Tensors& reference_inputs, std::uint64_t seed) {
  return Comparer(subject, inputs, reference, reference_inputs, seed).run();
}

void add_comparison(CheckReport& report, const std::string& reference, const ForwardComparison& comparison) {
  ContractReport contract{.name = "same forward as " + reference, .finding = comparison.finding};
  contract.held = comparison.verdict != Verdict::disagree;
  contract.skipped = comparison.verdict == Verdict::cannot_tell;
  contract.cause = Cause::forward_differs;
  if (comparison.verdict != Verdict::agree) {
    if (report.verdict == Verdict::agree && comparison.verdict == Verdict::disagree)
      report.note = "the gradient is that of its own forward";
    else if (report.verdict == Verdict::agree) report.note = comparison.finding;
    if (!contract.held) report.hint = Hint{contract.cause, "", comparison.finding};
  }
  report.verdict = worse(report.verdict, comparison.verdict);
  report.contracts.insert(report.contracts.begin(), std::move(contract));
}

}  // namespace gradus::testing
