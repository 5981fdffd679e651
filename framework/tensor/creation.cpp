#include "framework/tensor/creation.h"

#include <algorithm>
#include <string_view>

#include "framework/tensor/capture.h"
#include "framework/tensor/device_memory.h"
#include "framework/tensor/memory_origin.h"

namespace gradus {
namespace {

/// Fills a new contiguous tensor with value(i), i the row-major index. `maker` and `where` name it in reports of
/// memory.
template <class Value>
Tensor generate(std::string_view maker, SourceLocation where, const Shape& shape, DType dtype, Value&& value) {
  const MemoryOriginScope origin({maker, where});
  Tensor tensor = Tensor::empty(shape, dtype);
  visit_dtype(dtype, [&]<class T>() {
    T* data = tensor.fresh_data<T>();
    for (std::int64_t i = 0; i < tensor.numel(); ++i) data[i] = static_cast<T>(value(i));
  });
  return tensor;
}

template <class Number>
Tensor from_numbers(const Shape& shape, const std::vector<Number>& values, DType dtype, SourceLocation where) {
  if (shape.numel() != static_cast<std::int64_t>(values.size())) {
    fail("from_values: shape {} holds {} elements, {} values were given at {}", to_string(shape), shape.numel(),
         values.size(), to_string(where));
  }
  return generate("from_values", where, shape, dtype, [&](std::int64_t i) { return values[i]; });
}

bool are_whole(std::initializer_list<ListedNumber> values) {
  return std::all_of(values.begin(), values.end(), [](const ListedNumber& number) { return number.value.index() == 0; });
}

template <class Number>
std::vector<Number> listed_as(std::initializer_list<ListedNumber> values) {
  std::vector<Number> numbers;
  for (const ListedNumber& number : values) {
    numbers.push_back(std::visit([](auto value) { return static_cast<Number>(value); }, number.value));
  }
  return numbers;
}

Tensor filled(std::string_view maker, SourceLocation where, const TensorSpec& spec, double value, Device device) {
  const MemoryOriginScope origin({maker, where});
  if (device == Device{}) return generate(maker, where, spec.shape, spec.dtype, [&](std::int64_t) { return value; });
  const Tensor tensor = Tensor::empty(spec.shape, spec.dtype, device);
  device_memory(device).fill(tensor.bytes(), spec.dtype, tensor.numel(), value);
  return tensor;
}

StreamReader new_stream(Generator& generator) {
  if (current_capture()) fail("random numbers of the host would be the same in every run of a step that is recorded");
  return StreamReader(generator.seed(), generator.take_stream());
}

}  // namespace

Tensor full(const Shape& shape, double value, DType dtype, Device device, SourceLocation where) {
  return filled("full", where, {shape, dtype}, value, device);
}
Tensor zeros(const Shape& shape, DType dtype, Device device, SourceLocation where) {
  return filled("zeros", where, {shape, dtype}, 0, device);
}
Tensor ones(const Shape& shape, DType dtype, Device device, SourceLocation where) {
  return filled("ones", where, {shape, dtype}, 1, device);
}
Tensor zeros_like(const Tensor& tensor, SourceLocation where) {
  tensor.require_defined("zeros_like()", where);
  return filled("zeros_like", where, tensor.spec(), 0, tensor.device());
}
Tensor ones_like(const Tensor& tensor, SourceLocation where) {
  tensor.require_defined("ones_like()", where);
  return filled("ones_like", where, tensor.spec(), 1, tensor.device());
}
Tensor scalar(double value, DType dtype, Device device, SourceLocation where) {
  return filled("scalar", where, {{}, dtype}, value, device);
}
Tensor arange(std::int64_t count, DType dtype, SourceLocation where) {
  return generate("arange", where, {count}, dtype, [](std::int64_t i) { return i; });
}

Tensor from_values(const Shape& shape, const std::vector<double>& values, DType dtype, SourceLocation where) {
  return from_numbers(shape, values, dtype, where);
}
Tensor from_values(const Shape& shape, const std::vector<std::int64_t>& values, DType dtype, SourceLocation where) {
  return from_numbers(shape, values, dtype, where);
}
Tensor from_values(const Shape& shape, std::initializer_list<ListedNumber> values, SourceLocation where) {
  return from_values(shape, values, are_whole(values) ? DType::i64 : DType::f32, where);
}
Tensor from_values(const Shape& shape, std::initializer_list<ListedNumber> values, DType dtype, SourceLocation where) {
  if (are_whole(values)) return from_numbers(shape, listed_as<std::int64_t>(values), dtype, where);
  return from_numbers(shape, listed_as<double>(values), dtype, where);
}

Tensor random_normal(const Shape& shape, Generator& generator, DType dtype, double mean, double deviation,
                     SourceLocation where) {
  StreamReader reader = new_stream(generator);
  return generate("random_normal", where, shape, dtype,
                  [&](std::int64_t) { return mean + deviation * reader.next_normal(); });
}

Tensor random_uniform(const Shape& shape, Generator& generator, DType dtype, double low, double high,
                      SourceLocation where) {
  StreamReader reader = new_stream(generator);
  return generate("random_uniform", where, shape, dtype,
                  [&](std::int64_t) { return low + (high - low) * reader.next_uniform(); });
}

Tensor random_integers(const Shape& shape, Generator& generator, std::int64_t low, std::int64_t high, DType dtype,
                       SourceLocation where) {
  StreamReader reader = new_stream(generator);
  return generate("random_integers", where, shape, dtype, [&](std::int64_t) { return reader.next_integer(low, high); });
}

}  // namespace gradus
