// The right formula at the wrong values: another point, another operand, a transposed one.
#include "framework/tensor/creation.h"
#include "framework/testing/hint_finder.h"

namespace gradus::testing {
namespace {

/// Each line of the last axis with mean 0 and variance 1, 1e-5 added as layer norm does.
Numbers normalised(const Numbers& values, const Shape& shape) {
  Numbers result = values;
  const std::int64_t n = shape.back();
  for (std::size_t row = 0; row < values.size(); row += n) {
    double mean = 0, variance = 0;
    for (std::int64_t c = 0; c < n; ++c) mean += values[row + c] / double(n);
    for (std::int64_t c = 0; c < n; ++c) variance += (values[row + c] - mean) * (values[row + c] - mean) / double(n);
    for (std::int64_t c = 0; c < n; ++c) result[row + c] = (values[row + c] - mean) / std::sqrt(variance + 1e-5);
  }
  return result;
}

}  // namespace

Numbers HintFinder::backward_with(std::size_t j, const Tensor& replacement) const {
  Tensors inputs = line_.inputs();
  inputs[j] = replacement;
  return numbers_of(subject_.backward(inputs, cotangents_)[input_], count());
}

std::optional<Finding> HintFinder::wrong_point() {
  for (std::size_t j = 0; j < line_.inputs().size(); ++j) {
    const Tensor& own = line_.inputs()[j];
    if (!own.defined() || !is_floating(own.dtype()) || own.numel() < 2) continue;
    std::vector<std::pair<std::string, Numbers>> points;
    for (std::size_t k = 0; k < line_.outputs().size(); ++k) {
      if (line_.outputs()[k].defined() && line_.outputs()[k].shape() == own.shape() &&
          line_.outputs()[k].dtype() == own.dtype())
        points.emplace_back("the output", line_.outputs()[k].to_vector<double>());
    }
    if (own.rank() > 0 && own.shape().back() > 2)
      points.emplace_back("the normalised '" + subject_.inputs[j] + "'",
                          normalised(own.to_vector<double>(), own.shape()));
    for (const auto& [name, values] : points) {
      const Tensor elsewhere = from_values(own.shape(), values, own.dtype());
      try {
        const Numbers given_it = backward_with(j, elsewhere);
        const bool normalised_point = name.front() == 't' && name.back() == '\'';
        // Normalising is known to an epsilon only; where the gradient does not depend on the point, nothing is gained
        // by it.
        bool close = largest_difference(given_it, expected_) <= 0.1 * largest_difference(yours_, expected_);
        for (std::int64_t e = 0; e < count(); ++e)
          close &= std::fabs(given_it[e] - expected_[e]) <= (normalised_point ? 1e-3 * scale_ : slack_[e]);
        if (close) {
          return finding(
              Cause::wrong_point,
              fmt::format("it would be right if '{}' were {}: backward uses the one where the other is meant",
                          subject_.inputs[j], name));
        }
        if (j != input_ || count() > 400 || normalised_point) continue;
        Tensors moved = line_.inputs();
        moved[j] = elsewhere;
        Line there(subject_, moved);
        there.set_cotangents(cotangents_);
        Numbers candidate(yours_.size());
        for (std::int64_t e = 0; e < count(); ++e) candidate[e] = there.derivative({j, e, e + 1}, 1e-9 * scale_).value;
        if (fits(candidate, 4)) {
          return finding(Cause::wrong_point,
                         fmt::format("it is the right gradient for another point, where '{}' is {}: the derivative is "
                                     "taken at {} (or the input was already changed)",
                                     of_input_.name, name, name),
                         candidate);
        }
      } catch (const Error&) {  // a point outside the op's domain is not the one
      }
    }
  }
  return std::nullopt;
}

/// Right if an operand were transposed, or two operands exchanged.
std::optional<Finding> HintFinder::operand_exchanged() {
  const Tensors& inputs = line_.inputs();
  for (std::size_t j = 0; j < inputs.size(); ++j) {
    if (!inputs[j].defined() || !is_floating(inputs[j].dtype())) continue;
    const int rank = inputs[j].rank();
    try {
      if (rank >= 2 && inputs[j].size(rank - 1) == inputs[j].size(rank - 2) && inputs[j].size(rank - 1) > 1) {
        Numbers values = inputs[j].to_vector<double>(), turned = values;
        const std::int64_t n = inputs[j].size(rank - 1);
        for (std::int64_t e = 0; e < static_cast<std::int64_t>(values.size()); ++e)
          turned[e] = values[e - e % (n * n) + (e % n) * n + e / n % n];
        if (is_expected(backward_with(j, from_values(inputs[j].shape(), turned, inputs[j].dtype())))) {
          return finding(Cause::transposed, fmt::format("it would be right if '{}' were transposed: it is used "
                                                        "untransposed, or transposed where it should not be",
                                                        subject_.inputs[j]));
        }
      }
      for (std::size_t k = j + 1; k < inputs.size(); ++k) {
        if (!inputs[k].defined() || inputs[k].spec() != inputs[j].spec()) continue;
        Tensors exchanged = inputs;
        std::swap(exchanged[j], exchanged[k]);
        const Tensors found = subject_.backward(exchanged, cotangents_);
        if (is_expected(numbers_of(found[input_], count()))) {
          return finding(Cause::other_input,
                         fmt::format("it would be right with '{}' and '{}' exchanged: the wrong operand is used",
                                     subject_.inputs[j], subject_.inputs[k]));
        }
      }
    } catch (const Error&) {
    }
  }
  return std::nullopt;
}

}  // namespace gradus::testing
