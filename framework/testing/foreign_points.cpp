#include "framework/testing/foreign_points.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "framework/random/generator.h"
#include "framework/tensor/creation.h"
#include "framework/testing/numbers.h"

namespace gradus::testing {

namespace {

constexpr std::int64_t most_elements = 30000;      ///< of an input of a chosen shape
constexpr std::int64_t most_drawn_elements = 700;  ///< of one with drawn sizes
constexpr std::uint64_t size_stream = std::uint64_t{1} << 41;
constexpr double scout_timeout = 2;                                           ///< seconds
constexpr const char *unequal_axes = "unequal axes", *sizes_alone = "sizes";  // wishes

int largest_rank(const Shapes& shapes) {
  int rank = 0;
  for (const Shape& shape : shapes) rank = std::max(rank, shape.rank());
  return rank;
}

bool fits(const Shapes& shapes, std::int64_t most) {
  return std::all_of(shapes.begin(), shapes.end(), [&](const Shape& shape) {
    double elements = 1;
    for (const std::int64_t size : shape) elements *= static_cast<double>(size);
    return shape.rank() <= max_rank && elements <= static_cast<double>(most);
  });
}

/// Equal axes stay equal. An axis of size 1 may stand for one that is broadcast, and is left alone.
Shapes resized(Shapes shapes, const std::map<std::int64_t, std::int64_t>& sizes) {
  for (Shape& shape : shapes) {
    for (int axis = 0; axis < shape.rank(); ++axis) {
      const auto found = sizes.find(shape[axis]);
      if (shape[axis] > 1 && found != sizes.end()) shape[axis] = found->second;
    }
  }
  return shapes;
}

struct Axis {
  std::size_t input;
  int axis;
};

/// The axes of each size above 1.
std::map<std::int64_t, std::vector<Axis>> axes_by_size(const Shapes& shapes) {
  std::map<std::int64_t, std::vector<Axis>> found;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    for (int axis = 0; axis < shapes[i].rank(); ++axis) {
      if (shapes[i][axis] > 1) found[shapes[i][axis]].push_back({i, axis});
    }
  }
  return found;
}

Shape without_axis(const Shape& shape, int axis) {
  std::vector<std::int64_t> sizes = shape.to_vector();
  sizes.erase(sizes.begin() + axis);
  return Shape(sizes);
}

Shape with_axis(const Shape& shape, int axis, std::int64_t size) {
  std::vector<std::int64_t> sizes = shape.to_vector();
  sizes.insert(sizes.begin() + axis, size);
  return Shape(sizes);
}

/// The same change to some of the shapes: to those of the largest rank, to all, or to the first of the largest rank.
template <class Change>
std::vector<Shapes> changed_in_parts(const Shapes& shapes, int least_rank, Change&& change) {
  const int rank = largest_rank(shapes);
  std::vector<Shapes> ways(3, shapes);
  bool is_first = true;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    if (shapes[i].rank() < least_rank) continue;
    const Shape other = change(shapes[i]);
    ways[1][i] = other;
    if (shapes[i].rank() < rank) continue;
    ways[0][i] = other;
    if (std::exchange(is_first, false)) ways[2][i] = other;
  }
  return ways;
}

std::vector<Shapes> with_one_axis_more(const Shapes& shapes) {
  std::vector<Shapes> ways = changed_in_parts(shapes, 0, [](const Shape& shape) { return with_axis(shape, 0, 3); });
  if (largest_rank(shapes) > 1) {
    for (Shapes& way : changed_in_parts(shapes, 2, [](const Shape& shape) { return with_axis(shape, 1, 3); }))
      ways.push_back(std::move(way));
  }
  return ways;
}

std::vector<Shapes> with_one_axis_less(const Shapes& shapes) {
  std::vector<Shapes> ways = changed_in_parts(shapes, 1, [](const Shape& shape) { return without_axis(shape, 0); });
  for (Shapes& way :
       changed_in_parts(shapes, 1, [](const Shape& shape) { return without_axis(shape, shape.rank() - 1); }))
    ways.push_back(std::move(way));
  return ways;
}

