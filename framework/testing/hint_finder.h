// The hypotheses about one wrong gradient at one point, by idea in hints_*.cpp: each says what it found, or nothing.
// What is found is believed in one place, find_hint in hints.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "framework/testing/hints.h"
#include "framework/testing/numbers.h"

namespace gradus::testing {

class HintFinder;

/// What a condition says of an element: its gradient is wrong, it is right, or nothing.
enum class Mark : std::int8_t { right, wrong, open };
using Marks = std::vector<Mark>;

/// Something that decides where the gradient is wrong, at this point and at any other.
struct Condition {
  std::string where;  ///< `'x' is negative`
  std::function<Marks(const HintFinder& at)> marks;
  Cause cause = Cause::wrong_where;
  bool by_place = false;       ///< the same elements at every point
  bool last_resort = false;    ///< says where, but not why
  bool yours_is_zero = false;  ///< and that nothing arrives there
};

struct Finding {
  Hint hint;
  std::string claim = {};                   ///< what must be found again at other points
  std::optional<double> number = {};        ///< part of the claim, unless:
  std::string otherwise = {};               ///< the sentence where the number is another one there
  std::optional<Condition> condition = {};  ///< must hold at other points, instead
  bool is_plain = false;                    ///< to be seen without any other point: NaN, nothing at all
};

class HintFinder {
 public:
  HintFinder(const Subject& subject, Line& line, const Tensors& cotangents, const Tensors& gradients,
             const CheckReport& report, std::size_t report_input, std::size_t input);

  using Hypothesis = std::optional<Finding> (HintFinder::*)();
  /// What names more comes first.
  static const std::vector<Hypothesis>& about_numbers();
  static const std::vector<Hypothesis>& about_parts();
  /// Of a large input only derivatives along directions are known: enough for hypotheses about the whole of it.
  static const std::vector<Hypothesis>& about_directions();
  /// Everything that separates the wrong elements from the right ones: by what holds of the values or, the last resort,
  /// by place or size.
  std::vector<Finding> conditions(bool last_resort) const;
  /// How the wrong elements differ from what is expected, if that is the same for all of them.
  struct Manner {
    std::string text;
    std::optional<Numbers> explanation;
  };
  Manner manner_of(const Marks& marks) const;
  /// With the share of the difference that `explanation` accounts for.
  Finding finding(Cause cause, std::string sentence, const Numbers& explanation) const;
  Finding finding(Cause cause, std::string sentence) const;

  /// How many elements bear the marks out.
  struct Support {
    std::int64_t wrong = 0, right = 0;
    bool contradicted = false;
    std::int64_t missed = 0;  ///< wrong elements of which the marks say nothing
  };
  Support support_of(const Condition& condition) const;
  /// The differences stand out from what the bars allow.
  bool is_sharp() const;
  /// Of the elements, those whose verdict is not `cannot tell`.
  double known_share() const;
  bool is_by_direction() const { return of_input_.by_direction; }

  // What conditions ask for.
  const Shape& shape() const { return shape_; }
  const Tensor& tensor(std::size_t j) const { return line_.inputs()[j]; }
  const Tensor& output(std::size_t k) const { return line_.outputs()[k]; }
  /// Input j, one number for each element of the gradient: broadcast, or by its leading axes; empty where neither fits.
  Numbers by_element(std::size_t j) const;
  bool is_zero(std::int64_t element) const { return std::fabs(expected_[element]) <= allowed_[element]; }
  std::int64_t count() const { return static_cast<std::int64_t>(yours_.size()); }

 private:
  /// One number that a factor may be: a dimension in play.
  struct Dimension {
    double size = 0;
    std::string text;
    std::int64_t axis = 0;  ///< the size of an axis that it changes with
  };

  // --- the whole: hints_scale.cpp ---
  std::optional<Finding> not_finite();
  std::optional<Finding> zero();
  std::optional<Finding> sign();
  std::optional<Finding> factor_by_element();
  // --- by one number: hints_factor.cpp ---
  std::optional<Finding> named_factor();
  std::optional<Finding> any_factor();
  std::optional<Finding> attribute_ignored();
  // --- by precision: hints_rounding.cpp ---
  std::optional<Finding> rounded();
  // --- by place: hints_layout.cpp ---
  std::optional<Finding> axes_permuted();
  std::optional<Finding> other_input();
  std::optional<Finding> wrong_order();
  std::optional<Finding> few_elements();
  std::optional<Finding> factor_by_place();
  // --- by a condition: hints_where.cpp ---
  std::optional<Finding> mask_turned_round();
  // --- by a term: hints_terms.cpp ---
  std::optional<Finding> constant_residual();
  std::optional<Finding> residual_times_output();
  std::optional<Finding> skip_connection();
  // --- by the values that went in: hints_point.cpp ---
  std::optional<Finding> wrong_point();
  std::optional<Finding> operand_exchanged();
  // --- by entry: jacobian.h ---
  std::optional<Finding> jacobian();

  // What all of them use.
  std::int64_t weighty(bool wrong) const;  ///< elements, wrong or right, whose expected value is not zero
  bool fits(const Numbers& candidate, double widen = 1) const;
  bool is_expected(const Numbers& candidate) const;
  Numbers times_expected(double factor) const;
  std::vector<Dimension> dimensions_of(const Line& line) const;
  bool is_a_matter_of(std::size_t dimension, double (*of)(double size)) const;
  std::string attribute_of(double factor) const;
  bool sees_in_f32(std::size_t j) const;
  /// yours = factor * expected, least squares; nothing where that does not fit.
  std::optional<double> factor() const;
  std::vector<Condition> all_conditions() const;
  void add_conditions_on_ids(std::vector<Condition>& all) const;
  void add_conditions_on_triangles(std::vector<Condition>& all) const;
  void add_conditions_on_signs(std::vector<Condition>& all) const;
  void add_conditions_on_places(std::vector<Condition>& all) const;
  void add_thresholds(std::vector<Condition>& all) const;
  bool jumps(const Numbers& values, std::int64_t beside, std::int64_t edge, std::int64_t farthest) const;
  void add_conditions_on_repetition(std::vector<Condition>& all) const;
  /// One axis, or the whole, row by row.
  struct Axis {
    std::string kind, name;  ///< `row`, ` (axis 0)`
    std::int64_t stride = 1, size = 0;
    std::int64_t at(std::int64_t element) const { return element / stride % size; }
  };
  std::vector<Axis> axes() const;
  /// The coordinates at which all that counts is wrong, and those at which it is right.
  using Places = std::set<std::int64_t>;
  std::optional<std::pair<Places, Places>> wrong_and_right(const Axis& axis) const;
  std::optional<Condition> at_some_places(const Axis& axis) const;
  void add_lost_parts(std::vector<Condition>& all) const;
  Numbers residual() const;
  bool is_wrong_in_every_line(int axis) const;
  /// The derivatives by another input of the same shape.
  Numbers expected_of(std::size_t j);
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
  Numbers yours_, expected_, allowed_, slack_;
  std::vector<bool> known_, wrong_;
  double scale_ = 0;
};

}  // namespace gradus::testing
