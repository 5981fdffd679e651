#include "tools/bench_samples.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>

#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"

namespace gradus::tools {
namespace {

using Integers = std::vector<std::int64_t>;

/// Draws a model's tensors.
struct Draw {
  ModelSizes sizes;
  Generator generator;

  Tensor normal(const Shape& shape) { return random_normal(shape, generator); }
  Tensor ids(const Shape& shape, std::int64_t count) { return random_integers(shape, generator, 0, count - 1); }
  Tensor hidden() { return normal({sizes.batch, sizes.length, sizes.width}); }
  Tensor rows(std::int64_t width) { return normal({sizes.rows(), width}); }
  Tensor head() { return normal({sizes.batch, sizes.heads, sizes.length, sizes.width / sizes.heads}); }
  Tensor attention_weights() { return normal({sizes.batch, sizes.heads, sizes.length, sizes.length}); }
};

Tensor shuffled_range(std::int64_t count, Generator& generator) {
  Integers values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), 0);
  StreamReader reader(generator.seed(), generator.take_stream());
  for (std::int64_t i = count - 1; i > 0; --i) std::swap(values[i], values[reader.next_integer(0, i)]);
  return from_values({count}, values);
}

using Model = const ModelSizes&;

/// Where the model has a tensor for an op; also where attributes name sizes, so that tiling would not fit them.
const std::map<std::string, std::function<Sample(Draw&, Model)>>& model_samples() {
  static const std::map<std::string, std::function<Sample(Draw&, Model)>> samples = {
      {"linear",
       [](Draw& draw, Model m) -> Sample {
         return {"expansion of the feed-forward layer",
                 {draw.rows(m.width), draw.normal({4 * m.width, m.width}), draw.normal({4 * m.width})}};
       }},
      {"matmul",
       [](Draw& draw, Model) -> Sample {
         return {"scores of attention", {draw.head(), clone(transpose(draw.head()))}};
       }},
      {"scaled_dot_product_attention",
       [](Draw& draw, Model) -> Sample {
         return {"causal, with dropout", {draw.head(), draw.head(), draw.head()}, {{"causal", true}, {"dropout", 0.1}}};
       }},
      {"softmax",
       [](Draw& draw, Model) -> Sample {
         return {"weights of attention", {draw.attention_weights()}};
       }},
      {"log_softmax",
       [](Draw& draw, Model m) -> Sample {
         return {"logits", {draw.rows(m.vocabulary)}};
       }},
      {"cross_entropy",
       [](Draw& draw, Model m) -> Sample {
         return {"logits", {draw.rows(m.vocabulary), draw.ids({m.rows()}, m.vocabulary)}};
       }},
      {"layer_norm",
       [](Draw& draw, Model m) -> Sample {
         return {"hidden", {draw.hidden(), draw.normal({m.width}), draw.normal({m.width})}};
       }},
      {"dropout",
       [](Draw& draw, Model) -> Sample {
         return {"hidden", {draw.hidden()}, {{"probability", 0.1}}};
       }},
      {"dropout_add",
       [](Draw& draw, Model) -> Sample {
         return {"hidden", {draw.hidden(), draw.hidden()}, {{"probability", 0.1}}};
       }},
      {"dropout_add_layer_norm",
       [](Draw& draw, Model m) -> Sample {
         return {"hidden",
                 {draw.hidden(), draw.hidden(), draw.normal({m.width}), draw.normal({m.width})},
                 {{"probability", 0.1}}};
       }},
      {"rotary_embedding",
       [](Draw& draw, Model m) -> Sample {
         const std::int64_t features = m.width / m.heads;
         return {"queries",
                 {draw.normal({m.batch, m.length, m.heads, features}), draw.normal({m.length, features / 2}),
                  draw.normal({m.length, features / 2})}};
       }},
      {"gelu",
       [](Draw& draw, Model m) -> Sample {
         return {"feed-forward", {draw.rows(4 * m.width)}};
       }},
      {"gelu_tanh",
       [](Draw& draw, Model m) -> Sample {
         return {"feed-forward", {draw.rows(4 * m.width)}};
       }},
      {"embedding",
       [](Draw& draw, Model m) -> Sample {
         return {"characters", {draw.normal({m.vocabulary, m.width}), draw.ids({m.batch, m.length}, m.vocabulary)}};
       }},
      {"embedding_add",
       [](Draw& draw, Model m) -> Sample {
         return {"characters", {draw.rows(m.width), draw.ids({m.rows()}, m.vocabulary)}, {{"rows", m.vocabulary}}};
       }},
      {"reshape",
       [](Draw& draw, Model m) -> Sample {
         return {"heads", {draw.hidden()}, {{"shape", Integers{m.batch, m.length, m.heads, m.width / m.heads}}}};
       }},
      {"permute",
       [](Draw& draw, Model) -> Sample {
         return {"heads", {draw.head()}, {{"axes", Integers{0, 2, 1, 3}}}};
       }},
      {"slice",
       [](Draw& draw, Model m) -> Sample {
         return {"half of the positions", {draw.hidden()}, {{"axis", std::int64_t{1}}, {"stop", (m.length + 1) / 2}}};
       }},
      {"unslice",
       [](Draw& draw, Model m) -> Sample {
         return {"half of the positions", {draw.hidden()}, {{"axis", std::int64_t{1}}, {"size", 2 * m.length}}};
       }},
      {"broadcast_to",
       [](Draw& draw, Model m) -> Sample {
         return {"a bias", {draw.normal({m.width})}, {{"shape", Integers{m.batch, m.length, m.width}}}};
       }},
      {"sum_to_shape",
       [](Draw& draw, Model m) -> Sample {
         return {"gradient of a bias", {draw.hidden()}, {{"shape", Integers{m.width}}}};
       }},
      {"repeat",
       [](Draw& draw, Model m) -> Sample {
         return {
             "a sequence for each of a batch", {draw.normal({m.length, m.width})}, {{"repeats", Integers{m.batch, 1}}}};
       }},
      {"gather",
       [](Draw& draw, Model m) -> Sample {
         return {"of each row", {draw.rows(m.width), draw.ids({m.rows(), m.width}, m.width)}};
       }},
      {"scatter_add",
       [](Draw& draw, Model m) -> Sample {
         return {"in each row",
                 {draw.rows(m.width), draw.ids({m.rows(), m.width}, m.width)},
                 {{"shape", Integers{m.rows(), m.width}}}};
       }},
      {"index_select",
       [](Draw& draw, Model m) -> Sample {
         return {"rows in another order", {draw.rows(m.width), shuffled_range(m.rows(), draw.generator)}};
       }},
  };
  return samples;
}

