// The variants of the model: their sizes, what each output can see, decoding with a cache, files.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>

#include "framework/autograd/autograd.h"
#include "framework/kernels/elements.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"
#include "models/model_file.h"
#include "tests/messages.h"

using namespace gradus;
using models::Gpt;
using models::GptConfig;
using models::Variant;

namespace {

const std::vector<Variant> all_variants = {Variant::vanilla, Variant::rope, Variant::synthesizer, Variant::perceiver,
                                           Variant::perceiver_ar};

GptConfig tiny(Variant variant) {
  GptConfig config{.variant = variant,
                   .vocabulary_size = 11,
                   .block_size = 12,
                   .layers = 3,
                   .heads = 2,
                   .width = 8,
                   .dropout = {0, 0, 0}};
  if (config.is_perceiver()) config.latents = variant == Variant::perceiver ? 4 : 6;
  return config;
}

double largest(const Tensor& tensor) {
  double result = 0;
  for (const double value : tensor.to_vector<double>())
    result = !(std::fabs(value) <= result) ? std::fabs(value) : result;
  return result;
}

/// With weights that are not small: what a model sees must show.
std::unique_ptr<Gpt> made(const GptConfig& config, DType dtype = DType::f64) {
  auto model = std::make_unique<Gpt>(config, 3, dtype);
  Generator generator(5);
  const NoGradScope no_grad;
  for (const Tensor& parameter : model->parameters()) {
    const Tensor moved = parameter + random_normal(parameter.shape(), generator, parameter.dtype(), 0, 0.5);
    elements::copy(parameter, moved);
  }
  return model;
}

/// sees[t][s]: whether the logits of position t depend on the character at s, by gradients that are exactly zero or
/// not. The characters are all different, and so their vectors can be told apart in the table's gradient.
std::vector<std::vector<bool>> reachability(const Gpt& model, std::int64_t length) {
  const Tensor ids = reshape(arange(length), {1, length});
  Tensor table;
  for (const auto& [name, parameter] : model.named_parameters()) {
    if (name == "tok_emb.weight") table = parameter;
  }
  std::vector<std::vector<bool>> sees;
  Generator generator(9);
  for (std::int64_t t = 0; t < length; ++t) {
    model.zero_gradients();
    const Tensor logits = slice(model.forward(ids), 1, t, t + 1);
    backward(sum(logits * random_normal(logits.shape(), generator, logits.dtype())));
    const std::vector<double> gradient = table.gradient().to_vector<double>();
    sees.emplace_back();
    for (std::int64_t s = 0; s < length; ++s) {
      const auto row = gradient.begin() + s * model.config().width;
      sees.back().push_back(std::any_of(row, row + model.config().width, [](double g) { return g != 0; }));
    }
  }
  return sees;
}

}  // namespace

TEST_CASE("the assignment's numbers of parameters") {
  const auto count = [](GptConfig config) {
    const std::int64_t counted = Gpt(config, 0).parameter_count();
    CHECK(double(counted) == config.parameter_count());
    return counted;
  };
  CHECK(count({}) == 3323392);
  CHECK(count({.variant = Variant::rope}) == 3290624);
  CHECK(count({.variant = Variant::synthesizer}) == 3076988);
  CHECK(count({.variant = Variant::perceiver, .latents = 64}) == 3339776);
  CHECK(count({.variant = Variant::perceiver_ar, .latents = 64}) == 3339776);
}

TEST_CASE("initial values of what only one variant has") {
  const auto largest_of = [](const Gpt& model, const std::string& name) {
    for (const auto& [path, parameter] : model.named_parameters()) {
      if (path == name) return largest(parameter);
    }
    return -1.0;
  };
  const Gpt perceiver({.variant = Variant::perceiver, .latents = 64}, 0);
  CHECK(largest_of(perceiver, "blocks.0.C") <= std::sqrt(6.0 / 16640));
  CHECK(largest_of(perceiver, "blocks.0.C") > 0.99 * std::sqrt(6.0 / 16640));
  const Gpt synthesizer({.variant = Variant::synthesizer}, 0);
  CHECK(largest_of(synthesizer, "blocks.1.attn.w2") <= 0.001);
  CHECK(largest_of(synthesizer, "blocks.1.attn.w2") > 0.00099);
  CHECK(largest_of(synthesizer, "blocks.1.attn.b2") == 0);
}

