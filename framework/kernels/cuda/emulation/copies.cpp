#include "framework/kernels/cuda/emulation/copies.h"

#include <fmt/format.h>

#include <cstring>

#include "framework/kernels/cuda/emulation/block.h"
#include "framework/kernels/cuda/emulation/report.h"

namespace gradus::cuda::emulation {

void ask_for_copy(void* to, const void* from, std::size_t bytes, Site site) {
  for (const void* address : {static_cast<const void*>(to), from}) {
    if (reinterpret_cast<std::uintptr_t>(address) % bytes == 0) continue;
    misuse(fmt::format("an asynchronous copy of {} bytes needs addresses that are multiples of {}", bytes, bytes),
           site);
  }
  Thread& thread = *machine.current;
  thread.copies.push_back({to, from, bytes, thread.committed_batches});
}

void commit_copies() { ++machine.current->committed_batches; }

void wait_for_copies(int batches_under_way) {
  Thread& thread = *machine.current;
  std::erase_if(thread.copies, [&](const PendingCopy& copy) {
    const bool waited_for = copy.batch + batches_under_way < thread.committed_batches;
    if (waited_for) std::memcpy(copy.to, copy.from, copy.bytes);
    return waited_for;
  });
}

}  // namespace gradus::cuda::emulation
