#include "framework/ops/dropout.h"

#include <limits>

#include "framework/kernels/cpu/copy.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/kernels/cpu/prefetch.h"
#include "framework/kernels/cpu/random_words.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"

namespace gradus {
namespace {

void drop_elements(const Tensor& x, const Attributes& attributes, const Tensor& out) {
  const Tensor packed = cpu::contiguous(x);
  const double probability = attributes.number("probability");
  const std::uint32_t threshold = random::dropout_threshold(probability);
  const std::uint64_t seed = attributes.integer("seed"), stream = attributes.integer("stream");
  visit_floating_dtype(x.dtype(), [&]<class T>() {
    const T* from = packed.data<T>();
    T* to = out.fresh_data<T>();
    const Arithmetic<T> scale(1 / (1 - probability));
    constexpr std::int64_t block = 512;
    cpu::parallel_for(x.numel(), 16 * block, 8, [&](std::int64_t begin, std::int64_t end) {
      std::uint32_t words[block];
      for (std::int64_t first = begin; first < end; first += block) {
        const std::int64_t count = std::min(block, end - first);
        cpu::prefetch(from, first + 2 * block, count);
        cpu::random_words(seed, stream, first, count, words);
        cpu::drop(from + first, words, count, threshold, scale, to + first);
      }
    });
  });
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
    spec.attributes = {{"probability", 0.1, "share of elements dropped, in [0, 1)"},
                       {"seed", std::int64_t{0}, "key of the random words"},
                       {"stream", std::int64_t{0}, "which sequence of words"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      call.require_compute_dtype(0);
      const double probability = call.number("probability");
      if (!(probability >= 0 && probability < 1)) call.fail("probability must be in [0, 1)");
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
    spec.cpu.forward = [](ForwardCall& call) { drop_elements(call.input(0), call.attributes(), call.output(0)); };
    spec.cpu.backward = [](BackwardCall& call) {
      const Tensor gradient = Tensor::empty(call.input_spec(0).shape, call.input_spec(0).dtype);
      drop_elements(call.cotangent(), call.attributes(), gradient);
      call.set_gradient(0, gradient);
    };
    spec.backward_composite = [](BackwardCall& call) {
      call.set_gradient(0, dropout(call.cotangent(), call.number("probability"), call.integer("seed"), call.integer("stream")));
    };
    const auto attributes = [](double probability, std::int64_t seed, std::int64_t stream) {
      return Attributes{{"probability", probability}, {"seed", seed}, {"stream", stream}};
    };
    spec.samples = [attributes](SampleMaker& make) -> std::vector<Sample> {
      return {{"tenth", {make.normal({7, 5})}, attributes(0.1, 3, 1)},
              {"half", {make.normal({3, 11})}, attributes(0.5, 7, 2)},
              {"none", {make.normal({5})}, attributes(0, 1, 0)},
              {"several blocks", {make.normal({8209})}, attributes(0.3, 11, 5)}};
    };
    spec.edge_samples = [attributes](SampleMaker& make) -> std::vector<Sample> {
      const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
      return {{"special values", {make.values({8}, {0, -0.0, inf, -inf, nan, 1e-300, inf, nan})}, attributes(0.5, 1, 1)},
              {"empty", {make.normal({0, 3})}, attributes(0.5, 1, 1)},
              {"scalar", {make.normal({})}, attributes(0.5, 1, 1)}};
    };
    spec.error_samples = [attributes](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"all", {make.normal({3})}, attributes(1, 1, 1), "probability must be in [0, 1): x (3) f64 cpu, probability=1"},
              {"negative", {make.normal({3})}, attributes(-0.1, 1, 1), "probability must be in [0, 1)"}};
    };
    spec.cost = [](const OpCall& call) -> Cost {
      const double elements = call.input(0).numel();
      return {elements, 2 * elements * size_in_bytes(call.input(0).dtype())};
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

}  // namespace gradus