TEST_CASE("reachability: every output sees all characters up to its own, but for the perceiver beyond its latents") {
  const std::int64_t length = 11;
  for (const Variant variant : all_variants) {
    const GptConfig config = tiny(variant);
    const auto sees = reachability(*made(config), length);
    for (std::int64_t t = 0; t < length; ++t) {
      for (std::int64_t s = 0; s < length; ++s) {
        const bool blind = variant == Variant::perceiver && s >= config.latents && s != t;
        CHECK_MESSAGE(sees[t][s] == (s <= t && !blind), to_string(variant), ": output ", t, ", character ", s);
      }
    }
  }
}

TEST_CASE("with more than two positions to a latent, perceiver-ar misses some of the last characters") {
  GptConfig config = tiny(Variant::perceiver_ar);
  config.latents = 4;  // at 0, 3, 6, 9
  const auto sees = reachability(*made(config), 11);
  for (std::int64_t t = 0; t < 11; ++t) {
    for (std::int64_t s = 0; s < 11; ++s) CHECK(sees[t][s] == (s <= t / 3 * 3 || s == t));
  }
}

TEST_CASE("characters one at a time, with a cache, give the logits of all at once") {
  for (const Variant variant : all_variants) {
    const auto model = made(tiny(variant));
    model->set_training(false);
    Generator generator(2);
    const Tensor ids = random_integers({3, 9}, generator, 0, 10);
    const Tensor all = model->forward(ids);
    models::KeyValueCache cache;
    for (std::int64_t begin = 0; begin < 9; begin = begin == 0 ? 4 : begin + 1) {
      const std::int64_t end = begin == 0 ? 4 : begin + 1;
      const Tensor logits = model->decode(slice(ids, 1, begin, end), cache);
      CHECK_MESSAGE(largest(logits - slice(all, 1, begin, end)) <= 1e-12 * largest(all), to_string(variant));
    }
  }
}

TEST_CASE("the logits of a sequence's beginning are those of the beginning alone") {
  for (const Variant variant : all_variants) {
    const auto model = made(tiny(variant));
    Generator generator(2);
    const Tensor ids = random_integers({3, 9}, generator, 0, 10);
    const Tensor all = model->forward(ids);
    for (std::int64_t length = 1; length < 9; ++length) {
      const Tensor alone = model->forward(slice(ids, 1, 0, length));
      CHECK_MESSAGE(largest(alone - slice(all, 1, 0, length)) <= 1e-12 * largest(all), to_string(variant), " ", length);
    }
  }
}

TEST_CASE("sequences one after the other are as each alone, or refused") {
  for (const Variant variant : all_variants) {
    const auto model = made(tiny(variant));
    Generator generator(2);
    const Tensor ids = random_integers({1, 12}, generator, 0, 10);
    if (!model->takes_lengths()) {
      CHECK(message_of<Error>([&] {
              model->forward(ids, {7, 5});
            }) == to_string(variant) + ": sequences must be rows of one length, with padding");
      continue;
    }
    const Tensor together = model->forward(ids, {7, 5});
    for (const auto& [begin, end] : {std::pair<int, int>{0, 7}, {7, 12}}) {
      const Tensor alone = model->forward(slice(ids, 1, begin, end));
      CHECK_MESSAGE(largest(alone - slice(together, 1, begin, end)) <= 1e-12 * largest(alone), to_string(variant));
    }
  }
}

