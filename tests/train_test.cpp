// The training loop: its order, resuming bit for bit, signals, numbers that are none, and what it prints.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <sstream>
#include <thread>

#include "framework/autograd/autograd.h"
#include "framework/base/bars.h"
#include "framework/io/files.h"
#include "framework/io/safetensors.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/nn/layers.h"
#include "framework/ops/ops.h"
#include "framework/train/checkpoint.h"
#include "framework/train/trainer.h"
#include "tests/messages.h"
#include "tests/standard_error.h"
#include "tests/temporary_folder.h"

using namespace gradus;

namespace {

constexpr std::int64_t classes = 7, epochs = 3, batches = 4, all_steps = epochs * batches;

/// Ids -> logits, with dropout between.
class TinyModel : public nn::Module {
 public:
  explicit TinyModel(std::uint64_t seed)
      : initializer_{Generator(seed)}, generator_(seed + 1), embedding_(classes, 6, initializer_), dropout_(0.3, generator_), head_(6, classes, true, initializer_) {
    register_module("embedding", embedding_);
    register_module("dropout", dropout_);
    register_module("head", head_);
  }
  Tensor forward(const Tensor& ids) const { return run(head_, run(dropout_, run(embedding_, ids))); }
  Generator& generator() { return generator_; }

 private:
  nn::Initializer initializer_;
  Generator generator_;
  nn::Embedding embedding_;
  nn::Dropout dropout_;
  nn::Linear head_;
};

/// Four batches an epoch, the last one shorter; each target is the id that follows its input.
class Counting : public data::BatchSource {
 public:
  std::int64_t batches_per_epoch() const override { return count; }
  data::Batch batch(std::int64_t epoch, std::int64_t index) const override {
    REQUIRE(index < count);
    StreamReader reader(5, static_cast<std::uint64_t>(epoch * count + index));
    std::vector<data::Example> examples;
    for (int row = 0; row < (index == count - 1 ? 2 : 3); ++row) {
      data::Example example;
      for (int t = 0; t < 5; ++t) {
        example.input.push_back(reader.next_integer(1, classes - 1));
        example.target.push_back(example.input.back() % (classes - 1) + 1);
      }
      examples.push_back(example);
    }
    return data::collate(examples);
  }
  std::int64_t counted_tokens_per_epoch() const override { return 5 * (3 * (batches - 1) + 2); }
  std::string fingerprint() const override { return "counting"; }

  std::int64_t count = batches;
};

/// A model with all that training it needs.
struct Run {
  explicit Run(std::uint64_t seed = 1) : model(seed), optimizer(model.named_parameters(), {}) {
    cpu::set_thread_count(1);
    options.max_epochs = epochs;
    options.schedule = {.peak = 0.05, .warmup_tokens = 20, .final_tokens = 120};
    options.progress = train::ProgressMode::off;
    options.settings = {{"seed", 1}, {"model", {{"width", 6}}}};
  }
  Tensor loss(const data::Batch& batch) {
    const std::int64_t rows = batch.targets.numel();
    return cross_entropy(reshape(model.forward(batch.inputs), {rows, classes}), reshape(batch.targets, {rows}), 0);
  }
  /// `before_step` is called with the number of the step about to run (from 1).
  train::TrainingResult train(const std::function<void(std::int64_t)>& before_step = [](std::int64_t) {}) {
    return train::train(model, model.generator(), optimizer, source, [&](const data::Batch& batch) {
      before_step(optimizer.step_count() + 1);
      return loss(batch);
    }, options);
  }
  /// Every bit that training changes.
  std::string state() {
    std::ostringstream bits;
    bits << model.generator().seed() << ' ' << model.generator().next_stream() << ' ' << optimizer.step_count();
    nn::NamedTensors tensors = model.named_parameters();
    for (const auto& moment : optimizer.state()) tensors.push_back(moment);
    for (const auto& [name, tensor] : tensors) {
      bits << name;
      bits.write(static_cast<const char*>(tensor.bytes()), tensor.numel() * static_cast<std::int64_t>(sizeof(float)));
    }
    return bits.str();
  }