/// Every axis longer than 1 by one factor, so that equal sizes stay equal and broadcast ones broadcast.
Tensor tiled(const Tensor& tensor, std::int64_t factor) {
  if (!tensor.defined() || tensor.rank() == 0) return tensor;
  Integers repeats;
  for (const std::int64_t size : tensor.shape()) repeats.push_back(size > 1 ? factor : 1);
  return repeat(tensor, repeats);
}

Sample tiled_sample(const OpSpec& spec, std::int64_t elements, std::uint64_t seed) {
  if (!spec.samples) fail<UsageError>("[{}] the record has no samples: nothing to measure it on", spec.name);
  SampleMaker make(seed);
  std::vector<Sample> samples = spec.samples(make);
  if (samples.empty()) fail<UsageError>("[{}] the record has no samples: nothing to measure it on", spec.name);
  Sample sample = samples.front();
  double factor = 1e18;
  for (const Tensor& input : sample.inputs) {
    if (!input.defined() || input.numel() < 2) continue;
    const auto axes = std::count_if(input.shape().begin(), input.shape().end(), [](auto size) { return size > 1; });
    factor = std::min(factor, std::pow(double(elements) / double(input.numel()), 1.0 / double(axes)));
  }
  if (factor < 1e18) {
    const auto tiles = std::max<std::int64_t>(1, std::llround(factor));
    for (Tensor& input : sample.inputs) input = tiled(input, tiles);
  }
  return sample;
}

}  // namespace

Sample large_sample(const OpSpec& spec, const ModelSizes& sizes, DType dtype, std::uint64_t seed) {
  const auto model = model_samples().find(spec.name);
  Draw draw{sizes, Generator(seed)};
  Sample sample = model == model_samples().end() ? tiled_sample(spec, sizes.rows() * sizes.width, seed)
                                                 : model->second(draw, sizes);
  for (Tensor& input : sample.inputs) {
    if (input.defined() && is_floating(input.dtype()) && input.dtype() != dtype) input = cast(input, dtype);
  }
  return sample;
}

}  // namespace gradus::tools
