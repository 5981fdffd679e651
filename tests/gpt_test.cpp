// The vanilla GPT: names, counts, causality, gradients of the whole model, files.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>

#include "framework/autograd/autograd.h"
#include "framework/kernels/cpu/copy.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"
#include "framework/tensor/memory.h"
#include "framework/train/trainer.h"
#include "models/model_file.h"
#include "tests/messages.h"
#include "tests/temporary_folder.h"

using namespace gradus;
using models::Gpt;
using models::GptConfig;

namespace {

GptConfig tiny() { return {.vocabulary_size = 11, .block_size = 8, .layers = 2, .heads = 2, .width = 8, .dropout = {0, 0, 0}}; }

Tensor loss_of(const Gpt& model, const Tensor& ids, const Tensor& targets) {
  const Tensor logits = model.forward(ids);
  return cross_entropy(reshape(logits, {targets.numel(), logits.size(2)}), reshape(targets, {targets.numel()}), 0);
}

}  // namespace

TEST_CASE("the vanilla model has the assignment's parameters, under its names") {
  const Gpt model({}, 0);
  CHECK(model.parameter_count() == 3323392);
  const nn::NamedTensors parameters = model.named_parameters();
  std::vector<std::string> names;
  for (const auto& [name, tensor] : parameters) names.push_back(name);
  CHECK(parameters.size() == 69);
  CHECK(names[0] == "pos_emb");
  CHECK(names[1] == "tok_emb.weight");
  CHECK(std::vector<std::string>(names.begin() + 2, names.begin() + 18) ==
        std::vector<std::string>{"blocks.0.ln1.weight", "blocks.0.ln1.bias", "blocks.0.ln2.weight", "blocks.0.ln2.bias", "blocks.0.attn.key.weight",
                                 "blocks.0.attn.key.bias", "blocks.0.attn.query.weight", "blocks.0.attn.query.bias", "blocks.0.attn.value.weight",
                                 "blocks.0.attn.value.bias", "blocks.0.attn.proj.weight", "blocks.0.attn.proj.bias", "blocks.0.mlp.0.weight",
                                 "blocks.0.mlp.0.bias", "blocks.0.mlp.2.weight", "blocks.0.mlp.2.bias"});
  CHECK(names.back() == "head.weight");
  CHECK(parameters[0].second.shape() == Shape{1, 128, 256});
}

TEST_CASE("initial values: normal weights of deviation 0.02, zero biases and positions, loss near ln 256") {
  Gpt model({}, 3);
  for (const auto& [name, tensor] : model.named_parameters()) {
    const std::vector<double> values = tensor.to_vector<double>();
    double square = 0;
    for (double value : values) square += value * value / values.size();
    if (name == "pos_emb" || name.ends_with("bias")) CHECK_MESSAGE(square == 0, name);
    else if (name.find("ln") != std::string::npos) CHECK_MESSAGE(square == 1, name);
    else CHECK_MESSAGE(std::fabs(std::sqrt(square) - 0.02) < 0.0005, name);
  }
  model.set_training(false);
  Generator generator(1);
  const NoGradScope no_grad;
  const double loss = loss_of(model, random_integers({2, 64}, generator, 1, 255), random_integers({2, 64}, generator, 1, 255)).item();
  CHECK(std::fabs(loss - std::log(256.0)) < 0.12);
}

TEST_CASE("no output sees a later input: the gradient is exactly zero") {
  Gpt model(tiny(), 1, DType::f64);
  const Tensor ids = from_values({1, 8}, std::vector<std::int64_t>{1, 2, 3, 4, 5, 6, 7, 8});
  Tensor table;
  for (const auto& [name, tensor] : model.named_parameters()) {
    if (name == "tok_emb.weight") table = tensor;
  }
  for (std::int64_t t = 0; t < 8; ++t) {
    model.zero_gradients();
    backward(sum(slice(model.forward(ids), 1, t, t + 1)));
    const std::vector<double> gradient = table.gradient().to_vector<double>();
    for (std::int64_t position = 0; position < 8; ++position) {
      double reach = 0;  // ids are all different, so a row of the table is a position
      for (int c = 0; c < 8; ++c) reach += std::fabs(gradient[(position + 1) * 8 + c]);
      CHECK((reach != 0) == (position <= t));
    }
  }
}

