// One factor off, everywhere: 2, a dimension, an attribute, or any other.
#include <set>

#include "framework/tensor/creation.h"
#include "framework/testing/hint_finder.h"
#include "framework/testing/jacobian.h"

namespace gradus::testing {
namespace {

/// A factor that has a story, as a function of a dimension.
struct Story {
  Cause cause;
  double (*of)(double size);
  const char* sentence;  ///< {0}: the dimension, {1}: what it is
};

constexpr Story mean_for_sum = {Cause::mean_for_sum, [](double n) { return 1 / n; },
                                "it is exactly 1/{0:.0f} of the expected one; {0:.0f} is {1}: a mean where the sum "
                                "belongs (or forward sums where the mean is meant)"};
constexpr Story stories[] = {
    {Cause::constant_factor, [](double n) { return n; },
     "it is exactly {0:.0f} times the expected one; {0:.0f} is {1}: a sum where the mean belongs"},
    {Cause::constant_factor, [](double n) { return std::sqrt(n); },
     "it is the expected one times sqrt({0:.0f}); {0:.0f} is {1}: a scale is missing or there twice"},
    {Cause::constant_factor, [](double n) { return 1 / std::sqrt(n); },
     "it is the expected one divided by sqrt({0:.0f}); {0:.0f} is {1}: a scale is missing or there twice"},
    {Cause::constant_factor, [](double n) { return n / (n - 1); },
     "it is n / (n - 1) times the expected one, with n = {0:.0f}, which is {1}: one divides by n, the other by n - 1"},
    {Cause::constant_factor, [](double n) { return (n - 1) / n; },
     "it is (n - 1) / n times the expected one, with n = {0:.0f}, which is {1}: one divides by n - 1, the other by n"},
};

/// Every axis of that size longer by one; the new values lie between those that are there.
Tensor grown(const Tensor& tensor, std::int64_t size) {
  Tensor result = tensor;
  for (int axis = 0; axis < tensor.rank(); ++axis) {
    if (tensor.shape()[axis] != size) continue;
    const Shape before = result.shape();
    Shape shape = before;
    shape[axis] += 1;
    std::int64_t stride = 1;
    for (int a = axis + 1; a < shape.rank(); ++a) stride *= shape[a];
    const Numbers values = result.to_vector<double>();
    Numbers more(static_cast<std::size_t>(shape.numel()));
    for (std::int64_t e = 0; e < shape.numel(); ++e) {
      const std::int64_t at = e / stride % (size + 1), line = e / (stride * (size + 1)) * (stride * size) + e % stride;
      more[e] = values[line + (at < size ? at : 0) * stride];
      if (at == size && is_floating(tensor.dtype())) more[e] += 0.1 * (values[line + stride] - more[e]);
    }
    result = from_values(shape, more, tensor.dtype());
  }
  return result;
}

/// The one number by which the claimed gradient differs from the true one, from sums along random signs.
std::optional<double> factor_at(const Subject& subject, const Tensors& inputs, std::size_t input) {
  Line line(subject, inputs);
  Generator generator(11, 1);
  Tensors cotangents;
  for (const Tensor& output : line.outputs())
    cotangents.push_back(is_floating(output.dtype()) ? random_normal(output.shape(), generator, output.dtype())
                                                     : Tensor());
  line.set_cotangents(cotangents);
  const std::int64_t count = inputs[input].numel();
  const Numbers claimed = numbers_of(subject.backward(clones(inputs), cotangents)[input], count);
  std::vector<std::pair<double, double>> sums;  // claimed, expected
  double along = 0, squares = 0;
  for (std::uint64_t trial = 0; trial < 4; ++trial) {
    StreamReader reader(12, trial);
    auto signs = std::make_shared<std::vector<std::int8_t>>();
    double sum = 0;
    for (const double value : claimed) {
      signs->push_back(reader.next_integer(0, 1) ? 1 : -1);
      sum += signs->back() * value;
    }
    const Derivative expected = line.derivative({input, 0, count, signs}, 0);
    if (!expected.conclusive || !std::isfinite(sum)) return std::nullopt;
    sums.emplace_back(sum, expected.value);
    along += sum * expected.value;
    squares += expected.value * expected.value;
  }
  const double factor = along / squares;
  for (const auto& [sum, expected] : sums) {
    if (!(std::fabs(sum - factor * expected) <= 1e-4 * std::fabs(factor) * std::sqrt(squares))) return std::nullopt;
  }
  return factor;
}

}  // namespace

std::vector<HintFinder::Dimension> HintFinder::dimensions_of(const Line& line) const {
  std::vector<Dimension> found;
  const auto of = [&](const Shape& shape, const std::string& name) {
    for (int axis = 0; axis < shape.rank(); ++axis)
      found.push_back({double(shape[axis]), fmt::format("the size of axis {} of '{}'", axis, name), shape[axis]});
    if (shape.rank() < 2) return;
    const std::int64_t rows = shape.numel() / std::max<std::int64_t>(1, shape.back());
    found.push_back({double(shape.numel()), fmt::format("the number of elements of '{}'", name), shape.back()});
    found.push_back({double(rows), fmt::format("the number of rows of '{}'", name), shape[0]});
    for (int axis = 0; axis + 1 < shape.rank(); ++axis) {
      found.push_back({double(shape[axis] * shape[axis + 1]),
                       fmt::format("the size of axes {} and {} of '{}' together", axis, axis + 1, name), shape[axis]});
    }
  };
  for (std::size_t j = 0; j < line.inputs().size(); ++j) {
    if (line.inputs()[j].defined()) of(line.inputs()[j].shape(), subject_.inputs[j]);
  }
  for (std::size_t k = 0; k < line.outputs().size(); ++k)
    of(line.outputs()[k].shape(), k < subject_.outputs.size() ? subject_.outputs[k] : "output");
  return found;
}

std::optional<double> HintFinder::factor() const {
  double along = 0, squares = 0;
  int weighty = 0;
  for (std::int64_t e = 0; e < count(); ++e) {
    if (!known_[e]) continue;
    along += yours_[e] * expected_[e];
    squares += expected_[e] * expected_[e];
    weighty += std::fabs(expected_[e]) > 1e-6 * scale_;
  }
  if (squares == 0 || (weighty < 2 && count() > 1)) return std::nullopt;
  const double factor = along / squares;
  if (!std::isfinite(factor) || factor == 0 || !fits(times_expected(factor), 1 + std::fabs(factor)))
    return std::nullopt;
  return factor;
}

/// Sums and means are a story only if the factor is another one as soon as the dimension is. In this process no other
/// size is tried, as it could do harm: there it is enough that forward does not work on each element by itself.
bool HintFinder::is_a_matter_of(std::size_t dimension, double (*of)(double size)) const {
  const std::vector<Dimension> here = dimensions_of(line_);
  if (!subject_.own_process) {
    const auto is_as_large = [&](const Tensor& tensor) { return !tensor.defined() || tensor.numel() == shape_.numel(); };
    if (!std::all_of(line_.outputs().begin(), line_.outputs().end(), is_as_large)) return true;
    const std::optional<Jacobians> jacobians = Jacobians::find(subject_, line_, cotangents_, input_);
    return jacobians && jacobians->widest() > 1;
  }
  try {
    Tensors larger;
    for (const Tensor& input : line_.inputs()) larger.push_back(grown(input, here[dimension].axis));
    const std::vector<Dimension> there = dimensions_of(Line(subject_, larger));
    const std::optional<double> factor = factor_at(subject_, larger, input_);
    return factor && std::fabs(*factor / of(there.at(dimension).size) - 1) <= 1e-3;
  } catch (const Error&) {  // not every op takes other sizes
    return false;
  }
}

std::optional<Finding> HintFinder::named_factor() {
  const std::optional<double> found = factor();
  if (!found) return std::nullopt;
  const double factor = *found;
  double slack = 0;
  for (std::size_t e = 0; e < known_.size(); ++e) slack = known_[e] ? std::max(slack, slack_[e]) : slack;
  const auto is = [&](double value) {
    return std::fabs(factor / value - 1) <= 1e-8 + 2 * slack / std::max(scale_, 1e-300);
  };
  const std::vector<Dimension> dimensions = dimensions_of(line_);
  const auto told = [&](const Story& story) -> std::optional<Finding> {
    for (std::size_t d = 0; d < dimensions.size(); ++d) {
      const auto& [size, text, axis] = dimensions[d];
      if (size > 1 && is(story.of(size)) && is_a_matter_of(d, story.of))
        return finding(story.cause, fmt::format(fmt::runtime(story.sentence), size, text), times_expected(factor));
    }
    return std::nullopt;
  };
  if (std::optional<Finding> mean = told(mean_for_sum)) return mean;
  for (const auto& [value, text] :
       {std::pair{2.0, "twice"}, {0.5, "half of"}, {-2.0, "minus twice"}, {-0.5, "minus half of"}}) {
    if (is(value))
      return finding(Cause::constant_factor, fmt::format("it is exactly {} the expected one", text),
                     times_expected(factor));
  }
  for (const Story& story : stories) {
    if (std::optional<Finding> other = told(story)) return other;
  }
  return std::nullopt;
}

/// The attribute that the factor is, and stays when it gets another value; empty: none.
std::string HintFinder::attribute_of(double factor) const {
  for (const SubjectAttribute& attribute : subject_.attributes) {
    for (const auto& [power, text] : {std::pair{1, ""}, {-1, "one divided by "}, {2, "the square of "}}) {
      const auto is = [power = power](double factor, double value) {
        return std::fabs(factor / std::pow(value, power) - 1) <= 1e-6;
      };
      if (!is(factor, attribute.value) || std::fabs(attribute.value) == 1) continue;
      const double other = attribute.value == std::rint(attribute.value) ? attribute.value + 1 : 1.25 * attribute.value;
      try {
        const std::optional<double> there = factor_at(attribute.at(other), line_.inputs(), input_);
        if (there && is(*there, other)) return fmt::format("{}the attribute '{}'", text, attribute.name);
      } catch (const Error&) {
      }
    }
  }
  return "";
}

/// With one element every difference is a factor, and says nothing.
std::optional<Finding> HintFinder::any_factor() {
  const std::optional<double> found = factor();
  if (!found || count() < 3) return std::nullopt;
  const std::string attribute = attribute_of(*found);
  const double more = *found - 1;
  const bool close = std::fabs(more) < 1e-3;
  const std::string text =
      close ? fmt::format("it is the expected one times 1 {} {:.3g}, everywhere", more < 0 ? '-' : '+', std::fabs(more))
            : fmt::format("it is {:.9g} times the expected one, everywhere", *found);
  Finding result = finding(Cause::constant_factor, text + (attribute.empty() ? "" : ": that is " + attribute),
                           times_expected(*found));
  result.claim = "a factor" + attribute;
  result.number = close ? more : *found;
  result.otherwise = text + "; with other values the factor is another one";
  return result;
}

/// Each row (column, element) has a factor of its own, whatever the values.
std::optional<Finding> HintFinder::factor_by_place() {
  for (const Axis& axis : axes()) {
    Numbers along(static_cast<std::size_t>(axis.size), 0.0), squares = along, candidate = expected_;
    for (std::int64_t e = 0; e < count(); ++e) {
      along[axis.at(e)] += known_[e] ? yours_[e] * expected_[e] : 0;
      squares[axis.at(e)] += known_[e] ? expected_[e] * expected_[e] : 0;
    }
    std::set<std::string> distinct;
    std::string factors;
    double largest = 0;
    for (std::int64_t at = 0; at < axis.size; ++at) {
      along[at] = squares[at] > 0 ? along[at] / squares[at] : 1;
      largest = std::max(largest, std::fabs(along[at]));
      const std::string text = fmt::format("{:.4g}", along[at]);
      distinct.insert(text);
      factors += (at ? ", " : "") + text;
    }
    for (std::int64_t e = 0; e < count(); ++e) candidate[e] *= along[axis.at(e)];
    if (distinct.size() < 3 || !fits(candidate, 1 + largest)) continue;
    const std::string shown = factors.size() < 60 ? factors : factors.substr(0, factors.rfind(',', 50)) + ", ...";
    Finding found =
        finding(Cause::missing_factor,
                fmt::format("each {}{} has a factor of its own, whatever the values: {}", axis.kind, axis.name, shown),
                candidate);
    found.claim = factors;
    return found;
  }
  return std::nullopt;
}

/// The gradient of the same op with the value that an attribute has where nobody sets it.
std::optional<Finding> HintFinder::attribute_ignored() {
  for (const SubjectAttribute& attribute : subject_.attributes) {
    if (attribute.value == attribute.usual) continue;
    try {
      const Subject other = attribute.at(attribute.usual);
      Line there(other, line_.inputs());
      there.set_cotangents(cotangents_);
      Numbers candidate(yours_.size());
      for (std::int64_t e = 0; e < count(); ++e)
        candidate[e] = there.derivative({input_, e, e + 1}, 1e-9 * scale_).value;
      if (!fits(candidate, 4)) continue;
      return finding(
          Cause::attribute_ignored,
          fmt::format("it is the gradient for '{0}' = {1:g}, which is {2:g} here: backward has the usual value "
                      "of '{0}' in it",
                      attribute.name, attribute.usual, attribute.value),
          candidate);
    } catch (const Error&) {
    }
  }
  return std::nullopt;
}

}  // namespace gradus::testing
