#include "models/rope.h"

#include <cmath>
#include <numeric>

#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"

namespace gradus::models {

RotaryTable::RotaryTable(std::int64_t positions, std::int64_t head_features, DType dtype) {
  if (head_features % 2 != 0)
    fail<UsageError>("rotary embedding turns pairs: heads of {} features have none", head_features);
  std::vector<double> cosines, sines;
  cosines.reserve(static_cast<std::size_t>(positions * head_features / 2));
  sines.reserve(cosines.capacity());
  for (std::int64_t t = 0; t < positions; ++t) {
    for (std::int64_t i = 0; i < head_features / 2; ++i) {
      const double angle = double(t) * std::pow(10000.0, -2.0 * double(i) / double(head_features));
      cosines.push_back(std::cos(angle));
      sines.push_back(std::sin(angle));
    }
  }
  cosines_ = from_values({positions, head_features / 2}, cosines, dtype);
  sines_ = from_values({positions, head_features / 2}, sines, dtype);
}

Angles RotaryTable::range(std::int64_t begin, std::int64_t end, Device device, std::int64_t step) const {
  if (begin >= end) return {};
  return {slice(constant_on(cosines_, device), 0, begin, end, step),
          slice(constant_on(sines_, device), 0, begin, end, step)};
}

Angles RotaryTable::of(const Lengths& lengths, Device device) const {
  if (lengths.size() == 1) return range(0, lengths[0], device);
  const std::int64_t count = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  const Tensor places = places_of(lengths, {count}, device);
  return {index_select(constant_on(cosines_, device), 0, places), index_select(constant_on(sines_, device), 0, places)};
}

}  // namespace gradus::models