TEST_CASE("the whole model's gradient agrees with differences in f64") {
  Gpt model(tiny(), 5, DType::f64);
  Generator generator(2);
  const Tensor ids = random_integers({2, 5}, generator, 1, 10), targets = random_integers({2, 5}, generator, 0, 10);
  backward(loss_of(model, ids, targets));
  const NoGradScope no_grad;
  for (const auto& [name, parameter] : model.named_parameters()) {
    const std::vector<double> gradient = parameter.gradient().to_vector<double>();
    double scale = 0;
    for (double value : gradient) scale = std::max(scale, std::fabs(value));
    if (name.ends_with("key.bias")) {  // a constant added to all scores of a row changes nothing
      CHECK(scale < 1e-12);
      continue;
    }
    double* values = parameter.mutable_data<double>();
    for (std::int64_t i = 0; i < parameter.numel(); i += 1 + parameter.numel() / 5) {
      const double saved = values[i], h = 1e-4;
      double slopes[2];
      for (int level : {0, 1}) {
        const double step = h / (1 + level);
        values[i] = saved + step;
        const double up = loss_of(model, ids, targets).item();
        values[i] = saved - step;
        const double down = loss_of(model, ids, targets).item();
        slopes[level] = (up - down) / (2 * step);
      }
      values[i] = saved;
      const double expected = (4 * slopes[1] - slopes[0]) / 3;
      CHECK_MESSAGE(std::fabs(gradient[i] - expected) <= 1e-6 * scale + 1e-10, name, "[", i, "]: ", gradient[i], " against ", expected);
    }
  }
}

TEST_CASE("ragged rows: the loss and gradients of padded ones") {
  const models::GptConfig config{
      .vocabulary_size = 9, .block_size = 8, .layers = 2, .heads = 2, .width = 6, .dropout = {0, 0, 0}};
  const models::Gpt model(config, 3, DType::f64);
  const std::vector<std::int64_t> lengths = {5, 1, 8, 3};
  Generator generator(4);
  std::vector<std::int64_t> packed, packed_targets, padded, padded_targets;
  for (const std::int64_t length : lengths) {
    const std::vector<std::int64_t> ids = random_integers({length}, generator, 1, 8).to_vector<std::int64_t>(),
                                    targets = random_integers({length}, generator, 0, 8).to_vector<std::int64_t>();
    packed.insert(packed.end(), ids.begin(), ids.end());
    packed_targets.insert(packed_targets.end(), targets.begin(), targets.end());
    padded.insert(padded.end(), ids.begin(), ids.end());
    padded_targets.insert(padded_targets.end(), targets.begin(), targets.end());
    padded.resize(padded.size() + static_cast<std::size_t>(8 - length), 0);
    padded_targets.resize(padded.size(), 0);
  }
  const auto loss_and_gradients = [&](const Tensor& logits, const std::vector<std::int64_t>& targets) {
    const std::int64_t rows = static_cast<std::int64_t>(targets.size());
    const Tensor loss = cross_entropy(reshape(logits, {rows, 9}), from_values({rows}, targets), 0);
    Tensors all = grad({loss}, model.parameters());
    all.push_back(loss.detach());
    return all;
  };
  const Tensors ragged = loss_and_gradients(model.forward(from_values({1, 17}, packed), lengths), packed_targets);
  const Tensors full = loss_and_gradients(model.forward(from_values({4, 8}, padded)), padded_targets);
  for (std::size_t i = 0; i < full.size(); ++i) {
    const std::vector<double> a = ragged[i].to_vector<double>(), b = full[i].to_vector<double>();
    REQUIRE(a.size() == b.size());
    double scale = 0, worst = 0;
    for (std::size_t e = 0; e < a.size(); ++e)
      scale = std::max(scale, std::fabs(b[e])), worst = std::max(worst, std::fabs(a[e] - b[e]));
    CHECK(!(worst > 1e-13 * std::max(scale, 1e-3)));
    CHECK(std::isfinite(worst));
  }
  CHECK(loss_and_gradients(model.forward(from_values({1, 17}, packed), {8, 1, 5, 3}), packed_targets).back().item() !=
        full.back().item());
  CHECK_THROWS_AS(model.forward(from_values({1, 17}, packed), {9, 8}), ContractError);
  CHECK_THROWS_AS(model.forward(from_values({1, 17}, packed), {8, 8}), ContractError);
}