/// Every way to make some, but not all, of the axes of one size longer; those with the last axes come first.
std::vector<Shapes> untied(const Shapes& shapes) {
  constexpr std::size_t most_axes = 5;
  std::vector<Shapes> ways;
  const auto by_size = axes_by_size(shapes);
  for (const auto& [size, axes] : by_size) {
    const std::size_t count = std::min(axes.size(), most_axes);
    std::int64_t longer = size + 3;
    while (by_size.contains(longer)) ++longer;
    for (unsigned chosen = (1u << count) - 2; chosen > 0 && count > 1; --chosen) {
      Shapes way = shapes;
      for (std::size_t a = 0; a < count; ++a) {
        if (chosen >> a & 1) way[axes[a].input][axes[a].axis] = longer;
      }
      ways.push_back(std::move(way));
    }
  }
  // Unequal axes of one tensor are the more telling ones.
  const auto splits_a_tensor = [&](const Shapes& way) {
    for (std::size_t i = 0; i < way.size(); ++i) {
      for (int a = 0; a < way[i].rank(); ++a) {
        for (int b = 0; b < a; ++b) {
          if (shapes[i][a] == shapes[i][b] && way[i][a] != way[i][b]) return true;
        }
      }
    }
    return false;
  };
  std::stable_partition(ways.begin(), ways.end(), splits_a_tensor);
  return ways;
}

/// Choices, each with ways that no other one has.
class Choices {
 public:
  explicit Choices(const Shapes& declared) : known_{declared} {}

  void add(const std::string& wish, const std::string& words, const std::vector<Shapes>& ways) {
    ShapeChoice choice{.wish = wish, .words = words, .ways = {}};
    for (const Shapes& way : ways) {
      if (!fits(way, most_elements) || std::find(known_.begin(), known_.end(), way) != known_.end()) continue;
      known_.push_back(way);
      choice.ways.push_back(way);
    }
    if (!choice.ways.empty()) all.push_back(std::move(choice));
  }

  std::vector<ShapeChoice> all;

 private:
  std::vector<Shapes> known_;
};

std::string values_in_words(const ForeignInput& input) {
  if (input.normal) return input.name + " normal";
  if (!is_floating(input.dtype) && input.low == input.high) return fmt::format("every {} {}", input.name, input.low);
  return fmt::format("{} {}in [{}, {}]", input.name, input.whole ? "whole " : "", input.low, input.high);
}

bool have_values(const Tensors& outputs) {
  return std::all_of(outputs.begin(), outputs.end(), [](const Tensor& tensor) {
    return !is_floating(tensor.dtype()) || all_finite(tensor.to_vector<double>());
  });
}

}  // namespace

Shapes shapes_of(const std::vector<ForeignInput>& inputs) {
  Shapes shapes;
  for (const ForeignInput& input : inputs) shapes.push_back(input.shape);
  return shapes;
}

bool is_whole(const ForeignPoint& point) {
  return std::any_of(point.inputs.begin(), point.inputs.end(), [](const ForeignInput& input) { return input.whole; });
}

bool same_values(const ForeignInput& a, const ForeignInput& b) {
  return a.low == b.low && a.high == b.high && a.normal == b.normal && a.whole == b.whole;
}

std::string words_of(const ForeignPoint& point, const ForeignOp& declared) {
  std::vector<std::string> words;
  if (!point.shape_words.empty()) words.push_back(point.shape_words);
  for (std::size_t i = 0; i < point.inputs.size(); ++i) {
    if (!same_values(point.inputs[i], declared.inputs()[i])) words.push_back(values_in_words(point.inputs[i]));
  }
  for (const ForeignAttribute& attribute : point.attributes) {
    if (attribute.value != declared.attributes().at(attribute.name))
      words.push_back(fmt::format("{}={}", attribute.name, attribute.value));
  }
  if (point.offset >= 0) words.push_back(fmt::format("buffers {} bytes behind a boundary of 64", point.offset));
  if (point.threads > 1) words.push_back(fmt::format("{} threads", point.threads));
  return fmt::format("{}", fmt::join(words, ", "));
}

