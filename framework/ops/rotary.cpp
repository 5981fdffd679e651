#include "framework/ops/rotary.h"

#include <cmath>
#include <limits>

#include "framework/kernels/cpu/copy.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"

namespace gradus {
namespace {

/// y = x turned by the angles, or back by them: x, y (rows, D), row r at position r / heads % positions.
template <class T, class A = Arithmetic<T>>
void turn(const T* x, const A* cosines, const A* sines, T* y, std::int64_t rows, std::int64_t positions,
          std::int64_t heads, std::int64_t pairs, bool back) {
  const A sign = back ? A(-1) : A(1);
  cpu::parallel_for(rows, std::max<std::int64_t>(1, 8192 / (2 * pairs)), 4 * pairs, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t position = row / heads % positions;
      const A *cosine = cosines + position * pairs, *sine = sines + position * pairs;
      const T* from = x + row * 2 * pairs;
      T* to = y + row * 2 * pairs;
#pragma omp simd
      for (std::int64_t i = 0; i < pairs; ++i) {
        const A a(from[2 * i]), b(from[2 * i + 1]), c = cosine[i], s = sign * sine[i];
        to[2 * i] = T(a * c - b * s);
        to[2 * i + 1] = T(a * s + b * c);
      }
    }
  });
}

Tensor turned(const Tensor& x, const Tensor& cosines, const Tensor& sines, bool back) {
  const Tensor packed = cpu::contiguous(x), y = Tensor::empty(x.shape(), x.dtype());
  const int rank = x.rank();
  const std::int64_t positions = x.size(rank - 3), heads = x.size(rank - 2), pairs = x.size(rank - 1) / 2;
  if (x.numel() == 0) return y;
  visit_floating_dtype(x.dtype(), [&]<class T>() {
    using A = Arithmetic<T>;
    const Tensor c = cpu::contiguous(cosines, dtype_of<A>), s = cpu::contiguous(sines, dtype_of<A>);
    turn(packed.data<T>(), c.data<A>(), s.data<A>(), y.fresh_data<T>(), x.numel() / (2 * pairs), positions, heads, pairs,
         back);
  });
  return y;
}

}  // namespace