namespace {

/// Counted sequences of several lengths, without padding.
class Ragged : public data::BatchSource {
 public:
  std::int64_t batches_per_epoch() const override { return 2; }
  std::int64_t counted_tokens_per_epoch() const override { return 2 * 24; }
  std::string fingerprint() const override { return "ragged"; }
  data::Batch batch(std::int64_t epoch, std::int64_t index) const override {
    Generator generator(9, static_cast<std::uint64_t>(epoch * 2 + index) * 2);
    const Tensor inputs = random_integers({1, 16}, generator, 1, 10), targets = random_integers({1, 16}, generator, 0, 10);
    return {.inputs = inputs, .targets = targets, .lengths = {8, 1, 7}, .counted_tokens = 24};
  }
};

/// A model that trains on ragged batches, every dropout on.
struct RaggedRun {
  RaggedRun(DType dtype, bool recompute)
      : model({.vocabulary_size = 11, .block_size = 8, .layers = 3, .heads = 2, .width = 8, .dropout = {0.2, 0.2, 0.2}},
              3, dtype),
        optimizer(model.named_parameters(), {}) {
    model.set_recompute(recompute);
    options.progress = train::ProgressMode::off;
  }
  Tensor loss(const data::Batch& batch) {
    const std::int64_t rows = batch.targets.numel();
    return cross_entropy(reshape(model.forward(batch.inputs, batch.lengths), {rows, 11}),
                         reshape(batch.targets, {rows}), 0);
  }
  void train(std::int64_t epochs) {
    options.max_epochs = epochs;
    train::train(
        model, model.generator(), optimizer, Ragged(), [&](const data::Batch& batch) { return loss(batch); }, options);
  }
  /// Every bit that training changes.
  std::vector<std::vector<double>> state() {
    std::vector<std::vector<double>> bits = {{double(model.generator().next_stream())}};
    nn::NamedTensors tensors = model.named_parameters();
    for (const auto& moment : optimizer.state()) tensors.push_back(moment);
    for (const auto& [name, tensor] : tensors) bits.push_back(tensor.to_vector<double>());
    return bits;
  }

  Gpt model;
  optim::AdamW optimizer;
  train::TrainerOptions options;
};

}  // namespace

TEST_CASE("recomputed blocks: the same bits, in less memory") {
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
    std::vector<std::vector<double>> results[2];
    std::int64_t bytes[2];
    for (const bool recompute : {false, true}) {
      RaggedRun run(dtype, recompute);
      const std::int64_t before = memory_statistics().bytes_in_use;
      const Tensor loss = run.loss(Ragged().batch(0, 0));
      bytes[recompute] = memory_statistics().bytes_in_use - before;
      backward(loss);
      results[recompute] = run.state();
      results[recompute].push_back(loss.to_vector<double>());
      for (const Tensor& parameter : run.model.parameters())
        results[recompute].push_back(parameter.gradient().to_vector<double>());
    }
    CHECK(results[0] == results[1]);
    CHECK(bytes[1] < 0.5 * double(bytes[0]));
  }
}

TEST_CASE("recomputed blocks: training gives the same bits, and may be switched on resuming") {
  const TemporaryFolder folder;
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
    RaggedRun plain(dtype, false), recomputed(dtype, true), first(dtype, true), second(dtype, false);
    plain.train(2);
    recomputed.train(2);
    CHECK(plain.state() == recomputed.state());
    first.options.checkpoint_path = second.options.checkpoint_path = folder / std::string(to_string(dtype));
    first.train(1);
    CHECK(first.state() != plain.state());
    second.options.resume = true;
    second.train(2);
    CHECK(second.state() == plain.state());
  }
}

namespace {

double norm_of(const std::vector<double>& values) {
  double squares = 0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares);
}

/// |a - b| / |b|, over all elements.
double relative_distance(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> difference(a);
  for (std::size_t i = 0; i < a.size(); ++i) difference[i] -= b[i];
  return norm_of(difference) / norm_of(b);
}

}  // namespace