void set_point(ForeignOp& op, const ForeignPoint& point) {
  for (const ForeignInput& input : point.inputs) op.set_input(input);
  for (const ForeignAttribute& attribute : point.attributes) {
    if (op.attributes().at(attribute.name) != attribute.value) op.set_attribute(attribute.name, attribute.value);
  }
  op.set_offset(point.offset);
  op.set_threads(point.threads);
}

bool odd(const Shapes& shapes, const Shapes& declared) {
  std::map<std::int64_t, std::int64_t> became;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    if (shapes[i].rank() != declared[i].rank()) return true;
    for (int axis = 0; axis < shapes[i].rank(); ++axis) {
      const std::int64_t from = declared[i][axis], to = shapes[i][axis];
      if (to < from || (from == 1 && to > 1) || became.try_emplace(from, to).first->second != to) return true;
    }
  }
  return false;
}

std::vector<ShapeChoice> shape_choices(const std::vector<ForeignInput>& inputs) {
  const Shapes declared = shapes_of(inputs);
  const Shape& main = *std::max_element(declared.begin(), declared.end(),
                                        [](const Shape& a, const Shape& b) { return a.rank() < b.rank(); });
  Choices choices(declared);
  const auto axis_more = [&] { choices.add("one axis more", "one axis more", with_one_axis_more(declared)); };
  if (main.rank() == 0) {
    axis_more();
    return choices.all;
  }
  const auto size = [&](const char* which, int axis, std::int64_t to) {
    const std::int64_t from = main[axis];
    Shapes alone = declared;
    for (Shape& shape : alone) {
      if (shape.rank() == main.rank() && shape[axis] == from) shape[axis] = to;
    }
    choices.add(sizes_alone, fmt::format("a {} axis of {}", which, to), {resized(declared, {{from, to}}), alone});
  };
  const auto last = [&](std::int64_t to) { size("last", main.rank() - 1, to); };
  const auto first = [&](std::int64_t to) { size("first", 0, to); };
  const std::vector<Shapes> unequal = untied(declared);

  last(65);
  axis_more();
  choices.add(unequal_axes, unequal_axes, unequal);
  first(main[0] == 3 ? 5 : 3);
  choices.add("one axis less", "one axis less", with_one_axis_less(declared));
  last(1);
  first(65);
  std::map<std::int64_t, std::int64_t> longer;
  for (const auto& [from, axes] : axes_by_size(declared)) longer[from] = from + 1;
  choices.add(sizes_alone, "every size one more", {resized(declared, longer)});
  for (const std::int64_t to : {64, 128, 127}) last(to);
  first(1);
  for (const std::int64_t to : {63, 129, 2, 3}) last(to);
  choices.add(unequal_axes, unequal_axes, std::vector<Shapes>(unequal.rbegin(), unequal.rend()));
  for (int axis = 1; axis + 1 < main.rank(); ++axis) {
    for (const std::int64_t to : {1, 65}) size("middle", axis, to);
  }
  return choices.all;
}

