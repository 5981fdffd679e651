// A function of tensors along straight lines through its inputs: what differences are taken of.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "framework/testing/derivative.h"
#include "framework/testing/subject.h"

namespace gradus::testing {

/// Which elements of one input move, and which way.
struct Direction {
  std::size_t input = 0;
  std::int64_t begin = 0, end = 0;  ///< row-major range of elements
  std::shared_ptr<const std::vector<std::int8_t>> signs =
      {};  ///< +1, -1, or 0 (it stays), for every element of the input; none: all +1

  double sign(std::int64_t element) const { return signs ? (*signs)[static_cast<std::size_t>(element)] : 1; }
};

/// <f(x + t d) - f(x), u> for one subject, one point x and one u.
class Line {
 public:
  using Effort = DerivativeOptions::Effort;
  Line(const Subject& subject, const Tensors& inputs);

  const Tensors& inputs() const { return inputs_; }
  const Tensors& outputs() const { return outputs_; }
  void set_cotangents(const Tensors& cotangents);

  Evaluation at(const Direction& direction, double t);
  /// With steps relative to the element that moves (or to the tensor where many do), and again relative to the tensor
  /// where that does not settle it; thorough: with steps of all sizes. `good_enough`: stop at this bar. `noise`: of one
  /// evaluation, where it is known.
  Derivative derivative(const Direction& direction, double good_enough, Effort effort = Effort::normal, double noise = 0);
  /// How far forward's values may be off along one element, as jumps nearby show.
  double largest_jump(const Direction& direction);
  /// Whether an output that is infinite or NaN becomes another along the direction.
  bool reaches_unbounded(const Direction& direction);
  /// Whether outputs that count answer to small moves of the input where it takes other values altogether: larger ones,
  /// of the other sign, anywhere in its range.
  bool moves_elsewhere(std::size_t input);
  /// One ladder of steps relative to the tensor, with the noise of an earlier result: a guide for a search.
  Derivative quick_derivative(const Direction& direction, double good_enough, double noise);

  /// Derivatives of every output element by one input element, flat over all outputs; NaN where inconclusive.
  struct Column {
    std::vector<double> value, bar;
  };
  Column column(std::size_t input, std::int64_t element);
  std::int64_t output_elements() const;

  double element(std::size_t input, std::int64_t element) const { return base_[input][element]; }
  /// Whether it is finite, and not at the edge of its range.
  bool can_move(std::size_t input, std::int64_t element) const;
  double typical_size(std::size_t input) const { return typical_[input]; }
  /// Root of the sum of squares of outputs * cotangents; of the cotangents alone where all outputs are zero.
  double output_size() const { return output_size_; }
  /// Where an input moves by its own size, gradients below this change the outputs by no more than a few of their
  /// rounding errors: the rounding of a gradient that is truly zero, as of the bias of attention's keys, stays below
  /// it.
  double negligible_gradient(std::size_t input) const;
  /// Where the element moves by its own size, or the tensor's, such a gradient changes the outputs by their rounding alone.
  double unresolved_gradient(std::size_t input, std::int64_t element);
  std::int64_t evaluations() const { return evaluations_; }

 private:
  using Values = std::vector<std::vector<double>>;
  double move(const Direction& direction, double t);
  void restore(const Direction& direction);
  /// Moves the inputs back where it ends: outputs may be views of them.
  struct Displacement {
    Displacement(Line& line, const Direction& direction) : line(line), direction(direction) {}
    Displacement(const Displacement&) = delete;
    ~Displacement() { line.restore(direction); }
    Line& line;
    const Direction& direction;
  };
  /// Within a Displacement. Nothing where the function refuses the values, or the element leaves its declared range.
  std::optional<Tensors> evaluate(const Direction& direction, double t, double& moved, std::uint64_t& decisions);
  Tensors outputs_of(const Tensors& inputs);
  bool leaves_range(const Direction& direction, double t) const;
  double noise_spacing(std::size_t input) const;
  /// Rounding unit of the outputs that depend on the input at all; of all where none is seen to.
  double moving_quantum(std::size_t input);

  const Subject& subject_;
  Tensors inputs_, outputs_;
  Values base_, base_outputs_, cotangents_;
  std::vector<double> typical_;
  std::vector<double> half_unit_;      ///< unit roundoff by output
  std::vector<double> smallest_unit_;  ///< what the declared accuracy leaves open, whatever the element
  std::uint64_t base_decisions_ = 0;
  std::map<std::size_t, double> moving_quanta_;  ///< by input
  double output_size_ = 0;
  std::int64_t evaluations_ = 0;
};

}  // namespace gradus::testing
