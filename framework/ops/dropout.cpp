#include "framework/ops/dropout.h"

#include <cmath>
#include <limits>

#include "framework/kernels/cpu/copy.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/kernels/cpu/prefetch.h"
#include "framework/ops/dropout_mask.h"
#include "framework/ops/ops.h"

namespace gradus {
namespace {

constexpr std::int64_t block = 512;

/// The elements of `x`, some dropped, added to those of `residual` where it is defined.
void drop_elements(const Tensor& x, const Tensor& residual, const Attributes& attributes, const Tensor& out) {
  const Tensor packed = cpu::contiguous(x), direct = residual.defined() ? cpu::contiguous(residual) : Tensor();
  const cpu::DropoutMask mask = dropout_mask(attributes);
  visit_floating_dtype(x.dtype(), [&]<class T>() {
    const T *from = packed.data<T>(), *beside = direct.defined() ? direct.data<T>() : nullptr;
    T* to = out.fresh_data<T>();
    cpu::parallel_for(x.numel(), 16 * block, 8, [&](std::int64_t begin, std::int64_t end) {
      std::uint32_t words[cpu::DropoutMask::room(block)];
      for (std::int64_t first = begin; first < end; first += block) {
        const std::int64_t count = std::min(block, end - first);
        cpu::prefetch(from, first + 2 * block, count);
        if (beside) {
          cpu::prefetch(beside, first + 2 * block, count);
          mask.add(beside + first, from + first, first, count, words, to + first);
        } else {
          mask.drop(from + first, first, count, words, to + first);
        }
      }
    });
  });
}

/// The gradient of what was dropped: its cotangent with the same elements dropped.
Tensor dropped_cotangent(BackwardCall& call) {
  const Tensor gradient = Tensor::empty(call.cotangent().shape(), call.cotangent().dtype());
  drop_elements(call.cotangent(), {}, call.attributes(), gradient);
  return gradient;
}
Tensor dropped_cotangent_composite(BackwardCall& call) {
  return dropout(call.cotangent(), call.number("probability"), call.integer("seed"), call.integer("stream"));
}

}  // namespace

const OpSpec& dropout_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "dropout";
    spec.summary = "Sets random elements to 0 and scales the others so that the expectation stays.";
    spec.math = "y_i = x_i keep_i / (1 - p), keep_i = [Philox word i of the stream >= p 2^32]";
    spec.derivation = "Linear in x with the factors keep_i / (1 - p): the gradient is the cotangent with the same elements "
                      "dropped, that is, dropout of the cotangent with the same seed and stream.";
    spec.source = "Srivastava et al. 2014, Journal of Machine Learning Research 15, section 4";
    spec.pitfalls = "A fresh mask in backward; forgetting 1 / (1 - p); dropping at evaluation.";
    spec.inputs = {{"x"}};
    spec.attributes = draw_attributes(0.1);
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      call.require_compute_dtype(0);
      require_probability(call);
      return {call.input(0).spec()};
    };
    spec.reference = [](const OpCall& call) -> Tensors {
      std::vector<double> values = call.input(0).to_vector<double>();
      const double probability = call.number("probability");
      for (std::size_t i = 0; i < values.size(); ++i) {
        const std::uint32_t word = random::philox_word(call.integer("seed"), call.integer("stream"), i);
        values[i] *= word < random::dropout_threshold(probability) ? 0 : 1 / (1 - probability);
      }
      return {from_values(call.input(0).shape(), values, call.input(0).dtype())};
    };
    spec.cpu.bf16 = true;
    spec.cpu.forward = [](ForwardCall& call) { drop_elements(call.input(0), {}, call.attributes(), call.output(0)); };
    spec.cpu.backward = [](BackwardCall& call) { call.set_gradient(0, dropped_cotangent(call)); };
    spec.backward_composite = [](BackwardCall& call) { call.set_gradient(0, dropped_cotangent_composite(call)); };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"tenth", {make.normal({7, 5})}, drawn(0.1, 3, 1)},
              {"half", {make.normal({3, 11})}, drawn(0.5, 7, 2)},
              {"none", {make.normal({5})}, drawn(0, 1, 0)},
              {"several blocks", {make.normal({8209})}, drawn(0.3, 11, 5)}};
    };
    spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
      const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
      return {{"special values", {make.values({8}, {0, -0.0, inf, -inf, nan, 1e-300, inf, nan})}, drawn(0.5, 1, 1)},
              {"empty", {make.normal({0, 3})}, drawn(0.5, 1, 1)},
              {"scalar", {make.normal({})}, drawn(0.5, 1, 1)}};
    };
    spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
      return {
          {"all", {make.normal({3})}, drawn(1, 1, 1), "probability must be in [0, 1): x (3) f64 cpu, probability=1"},
          {"negative", {make.normal({3})}, drawn(-0.1, 1, 1), "probability must be in [0, 1)"}};
    };
    spec.cost = [](const OpCall& call) -> Cost {
      const double elements = call.input(0).numel();
      return {elements, 2 * elements * size_in_bytes(call.input(0).dtype())};
    };
    return spec;
  }();
  return op;
}