std::vector<ForeignInput> other_values(const ForeignInput& input) {
  if (!is_floating(input.dtype) || !(input.normal || input.low < input.high)) return {};
  const double low = input.normal ? -4 : input.low, high = input.normal ? 4 : input.high, part = (high - low) / 16;
  std::vector<ForeignInput> others;
  const auto add = [&](double from, double to, bool whole = false) {
    others.push_back(input);
    others.back().low = from;
    others.back().high = to;
    others.back().normal = false;
    others.back().whole = whole;
  };
  if (low < 0 && high > 0) {
    const double size = std::max(-low, high);
    add(0, high);
    add(low, 0);
    add(std::max(low, -1e-3 * size), std::min(high, 1e-3 * size));
    if (high >= -low) add(0.75 * high, high);
    else add(low, 0.75 * low);
  } else {
    add(low, low + part);
    add(high - part, high);
  }
  // Few enough for many to be equal. Corners that are known are no place to look at.
  const double first = std::max(std::ceil(low), -2.0), final = std::min(std::floor(high), first + 4);
  if (first < final && input.kinks.empty()) add(first, final, true);
  return others;
}

std::vector<double> attribute_values(const ForeignAttribute& attribute) {
  const auto whole = [](double value) { return value == std::floor(value); };
  const double value = attribute.value, low = attribute.low, high = attribute.high;
  std::vector<double> values;
  const auto add = [&](double other) {
    if (other != value && std::find(values.begin(), values.end(), other) == values.end()) values.push_back(other);
  };
  if (low < high) {
    const bool integers = whole(value) && whole(low) && whole(high);
    for (const double share : {0.5, 1.0, 0.0, 0.25, 0.75}) {
      const double other = low + share * (high - low);
      add(integers ? std::round(other) : other);
    }
  } else if (!whole(value)) {
    add(0.98 * value);
  }
  return values;
}

ForeignPoints::ForeignPoints(const ForeignOp& declared, std::uint64_t seed, const std::set<std::string>& fixed,
                             bool beyond, bool strict)
    : declared_(declared.twin()),
      scout_(declared.twin()),
      strict_(strict),
      seed_(seed),
      choices_(shape_choices(declared.inputs())),
      bases_{shapes_of(declared.inputs())},
      covering_({1}, seed) {
  scout_.set_aside(scout_timeout);
  for (const ForeignInput& input : declared_.inputs()) {
    std::vector<ForeignInput> others = other_values(input);
    if (beyond && !others.empty()) {
      const double low = input.normal ? -4 : input.low, high = input.normal ? 4 : input.high;
      for (const double times : {16, 4}) {
        const double reach = times / 2 * (high - low);
        others.insert(others.begin(), input);
        others[0].low = (low + high) / 2 - reach;
        others[0].high = (low + high) / 2 + reach;
        others[0].normal = false;
      }
    }
    value_levels_ = std::max(value_levels_, others.size() + 1);
    other_values_.push_back(std::move(others));
    has_indices_ |= !is_floating(input.dtype) && input.low < input.high;
  }
  for (const ForeignAttribute& attribute : declared_.declared_attributes())
    attribute_values_.push_back(fixed.contains(attribute.name) ? std::vector<double>() : attribute_values(attribute));
  covering_ = Covering(levels_of_factors(), seed);
  read_to_the_end_.resize(declared_.inputs().size());
  try {
    const Tensors inputs = scout_.draw_inputs(seed);
    const Tensors outputs = scout_.subject().forward(inputs);
    declared_sensitivity_ = sensitivity(inputs, outputs);
    declared_seconds_ = seconds_of_calls(inputs, outputs, 0);
    for (std::size_t i = 0; i < inputs.size(); ++i)
      read_to_the_end_[i] = inputs[i].numel() > 0 && reads_end_of(i, inputs, outputs, seed);
  } catch (const ForeignFailure&) {  // then it is not known
  }
}

std::vector<int> ForeignPoints::levels_of_factors() const {
  std::vector<int> levels = {static_cast<int>(choices_.size()) + 2, static_cast<int>(value_levels_),
                             has_indices_ ? 3 : 1, 4, 2};
  for (const std::vector<double>& values : attribute_values_) levels.push_back(static_cast<int>(values.size()) + 1);
  return levels;
}