TEST_CASE("bf16 activations, recomputation: the same as without, as far as they should be") {
  for (const Variant variant : all_variants) {
    GptConfig config = tiny(variant);
    config.dropout = {0.1, 0.1, 0.1};
    Generator generator(2);
    const Tensor ids = random_integers({2, 11}, generator, 0, 10);
    const auto run = [&](DType dtype, bool recompute) {
      const auto model = std::make_unique<Gpt>(config, 3, dtype);
      model->set_recompute(recompute);
      const Tensor loss = sum(model->forward(ids) * model->forward(ids));
      backward(loss);
      std::vector<double> values = loss.to_vector<double>();
      for (const Tensor& parameter : model->parameters()) {
        for (const double value : parameter.gradient().to_vector<double>()) values.push_back(value);
      }
      return values;
    };
    CHECK_MESSAGE(run(DType::f32, true) == run(DType::f32, false), to_string(variant));
    CHECK_MESSAGE(run(DType::bf16, true) == run(DType::bf16, false), to_string(variant));
    const double narrow = run(DType::bf16, false)[0], wide = run(DType::f32, false)[0];
    CHECK_MESSAGE(std::fabs(narrow - wide) <= 0.05 * wide, to_string(variant));
  }
}

TEST_CASE("a model file says which variant it holds") {
  const std::string path = (std::filesystem::temp_directory_path() / "gradus_variants_test.params").string();
  const data::Vocabulary vocabulary = data::Vocabulary::from_characters(U"□⁇abcdefghi", "test");
  for (const Variant variant : all_variants) {
    const auto model = made(tiny(variant), DType::f32);
    models::save_model(path, *model, vocabulary);
    const models::LoadedModel loaded = models::load_model(path, to_string(variant), 0);
    const Tensor ids = reshape(arange(8), {1, 8});
    CHECK(loaded.model->forward(ids).to_vector<float>() == model->forward(ids).to_vector<float>());
    CHECK(models::load_model(path, "", 0).model->config().variant == variant);
    const std::string other = variant == Variant::rope ? "vanilla" : "rope";
    CHECK(message_of<DataError>([&] { models::load_model(path, other, 0); }) ==
          fmt::format("{}: holds a model of the variant '{}', not '{}'", path, to_string(variant), other));
  }
  std::filesystem::remove(path);
}

TEST_CASE("sizes that a variant cannot have") {
  const auto refusal = [](GptConfig config) { return message_of<UsageError>([&] { config.validate(); }); };
  CHECK(refusal({.variant = Variant::rope, .heads = 8, .width = 24}) ==
        "rope turns pairs of features: width 24 / heads 8 is odd");
  CHECK(refusal({.variant = Variant::perceiver}) == "bottleneck_dim must be between 1 and block_size 128, not 0");
  CHECK(refusal({.variant = Variant::perceiver_ar, .latents = 129}) ==
        "bottleneck_dim must be between 1 and block_size 128, not 129");
  CHECK(refusal({.variant = Variant::perceiver, .layers = 1, .latents = 8}) ==
        "a perceiver needs a layer down and one up: layers must be at least 2, not 1");
  CHECK(refusal({.variant = Variant::vanilla, .latents = 8}) ==
        "bottleneck_dim belongs to the perceivers; the variant is vanilla");
  CHECK(refusal({.variant = Variant::synthesizer, .block_size = 1}) ==
        "a synthesizer's sequences are one shorter than block_size, which is 1");
  CHECK(message_of<UsageError>([] { models::variant_from_string("ropes"); }) ==
        "unknown variant 'ropes'; it must be one of vanilla, rope, synthesizer, perceiver, perceiver-ar");
  const Gpt model(tiny(Variant::synthesizer), 0);
  CHECK(message_of<Error>([&] {
          model.forward(zeros({1, 12}, DType::i64));
        }) == "synthesizer: a sequence of 12 characters is longer than the model's 11");
}

TEST_CASE("a perceiver-ar whose latents did not begin as the input is refused") {
  nlohmann::json json = tiny(Variant::perceiver_ar);
  CHECK(json.get<GptConfig>().latents == tiny(Variant::perceiver_ar).latents);
  json.erase("anchored");
  CHECK(message_of<UsageError>([&] { json.get<GptConfig>(); }) ==
        "the perceiver-ar of an earlier version, whose latents did not begin as the input");
}
