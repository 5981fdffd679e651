#include "framework/kernels/cuda/emulation/report.h"

#include <map>

#include "framework/base/error.h"
#include "framework/base/source_location.h"
#include "framework/kernels/cuda/emulation/block.h"
#include "framework/kernels/cuda/kernel_name.h"

namespace gradus::cuda::emulation {
namespace {

std::string to_string(const uint3& index) { return fmt::format("({},{},{})", index.x, index.y, index.z); }

}  // namespace

std::string_view to_string(Collective collective) {
  switch (collective) {
    case Collective::syncthreads: return "__syncthreads";
    case Collective::syncwarp: return "__syncwarp";
    case Collective::shuffle: return "a shuffle";
    case Collective::vote: return "a vote";
    case Collective::matrix: return "a matrix instruction";
  }
  return "?";
}

std::string sentence(std::string_view what, Site site) {
  return fmt::format("[kernel {}] {}, at {}, block {}, thread {}", kernel_name(machine.kernel), what,
                     gradus::to_string(site), to_string(indices.block), to_string(indices.thread));
}

void misuse(std::string_view what, Site site) { throw ContractError(sentence(what, site)); }

void report_stuck() {
  std::map<std::string, unsigned> waiting;
  const Thread* first = nullptr;
  for (const Thread* thread : machine.threads) {
    if (thread->finished) continue;
    if (!first) first = thread;
    ++waiting[fmt::format("{} at {}", to_string(thread->waiting_in), gradus::to_string(thread->waiting_site))];
  }
  std::string where;
  for (const auto& [place, count] : waiting) where += fmt::format("{} wait in {}, ", count, place);
  indices.thread = first->index;
  misuse(fmt::format(
             "not every thread reaches the same collective: of {} threads {}{} have returned; the first that waits",
             machine.threads.size(), where, machine.finished),
         first->waiting_site);
}

}  // namespace gradus::cuda::emulation
