#include <algorithm>
#include <cmath>

#include "framework/ops/op_spec.h"
#include "framework/tensor/creation.h"

namespace gradus {

Tensor SampleMaker::normal(const Shape& shape) { return random_normal(shape, generator_, DType::f64); }

Tensor SampleMaker::uniform(const Shape& shape, double low, double high) {
  return random_uniform(shape, generator_, DType::f64, low, high);
}

Tensor SampleMaker::away_from_multiples(const Shape& shape, double low, double high, double spacing, double margin) {
  StreamReader reader(generator_.seed(), generator_.take_stream());
  std::vector<double> values(shape.numel());
  for (double& value : values) {
    do {
      value = low + (high - low) * reader.next_uniform();
    } while (std::fabs(value - spacing * std::round(value / spacing)) < margin);
  }
  return from_values(shape, values, DType::f64);
}

Tensor SampleMaker::distinct(const Shape& shape, double gap) {
  StreamReader reader(generator_.seed(), generator_.take_stream());
  const std::int64_t count = shape.numel();
  std::vector<double> values(count);
  for (std::int64_t i = 0; i < count; ++i) values[i] = gap * (i - count / 2);
  for (std::int64_t i = count - 1; i > 0; --i) std::swap(values[i], values[reader.next_integer(0, i)]);
  return from_values(shape, values, DType::f64);
}

Tensor SampleMaker::integers(const Shape& shape, std::int64_t low, std::int64_t high) {
  return random_integers(shape, generator_, low, high);
}

Tensor SampleMaker::booleans(const Shape& shape, double probability_of_true) {
  StreamReader reader(generator_.seed(), generator_.take_stream());
  std::vector<double> values(shape.numel());
  for (double& value : values) value = reader.next_uniform() < probability_of_true;
  return from_values(shape, values, DType::boolean);
}

Tensor SampleMaker::values(const Shape& shape, const std::vector<double>& values) {
  return from_values(shape, values, DType::f64);
}

}  // namespace gradus
