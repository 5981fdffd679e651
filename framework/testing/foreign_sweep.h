// A foreign op at other points than the one that it declares, and what may be said against it there. An accusation
// needs two processes: one that has seen other points, and one that has not. What shows in the first alone is something
// that the op keeps from call to call.
#pragma once

#include "framework/testing/foreign_points.h"

namespace gradus::testing {

/// What was found at one point: a report, or what kept the op from having one.
struct ForeignFinding {
  ForeignPoint point;
  std::optional<CheckReport> report;
  std::optional<ForeignFailure> failure;
  bool in_company = false;  ///< shows only after calls at other points

  bool wrong() const { return failure || report->verdict == Verdict::disagree; }
};

class ForeignSweep {
 public:
  /// From the op's inputs, attributes and settings; the attributes in `fixed` stay. `options`: of a thorough check. A
  /// sweep that is not `thorough` looks along directions and leaves the contracts out, until something is wrong, and
  /// takes what forward does to its buffers at sizes that are not declared for a refusal.
  ForeignSweep(const ForeignOp& op, const CheckOptions& options, const std::set<std::string>& fixed, bool thorough);

  /// The declared point itself, as the first of many.
  ForeignFinding declared();
  /// The next further point that the op takes, with `seconds` to find it. Nothing where there is none.
  std::optional<ForeignFinding> next(double seconds);

  std::vector<std::string> not_varied() const { return points_.not_varied(); }

 private:
  ForeignFinding judge(const ForeignPoint& point);
  ForeignFinding first_look(const ForeignPoint& point);
  ForeignFinding look_alone(const ForeignPoint& point, bool with_hints = true);
  CheckOptions options_at(const ForeignPoint& point) const;
  bool stands_at_corners(const ForeignFinding& finding) const;
  ForeignFinding simplest(ForeignFinding finding);
  std::optional<ForeignFinding> kept_from(const ForeignPoint& earlier, const ForeignPoint& point);

  const ForeignOp op_;
  ForeignOp worker_;  ///< has seen all points so far
  CheckOptions options_;
  ForeignPoint declared_;
  std::optional<ForeignPoint> previous_;
  ForeignPoints points_;
  bool thorough_;
  int simplified_ = 0;  ///< findings
};

/// A handful of further points, as `gradcheck` adds them to the declared one.
struct FurtherPoints {
  int agree = 0;
  std::vector<ForeignPoint> undecided = {};
  std::optional<ForeignFinding> wrong = {};  ///< the last one, then
  std::vector<std::string> not_varied = {};
};
/// Within about `seconds`.
FurtherPoints check_further_points(const ForeignOp& op, const CheckOptions& options, double seconds);

}  // namespace gradus::testing
