// What every op of the zoo is made of: values that loops can work on, a right backward, and a table of mistakes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "framework/random/generator.h"
#include "framework/testing/causes.h"
#include "framework/testing/subject.h"

namespace gradus::testing::zoo {

/// Row-major values. Integers and booleans are converted to double.
struct Array {
  Array() = default;  ///< no values: no gradient, for ids and masks
  explicit Array(const Shape& shape, double value = 0) : shape(shape), values(shape.numel(), value) {}

  std::int64_t rows() const { return shape[0]; }
  std::int64_t columns() const { return shape[1]; }
  std::int64_t size() const { return static_cast<std::int64_t>(values.size()); }
  double& operator[](std::int64_t i) { return values[i]; }
  double operator[](std::int64_t i) const { return values[i]; }
  double& operator()(std::int64_t i, std::int64_t j) { return values[i * shape[1] + j]; }
  double operator()(std::int64_t i, std::int64_t j) const { return values[i * shape[1] + j]; }
  double& operator()(std::int64_t i, std::int64_t j, std::int64_t k) {
    return values[(i * shape[1] + j) * shape[2] + k];
  }
  double operator()(std::int64_t i, std::int64_t j, std::int64_t k) const {
    return values[(i * shape[1] + j) * shape[2] + k];
  }

  Shape shape;
  std::vector<double> values;
};

using Arrays = std::vector<Array>;
using Forward = std::function<Arrays(const Arrays& inputs)>;
/// The gradients of sum_k <outputs[k], upstream[k]>, one for each input.
using Backward = std::function<Arrays(const Arrays& inputs, const Arrays& upstream)>;
/// For bugs that plain loops cannot show: broken promises between calls or about memory.
using Damage = std::function<void(Subject& right)>;

struct Mistake {
  std::string name, summary;
  Cause cause;
  std::variant<Backward, Damage> wrong;
  std::vector<Cause> also = {};
};

struct Exercise {
  std::string op;
  std::vector<std::string> inputs, outputs;
  Tensors values;
  Forward forward;
  Backward backward;
  std::vector<Mistake> mistakes;
};

using Exercises = std::vector<Exercise>;
Exercises linear_algebra_exercises(Generator& generator);
Exercises broadcasting_exercises(Generator& generator);
Exercises normalisation_exercises(Generator& generator);
Exercises attention_exercises(Generator& generator);
Exercises elementwise_exercises(Generator& generator);
Exercises indexing_exercises(Generator& generator);
Exercises loss_exercises(Generator& generator);
Exercises contract_exercises(Generator& generator);
Exercises dropout_exercises(Generator& generator);
Exercises sharing_exercises(Generator& generator);

Array to_array(const Tensor& tensor);
Tensor to_tensor(const Array& array);
double sigmoid(double x);

// --- inputs ---
Tensor normal(Generator& generator, const Shape& shape);
/// Normal, pushed away from each of `kinks` (ascending) by at least 0.1.
Tensor normal_away_from(Generator& generator, const Shape& shape, const std::vector<double>& kinks);
/// Any two elements differ by at least 0.1.
Tensor all_different(Generator& generator, const Shape& shape);

// --- mistakes that every op invites ---
/// Input i's gradient times `factor`; -1 for i: all of them.
Backward scaled(Backward right, double factor, int i = -1);
/// As if the upstream gradient were one everywhere.
Backward ignoring_upstream(Backward right);
/// Input i's gradient is right in this row (this element, for a vector) and zero elsewhere.
Backward one_row_only(Backward right, std::int64_t row, int i = 0);
/// The gradients of input i and input j swapped.
Backward swapped(Backward right, int i, int j);

}  // namespace gradus::testing::zoo
