// A piece of work of a device, recorded once and run again and again with one launch: on CUDA, a graph.
#pragma once

#include <functional>
#include <memory>

#include "framework/random/generator.h"
#include "framework/tensor/capture.h"
#include "framework/tensor/device_memory.h"
#include "framework/tensor/memory.h"

namespace gradus {

class CapturedWork {
 public:
  /// Calls body() once and records what it queues on the device, which is not done yet: tensors have memory but no
  /// values, and to read one throws. In a later run the same kernels do the same at the same addresses, so
  /// - what differs between runs is in `inputs`, contiguous tensors of the device, and in the streams that `generator`
  ///   hands out; what the host computes in body() is constant,
  /// - tensors made in body() keep their memory while this lives, and hold the last run's values; those made before,
  ///   such as parameters, must live as long,
  /// - indices must be inputs, or views of all of one: they are checked when their values come.
  CapturedWork(Tensors inputs, Generator& generator, const std::function<void()>& body);
  CapturedWork(const CapturedWork&) = delete;
  CapturedWork& operator=(const CapturedWork&) = delete;

  /// Gives the inputs these values, of the CPU or the device, and queues the work; the generator goes on as if body()
  /// had run. Throws where a shape, a dtype or an index is not what it was recorded for: then nothing is done.
  void run(const Tensors& values);

 private:
  void end_failed(const DeviceGraphs& graphs);
  void check(const Tensors& values) const;
  void check_streams(const DrawnStreams& drawn) const;
  std::size_t input_of(const Tensor& index) const;

  Tensors inputs_;
  Generator& generator_;
  const std::uint64_t seed_, first_stream_;
  std::uint64_t streams_ = 0;
  MemoryPool pool_;
  Capture capture_;
  std::shared_ptr<void> graph_;  ///< goes first, and waits for the device
};

}  // namespace gradus
