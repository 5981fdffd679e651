// Both Jacobians of one input, the true one and the claimed one, entry by entry: what the hints about sums, uses and
// upstream gradients look at.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "framework/testing/hint_finder.h"
#include "framework/testing/numbers.h"

namespace gradus::testing {

class Jacobians {
 public:
  /// By differences, and by one backward for each output element. Nothing where that would be too many.
  static std::optional<Jacobians> find(const Subject& subject, Line& line, const Tensors& cotangents,
                                       std::size_t input);

  /// What of the upstream gradient is lost, misplaced or invented.
  std::optional<Finding> find_cause() const;

  /// The largest number of inputs of one output, or of outputs of one input.
  std::int64_t widest() const;

 private:
  enum class Entry { both_zero, equal, missing, invented, different };
  using Entries = std::vector<std::pair<std::int64_t, std::int64_t>>;  ///< (output element, input element)
  struct Output {
    std::string name;
    Shape shape;
    std::int64_t begin = 0;  ///< of its elements among all outputs'
    std::int64_t end() const { return begin + shape.numel(); }
  };

  bool same(double claimed, double expected, double bar) const;
  Entry entry(std::int64_t out, std::int64_t in) const;
  std::optional<Finding> one_output_not_used() const;
  std::optional<Finding> one_output_partly_used(const Entries& kept, const Entries& missing) const;
  std::optional<Finding> two_outputs_swapped() const;
  std::optional<Finding> only_missing() const;
  std::optional<Finding> diagonal_kept(const Entries& kept, const Entries& missing) const;
  std::optional<Finding> slice_kept(const Entries& kept, const Entries& missing) const;
  std::optional<Finding> one_use_kept(const Entries& kept, const Entries& missing) const;
  std::optional<Finding> triangle_lost(const Entries& kept, const Entries& missing) const;
  std::optional<Finding> places_lost(const Entries& kept, const Entries& missing) const;
  std::optional<Finding> only_invented() const;
  std::optional<Finding> one_of_two_uses() const;
  std::optional<Finding> mean_over_uses() const;
  std::optional<Finding> upstream_elsewhere() const;
  std::optional<Finding> input_elsewhere() const;
  std::optional<Finding> not_transposed() const;
  std::optional<Finding> other_outputs_count() const;
  std::optional<Finding> sees_the_future() const;
  std::optional<Finding> output_times_line() const;
  std::optional<Finding> factor_by_output() const;

  std::vector<Output> outputs_;
  Shape input_shape_;
  std::int64_t rows_ = 0, columns_ = 0;                     ///< output elements, input elements
  std::vector<Numbers> true_, bars_, claimed_;              ///< [output element][input element]
  std::vector<std::pair<std::string, Numbers>> by_output_;  ///< named numbers, one for each output element
  Numbers output_;                                          ///< each output element
  double scale_ = 0;
};

/// Coordinate of a row-major element along an axis.
std::int64_t coordinate(const Shape& shape, std::int64_t element, int axis);
/// `[1,4]`.
std::string place_of(const Shape& shape, std::int64_t element);
/// Values of `tensor` repeated to `shape` by the broadcasting rule; empty where that does not fit.
Numbers broadcast_values(const Tensor& tensor, const Shape& shape);

}  // namespace gradus::testing
