#include "framework/testing/bug_zoo/exercise.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "framework/tensor/creation.h"

namespace gradus::testing::zoo {

Array to_array(const Tensor& tensor) {
  Array array;
  array.shape = tensor.shape();
  array.values = tensor.to_vector<double>();
  return array;
}

Tensor to_tensor(const Array& array) { return from_values(array.shape, array.values, DType::f64); }

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

Tensor normal(Generator& generator, const Shape& shape) { return random_normal(shape, generator, DType::f64); }

Tensor normal_away_from(Generator& generator, const Shape& shape, const std::vector<double>& kinks) {
  Array array = to_array(normal(generator, shape));
  for (double& value : array.values)
    for (double kink : kinks)
      if (value >= kink - 0.1 && value < kink + 0.1) value += value < kink ? -0.2 : 0.2;
  return to_tensor(array);
}

Tensor all_different(Generator& generator, const Shape& shape) {
  Array array(shape);
  const Array order = to_array(normal(generator, shape)),
              jitter = to_array(random_uniform(shape, generator, DType::f64));
  std::vector<std::int64_t> rank(array.size());
  std::iota(rank.begin(), rank.end(), 0);
  std::sort(rank.begin(), rank.end(), [&](std::int64_t a, std::int64_t b) { return order[a] < order[b]; });
  for (std::int64_t i = 0; i < array.size(); ++i) array[rank[i]] = -1.5 + 0.2 * i + 0.1 * jitter[i];
  return to_tensor(array);
}

Backward scaled(Backward right, double factor, int i) {
  return [=](const Arrays& in, const Arrays& up) {
    Arrays gradients = right(in, up);
    for (int input = 0; input < static_cast<int>(gradients.size()); ++input)
      if (i < 0 || input == i)
        for (double& value : gradients[input].values) value *= factor;
    return gradients;
  };
}

Backward ignoring_upstream(Backward right) {
  return [=](const Arrays& in, const Arrays& up) {
    Arrays ones;
    for (const Array& g : up) ones.emplace_back(g.shape, 1.0);
    return right(in, ones);
  };
}

Backward one_row_only(Backward right, std::int64_t row, int i) {
  return [=](const Arrays& in, const Arrays& up) {
    Arrays gradients = right(in, up);
    Array& gradient = gradients[i];
    const std::int64_t length = gradient.size() / gradient.rows();
    for (std::int64_t at = 0; at < gradient.size(); ++at)
      if (at / length != row) gradient[at] = 0;
    return gradients;
  };
}

Backward swapped(Backward right, int i, int j) {
  return [=](const Arrays& in, const Arrays& up) {
    Arrays gradients = right(in, up);
    std::swap(gradients[i], gradients[j]);
    return gradients;
  };
}

}  // namespace gradus::testing::zoo