  TinyModel model;
  optim::AdamW optimizer;
  Counting source;
  train::TrainerOptions options;
};

std::vector<nlohmann::json> metrics_of(const std::string& path) {
  std::vector<nlohmann::json> lines;
  std::istringstream text(io::read_file(path));
  for (std::string line; std::getline(text, line);) {
    lines.push_back(nlohmann::json::parse(line));
    for (const char* timing : {"seconds", "tokens_per_second"}) {
      CHECK(lines.back().at(timing) > 0);
      lines.back().erase(timing);
    }
  }
  return lines;
}

/// The exit status of a process that runs `body`, 128 + n where signal n ended it.
template <class Body>
int status_of_child(Body&& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// One uninterrupted run, as the others must end.
struct Reference {
  Reference() {
    const TemporaryFolder folder;
    run.options.metrics_path = folder / "metrics.jsonl";
    result = run.train();
    metrics = metrics_of(run.options.metrics_path);
    state = run.state();
  }
  Run run;
  train::TrainingResult result;
  std::vector<nlohmann::json> metrics;
  std::string state;
};

const Reference& reference() {
  static const Reference once;
  return once;
}

struct Crash {};

}  // namespace

TEST_CASE("a step: forward, backward, clip, update at the current rate, and only then the next rate") {
  Run run;
  double rate = run.options.schedule.peak;  // the first step runs at the peak, warm-up or not
  std::int64_t tokens = 0, step = 0;
  train::LossCurve losses;
  for (std::int64_t epoch = 0; epoch < epochs; ++epoch) {
    for (std::int64_t index = 0; index < batches; ++index) {
      const data::Batch batch = run.source.batch(epoch, index);
      run.model.zero_gradients();
      const Tensor loss = run.loss(batch);
      backward(loss);
      double norm = 0;
      {
        const NoGradScope no_grad;
        norm = clip_by_global_norm_(run.optimizer.gradients(), 1.0).item();
      }
      run.optimizer.step(rate);
      tokens += index == batches - 1 ? 10 : 15;
      rate = run.options.schedule.rate(tokens);
      ++step;
      losses.add(step, loss.item());
      CHECK(reference().metrics.at(step - 1) == nlohmann::json{{"step", step}, {"epoch", epoch + 1}, {"iter", index}, {"tokens", tokens},
                                                             {"loss", loss.item()}, {"loss_smoothed", losses.smoothed()},
                                                             {"lr", rate}, {"grad_norm", norm}});
    }
  }
  CHECK(run.state() == reference().state);
  CHECK(reference().metrics.size() == all_steps);
  CHECK(reference().result.steps == all_steps);
  CHECK(reference().result.tokens == epochs * run.source.counted_tokens_per_epoch());
  CHECK(reference().result.signal == 0);
  CHECK(reference().result.last_loss == reference().metrics.back()["loss"]);
  CHECK(reference().result.last_loss < 0.9 * reference().metrics.front()["loss"].get<double>());
}

TEST_CASE("a run that is interrupted after any step and resumed ends in the same bits") {
  for (const int signal : {SIGINT, SIGTERM}) {
    for (std::int64_t last = 1; last <= all_steps; ++last) {
      INFO(last);
      const TemporaryFolder folder;
      Run first;
      first.options.checkpoint_path = folder / "checkpoint";
      first.options.metrics_path = folder / "metrics.jsonl";
      train::TrainingResult result;
      const std::string said = errors_of([&] {
        result = first.train([&](std::int64_t step) {
          if (step == last) std::raise(signal);
        });
      });
      CHECK(has(said, "stopping: the step is finished and saved first"));
      CHECK(result.signal == signal);
      CHECK(result.steps == last);
      CHECK(metrics_of(first.options.metrics_path).size() == static_cast<std::size_t>(last));

      Run second(99);  // other weights, moments and streams: all of them come from the checkpoint
      second.options = first.options;
      second.options.resume = true;
      std::int64_t began = 0;
      result = second.train([&](std::int64_t step) { began = began ? began : step; });
      CHECK(began == (last == all_steps ? 0 : last + 1));
      CHECK(second.state() == reference().state);
      CHECK(metrics_of(first.options.metrics_path) == reference().metrics);
      CHECK(result.signal == 0);
      CHECK(result.steps == all_steps);
      CHECK(result.tokens == reference().result.tokens);
      CHECK(result.last_loss == reference().result.last_loss);
    }
  }
}

TEST_CASE("a run that crashes goes on from the last periodic checkpoint, as often as need be") {
  const TemporaryFolder folder;
  const std::string metrics = folder / "metrics.jsonl";
  for (const std::int64_t crash : {5, 8, 9, 0}) {
    Run run(crash == 5 ? 1 : 50);  // the first begins, the others go on
    run.options.checkpoint_path = folder / "checkpoint";
    run.options.checkpoint_every = 3;
    run.options.metrics_path = metrics;
    run.options.resume = true;
    try {
      run.train([&](std::int64_t step) {
        if (step == crash) throw Crash{};
      });
      CHECK(crash == 0);
      CHECK(run.state() == reference().state);
    } catch (const Crash&) {
      CHECK(metrics_of(metrics).size() == static_cast<std::size_t>(crash - 1));
      const nlohmann::json state = nlohmann::json::parse(io::read_safetensors(folder / "checkpoint").metadata.at("state"));
      CHECK(state["step"] == (crash - 1) / 3 * 3);
    }
  }
  CHECK(metrics_of(metrics) == reference().metrics);
}

TEST_CASE("checkpoints by time") {
  const TemporaryFolder folder;
  Run run;
  run.options.checkpoint_path = folder / "checkpoint";
  run.options.checkpoint_seconds = 1e-9;
  run.train([&](std::int64_t step) { CHECK(std::filesystem::exists(run.options.checkpoint_path) == (step > 1)); });
}

TEST_CASE("a checkpoint that cannot be written is a warning, the run goes on and saves again") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "disk");
  Run run;
  run.options.checkpoint_path = folder / "disk/checkpoint";
  run.options.checkpoint_every = 2;
  run.options.progress = train::ProgressMode::plain;
  const std::string said = errors_of([&] {
    run.train([&](std::int64_t step) {
      if (step == 3) std::filesystem::remove_all(folder / "disk");
      if (step == 5) std::filesystem::create_directory(folder / "disk");
    });
  });
  CHECK(said.find("warning: no checkpoint after step 4: " + run.options.checkpoint_path + ": cannot be written") !=
        std::string::npos);
  CHECK(said.find("no checkpoint after step 6") == std::string::npos);
  CHECK(run.state() == reference().state);
  CHECK(std::filesystem::exists(run.options.checkpoint_path));
}