ForeignPoint ForeignPoints::point_at(const std::string& words, const Shapes& way, const std::vector<int>& row) const {
  ForeignPoint point{.inputs = declared_.inputs(), .attributes = declared_.declared_attributes()};
  point.seed = seed_ + points_;
  if (way != shapes_of(declared_.inputs())) point.shape_words = words;
  for (std::size_t i = 0; i < way.size(); ++i) point.inputs[i].shape = way[i];
  for (ForeignAttribute& attribute : point.attributes) attribute.value = declared_.attributes().at(attribute.name);
  set_indices(point, row[indices]);
  set_values(point, row[values]);
  set_attributes(point, row);
  constexpr std::int64_t offsets_of_levels[] = {-1, 8, 24, 40};
  point.offset = offsets_of_levels[row[offsets]];
  point.threads = row[threads] == 0 ? 1 : 4;
  return point;
}

void ForeignPoints::set_values(ForeignPoint& point, int level) const {
  for (std::size_t i = 0; i < point.inputs.size(); ++i) {
    const std::vector<ForeignInput>& others = other_values_[i];
    if (level == 0 || others.empty()) continue;
    const Shape shape = point.inputs[i].shape;
    point.inputs[i] = others[static_cast<std::size_t>(level - 1) % others.size()];
    point.inputs[i].shape = shape;
  }
}

/// Integers that may be indices into an axis stay within it; then all are made equal, or two neighbours.
void ForeignPoints::set_indices(ForeignPoint& point, int level) const {
  for (ForeignInput& input : point.inputs) {
    if (is_floating(input.dtype)) continue;
    for (std::size_t i = 0; i < point.inputs.size(); ++i) {
      const Shape &now = point.inputs[i].shape, &before = declared_.inputs()[i].shape;
      for (int axis = 0; axis < before.rank() && before.rank() == now.rank(); ++axis) {
        if (static_cast<double>(before[axis]) == input.high + 1 && now[axis] > 0 && now[axis] < before[axis])
          input.high = std::max(input.low, static_cast<double>(now[axis] - 1));
      }
    }
    if (level == 0 || !(input.low < input.high)) continue;
    StreamReader reader(point.seed, size_stream + 1);
    input.low = static_cast<double>(
        reader.next_integer(std::llround(input.low), std::llround(input.high) - (level == 2 ? 1 : 0)));
    input.high = input.low + (level == 2 ? 1 : 0);
  }
}

void ForeignPoints::set_attributes(ForeignPoint& point, const std::vector<int>& row) const {
  for (std::size_t a = 0; a < point.attributes.size(); ++a) {
    const int level = row[first_attribute + a];
    if (level > 0) point.attributes[a].value = attribute_values_[a][static_cast<std::size_t>(level - 1)];
  }
}

bool ForeignPoints::takes(const ForeignPoint& point, double seconds) {
  Tensors inputs, outputs;
  try {
    set_point(scout_, {.inputs = point.inputs, .attributes = point.attributes});
    inputs = scout_.draw_inputs(point.seed);
    const Subject subject = scout_.subject();
    const Tensors found = subject.forward(inputs);
    if (!have_values(found)) return false;
    const double moved = sensitivity(inputs, found);
    if (moved > std::max(1e3, 30 * declared_sensitivity_)) return false;
    if (moved == 0 && declared_sensitivity_ > 0) return false;  // nothing moves, and nothing shows
    if (!point.shape_words.empty() && !reads_all(inputs, found, point.seed)) return false;
    outputs = found;
    const double most = std::max(seconds, 3 * declared_seconds_);
    return seconds_of_calls(inputs, outputs, most) <= most;
  } catch (const ForeignFailure& failure) {
    if (failure.kind != ForeignFailureKind::refused) scout_.restart();
    return !odd(shapes_of(point.inputs), shapes_of(declared_.inputs())) && is_fault(failure.kind, !outputs.empty());
  }
}