const OpSpec& rotary_embedding_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "rotary_embedding";
    spec.summary = "Turns pairs of features by angles that grow with the position, so that products of queries and keys "
                   "depend on their distance.";
    spec.math = "(y_2i, y_2i+1) = (x_2i cos - x_2i+1 sin, x_2i sin + x_2i+1 cos), cos and sin of position t and pair i";
    spec.derivation = "Linear in x, and a rotation: its transpose is the rotation back, so the gradient is the cotangent "
                      "turned by the negative angles.";
    spec.source = "Su et al. 2021, arXiv:2104.09864, equations 15 and 34";
    spec.pitfalls = "Turning the gradient forward instead of back; pairing feature i with i + D/2 in one place and with "
                    "its neighbour in another; angles that grow with the pair instead of falling.";
    spec.inputs = {{"x"}, {"cosines", false}, {"sines", false}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      call.require_compute_dtype(0);
      call.require_parameter_dtype(0, 1);
      call.require_parameter_dtype(0, 2);
      const Shape& shape = call.input(0).shape();
      const int rank = shape.rank();
      if (rank < 3) call.fail("x must have the shape (..., positions, heads, features)");
      if (shape[rank - 1] % 2 != 0) call.fail("the features of x must be pairs");
      const Shape angles{shape[rank - 3], shape[rank - 1] / 2};
      if (!(call.input(1).shape() == angles)) call.fail("cosines must have the shape {}", to_string(angles));
      if (!(call.input(2).shape() == angles)) call.fail("sines must have the shape {}", to_string(angles));
      return {call.input(0).spec()};
    };
    spec.reference = [](const OpCall& call) -> Tensors {
      const Tensor& x = call.input(0);
      const std::int64_t features = x.shape().back();
      const Shape angles{x.size(x.rank() - 3), 1, features / 2};
      const auto every_second = [&](std::int64_t first) { return slice(x, x.rank() - 1, first, features, 2); };
      const Tensor a = every_second(0), b = every_second(std::min<std::int64_t>(1, features));
      const Tensor c = reshape(call.input(1), angles), s = reshape(call.input(2), angles);
      return {reshape(stack({a * c - b * s, a * s + b * c}, x.rank()), x.shape())};
    };
    spec.saves = {.inputs = {1, 2}};
    spec.cpu.bf16 = true;
    spec.cpu.forward = [](ForwardCall& call) {
      call.set_output(0, turned(call.input(0), call.input(1), call.input(2), false));
    };
    spec.cpu.backward = [](BackwardCall& call) {
      call.set_gradient(0, turned(call.cotangent(), call.input(1), call.input(2), true));
    };
    spec.backward_composite = [](BackwardCall& call) {
      call.set_gradient(0, rotary_embedding(call.cotangent(), call.input(1), -call.input(2)));
    };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> {
      // Features must stay pairs, so sizes are not varied here.
      const auto sample = [&](const char* label, const Shape& shape) -> Sample {
        const Shape angles{shape[shape.rank() - 3], shape.back() / 2};
        std::vector<double> x = make.normal({shape.numel()}).to_vector<double>(),
                            cosines = make.uniform({angles.numel()}, -3, 3).to_vector<double>(), sines;
        x.resize(static_cast<std::size_t>(shape.numel()));
        cosines.resize(static_cast<std::size_t>(angles.numel()));
        for (double& angle : cosines) {
          sines.push_back(std::sin(angle));
          angle = std::cos(angle);
        }
        return {label, {make.values(shape, x), make.values(angles, cosines), make.values(angles, sines)}};
      };
      return {sample("sequences", {2, 3, 2, 6}), sample("one head", {5, 1, 4}), sample("one pair", {2, 7, 3, 2}),
              sample("several chunks", {3, 131, 2, 14})};
    };
    spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
      const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
      return {{"special values",
               {make.values({1, 2, 4}, {inf, 1, nan, 0, -0.0, 2, -inf, 3}), make.values({1, 2}, {1, 0.5}),
                make.values({1, 2}, {0, -0.5})}},
              {"nothing", {make.values({0, 2, 4}, {}), make.values({0, 2}, {}), make.values({0, 2}, {})}}};
    };
    spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
      const Tensor angles = make.normal({3, 2});
      return {{"rank", {make.normal({3, 4}), angles, angles}, {}, "x must have the shape (..., positions, heads, features)"},
              {"odd", {make.normal({3, 1, 5}), angles, angles}, {}, "the features of x must be pairs"},
              {"cosines", {make.normal({4, 1, 4}), angles, angles}, {}, "cosines must have the shape (4,2): x (4,1,4) f64 cpu, cosines (3,2) f64 cpu"},
              {"sines", {make.normal({3, 1, 4}), angles, make.normal({3, 4})}, {}, "sines must have the shape (3,2)"}};
    };
    spec.error_model.magnitude = [](const OpCall& call, const Tensors&) {
      const auto largest = [&](std::size_t i) {
        double result = 0;
        for (double value : call.input(i).to_vector<double>()) result = std::max(result, std::fabs(value));
        return result;
      };
      return largest(0) * (largest(1) + largest(2));
    };
    spec.cost = [](const OpCall& call) -> Cost {
      const double elements = call.input(0).numel(), angles = 2.0 * call.input(1).numel();
      return {3 * elements, 2 * elements * size_in_bytes(call.input(0).dtype()) + angles * size_in_bytes(call.input(1).dtype())};
    };
    return spec;
  }();
  return op;
}

Tensor rotary_embedding(const Tensor& x, const Tensor& cosines, const Tensor& sines, SourceLocation where) {
  return apply(rotary_embedding_op(), {x, cosines, sines}, {}, where)[0];
}

}  // namespace gradus