const OpSpec& dropout_add_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "dropout_add";
    spec.summary = "Adds an update to a residual stream, random elements of the update set to 0 and the others scaled.";
    spec.math = "y_i = residual_i + update_i keep_i / (1 - p), keep_i as in dropout";
    spec.derivation = "The residual's gradient is the cotangent, the update's is dropout's.";
    spec.source = "Srivastava et al. 2014, Journal of Machine Learning Research 15, section 4";
    spec.pitfalls = "Dropping the residual too.";
    spec.inputs = {{"residual"}, {"update"}};
    spec.attributes = draw_attributes(0.1);
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      call.require_compute_dtype(0);
      call.require_same_dtype(0, 1);
      if (!(call.input(0).shape() == call.input(1).shape())) call.fail("update must have the shape of residual");
      require_probability(call);
      return {call.input(0).spec()};
    };
    spec.reference = [](const OpCall& call) -> Tensors {
      return {call.input(0) + apply_reference(dropout_op(), {call.input(1)}, call.attributes(), call.where())[0]};
    };
    spec.cpu.bf16 = true;
    spec.cpu.forward = [](ForwardCall& call) {
      drop_elements(call.input(1), call.input(0), call.attributes(), call.output(0));
    };
    spec.cpu.backward = [](BackwardCall& call) {
      call.set_gradient(0, call.cotangent());
      if (call.needs(1)) call.set_gradient(1, dropped_cotangent(call));
    };
    spec.backward_composite = [](BackwardCall& call) {
      call.set_gradient(0, call.cotangent());
      call.set_gradient(1, dropped_cotangent_composite(call));
    };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"tenth", {make.normal({7, 5}), make.normal({7, 5})}, drawn(0.1, 3, 1)},
              {"half", {make.normal({3, 11}), make.normal({3, 11})}, drawn(0.5, 7, 2)},
              {"none", {make.normal({5}), make.normal({5})}, drawn(0, 1, 0)},
              {"several blocks", {make.normal({8209}), make.normal({8209})}, drawn(0.3, 11, 5)}};
    };
    spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
      const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
      return {{"special values",
               {make.values({6}, {0, 1, inf, inf, nan, -0.0}), make.values({6}, {inf, nan, -inf, 1, 2, -0.0})},
               drawn(0.5, 1, 1)},
              {"empty", {make.normal({0, 3}), make.normal({0, 3})}, drawn(0.5, 1, 1)},
              {"scalar", {make.normal({}), make.normal({})}, drawn(0.5, 1, 1)}};
    };
    spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"shapes",
               {make.normal({3}), make.normal({4})},
               drawn(0.5, 1, 1),
               "update must have the shape of residual: residual (3) f64 cpu, update (4) f64 cpu"},
              {"all", {make.normal({3}), make.normal({3})}, drawn(1, 1, 1), "probability must be in [0, 1)"}};
    };
    spec.error_model.magnitude = [](const OpCall& call, const Tensors&) {
      double largest = 0;
      for (const Tensor& input : call.inputs()) {
        for (double value : input.to_vector<double>()) largest = std::max(largest, std::fabs(value));
      }
      return 2 * largest / (1 - call.number("probability"));
    };
    spec.cost = [](const OpCall& call) -> Cost {
      const double elements = call.input(0).numel();
      return {2 * elements, 3 * elements * size_in_bytes(call.input(0).dtype())};
    };
    return spec;
  }();
  return op;
}

Tensor dropout(const Tensor& x, double probability, std::int64_t seed, std::int64_t stream, SourceLocation where) {
  return apply(dropout_op(), {x}, {{"probability", probability}, {"seed", seed}, {"stream", stream}}, where)[0];
}
Tensor dropout(const Tensor& x, double probability, Generator& generator, SourceLocation where) {
  return dropout(x, probability, static_cast<std::int64_t>(generator.seed()), static_cast<std::int64_t>(generator.take_stream()), where);
}

Tensor dropout_add(const Tensor& residual, const Tensor& update, const DropoutDraw& draw, SourceLocation where) {
  return apply(dropout_add_op(), {residual, update}, drawn(draw.probability, draw.seed, draw.stream), where)[0];
}

}  // namespace gradus
