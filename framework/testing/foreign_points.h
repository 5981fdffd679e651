// Where a foreign op is tried beside the point that it declares: at other ranks and sizes, with axes unequal that are
// equal there, with repeated indices, other attributes and values, at other addresses and on more threads. What it
// declares bounds all of it.
#pragma once

#include <optional>
#include <set>

#include "framework/testing/covering.h"
#include "framework/testing/foreign_op.h"

namespace gradus::testing {

struct ForeignPoint {
  std::vector<ForeignInput> inputs;
  std::vector<ForeignAttribute> attributes;
  std::int64_t offset = -1;  ///< of all buffers, as ForeignOp::set_offset takes it
  int threads = 1;
  std::uint64_t seed = 0;
  std::string shape_words = {};  ///< what is unlike the declared shapes; empty: they are these
};

/// Makes an op one that is at a point.
void set_point(ForeignOp& op, const ForeignPoint& point);
/// Are values drawn as whole numbers there, on which corners may lie?
bool is_whole(const ForeignPoint& point);
/// What is unlike the point at which `declared` is.
std::string words_of(const ForeignPoint& point, const ForeignOp& declared);
/// Are the values drawn from the same?
bool same_values(const ForeignInput& a, const ForeignInput& b);

using Shapes = std::vector<Shape>;  ///< of all inputs
Shapes shapes_of(const std::vector<ForeignInput>& inputs);

/// Shapes with other ranks, with a smaller size, or with unequal axes where `declared` has equal ones: an op that is
/// not made for these may be right and still not refuse them.
bool odd(const Shapes& shapes, const Shapes& declared);

/// One wish for other shapes, and the ways in which it could be meant.
struct ShapeChoice {
  std::string wish;  ///< what is varied: "sizes"
  std::string words;
  std::vector<Shapes> ways;
};
/// What is worth trying, the most telling first.
std::vector<ShapeChoice> shape_choices(const std::vector<ForeignInput>& inputs);

/// The input with other values, inside the declared range, or around 0 where it is a standard normal: positive ones,
/// negative, tiny, large, whole numbers.
std::vector<ForeignInput> other_values(const ForeignInput& input);
/// Values of an attribute beside its own, within what is declared.
std::vector<double> attribute_values(const ForeignAttribute& attribute);

/// One point after another, as many as are asked for.
class ForeignPoints {
 public:
  /// Around `declared`, whose attributes named in `fixed` stay. `beyond`: nothing moves within the declared ranges, so
  /// that values outside them are tried as well. `strict`: sizes that forward neither refuses nor handles count as
  /// taken.
  ForeignPoints(const ForeignOp& declared, std::uint64_t seed, const std::set<std::string>& fixed, bool beyond,
                bool strict);

  /// One that the op takes: it does not refuse, its outputs are finite and not much more sensitive than at the declared
  /// point, it reads all of its inputs, and forward and backward take at most `seconds`, or three times as long as
  /// there. Nothing where none is found within `search` seconds.
  std::optional<ForeignPoint> next(double seconds, double search);

  /// What could not be varied, and why: "ranks (not taken)".
  std::vector<std::string> not_varied() const;

 private:
  enum Factor { shapes, values, indices, offsets, threads, first_attribute };

  std::vector<int> levels_of_factors() const;
  ShapeChoice drawn_choice();
  std::optional<ForeignPoint> taken_at(const ShapeChoice& choice, const std::vector<int>& row, double seconds);
  ForeignPoint point_at(const std::string& words, const Shapes& way, const std::vector<int>& row) const;
  void set_values(ForeignPoint& point, int level) const;
  void set_indices(ForeignPoint& point, int level) const;
  void set_attributes(ForeignPoint& point, const std::vector<int>& row) const;
  bool takes(const ForeignPoint& point, double seconds);
  double seconds_of_calls(const Tensors& inputs, const Tensors& outputs, double enough) const;
  bool is_fault(ForeignFailureKind kind, bool forward_done) const;
  bool reads_end_of(std::size_t input, const Tensors& inputs, const Tensors& outputs, std::uint64_t seed) const;
  bool reads_all(const Tensors& inputs, const Tensors& outputs, std::uint64_t seed) const;
  double sensitivity(const Tensors& inputs, const Tensors& outputs) const;
  Shapes fully_untied(Shapes way, const std::vector<int>& row, double seconds);

  ForeignOp declared_, scout_;  ///< the scout tries what may end it
  bool strict_;
  std::uint64_t seed_, points_ = 0;
  std::vector<ShapeChoice> choices_;
  std::size_t next_choice_ = 0;
  std::vector<Shapes> bases_;  ///< what the op takes besides sizes: drawn sizes start from these
  std::vector<std::vector<ForeignInput>> other_values_;  ///< by input
  std::size_t value_levels_ = 1;
  bool has_indices_ = false;
  std::vector<std::vector<double>> attribute_values_;  ///< by attribute
  Covering covering_;
  std::map<std::string, bool> shape_wishes_;  ///< was it taken?
  double declared_sensitivity_ = 0, declared_seconds_ = 0;
  std::vector<bool> read_to_the_end_;  ///< at the declared point, by input
};

}  // namespace gradus::testing
