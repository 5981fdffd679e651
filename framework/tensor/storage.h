// A block of memory shared by a tensor and its views, with the version counter that in-place writes advance.
#pragma once

#include <cstdint>

#include "framework/base/source_location.h"
#include "framework/tensor/device.h"

namespace gradus {

class Storage {
 public:
  Storage(std::int64_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  std::int64_t bytes() const { return bytes_; }
  Device device() const { return device_; }

  /// Number of in-place writes so far.
  std::int64_t version() const { return version_; }
  SourceLocation last_write() const { return last_write_; }
  void note_write(SourceLocation where) { ++version_, last_write_ = where; }

 private:
  void* data_;
  std::int64_t bytes_;
  Device device_;
  std::int64_t version_ = 0;
  SourceLocation last_write_;
};

}  // namespace gradus
