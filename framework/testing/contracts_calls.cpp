// The same call gives the same gradient, whatever was called before.
#include <algorithm>
#include <cmath>

#include "framework/autograd/modes.h"
#include "framework/tensor/creation.h"
#include "framework/testing/contract_checker.h"

namespace gradus::testing {

void ContractChecker::same_again() {
  constexpr const char* name = "deterministic";
  constexpr int later_calls = 7;
  std::vector<Values> calls = {yours_};
  for (int call = 0; call < later_calls; ++call) calls.push_back(gradients_at(inputs_, cotangents_));
  bool same_bits_always = true;
  for (std::size_t i = 0; i < yours_.size(); ++i) {
    if (yours_[i].empty()) continue;
    const auto differs = [&](const Values& call) { return unexplained(i, call[i], calls.back()[i]) > 0; };
    for (const Values& call : calls) same_bits_always &= largest_difference(call[i], calls.back()[i]) == 0;
    if (std::none_of(calls.begin(), calls.end(), differs)) continue;
    if (std::none_of(calls.begin() + 1, calls.end(), differs)) {
      return broken_by(name, Cause::stale_state,
                       fmt::format("the first call gives another gradient of '{}' than all later ones: they see what it left",
                                   subject_.inputs[i]));
    }
    const Numbers &second = calls[1][i], &third = calls[2][i], &fourth = calls[3][i];
    Numbers grown = fourth;
    for (std::size_t e = 0; e < grown.size(); ++e) grown[e] = fourth[e] - third[e] - (third[e] - second[e]);
    if (unexplained(i, third, fourth) > 0 && largest_magnitude(grown) <= 1e-9 * largest_magnitude(fourth)) {
      return broken_by(name, Cause::stale_state,
                       fmt::format("every call adds to the gradient of '{}': something is left over from the call before "
                                   "(a buffer not cleared)",
                                   subject_.inputs[i]));
    }
    return broken_by(name, Cause::not_deterministic,
                     fmt::format("the same call gives another gradient of '{}'", subject_.inputs[i]));
  }
  for (int call = 0; call < 2; ++call) {
    const Tensors again = forward_at(inputs_);
    for (std::size_t k = 0; k < again.size(); ++k) {
      if (same_bits(line_.outputs()[k], again[k])) continue;
      same_bits_always = false;
      if (!again[k].defined() || !cotangents_[k].defined()) continue;
      const Numbers before = line_.outputs()[k].to_vector<double>(), now = again[k].to_vector<double>();
      const double unit = again[k].dtype() == DType::f64 ? 0x1p-53 : 0x1p-24;
      if (largest_difference(before, now) <= 1024 * unit * largest_magnitude(before)) continue;
      return broken_by(name, Cause::not_deterministic,
                       call == 0 ? "the first call of forward gives another output than the next one"
                                 : "the same call gives another output");
    }
  }
  held(name, same_bits_always ? "" : "but for the last bits, as where threads add in another order");
}

bool ContractChecker::is_in_domain(const Tensors& inputs) const {
  const std::optional<Tensors> outputs = unless_refused(subject_, [&] { return forward_at(inputs); });
  if (!outputs || !unless_refused(subject_, [&] { return subject_.backward(inputs, cotangents_); })) return false;
  for (std::size_t k = 0; k < outputs->size(); ++k) {
    if (!cotangents_[k].defined()) continue;
    const Numbers now = (*outputs)[k].to_vector<double>(), before = line_.outputs()[k].to_vector<double>();
    if (now.size() != before.size()) return false;
    for (std::size_t e = 0; e < now.size(); ++e) {
      if (std::isfinite(now[e]) != std::isfinite(before[e])) return false;
    }
  }
  return true;
}

std::optional<Tensors> ContractChecker::elsewhere(const Moving& moving) {
  for (double way = 0.06; way > 1e-7; way /= 8) {
    Tensors moved = clones(inputs_);
    for (std::size_t i = 0; i < moved.size(); ++i) {
      if (!subject_.differentiable[i] || (moving.only_input >= 0 && moving.only_input != static_cast<int>(i))) continue;
      const Numbers before = inputs_[i].to_vector<double>();
      if (before.empty()) continue;
      const Numbers ways = random_uniform({inputs_[i].numel()}, generator_, DType::f64, way / 2, way).to_vector<double>();
      const auto [low, high] = std::minmax_element(before.begin(), before.end());
      Numbers values = before;
      for (std::size_t e = moving.first_stays ? 1 : 0; e < values.size(); ++e) {
        const double towards = before[(e + 1 + e % 3) % before.size()];
        const double distance = *low < *high ? (towards != before[e] ? towards : *low == before[e] ? *high : *low) - before[e]
                                             : (before[e] != 0 ? -before[e] : 1);
        if (std::isfinite(distance) && before[e] != 0) values[e] += ways[e] * distance;  // zeros stay: they may be masks
      }
      moved[i] = from_values(moved[i].shape(), values, moved[i].dtype());
    }
    if (is_in_domain(moved)) return moved;
  }
  return std::nullopt;
}

bool ContractChecker::right_here_wrong_there(const Tensors& there, const Moving& moving) {
  Line other(subject_, there);
  other.set_cotangents(cotangents_);
  const CheckedPoint other_point{subject_, other, cotangents_, options_, point_.nan_outputs};
  const Values claimed = gradients_at(there, cotangents_);
  for (std::size_t i = 0; i < claimed.size(); ++i) {
    if (claimed[i].empty() || !all_finite(claimed[i]) || !all_finite(yours_[i]) || !all_finite(inputs_[i].to_vector<double>()))
      continue;
    auto signs = std::make_shared<std::vector<std::int8_t>>();
    double along_there = 0, along_here = 0;
    StreamReader reader(options_.seed, 900 + i);
    for (std::size_t e = 0; e < claimed[i].size(); ++e) {
      signs->push_back(reader.next_integer(0, 1) == 0 ? -1 : 1);
      along_there += signs->back() * claimed[i][e];
      along_here += signs->back() * yours_[i][e];
    }
    const Direction direction{i, 0, static_cast<std::int64_t>(claimed[i].size()), signs};
    Numbers rounding = own_rounding_[i];
    const double least = 1e-6 * largest_magnitude(claimed[i]);  // it is a stale tensor that is looked for, no rounding
    for (double& value : rounding) value = std::max(2 * value, least);
    const ElementVerdict wrong = Judge(other_point, i, rounding).judge(direction, 0, along_there, largest_magnitude(claimed[i]));
    if (wrong.verdict != Verdict::disagree) continue;
    const ElementVerdict right = Judge(point_, i, own_rounding_[i]).judge(direction, 0, along_here, largest_magnitude(yours_[i]));
    if (right.verdict != Verdict::agree) continue;
    broken_by("nothing left over from other calls", Cause::stale_state,
              fmt::format("the gradient of '{}' is right at the first point and wrong at the next one{} ({:.6g} where {:.6g} "
                          "is expected along a direction): backward uses tensors kept from an earlier call",
                          subject_.inputs[i], moving.text, along_there, wrong.expected));
    return true;
  }
  return false;
}

void ContractChecker::nothing_left_over() {
  constexpr const char* name = "nothing left over from other calls";
  std::vector<Moving> all_moving = {{}};
  if (subject_.own_process) {  // caches go by what their author thought would change
    all_moving.push_back({.first_stays = true, .text = ", where only the first elements are the same"});
    const auto count = std::count(subject_.differentiable.begin(), subject_.differentiable.end(), true);
    for (std::size_t i = 0; count > 1 && i < inputs_.size(); ++i) {
      if (subject_.differentiable[i])
        all_moving.push_back({.only_input = static_cast<int>(i), .text = fmt::format(", where only '{}' has moved", subject_.inputs[i])});
    }
  }
  bool any = false;
  for (const Moving& moving : all_moving) {
    const std::optional<Tensors> there = elsewhere(moving);
    if (!there) continue;
    any = true;
    forward_at(*there);
    const Values after_forward = gradients_at(inputs_, cotangents_);
    if (const int i = differing_input(yours_, after_forward, 1e-13); i >= 0) {
      return broken_by(name, Cause::stale_state,
                       fmt::format("the gradient of '{}' changes when forward has run on other inputs in between: backward "
                                   "reads what the last forward saved, whatever call that was",
                                   subject_.inputs[i]));
    }
    gradients_at(*there, cotangents_);
    const Values after_backward = gradients_at(inputs_, cotangents_);
    if (const int i = differing_input(yours_, after_backward, 1e-13); i >= 0) {
      return broken_by(name, Cause::stale_state,
                       fmt::format("the gradient of '{}' depends on the calls before: backward keeps something between calls",
                                   subject_.inputs[i]));
    }
    if (right_here_wrong_there(*there, moving)) return;
  }
  if (!any) return left_out(name, "forward has no finite value at any other point that was tried");
  held(name);
}

}  // namespace gradus::testing
