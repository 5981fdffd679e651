// One claimed number, the gradient of an element or its sum along random signs, against the derivative there.
#pragma once

#include <cstdint>
#include <string>

#include "framework/testing/gradcheck.h"
#include "framework/testing/line.h"
#include "framework/testing/numbers.h"

namespace gradus::testing {

/// Where, and for which cotangents, gradients are claimed.
struct CheckedPoint {
  const Subject& subject;
  Line& line;  ///< through the point; knows the cotangents
  const Tensors& cotangents;
  const CheckOptions& options;
  bool nan_outputs = false;  ///< forward gives NaN somewhere
};

/// Judges claims about one input. Where the function has a slope, nothing is called wrong by one kind of evidence alone:
/// differences with steps of all sizes must contradict the claim, and so must what the claims nearby add up to (the
/// fundamental theorem of calculus, which needs no small step).
class Judge {
 public:
  static constexpr double bars_allowed = 10;  ///< differences beyond so many bars are called wrong

  /// `rounding`: how far each claimed element may be off because it is itself rounded.
  Judge(const CheckedPoint& point, std::size_t input, const Numbers& rounding);

  /// `scale`: the largest claimed number, what differences need not resolve a billionth of. `prove`: an accusation is to
  /// rest on all the evidence; else an earlier one must have.
  ElementVerdict judge(const Direction& direction, std::int64_t number, double yours, double scale, bool prove = true);

  /// After an accusation whose error is small beside jumps that were found at other elements since.
  bool is_to_be_judged_again(const ElementVerdict& verdict, double scale) const {
    return verdict.verdict == Verdict::disagree && is_close(verdict.yours, verdict.expected, scale) && largest_stair_ > 0;
  }
  void start_over() { accusations_ = proofs_ = 0; }

  /// Of a sum of claimed elements with random signs.
  double rounding(const Direction& direction) const;
  bool is_exact() const { return is_exact_; }          ///< forward mode is there, and nothing contradicted it
  const std::string& refuted() const { return refuted_; }  ///< what forward mode said where it was contradicted
  double largest_stair() const { return largest_stair_; }  ///< height of the steps in which forward moves, where it does
  int contradicted_accusations() const { return contradicted_; }

 private:
  /// So close that forward's own inaccuracy may be all of the difference.
  static bool is_close(double yours, double expected, double scale) {
    return std::fabs(yours - expected) <= 1e-5 * std::max(scale, std::fabs(yours));
  }
  bool fits(const Derivative& derivative, double yours, double rounding) const;
  Derivative with_forward_mode(const Direction& direction, Derivative differences);
  Derivative forward_mode(const Direction& direction) const;
  double claimed_along(const Direction& direction, double t) const;
  bool is_confirmed(const Direction& direction, double yours, const Derivative& derivative) const;

  const CheckedPoint& point_;
  const std::size_t input_;
  const Numbers& rounding_;
  bool is_exact_;
  int accusations_ = 0, contradicted_ = 0, proofs_ = 0;
  double largest_stair_ = 0;
  std::string refuted_;
};

}  // namespace gradus::testing
