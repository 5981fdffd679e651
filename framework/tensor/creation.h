// Making tensors: constants, ranges, given values, random numbers. `where` is the caller's place, for reports of
// memory.
#pragma once

#include <concepts>
#include <initializer_list>
#include <variant>
#include <vector>

#include "framework/random/generator.h"
#include "framework/tensor/tensor.h"

namespace gradus {

Tensor full(const Shape& shape, double value, DType dtype = DType::f32, Device device = {},
            SourceLocation where = SourceLocation::current());
Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = {},
             SourceLocation where = SourceLocation::current());
Tensor ones(const Shape& shape, DType dtype = DType::f32, Device device = {},
            SourceLocation where = SourceLocation::current());
/// Of its shape, dtype and device.
Tensor zeros_like(const Tensor& tensor, SourceLocation where = SourceLocation::current());
Tensor ones_like(const Tensor& tensor, SourceLocation where = SourceLocation::current());
Tensor scalar(double value, DType dtype = DType::f32, Device device = {},
              SourceLocation where = SourceLocation::current());
/// 0, 1, ..., count-1.
Tensor arange(std::int64_t count, DType dtype = DType::i64, SourceLocation where = SourceLocation::current());

/// Row-major values; throws where their number is not the shape's.
Tensor from_values(const Shape& shape, const std::vector<double>& values, DType dtype = DType::f32,
                   SourceLocation where = SourceLocation::current());
Tensor from_values(const Shape& shape, const std::vector<std::int64_t>& values, DType dtype = DType::i64,
                   SourceLocation where = SourceLocation::current());

/// A number in a braced list.
struct ListedNumber {
  template <std::integral T>
  ListedNumber(T value) : value(static_cast<std::int64_t>(value)) {}
  template <std::floating_point T>
  ListedNumber(T value) : value(static_cast<double>(value)) {}
  std::variant<std::int64_t, double> value;
};
/// The same from a braced list: i64 where all numbers in it are whole (`{0, 1}`), else f32 (`{0, 1.5}`), or of `dtype`.
Tensor from_values(const Shape& shape, std::initializer_list<ListedNumber> values,
                   SourceLocation where = SourceLocation::current());
Tensor from_values(const Shape& shape, std::initializer_list<ListedNumber> values, DType dtype,
                   SourceLocation where = SourceLocation::current());

/// Element i is a function of (seed, stream, i) alone.
Tensor random_normal(const Shape& shape, Generator& generator, DType dtype = DType::f32, double mean = 0,
                     double deviation = 1, SourceLocation where = SourceLocation::current());
Tensor random_uniform(const Shape& shape, Generator& generator, DType dtype = DType::f32, double low = 0,
                      double high = 1, SourceLocation where = SourceLocation::current());
/// Integers in [low, high], both included.
Tensor random_integers(const Shape& shape, Generator& generator, std::int64_t low, std::int64_t high,
                       DType dtype = DType::i64, SourceLocation where = SourceLocation::current());

}  // namespace gradus
