// An array in the device's memory, for tests.
#pragma once

#include <vector>

#include "framework/kernels/cuda/runtime.h"

template <class T>
class Buffer {
 public:
  explicit Buffer(std::size_t count)
      : count_(count), data_(static_cast<T*>(gradus::cuda::allocate(count * sizeof(T)))) {}
  explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) {
    if (values.empty()) return;
    gradus::cuda::copy_to_device(data_, values.data(), count_ * sizeof(T), nullptr);
    gradus::cuda::synchronize(nullptr);
  }
  ~Buffer() { gradus::cuda::release(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  T* data() { return data_; }

  /// What it holds when all that is queued on the stream is done.
  std::vector<T> values(gradus::cuda::Stream stream = nullptr) const {
    std::vector<T> host(count_);
    if (count_ > 0) gradus::cuda::copy_to_host(host.data(), data_, count_ * sizeof(T), stream);
    gradus::cuda::synchronize(stream);
    return host;
  }

 private:
  std::size_t count_;
  T* data_;
};