TEST_CASE("bf16: parameters and gradients are f32, the loss and the gradients those of f32 to bf16's precision") {
  RaggedRun half(DType::bf16, false), single(DType::f32, false);
  const Tensor half_loss = half.loss(Ragged().batch(0, 0)), single_loss = single.loss(Ragged().batch(0, 0));
  CHECK(half_loss.dtype() == DType::f32);
  CHECK(half_loss.item() != single_loss.item());
  CHECK(std::fabs(half_loss.item() - single_loss.item()) <= 0x1p-8 * single_loss.item());
  backward(half_loss);
  backward(single_loss);
  std::vector<double> half_gradient, single_gradient;
  const auto append = [](std::vector<double>& all, const Tensor& parameter) {
    const std::vector<double> values = parameter.gradient().to_vector<double>();
    all.insert(all.end(), values.begin(), values.end());
  };
  for (std::size_t i = 0; i < half.model.parameters().size(); ++i) {
    const Tensor parameter = half.model.parameters()[i];
    CHECK(parameter.dtype() == DType::f32);
    CHECK(parameter.gradient().dtype() == DType::f32);
    append(half_gradient, parameter);
    append(single_gradient, single.model.parameters()[i]);
  }
  CHECK(relative_distance(half_gradient, single_gradient) <= 8 * 0x1p-8);
}

TEST_CASE("bf16: trains as f32 does") {
  RaggedRun half(DType::bf16, false), single(DType::f32, false);
  const auto loss_after = [](RaggedRun& run) {
    run.train(40);
    run.model.set_training(false);
    return run.loss(Ragged().batch(0, 0)).item();
  };
  const double fresh = RaggedRun(DType::f32, false).loss(Ragged().batch(0, 0)).item();
  const double after_half = loss_after(half), after_single = loss_after(single);
  CHECK(after_single < 0.99 * fresh);
  CHECK(std::fabs(after_half - after_single) <= 0.01 * after_single);
}

TEST_CASE("bf16: decoding with a cache gives the logits of the whole sequence to bf16's precision") {
  models::Gpt model(tiny(), 3, DType::bf16);
  model.set_training(false);
  Generator generator(4);
  const Tensor ids = random_integers({3, 8}, generator, 1, 8);
  const Tensor whole = model.forward(ids);
  CHECK(whole.dtype() == DType::bf16);
  models::KeyValueCache cache;
  model.decode(slice(ids, 1, 0, 7), cache);
  const Tensor last = model.decode(slice(ids, 1, 7, 8), cache);
  CHECK(relative_distance(last.to_vector<double>(), slice(whole, 1, 7, 8).to_vector<double>()) <= 4 * 0x1p-8);
}

TEST_CASE("decoding with a cache gives the logits of the whole sequence") {
  const models::GptConfig config{
      .vocabulary_size = 9, .block_size = 8, .layers = 2, .heads = 2, .width = 6, .dropout = {}};
  models::Gpt model(config, 3, DType::f64);
  model.set_training(false);
  Generator generator(4);
  const Tensor ids = random_integers({3, 8}, generator, 1, 8);
  const std::vector<double> whole = model.forward(ids).to_vector<double>();
  models::KeyValueCache cache;
  std::vector<double> parts(whole.size());
  for (std::int64_t begin = 0, end = 5; begin < 8; begin = end++) {
    const Tensor logits = model.decode(slice(ids, 1, begin, end), cache);
    CHECK(!logits.requires_grad());
    const std::vector<double> values = logits.to_vector<double>();
    for (std::int64_t row = 0; row < 3; ++row) {
      std::copy_n(values.begin() + row * (end - begin) * 9, (end - begin) * 9, parts.begin() + (row * 8 + begin) * 9);
    }
  }
  for (std::size_t e = 0; e < whole.size(); ++e) CHECK(parts[e] == doctest::Approx(whole[e]).epsilon(1e-12));
  CHECK_THROWS_AS(model.decode(slice(ids, 1, 0, 1), cache), ContractError);  // it is full
  models::KeyValueCache other;
  model.decode(slice(ids, 1, 0, 2), other);
  CHECK_THROWS_AS(model.decode(slice(ids, 1, 2, 4), other), ContractError);
}

TEST_CASE("dropout is on while training, and off for evaluation") {
  GptConfig config = tiny();
  config.dropout = {0.5, 0.5, 0.5};
  Gpt model(config, 1);
  const Tensor ids = from_values({1, 3}, std::vector<std::int64_t>{1, 2, 3});
  const auto output = [&] { return model.forward(ids).to_vector<double>(); };
  CHECK(output() != output());
  model.set_training(false);
  CHECK(output() == output());
  const Generator before = model.generator();
  output();
  CHECK(model.generator().next_stream() == before.next_stream());
}