/// Of forward and backward; where another program comes between, they are tried again.
double ForeignPoints::seconds_of_calls(const Tensors& inputs, const Tensors& outputs, double enough) const {
  constexpr int most_trials = 4;
  Tensors cotangents;
  for (const Tensor& output : outputs) cotangents.push_back(is_floating(output.dtype()) ? ones_like(output) : Tensor());
  const Subject subject = scout_.subject();
  double least = std::numeric_limits<double>::infinity();
  for (int trial = 0; trial < most_trials && least > enough; ++trial) {
    const auto start = std::chrono::steady_clock::now();
    subject.forward(inputs);
    subject.backward(inputs, cotangents);
    least = std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return least;
}

/// What a check should find. A right op may refuse a shape by ending itself, or leave out what it is not made for;
/// where its forward takes a shape, so must its backward.
bool ForeignPoints::is_fault(ForeignFailureKind kind, bool forward_done) const {
  using Kind = ForeignFailureKind;
  if (kind == Kind::refused || kind == Kind::bad_description || kind == Kind::timeout) return false;
  return forward_done || (strict_ && kind != Kind::crash);
}

/// Do the outputs depend on the last part of an input, as far as it can be drawn in another way?
bool ForeignPoints::reads_end_of(std::size_t input, const Tensors& inputs, const Tensors& outputs,
                                 std::uint64_t seed) const {
  constexpr int draws = 4;
  bool has_moved = false;
  for (int draw = 1; draw <= draws; ++draw) {
    Tensors moved = inputs;
    Numbers values = inputs[input].to_vector<double>();
    const Numbers others = scout_.draw_inputs(seed + static_cast<std::uint64_t>(draw))[input].to_vector<double>();
    const auto part = static_cast<std::ptrdiff_t>((values.size() + 3) / 4);
    std::copy(others.end() - part, others.end(), values.end() - part);
    moved[input] = from_values(inputs[input].shape(), values, inputs[input].dtype());
    if (same_bits(moved[input], inputs[input])) continue;
    has_moved = true;
    const Tensors found = scout_.subject().forward(moved);
    if (!std::equal(outputs.begin(), outputs.end(), found.begin(), found.end(), same_bits)) return true;
  }
  return !has_moved;
}

/// An op that takes a shape for another one leaves something out that it reads at the declared point.
bool ForeignPoints::reads_all(const Tensors& inputs, const Tensors& outputs, std::uint64_t seed) const {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (read_to_the_end_[i] && !reads_end_of(i, inputs, outputs, seed)) return false;
  }
  return true;
}

/// By how much more than the inputs the outputs move, each relative to its largest element. Where that is much more
/// than at the declared point, sizes or values have made another problem of it, and its roundings say nothing about the
/// op.
double ForeignPoints::sensitivity(const Tensors& inputs, const Tensors& outputs) const {
  const bool narrow =
      std::any_of(inputs.begin(), inputs.end(), [](const Tensor& x) { return x.dtype() == DType::f32; });
  const double step = narrow ? 1e-4 : 1e-8;
  Tensors moved = inputs;
  StreamReader reader(seed_, size_stream + 2);
  for (Tensor& input : moved) {
    if (!is_floating(input.dtype())) continue;
    Numbers values = input.to_vector<double>();
    for (double& value : values) value *= reader.next_integer(0, 1) ? 1 + step : 1 - step;
    input = from_values(input.shape(), values, input.dtype());
  }
  const Tensors others = scout_.subject().forward(moved);
  double most = 0;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    if (!is_floating(outputs[k].dtype())) continue;
    const Numbers before = outputs[k].to_vector<double>();
    const double size = largest_magnitude(before);
    if (size > 0) most = std::max(most, largest_difference(before, others[k].to_vector<double>()) / (step * size));
  }
  return most;
}

