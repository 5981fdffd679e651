#include <algorithm>
#include <cmath>

#include "framework/ops/op_spec.h"
#include "framework/tensor/creation.h"

namespace gradus {

Shape varied_sizes(const Shape& written, std::uint64_t seed) {
  Shape shape = written;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (shape[axis] > 1)
      shape[axis] +=
          StreamReader(seed, (std::uint64_t{1} << 40) + static_cast<std::uint64_t>(shape[axis])).next_integer(0, 3);
  }
  return shape;
}

Shape SampleMaker::sized(const Shape& written) const {
  return sizes_ == Sizes::as_written ? written : varied_sizes(written, generator_.seed());
}

Tensor SampleMaker::normal(const Shape& shape) { return random_normal(sized(shape), generator_, DType::f64); }

Tensor SampleMaker::uniform(const Shape& shape, double low, double high) {
  return random_uniform(sized(shape), generator_, DType::f64, low, high);
}

Tensor SampleMaker::away_from_multiples(const Shape& written, double low, double high, double spacing, double margin) {
  const Shape shape = sized(written);
  StreamReader reader(generator_.seed(), generator_.take_stream());
  std::vector<double> values(shape.numel());
  for (double& value : values) {
    do {
      value = low + (high - low) * reader.next_uniform();
    } while (std::fabs(value - spacing * std::round(value / spacing)) < margin);
  }
  return from_values(shape, values, DType::f64);
}

Tensor SampleMaker::distinct(const Shape& written, double gap) {
  const Shape shape = sized(written);
  StreamReader reader(generator_.seed(), generator_.take_stream());
  const std::int64_t count = shape.numel();
  std::vector<double> values(count);
  for (std::int64_t i = 0; i < count; ++i) values[i] = gap * (i - count / 2);
  for (std::int64_t i = count - 1; i > 0; --i) std::swap(values[i], values[reader.next_integer(0, i)]);
  return from_values(shape, values, DType::f64);
}

Tensor SampleMaker::integers(const Shape& shape, std::int64_t low, std::int64_t high) {
  return random_integers(sized(shape), generator_, low, high);
}

Tensor SampleMaker::booleans(const Shape& written, double probability_of_true) {
  const Shape shape = sized(written);
  StreamReader reader(generator_.seed(), generator_.take_stream());
  std::vector<double> values(shape.numel());
  for (double& value : values) value = reader.next_uniform() < probability_of_true;
  return from_values(shape, values, DType::boolean);
}

Tensor SampleMaker::values(const Shape& shape, const std::vector<double>& values) {
  return from_values(shape, values, DType::f64);
}

}  // namespace gradus
