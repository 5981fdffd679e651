#include "framework/ops/cuda/backend.h"

#include <algorithm>

#include "framework/kernels/cuda/runtime.h"
#include "framework/ops/cuda/families.h"
#include "framework/ops/cuda/launching.h"
#include "framework/tensor/device_memory.h"

namespace gradus {
namespace cuda {

Stream compute_stream() {
  static const Stream stream = create_stream();
  return stream;
}

namespace {

void copy_between(void* to, Device to_device, const void* from, Device, std::int64_t bytes) {
  const bool up = to_device.kind == Device::Kind::cuda;
  (up ? copy_to_device : copy_to_host)(to, from, static_cast<std::size_t>(bytes), compute_stream());
  synchronize(compute_stream());
}

}  // namespace
}  // namespace cuda

void install_cuda() {
  install_device_memory(
      Device::Kind::cuda,
      {.emulated = cuda::is_emulation(),
       .count = [] { return std::min(cuda::device_count(), 1); },
       .why_none = cuda::why_no_device,
       .name = cuda::device_name,
       .allocate = [](std::int64_t bytes, int) { return cuda::allocate(static_cast<std::size_t>(bytes)); },
       .release =
           [](void* block, int) {
             cuda::synchronize(cuda::compute_stream());
             cuda::release(block);
           },
       .synchronize = [](int) { cuda::synchronize(cuda::compute_stream()); },
       .copy = cuda::copy_between});
  cuda::install_elements();
  cuda::install_attention();
  cuda::install_elementwise();
  cuda::install_indexing();
  cuda::install_optimizer();
  cuda::install_products();
  cuda::install_reductions();
  cuda::install_rows();
}

}  // namespace gradus
