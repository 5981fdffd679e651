// The hypotheses about one wrong gradient, by idea in hints_*.cpp: each says what it found, or nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/testing/hints.h"
#include "framework/testing/numbers.h"

namespace gradus::testing {

class HintFinder {
 public:
  HintFinder(const Subject& subject, Line& line, const Tensors& cotangents, const Tensors& gradients,
             const CheckReport& report, std::size_t report_input, std::size_t input);
  /// Of the first hypothesis that fits; what names more comes first.
  std::optional<Hint> find();

 private:
  /// One number that a factor may be: a dimension in play.
  struct Dimension {
    double size = 0;
    std::string text;
  };
  using Named = std::pair<std::string, Numbers>;

  // --- by one number: hints_scale.cpp ---
  std::optional<Hint> not_finite();
  std::optional<Hint> zero();
  std::optional<Hint> sign();
  std::optional<Hint> constant_factor();
  std::optional<Hint> factor_by_element();
  std::optional<Hint> rounded();
  std::optional<Hint> any_constant_factor();
  // --- by place: hints_layout.cpp ---
  std::optional<Hint> axes_permuted();
  std::optional<Hint> other_input();
  std::optional<Hint> some_parts();
  std::optional<Hint> wrong_order();
  // --- by a condition: hints_where.cpp ---
  std::optional<Hint> wrong_where_a_condition_holds();
  std::optional<Hint> mask_turned_round();
  std::optional<Hint> wrong_beyond_a_threshold();
  // --- by a term: hints_terms.cpp ---
  std::optional<Hint> constant_residual();
  std::optional<Hint> residual_times_output();
  std::optional<Hint> skip_connection();
  // --- by the values that went in: hints_point.cpp ---
  std::optional<Hint> wrong_point();
  std::optional<Hint> operand_exchanged();
  // --- by entry: jacobian.h ---
  std::optional<Hint> jacobian();

  // What all of them use.
  std::int64_t count() const { return static_cast<std::int64_t>(yours_.size()); }
  std::int64_t weighty(bool wrong) const;  ///< elements, wrong or right, whose expected value is not zero
  bool is_zero(std::int64_t element) const { return std::fabs(expected_[element]) <= slack_[element]; }
  bool fits(const Numbers& candidate, double widen = 1) const;
  bool is_expected(const Numbers& candidate) const;
  Numbers times_expected(double factor) const;
  /// With the share of the difference that `explanation` accounts for.
  Hint hint(Cause cause, std::string sentence, const Numbers& explanation) const;
  Hint hint(Cause cause, std::string sentence) const;

  std::vector<Dimension> dimensions() const;
  /// yours = factor * expected, least squares; nothing where that does not fit.
  std::optional<double> factor() const;
  /// Input j, one number for each element of the gradient: broadcast, or by its leading axes; empty where neither fits.
  Numbers by_element(std::size_t j) const;
  template <class Condition>
  bool wrong_exactly_where(Condition condition) const;
  Hint wrong_where(const std::string& where) const;
  std::optional<Hint> wrong_by_mask_or_id() const;
  std::optional<Hint> wrong_by_triangle() const;
  std::optional<Hint> wrong_by_sign() const;
  std::optional<Hint> wrong_by_independence() const;
  Numbers residual() const;
  /// Along each line of `axis`: the best multiple of `direction` (and a constant, if asked) to fit `values`.
  Numbers fit_lines(const Numbers& values, int axis, const Numbers& direction, bool with_constant) const;
  /// What backward says where input j is `replacement`.
  Numbers backward_with(std::size_t j, const Tensor& replacement) const;

  const Subject& subject_;
  Line& line_;
  const Tensors &cotangents_, &gradients_;
  const CheckReport& report_;
  std::size_t input_;
  const InputReport& of_input_;
  Shape shape_;
  Numbers yours_, expected_, slack_;
  std::vector<bool> known_, wrong_;
  double scale_ = 0;
};

}  // namespace gradus::testing
