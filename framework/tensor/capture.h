// What is known while work of a device is recorded (kernels/captured_work.h).
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "framework/tensor/tensor.h"

namespace gradus {

/// Of an index tensor whose values are not known yet: from 0 to size - 1, or `except`.
struct IndexBound {
  Tensor index;
  std::int64_t size;
  std::optional<std::int64_t> except;
};

struct Capture {
  Device device;
  Tensor stream_offset = {};  ///< () i64, on the device: what random ops add to the numbers of their streams
  std::vector<std::shared_ptr<void>> kept = {};  ///< memory of the host that recorded copies will read
  std::vector<IndexBound> bounds = {};
};

/// Of this thread; null where nothing is recorded.
Capture* current_capture();

/// Makes a capture the thread's, while it lives.
class CaptureScope {
 public:
  explicit CaptureScope(Capture& capture);
  ~CaptureScope();
  CaptureScope(const CaptureScope&) = delete;
  CaptureScope& operator=(const CaptureScope&) = delete;
};

}  // namespace gradus
