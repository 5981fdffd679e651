// The right numbers in the wrong places, or in some of the places only.
#include <numeric>
#include <set>

#include "framework/testing/hint_finder.h"
#include "framework/testing/jacobian.h"

namespace gradus::testing {

std::optional<Finding> HintFinder::axes_permuted() {
  const int rank = shape_.rank();
  if (rank < 2 || rank > 4) return std::nullopt;
  std::vector<int> order(rank);
  std::iota(order.begin(), order.end(), 0);
  while (std::next_permutation(order.begin(), order.end())) {
    // The expected gradient with its axes in another order, read row by row; only where the sizes agree is it the
    // same shape.
    bool same_shape = true;
    Shape permuted = shape_;
    for (int axis = 0; axis < rank; ++axis) {
      permuted[axis] = shape_[order[axis]];
      same_shape &= permuted[axis] == shape_[axis];
    }
    Numbers candidate(yours_.size());
    for (std::int64_t e = 0; e < count(); ++e) {
      std::vector<std::int64_t> at(rank);
      for (int axis = 0; axis < rank; ++axis) at[order[axis]] = coordinate(permuted, e, axis);
      std::int64_t from = 0;
      for (int axis = 0; axis < rank; ++axis) from = from * shape_[axis] + at[axis];
      candidate[e] = expected_[from];
    }
    if (largest_difference(candidate, expected_) <= 1e-9 * scale_ || !fits(candidate)) continue;
    std::string axes;
    for (int axis : order) axes += (axes.empty() ? "" : ",") + std::to_string(axis);
    return finding(Cause::transposed,
                   rank == 2 ? (same_shape ? "it is the transpose of the expected one"
                                           : "it holds the numbers of the transpose, without its shape")
                             : fmt::format("it is the expected one with its axes permuted to ({})", axes),
                   candidate);
  }
  return std::nullopt;
}

Numbers HintFinder::expected_of(std::size_t j) {
  Numbers expected;
  for (const InputReport& report : report_.inputs) {
    if (report.name != subject_.inputs[j] || static_cast<std::int64_t>(report.elements.size()) != count()) continue;
    for (const ElementVerdict& element : report.elements) expected.push_back(element.expected);
    return expected;
  }
  for (std::int64_t e = 0; e < count(); ++e) expected.push_back(line_.derivative({j, e, e + 1}, 1e-9 * scale_).value);
  return expected;
}

std::optional<Finding> HintFinder::other_input() {
  for (std::size_t j = 0; j < line_.inputs().size(); ++j) {
    if (j == input_ || !subject_.differentiable[j] || line_.inputs()[j].numel() != count()) continue;
    Numbers candidate = expected_of(j);
    if (largest_magnitude(candidate) == 0) continue;
    const std::string& name = subject_.inputs[j];
    if (fits(candidate, 2))
      return finding(Cause::other_input, fmt::format("it is the gradient of '{}'", name), candidate);
    for (double& value : candidate) value = -value;
    if (fits(candidate, 2))
      return finding(Cause::other_input, fmt::format("it is minus the gradient of '{}'", name), candidate);
  }
  return std::nullopt;
}

std::optional<Finding> HintFinder::wrong_order() {
  for (std::int64_t e = 0; e < count(); ++e) {
    if (!known_[e] || !std::isfinite(yours_[e])) return std::nullopt;
  }
  Numbers a = yours_;
  if (std::set<double>(a.begin(), a.end()).size() < 3) return std::nullopt;
  std::sort(a.begin(), a.end());
  std::vector<std::int64_t> order(yours_.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int64_t e, std::int64_t f) { return expected_[e] < expected_[f]; });
  for (std::int64_t k = 0; k < count(); ++k) {
    if (!(std::fabs(a[k] - expected_[order[k]]) <= slack_[order[k]])) return std::nullopt;
  }
  std::int64_t stride = 1;
  for (int axis = shape_.rank() - 1; axis >= 0; --axis) {
    const std::int64_t size = shape_[axis];
    for (std::int64_t shift = 0; shift < size; ++shift) {  // 0: backwards
      Numbers candidate(yours_.size());
      for (std::int64_t e = 0; e < count(); ++e) {
        const std::int64_t at = coordinate(shape_, e, axis), from = shift == 0 ? size - 1 - at : (at + shift) % size;
        candidate[e] = expected_[e + (from - at) * stride];
      }
      if (!fits(candidate)) continue;
      return finding(Cause::wrong_order,
                     shift == 0 ? fmt::format("it is the expected one backwards along axis {}", axis)
                                : fmt::format("it is the expected one shifted by {} along axis {}", size - shift, axis),
                     candidate);
    }
    stride *= size;
  }
  return finding(Cause::wrong_order, "it holds the right numbers in other places");
}

/// Of a large input: whether the wrong elements that were found are all that there are. Then they alone make up what
/// each of the directions is off by.
std::optional<Finding> HintFinder::few_elements() {
  const std::vector<ElementVerdict>& found = of_input_.elements;
  if (found.empty() || found.size() > 3) return std::nullopt;
  for (std::int64_t d = 0; d < count(); ++d) {
    bool explained = false;
    for (unsigned signs = 0; signs < 1u << found.size(); ++signs) {
      double sum = 0;
      for (std::size_t n = 0; n < found.size(); ++n)
        sum += (signs >> n & 1 ? -1 : 1) * (found[n].yours - found[n].expected);
      explained |= std::fabs(yours_[d] - expected_[d] - sum) <= slack_[d];
    }
    if (!known_[d] || !explained) return std::nullopt;
  }
  std::string places;
  for (const ElementVerdict& element : found)
    places += (places.empty() ? "" : " and ") + place_of(shape_, element.element);
  return finding(
      found.size() == 1 ? Cause::single_element : Cause::some_places,
      fmt::format("{} alone {} wrong, all others together are right", places, found.size() == 1 ? "is" : "are"));
}

}  // namespace gradus::testing
