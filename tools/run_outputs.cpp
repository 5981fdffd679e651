#include "tools/run_outputs.h"

#include <algorithm>
#include <iostream>

#include "framework/base/error.h"
#include "framework/base/printable.h"
#include "framework/io/room.h"

namespace gradus::tools {
namespace {

constexpr double bytes_of_a_metrics_line = 220;

std::int64_t file_bytes(const nn::NamedTensors& tensors, std::size_t notes) {
  std::size_t bytes = notes;
  for (const auto& [name, tensor] : tensors) {
    const std::size_t description = name.size() + 90;  // dtype, shape and place in the header
    bytes += static_cast<std::size_t>(tensor.numel()) * size_in_bytes(tensor.dtype()) + description;
  }
  return static_cast<std::int64_t>(bytes);
}

void warn(const std::string& sentence) { std::cerr << "warning: " << printable(sentence) << "\n"; }

}  // namespace

HeldOutputs::HeldOutputs(const RunOutputs& outputs) : lock_({outputs.model, outputs.checkpoint, outputs.metrics}) {
  for (const std::string& sentence : lock_.taken_over()) std::cerr << "note: " << printable(sentence) << "\n";
}

void require_room(const RunOutputs& outputs, const models::Gpt& model, const optim::AdamW& optimizer,
                  std::size_t notes, double steps) {
  const io::PlannedWrite weights{outputs.model, file_bytes(model.named_parameters(), notes)};
  const io::PlannedWrite checkpoint{outputs.checkpoint, weights.bytes + file_bytes(optimizer.state(), 0)};
  const io::PlannedWrite metrics{outputs.metrics, std::llround(std::min(steps * bytes_of_a_metrics_line, 1e18))};
  for (const std::string& sentence : io::lacking_room({checkpoint, weights}))
    fail<OutputError>("not enough room: {}; make room, or name another folder", sentence);
  for (const std::string& sentence : io::lacking_room({metrics, checkpoint, checkpoint, weights}))
    warn("room for one checkpoint and the model, but not to the end of the run: " + sentence);
  for (const std::string& sentence : io::beyond_size_limit({checkpoint, weights})) warn(sentence);
}

}  // namespace gradus::tools
