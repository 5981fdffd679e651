#include "framework/kernels/cuda/runtime.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <new>

#include "framework/base/error.h"
#include "framework/kernels/cuda/emulation/grid.h"
#include "framework/kernels/cuda/emulation/settings.h"
#include "framework/kernels/cuda/emulation/stream.h"

using Jobs = std::deque<std::function<void()>>;

/// What waits in a stream, and what is recorded from it.
struct CUstream_st {
  Jobs work;
  std::shared_ptr<Jobs> recorded;
};

struct CUgraphExec_st {
  std::shared_ptr<Jobs> work;
};

namespace gradus::cuda {
namespace {

CUstream_st& queue_of(Stream stream) {
  static CUstream_st default_stream;
  return stream ? *stream : default_stream;
}

}  // namespace

using emulation::submit;

void emulation::submit(Stream stream, std::function<void()> job) {
  CUstream_st& queue = queue_of(stream);
  if (queue.recorded) return queue.recorded->push_back(std::move(job));
  queue.work.push_back(std::move(job));
  if (!emulation::settings().deferred) synchronize(stream);
}

int device_count() { return emulation::settings().devices; }
std::string why_no_device() { return ""; }
void use_device(int) {}
std::string device_name(int) { return "CUDA, emulated on the CPU"; }
bool is_emulation() { return true; }

Stream create_stream() { return new CUstream_st; }

void destroy_stream(Stream stream) {
  const std::unique_ptr<CUstream_st> owner(stream);
  synchronize(stream);
}

void synchronize(Stream stream) {
  if (queue_of(stream).recorded) fail("[cuda] a stream is waited for while it is captured");
  auto work = std::move(queue_of(stream).work);  // after a failure nothing of it is left
  queue_of(stream).work.clear();
  for (const auto& job : work) job();
}

void* allocate(std::size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 256, bytes)) return nullptr;  // the exact size, for AddressSanitizer
  std::memset(memory, 0xff, bytes);                         // NaN, for a read of what was never written
  return memory;
}

void release(void* memory) { std::free(memory); }

Room memory_room() {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return {page * static_cast<std::size_t>(sysconf(_SC_AVPHYS_PAGES)),
          page * static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES))};
}

void* allocate_pinned(std::size_t bytes) {
  void* memory = std::malloc(bytes);
  if (!memory) throw std::bad_alloc();
  return memory;
}

void release_pinned(void* memory) { std::free(memory); }

void begin_capture(Stream stream) {
  if (queue_of(stream).recorded) fail("[cuda] a stream is captured twice at once");
  queue_of(stream).recorded = std::make_shared<Jobs>();
}

GraphExec end_capture(Stream stream) { return new CUgraphExec_st{std::move(queue_of(stream).recorded)}; }

void queue(GraphExec graph, Stream stream) {
  submit(stream, [work = graph->work] {
    for (const auto& job : *work) job();
  });
}

void destroy_graph(GraphExec graph) { delete graph; }

void copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream) {
  submit(stream, [=] { std::memcpy(to, from, bytes); });
}

void copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream) {
  copy_to_device(to, from, bytes, stream);
}

void fill_bytes(void* memory, int value, std::size_t bytes, Stream stream) {
  submit(stream, [=] { std::memset(memory, value, bytes); });
}

void emulation::launch(const char* kernel, const LaunchShape& shape, std::unique_ptr<ThreadBody> body) {
  check_launch(kernel, shape);
  submit(shape.stream, [=, body = std::shared_ptr<ThreadBody>(std::move(body))] { run_grid(kernel, shape, *body); });
}

}  // namespace gradus::cuda
