#include "framework/tensor/creation.h"

#include <algorithm>

namespace gradus {
namespace {

/// Fills a new contiguous tensor with value(i), i the row-major index.
template <class Value>
Tensor generate(const Shape& shape, DType dtype, Value&& value) {
  Tensor tensor = Tensor::empty(shape, dtype);
  visit_dtype(dtype, [&]<class T>() {
    T* data = tensor.fresh_data<T>();
    for (std::int64_t i = 0; i < tensor.numel(); ++i) data[i] = static_cast<T>(value(i));
  });
  return tensor;
}

template <class Number>
Tensor from_numbers(const Shape& shape, const std::vector<Number>& values, DType dtype) {
  if (shape.numel() != static_cast<std::int64_t>(values.size())) {
    fail("shape {} holds {} elements, {} values were given", to_string(shape), shape.numel(), values.size());
  }
  return generate(shape, dtype, [&](std::int64_t i) { return values[i]; });
}

}  // namespace

Tensor full(const Shape& shape, double value, DType dtype, Device device) {
  return on_device(generate(shape, dtype, [&](std::int64_t) { return value; }), device);
}
Tensor zeros(const Shape& shape, DType dtype, Device device) { return full(shape, 0, dtype, device); }
Tensor ones(const Shape& shape, DType dtype, Device device) { return full(shape, 1, dtype, device); }
Tensor zeros_like(const Tensor& tensor) { return zeros(tensor.shape(), tensor.dtype(), tensor.device()); }
Tensor ones_like(const Tensor& tensor) { return ones(tensor.shape(), tensor.dtype(), tensor.device()); }
Tensor scalar(double value, DType dtype, Device device) { return full({}, value, dtype, device); }
Tensor arange(std::int64_t count, DType dtype) {
  return generate({count}, dtype, [](std::int64_t i) { return i; });
}

Tensor from_values(const Shape& shape, const std::vector<double>& values, DType dtype) {
  return from_numbers(shape, values, dtype);
}
Tensor from_values(const Shape& shape, const std::vector<std::int64_t>& values, DType dtype) {
  return from_numbers(shape, values, dtype);
}

Tensor random_normal(const Shape& shape, Generator& generator, DType dtype, double mean, double deviation) {
  StreamReader reader(generator.seed(), generator.take_stream());
  return generate(shape, dtype, [&](std::int64_t) { return mean + deviation * reader.next_normal(); });
}

Tensor random_uniform(const Shape& shape, Generator& generator, DType dtype, double low, double high) {
  StreamReader reader(generator.seed(), generator.take_stream());
  return generate(shape, dtype, [&](std::int64_t) { return low + (high - low) * reader.next_uniform(); });
}

Tensor random_integers(const Shape& shape, Generator& generator, std::int64_t low, std::int64_t high, DType dtype) {
  StreamReader reader(generator.seed(), generator.take_stream());
  return generate(shape, dtype, [&](std::int64_t) { return reader.next_integer(low, high); });
}

}  // namespace gradus
