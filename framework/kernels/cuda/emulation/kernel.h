// kernel.h as a host compiler sees it: the language of CUDA, and launch() into the emulation.
#pragma once

#include <memory>
#include <tuple>

#include "framework/kernels/cuda/emulation/grid.h"
#include "framework/kernels/cuda/emulation/intrinsics.h"
#include "framework/kernels/cuda/emulation/language.h"
#include "framework/kernels/cuda/emulation/shared_memory.h"
#include "framework/kernels/cuda/launch.h"

namespace gradus::cuda {

/// The block's dynamic shared memory: as many bytes as the launch says.
template <class T>
T* dynamic_shared() {
  return static_cast<T*>(emulation::dynamic_shared_memory());
}

/// An array shared by the threads of a block, not initialised; `Name` tells arrays of one type apart.
template <class Array, class Name>
Array& shared_array() {
  static constexpr char key = 0;  // its address is this array's own
  return *static_cast<Array*>(emulation::shared_memory_of(&key, sizeof(Array)));
}

namespace detail {

template <auto Kernel, class... Parameters>
class KernelCall final : public emulation::ThreadBody {
 public:
  explicit KernelCall(Parameters... parameters) : parameters_(parameters...) {}
  void run() const override { std::apply(Kernel, parameters_); }

 private:
  std::tuple<Parameters...> parameters_;
};

template <auto Kernel, class... Parameters, class... Arguments>
std::unique_ptr<emulation::ThreadBody> call_of(void (*)(Parameters...), Arguments... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "wrong number of arguments for this kernel");
  return std::make_unique<KernelCall<Kernel, Parameters...>>(static_cast<Parameters>(arguments)...);
}

}  // namespace detail

/// Queues the kernel on the stream of `shape`. Throws ContractError if no device could start it.
template <auto Kernel, class... Arguments>
void launch(const LaunchShape& shape, Arguments... arguments) {
  emulation::launch(__PRETTY_FUNCTION__, shape, detail::call_of<Kernel>(Kernel, arguments...));
}

}  // namespace gradus::cuda
