// What a run is going to write, looked at before it begins.
#pragma once

#include <string>

#include "framework/io/run_lock.h"
#include "framework/optim/adamw.h"
#include "models/gpt/gpt.h"

namespace gradus::tools {

struct RunOutputs {
  std::string model, checkpoint, metrics;  ///< paths; metrics: empty for none
};

/// Held by the run to its end. Throws OutputError where another run writes one of them; says where a run that is gone had
/// left its lock.
class HeldOutputs {
 public:
  explicit HeldOutputs(const RunOutputs& outputs);

 private:
  io::RunLock lock_;
};

/// Throws OutputError where the model beside a checkpoint will not fit on the disk. Warns where that leaves no room to
/// replace the checkpoint while training, or for the metrics of `steps`, and where files may not grow so large.
/// `notes`: bytes of what is in the files besides tensors.
void require_room(const RunOutputs& outputs, const models::Gpt& model, const optim::AdamW& optimizer,
                  std::size_t notes, double steps);

}  // namespace gradus::tools
