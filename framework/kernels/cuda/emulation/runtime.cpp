#include "framework/kernels/cuda/runtime.h"

#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <new>

#include "framework/kernels/cuda/emulation/grid.h"
#include "framework/kernels/cuda/emulation/settings.h"
#include "framework/kernels/cuda/emulation/stream.h"

/// What waits in a stream.
struct CUstream_st {
  std::deque<std::function<void()>> work;
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
  auto& work = queue_of(stream).work;
  work.push_back(std::move(job));
  if (!emulation::settings().deferred) synchronize(stream);
}

int device_count() { return 1; }
std::string why_no_device() { return ""; }
std::string device_name(int) { return "CUDA, emulated on the CPU"; }
bool is_emulation() { return true; }

Stream create_stream() { return new CUstream_st; }

void destroy_stream(Stream stream) {
  const std::unique_ptr<CUstream_st> owner(stream);
  synchronize(stream);
}

void synchronize(Stream stream) {
  auto work = std::move(queue_of(stream).work);  // after a failure nothing of it is left
  queue_of(stream).work.clear();
  for (const auto& job : work) job();
}

void* allocate(std::size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 256, bytes)) throw std::bad_alloc();  // the exact size, for AddressSanitizer
  std::memset(memory, 0xff, bytes);                                 // NaN, for a read of what was never written
  return memory;
}

void release(void* memory) { std::free(memory); }

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