TEST_CASE("metrics of steps that run again are dropped, by their number, and so are torn lines") {
  const TemporaryFolder folder;
  const std::string checkpoint = folder / "checkpoint", metrics = folder / "metrics.jsonl";
  Run first;
  first.options.checkpoint_path = checkpoint;  // no metrics up to here
  errors_of([&] {
    first.train([](std::int64_t step) {
      if (step == 4) std::raise(SIGINT);
    });
  });
  Run second(2);
  second.options = first.options;
  second.options.resume = true;
  second.options.metrics_path = metrics;
  second.options.checkpoint_every = 6;
  CHECK_THROWS_AS(second.train([](std::int64_t step) {
    if (step == 9) throw Crash{};
  }), Crash);
  CHECK(metrics_of(metrics).front()["step"] == 5);
  io::write_file_atomically(metrics, io::read_file(metrics) + R"({"step":9,"lo)");
  Run third(3);
  third.options = second.options;
  third.train();
  const std::vector<nlohmann::json> all = reference().metrics;
  CHECK(metrics_of(metrics) == std::vector<nlohmann::json>(all.begin() + 4, all.end()));
}

TEST_CASE("metrics that cannot be written end the run with their path") {
  const TemporaryFolder folder;
  Run run;
  run.options.metrics_path = folder / "metrics.jsonl";
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit narrow{400, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ::setrlimit(RLIMIT_FSIZE, &narrow);
  const std::string text = message_of<OutputError>([&] { run.train(); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(text == run.options.metrics_path + ": cannot be written: File too large");
}

TEST_CASE("without resume a run starts anew; resume without a checkpoint starts at the beginning") {
  const TemporaryFolder folder;
  Run first;
  first.options.checkpoint_path = folder / "checkpoint";
  first.options.metrics_path = folder / "metrics.jsonl";
  first.options.resume = true;
  errors_of([&] {
    first.train([](std::int64_t step) {
      if (step == 2) std::raise(SIGINT);
    });
  });
  Run second;
  second.options = first.options;
  second.options.resume = false;
  second.train();
  CHECK(second.state() == reference().state);
  CHECK(metrics_of(first.options.metrics_path) == reference().metrics);
}

TEST_CASE("SIGUSR1 saves and goes on") {
  const TemporaryFolder folder;
  Run run;
  run.options.checkpoint_path = folder / "checkpoint";
  const auto saved_step = [&] {
    return nlohmann::json::parse(io::read_safetensors(run.options.checkpoint_path).metadata.at("state"))
        .at("step")
        .get<int>();
  };
  const train::TrainingResult result = run.train([&](std::int64_t step) {
    if (step == 3) std::raise(SIGUSR1);
    CHECK(std::filesystem::exists(run.options.checkpoint_path) == (step > 3));
    if (step > 3) CHECK(saved_step() == 3);
  });
  CHECK(result.signal == 0);
  CHECK(run.state() == reference().state);
  CHECK(saved_step() == result.steps);
}

TEST_CASE("an interrupted run without a checkpoint path ends after its step") {
  Run run;
  errors_of([&] {
    const train::TrainingResult result = run.train([](std::int64_t step) {
      if (step == 2) std::raise(SIGINT);
    });
    CHECK(result.signal == SIGINT);
    CHECK(result.steps == 2);
  });
}

TEST_CASE("a second signal ends the process at once and leaves the checkpoint whole") {
  const TemporaryFolder folder;
  Run run;
  run.options.checkpoint_path = folder / "checkpoint";
  run.options.checkpoint_every = 2;
  for (const auto& [second, status] : {std::pair(SIGINT, 130), std::pair(SIGTERM, 143)}) {
    CHECK(status_of_child([&, signal = second] {
            ::dup2(::open("/dev/null", O_WRONLY), STDERR_FILENO);
            run.train([&](std::int64_t step) {
              if (step < 4) return;
              ::kill(::getpid(), SIGINT);
              std::this_thread::sleep_for(std::chrono::milliseconds(150));
              ::kill(::getpid(), signal);
              std::this_thread::sleep_for(std::chrono::seconds(10));
            });
          }) == status);
    CHECK(folder.names() == std::vector<std::string>{"checkpoint"});
    Run resumed(5);
    resumed.options = run.options;
    resumed.options.resume = true;
    resumed.train();
    CHECK(resumed.state() == reference().state);
  }
}

TEST_CASE("a checkpoint of another run is refused by the setting's name, and nothing is touched") {
  const TemporaryFolder folder;
  Run first;
  first.options.checkpoint_path = folder / "checkpoint";
  first.options.checkpoint_every = 5;
  first.train();
  Run second(8);
  second.options = first.options;
  second.options.resume = true;
  const std::string before = second.state(), path = second.options.checkpoint_path;
  const auto refusal = [&] { return message_of<UsageError>([&] { second.train(); }); };
  second.options.settings["seed"] = 2;
  CHECK(refusal() == path + ": cannot resume with another seed: it was 1, now it is 2");
  second.options.settings = {{"seed", 1}, {"model", {{"width", 8}}}};
  CHECK(refusal() == path + R"(: cannot resume with another model: it was {"width":6}, now it is {"width":8})");
  second.options.settings = {{"seed", 1}, {"batch_size", 4}};
  CHECK(refusal() == path + ": cannot resume with another batch_size: it was absent, now it is 4");
  second.options.settings = {{"seed", 1}};
  CHECK(refusal() == path + R"(: cannot resume without model: the run that it is of had it as {"width":6})");
  CHECK(second.state() == before);
}

TEST_CASE("settings may hold any bytes, as paths do") {
  const TemporaryFolder folder;
  Run run;
  run.options.checkpoint_path = folder / "checkpoint";
  run.options.checkpoint_every = 5;
  run.options.settings["path"] = "caf\xe9";
  run.train();
  run.options.resume = true;
  run.train();
  CHECK(run.state() == reference().state);
}

TEST_CASE("files that are no checkpoint of this model are refused with their path") {
  const TemporaryFolder folder;
  Run first;
  first.options.checkpoint_path = folder / "checkpoint";
  first.options.checkpoint_every = 5;
  first.train();
  const std::string path = first.options.checkpoint_path;
  const io::SafetensorsFile good = io::read_safetensors(path);
  Run second(8);
  second.options = first.options;
  second.options.resume = true;
  const auto refusal_of = [&](const std::function<void(io::SafetensorsFile&, nlohmann::json& state)>& damage) {
    io::SafetensorsFile file = good;
    nlohmann::json state = nlohmann::json::parse(file.metadata.at("state"));
    damage(file, state);
    if (file.metadata.count("state")) file.metadata["state"] = state.dump();
    io::write_safetensors(path, file);
    const std::string text = message_of<DataError>([&] { second.train(); });
    CHECK(text.substr(0, path.size() + 2) == path + ": ");
    return text.substr(path.size() + 2);
  };
  using File = io::SafetensorsFile;
  using Json = nlohmann::json;
  const auto rename = [](File& file, const std::string& from, const std::string& to) {
    for (auto& [name, tensor] : file.tensors) name = name == from ? to : name;
  };
  CHECK(has(refusal_of([](File& file, Json&) { file.metadata.clear(); }), "the metadata has no 'format'"));
  CHECK(refusal_of([](File& file, Json&) { file.metadata["format"] = "gradus-model-1"; }) == "not a checkpoint of this program");
  CHECK(has(refusal_of([](File& file, Json&) { file.metadata.erase("state"); }), "the metadata has no 'state'"));
  CHECK(has(refusal_of([](File& file, Json&) { file.metadata["settings"] = "{]"; }), "its settings: not valid JSON"));
  CHECK(has(refusal_of([](File&, Json& state) { state.erase("tokens"); }), "its state is damaged"));
  CHECK(has(refusal_of([](File&, Json& state) { state["epoch"] = "two"; }), "its state is damaged"));
  CHECK(has(refusal_of([](File&, Json& state) { state["epoch"] = -1; }), "epoch must be a whole number from 0 on, not -1"));
  CHECK(has(refusal_of([](File&, Json& state) { state["epoch"] = 1; }), "are not 1 epoch of 4 batches and"));
  CHECK(has(refusal_of([](File&, Json& state) { state["epoch"] = INT64_MAX; }), "are not 9,223,372,036,854,775,807 epochs"));
  CHECK(has(refusal_of([](File&, Json& state) { state["batch"] = state["batch"].get<int>() ^ 1; }), "are not"));
  CHECK(has(refusal_of([](File&, Json& state) { state["tokens"] = state["tokens"].get<int>() + 1; }), "tokens are counted, so many steps count"));
  CHECK(has(refusal_of([](File&, Json& state) { state["step"] = state["optimizer_step"] = 3; }), "its losses are not those of 3 steps"));
  CHECK(has(refusal_of([](File&, Json& state) { state["batch"] = batches; }), "its position is outside the training data"));
  CHECK(has(refusal_of([&](File& file, Json&) { rename(file, "parameter.head.bias", "parameter.head.offset"); }),
            "missing: head.bias; not in the model: head.offset"));
  CHECK(has(refusal_of([&](File& file, Json&) { rename(file, "second_moment.head.bias", "second_moment.head"); }),
            "the optimizer state 'second_moment.head.bias' is missing"));
  CHECK(has(refusal_of([&](File& file, Json&) {
              for (auto& [name, tensor] : file.tensors) tensor = name == "first_moment.head.bias" ? zeros({classes + 1}) : tensor;
            }), "the optimizer state 'first_moment.head.bias' is"));
  io::write_file_atomically(path, "nothing of the kind");
  CHECK(has(message_of<DataError>([&] { second.train(); }), path + ": not a safetensors file"));
}

TEST_CASE("a loss that is not finite stops the run before the update and names the op") {
  const TemporaryFolder folder;
  Run run, healthy;
  run.options.checkpoint_path = healthy.options.checkpoint_path = folder / "checkpoint";
  run.options.checkpoint_every = 3;
  std::vector<std::uint64_t> streams;
  const auto loss = [&](const data::Batch& batch) {
    const bool bad = run.optimizer.step_count() == 4;
    if (bad) streams.push_back(run.model.generator().next_stream());
    const Tensor value = run.loss(batch);
    return bad ? log(value - 1000.0) : value;
  };
  const std::string text = message_of<NumericError>(
      [&] { train::train(run.model, run.model.generator(), run.optimizer, run.source, loss, run.options); });
  CHECK(has(text, "step 5: the loss is not finite; first: [log] output 'out' is not finite"));
  CHECK(has(text, "tests/train_test.cpp:"));
  CHECK(streams.size() == 2);  // the second look sees the same dropout
  CHECK(streams.front() == streams.back());

  errors_of([&] {
    healthy.train([](std::int64_t step) {
      if (step == 4) std::raise(SIGINT);
    });
  });
  healthy.model.generator().take_stream();  // of the step that failed
  CHECK(run.state() == healthy.state());
}

TEST_CASE("the last good checkpoint outlives a loss that is not finite") {
  const TemporaryFolder folder;
  Run run;
  run.options.checkpoint_path = folder / "checkpoint";
  run.options.checkpoint_every = 3;
  const auto loss = [&](const data::Batch& batch) { return run.optimizer.step_count() == 4 ? run.loss(batch) / 0.0 : run.loss(batch); };
  CHECK(has(message_of<NumericError>([&] { train::train(run.model, run.model.generator(), run.optimizer, run.source, loss, run.options); }),
            "step 5: the loss is not finite; first: [div]"));
  {
    Run saved(9);
    const train::Position position = train::load_checkpoint(run.options.checkpoint_path, saved.model, saved.optimizer,
                                                           saved.model.generator(), run.options.settings).position;
    CHECK(position.step == 4);
  }
  Run second(9);
  second.options = run.options;
  second.options.resume = true;
  second.train();
  CHECK(second.state() == reference().state);
}

TEST_CASE("a gradient that is not finite is found although the loss is") {
  Run run;
  const auto loss = [&](const data::Batch& batch) {
    const Tensor value = run.loss(batch);
    return run.optimizer.step_count() == 2 ? value + sqrt(value * 0.0) : value;
  };
  const std::string text = message_of<NumericError>(
      [&] { train::train(run.model, run.model.generator(), run.optimizer, run.source, loss, run.options); });
  CHECK(has(text, "step 3: the gradient norm is not finite; first: the gradient of input 'x' of [sqrt]"));
  CHECK(run.optimizer.step_count() == 2);
}

TEST_CASE("a loss that is not finite only once is reported without an op") {
  Run run;
  int calls = 0;
  const auto loss = [&](const data::Batch& batch) { return ++calls == 1 ? scalar(NAN) : run.loss(batch); };
  CHECK(message_of<NumericError>([&] { train::train(run.model, run.model.generator(), run.optimizer, run.source, loss, run.options); }) ==
        "step 1: the loss is not finite");
}

TEST_CASE("nothing to train on") {
  Run run;
  const std::string before = run.state();
  run.options.max_epochs = 0;
  CHECK(run.train().steps == 0);
  CHECK(run.state() == before);
  run.source.count = 0;
  CHECK(has(message_of<DataError>([&] { run.train(); }), "nothing to train on"));
}

TEST_CASE("a run that ends after a number of steps is the beginning of the whole run, and resumes as itself") {
  const TemporaryFolder folder;
  Run whole;
  std::string after_six;  // in the second epoch
  whole.train([&](std::int64_t step) {
    if (step == 7) after_six = whole.state();
  });
  const auto limit = [&](Run& run, std::int64_t steps) {
    run.options.max_steps = steps;
    run.options.metrics_path = folder / "metrics.jsonl";
    run.options.checkpoint_path = folder / fmt::format("{}.checkpoint", steps);
  };
  Run six;
  limit(six, 6);
  six.options.progress = train::ProgressMode::plain;
  train::TrainingResult result;
  const std::string said = errors_of([&] { result = six.train(); });
  CHECK(result.steps == 6);
  CHECK(result.tokens == 11 * 5 + 6 * 5);
  CHECK(result.signal == 0);
  CHECK(metrics_of(six.options.metrics_path) ==
        std::vector<nlohmann::json>(reference().metrics.begin(), reference().metrics.begin() + 6));
  CHECK(six.state() == after_six);
  CHECK(has(said, "6 steps (of 3 epochs of 4 batches)"));
  CHECK(has(said, "epoch 1 iter 3: "));
  CHECK(has(said, "epoch 2 iter 1: "));  // the last one

  // The state at its end is saved, and a run that is resumed there has nothing left to do.
  Run ended;
  limit(ended, 6);
  ended.options.resume = true;
  CHECK(ended.train([](std::int64_t) { FAIL("a step too many"); }).steps == 6);
  CHECK(ended.state() == six.state());
  Run stopped, resumed, straight;
  for (Run* run : {&stopped, &resumed, &straight}) limit(*run, 5);
  errors_of([&] {
    stopped.train([](std::int64_t step) {
      if (step == 3) std::raise(SIGINT);
    });
  });
  resumed.options.resume = true;
  CHECK(resumed.train().steps == 5);
  straight.options.checkpoint_path = "";
  straight.train();
  CHECK(resumed.state() == straight.state());

  Run all;
  limit(all, 100);
  CHECK(all.train().steps == all_steps);
  CHECK(all.state() == reference().state);
}

TEST_CASE("training mode is on while training") {
  Run run;
  run.model.set_training(false);
  run.train([&](std::int64_t) { CHECK(run.model.is_training()); });
  CHECK(run.state() == reference().state);
}

TEST_CASE("a checkpoint of an older version, without losses and evaluations, is resumed") {
  const TemporaryFolder folder;
  Run first;
  first.options.checkpoint_path = folder / "checkpoint";
  first.options.max_steps = 5;
  first.train();
  io::SafetensorsFile file = io::read_safetensors(first.options.checkpoint_path);
  nlohmann::json state = nlohmann::json::parse(file.metadata.at("state"));
  for (const char* added : {"losses", "best", "unevaluated"}) CHECK(state.erase(added) == 1);
  file.metadata["state"] = state.dump();
  io::write_safetensors(first.options.checkpoint_path, file);
  Run second(9);
  second.options = first.options;
  second.options.max_steps = 0;
  second.options.resume = true;
  second.train();
  CHECK(second.state() == reference().state);
}

// ---- held-out data ----

namespace {

/// A run that looks at held-out data every five steps, and at its end.
struct Looking : Run {
  explicit Looking(const TemporaryFolder& folder, std::uint64_t seed = 1) : Run(seed) {
    options.metrics_path = folder / "metrics.jsonl";
    options.checkpoint_path = folder / "checkpoint";
    options.evaluated = "held_out";
    options.evaluate_every = 5;
    options.evaluate = [this] {
      looks.push_back(optimizer.step_count());
      if (during_look) during_look();
      train::stop_evaluation_on_signal();
      model.generator().take_stream();  // whatever it draws, and in whatever mode it leaves the model
      const double mean = train::mean_loss(model, held_out, [&](const data::Batch& batch) {
        CHECK_FALSE(model.is_training());
        return loss(batch);
      });
      model.set_training(false);
      return train::Evaluation{.loss = mean, .right = optimizer.step_count() % 7, .questions = 12};
    };
  }
  Counting held_out;
  std::vector<std::int64_t> looks;
  std::function<void()> during_look;
};

}  // namespace

TEST_CASE("looking at held-out data changes no bit of the training") {
  const TemporaryFolder folder;
  Looking run(folder);
  run.options.progress = train::ProgressMode::plain;
  train::TrainingResult result;
  const std::string said = errors_of([&] { result = run.train(); });
  CHECK(run.state() == reference().state);
  CHECK(run.looks == std::vector<std::int64_t>{5, 10, 12});
  std::vector<nlohmann::json> metrics = metrics_of(run.options.metrics_path);
  for (nlohmann::json& line : metrics) {
    const bool looked = line["step"] == 5 || line["step"] == 10 || line["step"] == 12;
    CHECK(line.erase("eval_loss") == looked);
    CHECK(line.erase("eval_score") == looked);
  }
  CHECK(metrics == reference().metrics);
  CHECK(has(said, "evaluated on held_out: every 5 steps (the next after step 5), and at the end\n"));
  CHECK(has(said, "checkpoint: on Ctrl-C and every 600 seconds\n"));
  const double last = metrics_of(run.options.metrics_path).back()["eval_loss"];
  CHECK(has(said, fmt::format("step 12: held-out loss {:.4f}, 5 of 12 right (41.7 %)\n", last)));
  CHECK(has(said, "; 5 of 12 right (41.7 %) after step 5\n"));
  CHECK(result.best.loss_step == 12);
  CHECK(result.best.loss == last);
  CHECK(run.model.is_training());

  // The mean is over all that is predicted: batches weigh as much as they have targets.
  double sum = 0;
  run.model.set_training(false);
  for (std::int64_t index = 0; index < batches; ++index) {
    const data::Batch batch = run.source.batch(0, index);
    sum += run.loss(batch).item() * double(batch.predicted);
  }
  CHECK(last == doctest::Approx(sum / 55));
}

TEST_CASE("a run that is stopped after any step, or while it looks, looks at the same in the end") {
  const TemporaryFolder undisturbed_folder;
  Looking undisturbed(undisturbed_folder);
  const train::BestEvaluation best = undisturbed.train().best;
  const std::vector<nlohmann::json> metrics = metrics_of(undisturbed.options.metrics_path);
  for (const bool while_looking : {false, true}) {
    for (std::int64_t last = 1; last <= all_steps; ++last) {
      if (while_looking && last % 5 != 0 && last != all_steps) continue;
      CAPTURE(last);
      const TemporaryFolder folder;
      Looking first(folder), second(folder, 99), third(folder, 98);
      first.options.checkpoint_every = 2;
      if (while_looking) {
        first.during_look = [&] {
          if (first.optimizer.step_count() == last) std::raise(SIGTERM);
        };
        // A crash behind the checkpoint that waits for its look.
        errors_of([&] { CHECK(first.train().signal == SIGTERM); });
        CHECK(metrics_of(first.options.metrics_path).size() == static_cast<std::size_t>(last - 1));
        second.options.resume = true;
        try {
          second.train([&](std::int64_t step) {
            if (step == last + 1) throw Crash{};
          });
        } catch (const Crash&) {
        }
        CHECK(second.looks == std::vector<std::int64_t>{last});
      } else {
        errors_of([&] {
          first.train([&](std::int64_t step) {
            if (step == last) std::raise(SIGINT);
          });
        });
      }
      third.options.resume = true;
      const train::TrainingResult result = third.train();
      CHECK(third.state() == reference().state);
      CHECK(metrics_of(third.options.metrics_path) == metrics);
      CHECK(result.best.state() == best.state());
    }
  }
}

TEST_CASE("a look that waits is left out where the resumed run looks no more") {
  const TemporaryFolder folder;
  Looking first(folder);
  first.during_look = [] { std::raise(SIGINT); };
  errors_of([&] { first.train(); });
  Run second(7);
  second.options.metrics_path = first.options.metrics_path;
  second.options.checkpoint_path = first.options.checkpoint_path;
  second.options.resume = true;
  second.train();
  CHECK(second.state() == reference().state);
  CHECK(metrics_of(second.options.metrics_path) == reference().metrics);
}

TEST_CASE("time spent looking is none of the training's") {
  const TemporaryFolder folder;
  Looking run(folder);
  run.during_look = [&] {
    if (run.optimizer.step_count() <= 4) ::usleep(300000);
  };
  run.options.progress = train::ProgressMode::bar;
  run.options.evaluate_every = 1;
  const std::string said = errors_of([&] { run.train(); });
  CHECK(has(said, "step 3: looking at held_out"));
  CHECK_FALSE(has(said, "0m01s left"));
  CHECK_FALSE(has(said, "0m02s left"));
  for (const nlohmann::json& line : metrics_of(run.options.metrics_path)) CHECK(line.contains("eval_loss"));
}

// ---- what people see ----

TEST_CASE("the assignment's progress line") {
  CHECK(train::course_line({.epoch = 0, .batch = 22, .batches_per_epoch = 23, .step = 23, .total_steps = 46, .loss = 3.446214, .smoothed_loss = 3, .learning_rate = 5.999655e-3,
                            .tokens_per_second = 1, .seconds_left = 1}) == "epoch 1 iter 22: train loss 3.44621. lr 5.999655e-03");
}

TEST_CASE("progress: a line a step, a line an epoch, or silence; nothing but plain lines where no terminal is") {
  const auto said = [](train::ProgressMode mode) {
    Run run;
    run.options.progress = mode;
    return errors_of([&] { run.train(); });
  };
  const auto count = [](const std::string& text, const std::string& part) {
    int found = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
  };
  CHECK(said(train::ProgressMode::off).empty());
  const std::string lines = said(train::ProgressMode::lines), plain = said(train::ProgressMode::plain);
  CHECK(count(lines, "train loss") == all_steps);
  CHECK(has(lines, fmt::format("epoch 1 iter 0: train loss {:.5f}. lr ", reference().metrics[0]["loss"].get<double>())));
  CHECK(count(plain, "train loss") == 1 + epochs);  // the first step shows that it goes on
  CHECK(count(plain, "iter 3:") == epochs);
  CHECK(said(train::ProgressMode::automatic) == plain);
  for (const std::string& text : {lines, plain}) {
    CHECK_FALSE(has(text, "\r"));
    CHECK_FALSE(has(text, "\033"));
    CHECK(text.back() == '\n');
    CHECK(has(text, "12 steps (3 epochs of 4 batches), 91 parameters, 1 thread;"));
    CHECK(has(text, "learning rate: "));
    CHECK(has(text, "learning rate: " + bars({1})));
    CHECK(has(text, "loss over 12 steps, linear scale\n"));
    CHECK(has(text, "  5.00e-02 in step 1, 3.50e-02 in 2, "));
    CHECK(has(text, " in 12\n"));
    CHECK(has(text, "warning: the rate climbs again after step "));
  }
  const std::string bar = said(train::ProgressMode::bar);
  CHECK(has(bar, "100.0%  epoch 3  iter 3  loss "));
  CHECK(has(bar, "\r\033[Kloss over 12 steps"));  // the line is cleared at the end
}

TEST_CASE("progress modes by name") {
  CHECK(train::progress_mode_from_string("lines") == train::ProgressMode::lines);
  CHECK(has(message_of<UsageError>([] { train::progress_mode_from_string("loud"); }), "unknown progress mode 'loud': expected auto, bar, plain, lines or off"));
}
