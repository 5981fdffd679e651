#include "framework/testing/other_points.h"

#include <numeric>
#include <set>

#include "framework/tensor/creation.h"

namespace gradus::testing {
namespace {

std::vector<std::int64_t> permutation(std::int64_t count, StreamReader& reader) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  for (std::int64_t k = count - 1; k > 0; --k) std::swap(order[k], order[reader.next_integer(0, k)]);
  return order;
}

/// Between a value and the next larger one, nearer to the former: where a range has a gap (a kink), outside it. Values
/// that repeat or lie on a grid stay what they are.
Numbers drawn_anew(const Numbers& values, bool inner, StreamReader& reader) {
  Numbers sorted = values, result(values.size());
  std::sort(sorted.begin(), sorted.end());
  const auto count = static_cast<std::int64_t>(values.size());
  const bool repeat = std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end();
  const bool on_grid =
      std::all_of(sorted.begin(), sorted.end(), [](double value) { return value == std::rint(value); });
  const std::vector<std::int64_t> order = permutation(count, reader);
  for (std::int64_t e = 0; e < count; ++e) {
    const std::int64_t rank = inner ? count / 4 + order[e] / 2 : order[e];
    const double share =
        inner ? 0.05 + 0.2 * (order[e] % 2) + 0.05 * reader.next_uniform() : 0.3 * reader.next_uniform();
    result[e] = sorted[rank];
    if (!repeat && !on_grid && rank + 1 < count) result[e] += share * (sorted[rank + 1] - sorted[rank]);
  }
  return result;
}

/// Ids that occur, drawn anew; where all are different they stay so. Truth values change places only.
Numbers exchanged(const Numbers& values, bool are_ids, StreamReader& reader) {
  const std::set<double> distinct(values.begin(), values.end());
  const Numbers labels(distinct.begin(), distinct.end());
  const std::vector<std::int64_t> order = permutation(static_cast<std::int64_t>(values.size()), reader);
  Numbers result(values.size());
  for (std::size_t e = 0; e < values.size(); ++e) {
    const bool redraw = are_ids && labels.size() < values.size();
    result[e] =
        redraw ? labels[reader.next_integer(0, static_cast<std::int64_t>(labels.size()) - 1)] : values[order[e]];
  }
  return result;
}

double typical_magnitude(const Tensors& tensors) {
  double squares = 0, count = 0;
  for (const Tensor& tensor : tensors) {
    if (!tensor.defined()) continue;
    for (const double value : tensor.to_vector<double>()) squares += value * value;
    count += double(tensor.numel());
  }
  return squares > 0 ? std::sqrt(squares / count) : 1;
}

}  // namespace

struct OtherPoints::Point {
  Point(const Subject& subject, const Tensors& inputs) : line(subject, inputs) {}
  Line line;
  Tensors cotangents, gradients;
  CheckReport report;
  std::optional<HintFinder> finder;
};

OtherPoints::OtherPoints(const Subject& subject, const Line& line, const Tensors& cotangents, const CheckReport& report,
                         std::size_t input, const JudgeElsewhere& judge)
    : subject_(subject),
      inputs_(clones(line.inputs())),
      cotangents_(cotangents),
      report_(report),
      input_(input),
      judge_(judge) {}
OtherPoints::OtherPoints(OtherPoints&&) = default;
OtherPoints::~OtherPoints() = default;

HintFinder* OtherPoints::shuffled() { return find(shuffled_, {Kind::shuffled, Kind::shuffled_but_integers}); }
HintFinder* OtherPoints::inner() { return find(inner_, {Kind::inner}); }

HintFinder* OtherPoints::find(Asked& asked, std::initializer_list<Kind> kinds) {
  if (!asked.tried) {
    asked.tried = true;
    for (const Kind kind : kinds) {
      if (!asked.point) asked.point = make(kind);
    }
  }
  return asked.point ? &*asked.point->finder : nullptr;
}

Tensors OtherPoints::inputs_of(Kind kind) const {
  Tensors moved = clones(inputs_);
  StreamReader reader(report_.seed, 7000 + static_cast<std::uint64_t>(kind));
  for (std::size_t j = 0; j < moved.size(); ++j) {
    if (!moved[j].defined() || moved[j].numel() < 2) continue;
    const bool floating = is_floating(moved[j].dtype());
    if (floating ? !subject_.differentiable[j] : kind == Kind::shuffled_but_integers) continue;
    const Numbers values = moved[j].to_vector<double>();
    moved[j] = from_values(moved[j].shape(),
                           floating ? drawn_anew(values, kind == Kind::inner, reader)
                                    : exchanged(values, moved[j].dtype() != DType::boolean, reader),
                           moved[j].dtype());
  }
  return moved;
}

std::unique_ptr<OtherPoints::Point> OtherPoints::make(Kind kind) const {
  try {
    auto point = std::make_unique<Point>(subject_, inputs_of(kind));
    Generator generator(report_.seed, (std::uint64_t{1} << 51) + static_cast<std::uint64_t>(kind));
    const double size = typical_magnitude(cotangents_);
    for (std::size_t k = 0; k < cotangents_.size(); ++k) {
      const Tensor& output = point->line.outputs()[k];
      point->cotangents.push_back(
          cotangents_[k].defined() ? random_normal(output.shape(), generator, output.dtype(), 0, size) : Tensor());
      if (cotangents_[k].defined() && !all_finite(output.to_vector<double>())) return nullptr;
    }
    point->line.set_cotangents(point->cotangents);
    point->gradients = subject_.backward(clones(point->line.inputs()), clones(point->cotangents));
    point->report.seed = report_.seed;
    point->report.inputs.push_back(judge_(point->line, point->cotangents, point->gradients, input_));
    point->finder.emplace(subject_, point->line, point->cotangents, point->gradients, point->report, 0, input_);
    return point->finder->known_share() > 0.25 ? std::move(point) : nullptr;
  } catch (const Error&) {  // an op may be asked for a point where it is not defined
    return nullptr;
  }
}

}  // namespace gradus::testing