/// As many axes as possible of sizes of their own, from a way that is taken.
Shapes ForeignPoints::fully_untied(Shapes way, const std::vector<int>& row, double seconds) {
  for (bool found = true; found;) {
    found = false;
    for (const Shapes& further : untied(way)) {
      if (!fits(further, most_elements) || !takes(point_at("", further, row), seconds)) continue;
      way = further;
      found = true;
      break;
    }
  }
  return way;
}

std::optional<ForeignPoint> ForeignPoints::taken_at(const ShapeChoice& choice, const std::vector<int>& row,
                                                    double seconds) {
  // What is refused with everything at once may be taken with less.
  std::vector<std::vector<int>> rows = {row};
  const auto without = [&](std::initializer_list<int> factors) {
    std::vector<int> less = row;
    for (const int factor : factors) {
      if (factor < first_attribute) less[factor] = 0;
      else std::fill(less.begin() + first_attribute, less.end(), 0);
    }
    if (std::find(rows.begin(), rows.end(), less) == rows.end()) rows.push_back(less);
  };
  without({values});
  without({indices});
  without({first_attribute});
  without({values, indices, first_attribute});
  for (Shapes way : choice.ways) {
    // A way that is not taken as it stands is no way at all.
    if (!takes(point_at(choice.words, way, rows.back()), seconds)) continue;
    if (choice.wish == unequal_axes) way = fully_untied(way, rows.back(), seconds);
    for (const std::vector<int>& attempt : rows) {
      ForeignPoint point = point_at(choice.words, way, attempt);
      if (takes(point, seconds)) return point;
    }
  }
  return {};
}

/// Sizes drawn for the axes of one of the shapes that the op is known to take.
ShapeChoice ForeignPoints::drawn_choice() {
  static constexpr std::int64_t sizes[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  12,  15,  16,
                                           17, 24, 31, 32, 33, 48, 63, 64, 65, 127, 128, 129};
  StreamReader reader(seed_ + points_, size_stream);
  ShapeChoice choice{.wish = sizes_alone, .words = "other sizes", .ways = {}};
  for (int attempt = 0; attempt < 16; ++attempt) {
    const Shapes& base = bases_[static_cast<std::size_t>(reader.next_integer(0, std::ssize(bases_) - 1))];
    std::map<std::int64_t, std::int64_t> drawn;
    for (const auto& [from, axes] : axes_by_size(base))
      drawn[from] = sizes[reader.next_integer(0, std::ssize(sizes) - 1)];
    Shapes way = resized(base, drawn);
    if (fits(way, most_drawn_elements)) choice.ways.push_back(std::move(way));
  }
  choice.ways.push_back(bases_[0]);
  return choice;
}

std::optional<ForeignPoint> ForeignPoints::next(double seconds, double search) {
  const auto start = std::chrono::steady_clock::now();
  ++points_;
  while (next_choice_ < choices_.size()) {
    if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > search) return {};
    const ShapeChoice& choice = choices_[next_choice_++];
    const std::vector<int> row = covering_.next(static_cast<int>(next_choice_));
    std::optional<ForeignPoint> point = taken_at(choice, row, seconds);
    shape_wishes_[choice.wish] |= point.has_value();
    if (point && choice.wish != sizes_alone) bases_.push_back(shapes_of(point->inputs));
    if (point) return point;
  }
  return taken_at(drawn_choice(), covering_.next(static_cast<int>(choices_.size()) + 1), seconds);
}

std::vector<std::string> ForeignPoints::not_varied() const {
  std::vector<std::string> all;
  for (const auto& [wish, taken] : shape_wishes_) {
    if (!taken) all.push_back(wish + " (not taken)");
  }
  for (std::size_t a = 0; a < attribute_values_.size(); ++a) {
    if (attribute_values_[a].empty())
      all.push_back(fmt::format("{} (no range declared)", declared_.declared_attributes()[a].name));
  }
  if (value_levels_ == 1) all.push_back("values (nothing is drawn)");
  return all;
}

}  // namespace gradus::testing
