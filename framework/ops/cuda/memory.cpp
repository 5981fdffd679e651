// Memory of CUDA devices, and copies to and from it. All is queued on the stream of the kernels.
#include <cstring>
#include <exception>
#include <mutex>
#include <utility>

#include "framework/kernels/cuda/matrix_product.h"
#include "framework/kernels/cuda/runtime.h"
#include "framework/kernels/shared/convert.h"
#include "framework/ops/cuda/families.h"
#include "framework/ops/cuda/launching.h"
#include "framework/tensor/capture.h"
#include "framework/tensor/device_memory.h"

namespace gradus::cuda {
namespace {

/// Pinned memory through which the host's smaller arrays go to the device: the copy waits in the stream, the host goes
/// on.
class Uploads {
 public:
  static constexpr std::size_t most_bytes = 1 << 20;

  void queue(void* to, const void* from, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (!arena_) arena_ = static_cast<char*>(allocate_pinned(arena_bytes));
    if (used_ + bytes > arena_bytes) {
      used_ = 0;
      synchronize(compute_stream());
    }
    std::memcpy(arena_ + used_, from, bytes);
    copy_to_device(to, arena_ + used_, bytes, compute_stream());
    used_ += bytes;
  }

 private:
  static constexpr std::size_t arena_bytes = 8 * most_bytes;

  std::mutex mutex_;
  char* arena_ = nullptr;  // stays until the program ends, as what is queued may need it
  std::size_t used_ = 0;
};

/// A failed kernel that came to light where nothing may be thrown. The next call says it.
class LateFailure {
 public:
  void keep(std::exception_ptr failure) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(failure);
  }
  void say() {
    const std::lock_guard lock(mutex_);
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  std::mutex mutex_;
  std::exception_ptr failure_;
};

Uploads uploads;
LateFailure late_failure;

/// The process's only device is the first that it has memory of. Threads are told of it one by one.
void choose(int index) {
  static const int chosen = index;
  if (index != chosen)
    fail<UsageError>("cuda:{} cannot be used beside cuda:{}: a process computes on one CUDA device", index, chosen);
  thread_local const bool told = (use_device(chosen), true);
  (void)told;
}

void* allocate_on_device(std::int64_t bytes, int index) {
  choose(index);
  late_failure.say();
  return allocate(static_cast<std::size_t>(bytes));
}

template <class Action>
void keep_failure(const Action& action) {
  try {
    action();
  } catch (...) {
    late_failure.keep(std::current_exception());
  }
}

void release_on_device(void* block, int) {
  keep_failure([] { synchronize(compute_stream()); });
  keep_failure([&] { release(block); });
}

/// What is recorded copies from memory that lives as long.
void record_upload(Capture& capture, void* to, const void* from, std::size_t bytes) {
  const std::shared_ptr<void> kept(allocate_pinned(bytes),
                                   [](void* memory) { keep_failure([&] { release_pinned(memory); }); });
  std::memcpy(kept.get(), from, bytes);
  copy_to_device(to, kept.get(), bytes, compute_stream());
  capture.kept.push_back(kept);
}

void copy_between(void* to, Device to_device, const void* from, Device, std::int64_t count) {
  late_failure.say();
  const auto bytes = static_cast<std::size_t>(count);
  const bool up = to_device.kind == Device::Kind::cuda;
  if (Capture* capture = current_capture()) {
    if (!up) fail("values of a CUDA device are read in a step that is recorded, which has none yet");
    return record_upload(*capture, to, from, bytes);
  }
  if (up && bytes <= Uploads::most_bytes) return uploads.queue(to, from, bytes);
  (up ? copy_to_device : copy_to_host)(to, from, bytes, compute_stream());
  synchronize(compute_stream());
}

void wait_for_device(int index) {
  choose(index);
  if (current_capture()) fail("a CUDA device is waited for in a step that is recorded, which has not begun yet");
  synchronize(compute_stream());
  late_failure.say();
}

/// `value` as the dtype has it, in every element.
void fill_on_device(void* to, DType dtype, std::int64_t count, double value) {
  visit_dtype(dtype,
              [&]<class T>() { fill(static_cast<T*>(to), count, functions::convert<T>(value), compute_stream()); });
}

std::shared_ptr<void> end_recording() {
  return {end_capture(compute_stream()), [](GraphExec graph) {
            keep_failure([] { synchronize(compute_stream()); });
            keep_failure([&] { destroy_graph(graph); });
          }};
}

std::string name_of_device(int index) {
  choose(index);  // a library is made ready for the device that is chosen
  return device_name(index) + ", products by " + products_by();
}

MemoryRoom room_on_device(int index) {
  choose(index);
  const Room room = memory_room();
  return {static_cast<std::int64_t>(room.free), static_cast<std::int64_t>(room.total)};
}

}  // namespace

Stream compute_stream() {
  static const Stream stream = create_stream();
  return stream;
}

const std::uint64_t* stream_offset() {
  const Capture* capture = current_capture();
  return capture ? reinterpret_cast<const std::uint64_t*>(capture->stream_offset.device_data<std::int64_t>()) : nullptr;
}

void install_memory() {
  install_device_memory(Device::Kind::cuda, {.emulated = is_emulation(),
                                             .caching = !is_emulation(),  // AddressSanitizer sees the end of each block
                                             .count = device_count,
                                             .why_none = why_no_device,
                                             .name = name_of_device,
                                             .allocate = allocate_on_device,
                                             .release = release_on_device,
                                             .room = room_on_device,
                                             .synchronize = wait_for_device,
                                             .copy = copy_between,
                                             .fill = fill_on_device,
                                             .graphs = {.begin = [] { begin_capture(compute_stream()); },
                                                        .end = end_recording,
                                                        .queue =
                                                            [](const std::shared_ptr<void>& graph) {
                                                              queue(static_cast<GraphExec>(graph.get()),
                                                                    compute_stream());
                                                            }}});
}

}  // namespace gradus::cuda
