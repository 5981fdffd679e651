#include <cmath>
#include <iostream>

#include "framework/base/error.h"
#include "framework/base/plural.h"
#include "framework/data/vocabulary.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"
#include "models/gpt/gpt.h"
#include "tools/gradcheck.h"
#include "tools/training_run.h"

namespace gradus::tools {
namespace {

/// `name  elements  largest gradient  off by  detects  verdict`.
std::string parameter_row(const testing::InputReport& input) {
  const double off = std::fabs(input.worst.yours - input.worst.expected);
  return fmt::format("{:32} {:>9} {:>13.4e} {:>12.1e} {:>12.1e}   {}{}\n", input.name, input.spec.shape.numel(),
                     input.scale, off, input.detection_limit, testing::to_string(input.verdict),
                     input.note.empty() ? "" : " (" + input.note + ")");
}

}  // namespace

void check_model(const GradcheckRequest& request, GradcheckSession& session) {
  const std::string& name = request.model;
  const bool tiny = request.tiny;
  const std::uint64_t seed = request.seed;
  models::GptConfig config{.variant = parse_variant(name), .dropout = {0, 0, 0}};
  if (tiny) {
    config = {.variant = config.variant,
              .vocabulary_size = 11,
              .block_size = 8,
              .heads = 2,
              .width = 8,
              .dropout = {0, 0, 0}};
    config.layers = config.is_perceiver() ? 3 : 2;  // one down, one between, one up
  }
  if (config.is_perceiver()) config.latents = tiny ? 4 : 64;
  models::Gpt model(config, seed, DType::f64);
  const std::int64_t rows = 2, length = 6;
  Generator generator(seed, 77);
  data::Batch batch;
  batch.inputs = random_integers({rows, length}, generator, 0, config.vocabulary_size - 1);
  std::vector<std::int64_t> targets =
      random_integers({rows, length}, generator, 1, config.vocabulary_size - 1).to_vector<std::int64_t>();
  targets[0] = targets[length] = data::Vocabulary::pad;  // ignored
  batch.targets = from_values({rows, length}, targets);
  const testing::Subject subject = [&] {
    testing::Subject made =
        testing::subject_of_module(fmt::format("{}{}", name, tiny ? " (tiny)" : ""), model, [&]() -> Tensors {
          const Tensor logits = model.forward(batch.inputs);
          return {logits, prediction_loss(logits, batch.targets)};
        });
    made.outputs = {"logits", "loss"};
    return made;
  }();
  // Fresh weights are small and many are zero: whatever multiplies them would go unseen.
  Tensors parameters;
  for (const Tensor& parameter : model.parameters()) {
    parameters.push_back(
        add(parameter.detach(), random_normal(parameter.shape(), generator, DType::f64, 0, tiny ? 0.3 : 0.03)));
  }
  const std::string label = fmt::format("{}, {}, width {}, {}, ids [{},{}]", plural(config.layers, "layer"),
                                        plural(config.heads, "head"), config.width,
                                        plural(model.parameter_count(), "parameter"), rows, length);
  const std::string call = "f64, outputs logits and loss";
  std::cout << fmt::format("{}: {}; {}\n{:32} {:>9} {:>13} {:>12} {:>12}   {}\n", subject.name, label, call,
                           "parameter", "elements", "largest", "off by", "detects", "verdict")
            << std::flush;
  testing::CheckOptions options = request.check_options();
  options.on_input = [&](const testing::InputReport& input) {
    session.watch().hide();
    std::cout << parameter_row(input) << std::flush;
  };
  options.watch = [&] { session.watch().tick(); };
  session.watch().begin(subject.name);
  testing::CheckReport report;
  try {
    report = check(subject, parameters, options);
  } catch (const OutOfTime&) {
    return session.add_unchecked(subject.name, label);
  }
  report.label = label;
  report.call = call;
  report.rerun =
      fmt::format("gradus gradcheck --model {}{} --seed {}", name, tiny ? " --tiny" : "", seed) + request.mode_flag();
  const std::string text = report.passed() ? fmt::format("{}: agree, {}, {:.1f} s\n", report.subject,
                                                         plural(report.inputs.size(), "parameter"), report.seconds)
                                           : to_text(report, request.output.explain);
  session.add(report, "", text);
}

}  // namespace gradus::tools
