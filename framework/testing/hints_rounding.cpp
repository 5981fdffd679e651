// Right, but for the digits that a coarser format has not.
#include "framework/tensor/creation.h"
#include "framework/testing/hint_finder.h"
#include "framework/testing/jacobian.h"

namespace gradus::testing {
namespace {

Numbers in_f32(Numbers values) {
  for (double& value : values) value = static_cast<float>(value);
  return values;
}

/// Two numbers at least that f32 holds, and a shorter format does not: 1 and 0.5 prove nothing.
bool are_f32(const Numbers& values) {
  std::int64_t telling = 0;
  for (const double value : values) telling += precision_of({value}) == 0x1p-24;
  return telling >= 2 && precision_of(values) == 0x1p-24;
}

}  // namespace

/// The gradient is the same for all numbers that f32 takes for one, and another for those next to them.
bool HintFinder::sees_in_f32(std::size_t j) const {
  const Tensor& input = line_.inputs()[j];
  const Numbers values = input.to_vector<double>(), rounded = in_f32(values);
  if (rounded == values) return false;
  const auto moved = [&](auto&& move) {
    Numbers now = rounded;
    for (double& value : now) value = move(value);
    return backward_with(j, from_values(input.shape(), now, input.dtype()));
  };
  StreamReader reader(report_.seed, 7100 + j);
  for (int trial = 0; trial < 6; ++trial) {
    const Numbers within = moved([&](double value) {
      const float single = static_cast<float>(value), next = std::nextafter(single, 2 * single);
      return value + 0.49 * (double(next) - single) * (2 * reader.next_uniform() - 1);
    });
    if (within != yours_) return false;
  }
  const Numbers beyond = moved([](double value) { return value * (1 + 3 * 0x1p-23); });
  std::int64_t changed = 0;
  for (std::int64_t e = 0; e < count(); ++e) changed += !is_zero(e) && beyond[e] != yours_[e];
  return 3 * changed >= 2 * (weighty(true) + weighty(false));
}

/// What is computed in f32 is off by its unit roundoff nearly everywhere, and shows it: in the gradient itself, in
/// derivatives of single outputs, or in digits of an input that make no difference.
std::optional<Finding> HintFinder::rounded() {
  if (of_input_.spec.dtype != DType::f64) return std::nullopt;
  double largest = 0;
  for (std::int64_t e = 0; e < count(); ++e)
    largest = std::max(largest, known_[e] ? std::fabs(yours_[e] - expected_[e]) : 0);
  const double relative = largest / scale_, unit = precision_of(yours_);
  const bool all_over = 2 * weighty(true) >= weighty(true) + weighty(false) && weighty(true) >= 2;
  if (!all_over) return std::nullopt;
  const auto say = [&](const std::string& what) {
    Finding found = finding(Cause::rounded, fmt::format("{} (off by up to {:.1g} relative)", what, relative));
    found.claim = what;
    return found;
  };
  if (unit == 0x1p-8 && relative <= 4 * unit && relative >= 1e-4)
    return say("every number of it is one of bf16: it is rounded to bf16");
  if (relative < 1e-9 || relative > 1e-6) return std::nullopt;
  if (are_f32(yours_)) return say("every number of it is one of f32: it is rounded to f32");
  Numbers entries;
  for (std::size_t k = 0; k < cotangents_.size(); ++k) {
    if (!cotangents_[k].defined()) continue;
    for (std::int64_t o = 0; o < std::min<std::int64_t>(16, cotangents_[k].numel()); ++o) {
      Tensors units = cotangents_;
      for (Tensor& cotangent : units) {
        if (cotangent.defined())
          cotangent = from_values(cotangent.shape(), Numbers(static_cast<std::size_t>(cotangent.numel()), 0.0),
                                  cotangent.dtype());
      }
      Numbers one(static_cast<std::size_t>(cotangents_[k].numel()), 0.0);
      one[o] = 1;
      units[k] = from_values(cotangents_[k].shape(), one, cotangents_[k].dtype());
      const Numbers of_one = numbers_of(subject_.backward(clones(line_.inputs()), units)[input_], count());
      entries.insert(entries.end(), of_one.begin(), of_one.end());
    }
  }
  if (are_f32(entries)) return say("the derivatives of single outputs are numbers of f32: it is computed in f32");
  for (std::size_t j = 0; j < line_.inputs().size(); ++j) {
    if (line_.inputs()[j].defined() && line_.inputs()[j].dtype() == DType::f64 && sees_in_f32(j))
      return say(
          fmt::format("it does not depend on what f32 has no digits for in '{}': something is computed in f32 "
                      "from it",
                      subject_.inputs[j]));
  }
  return std::nullopt;
}

}  // namespace gradus::testing