TEST_CASE("impossible configurations and inputs are refused by name") {
  GptConfig config = tiny();
  config.heads = 3;
  CHECK(message_of<UsageError>([&] { Gpt model(config, 1); }) == "width 8 is not divisible by 3 heads");
  config = tiny();
  config.layers = 0;
  CHECK(message_of<UsageError>([&] { Gpt model(config, 1); }) == "layers must be at least 1, not 0");
  const Gpt model(tiny(), 1);
  CHECK(message_of<ContractError>([&] { model.forward(zeros({1, 9}, DType::i64)); }).find("9 characters is longer than the model's 8") != std::string::npos);
  CHECK(message_of<ContractError>([&] { model.forward(full({1, 2}, 11, DType::i64)); }).find("[embedding] ids 11 at position 0 is outside 0..10") == 0);
}

TEST_CASE("an error or anomaly inside the model names the module") {
  const Gpt model(tiny(), 1, DType::f64);
  for (const auto& [name, tensor] : model.named_parameters()) {
    if (name == "blocks.1.mlp.0.weight") tensor.mutable_data<double>()[0] = INFINITY;
  }
  const AnomalyScope anomaly;
  const std::string text = message_of<NumericError>([&] { model.forward(from_values({1, 2}, std::vector<std::int64_t>{1, 2})); });
  CHECK(text.find("[linear] output 'out' is not finite") == 0);
  CHECK(text.find("in blocks.1.mlp.0") != std::string::npos);
}

TEST_CASE("hooks see a module's output") {
  struct Doubler : nn::Module {
    Tensor forward(const Tensor& x) const { return x * 2.0; }
  };
  struct Outer : nn::Module {
    Doubler inner;
    Outer() { register_module("inner", inner); }
    Tensor forward(const Tensor& x) const { return run(inner, x); }
  } outer;
  double seen = 0;
  outer.inner.register_forward_hook([&](const nn::Module&, const Tensor& output) { seen = output.item(); });
  outer.forward(scalar(3));
  CHECK(seen == 6);
}

TEST_CASE("a model file brings back the same bits, and wrong files are refused") {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / "gradus-gpt-test";
  std::filesystem::create_directories(folder);
  const std::string path = folder / "model.params";
  const data::Vocabulary vocabulary = data::Vocabulary::from_text(U"abcdefghi", "test");
  const Gpt model(tiny(), 4);
  models::save_model(path, model, vocabulary, {{"function", "test"}});
  const models::LoadedModel loaded = models::load_model(path, "vanilla", 9);
  CHECK(loaded.vocabulary == vocabulary);
  CHECK(loaded.metadata.at("function") == "test");
  const nn::NamedTensors before = model.named_parameters(), after = loaded.model->named_parameters();
  for (std::size_t i = 0; i < before.size(); ++i) CHECK(before[i].second.to_vector<double>() == after[i].second.to_vector<double>());

  CHECK(message_of<DataError>([&] { models::load_model(path, "rope", 1); }).find("holds a model of the variant 'vanilla', not 'rope'") != std::string::npos);
  GptConfig huge = tiny();
  huge.layers = 1 << 20;
  huge.width = 1 << 20;
  CHECK(huge.parameter_count() > 1e19);
  CHECK(tiny().parameter_count() == double(model.parameter_count()));
  huge.layers = huge.width = std::int64_t{1} << 40;
  CHECK(message_of<UsageError>([&] { huge.validate(); }) == "layers must be at most 16777216, not 1099511627776");
  GptConfig wider = tiny();
  wider.width = 16;
  Gpt other(wider, 1);
  const std::string text = message_of<DataError>([&] { nn::load_parameters(other, model.named_parameters(), "file"); });
  CHECK(text.find("file: the weights do not fit the model; of another shape: pos_emb (expected (1,8,16), found (1,8,8) f32)") == 0);
  nn::NamedTensors renamed = model.named_parameters();
  renamed[0].first = "position";
  const std::string names = message_of<DataError>([&] { nn::load_parameters(model, renamed, "file"); });
  CHECK(names.find("missing: pos_emb; not in the model: position") != std::string::npos);
  const data::Vocabulary foreign = data::Vocabulary::from_text(U"abcdefghij", "test");
  CHECK(message_of<DataError>([&] { data::require_same_vocabulary(vocabulary, foreign, "m", "other.txt"); }) ==
        "other.txt: not the corpus that m was trained with: its vocabulary differs (12 characters against 11; 'j' (U+006A) is new)");
  std::filesystem::remove_all(folder);
}
