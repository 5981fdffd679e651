#include "tools/gradcheck_model.h"

#include <cmath>

#include "framework/base/error.h"
#include "framework/data/vocabulary.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"
#include "framework/testing/jacobian.h"
#include "models/gpt/gpt.h"
#include "tools/training_run.h"

namespace gradus::tools {

testing::CheckReport check_model(const std::string& name, bool tiny, const testing::CheckOptions& options) {
  if (name != "gpt") fail<UsageError>("--model {}: this version has: gpt", name);
  models::GptConfig config{.dropout = {0, 0, 0}};
  if (tiny)
    config = {.vocabulary_size = 11, .block_size = 8, .layers = 2, .heads = 2, .width = 8, .dropout = {0, 0, 0}};
  models::Gpt model(config, options.seed, DType::f64);
  const std::int64_t rows = 2, length = 6;
  Generator generator(options.seed, 77);
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
  testing::CheckReport report = check(subject, parameters, options);
  report.label = fmt::format("{} layers, {} heads, width {}, {} parameters, ids [{},{}]", config.layers, config.heads,
                             config.width, model.parameter_count(), rows, length);
  report.call = "f64, outputs logits and loss";
  report.rerun = fmt::format("gradus gradcheck --model {}{} --seed {}", name, tiny ? " --tiny" : "", options.seed);
  return report;
}

std::string parameter_table(const testing::CheckReport& report) {
  std::string text = fmt::format("{}: {}; {}\n{:32} {:>9} {:>13} {:>12} {:>12}   {}\n", report.subject, report.label,
                                 report.call, "parameter", "elements", "largest", "off by", "detects", "verdict");
  for (const testing::InputReport& input : report.inputs) {
    const double off = std::fabs(input.worst.yours - input.worst.expected);
    text += fmt::format("{:32} {:>9} {:>13.4e} {:>12.1e} {:>12.1e}   {}{}\n", input.name, input.spec.shape.numel(),
                        input.scale, off, input.detection_limit, testing::to_string(input.verdict),
                        input.note.empty() ? "" : " (" + input.note + ")");
  }
  return text;
}

}  // namespace gradus::tools
