// Memory of a CUDA device that keeps what is let go, as devices do and the emulation does only here. Streams wait
// until they are synchronised, so what is queued meets memory that changed hands.
#include <doctest/doctest.h>

#include "framework/autograd/autograd.h"
#include "framework/kernels/cuda/runtime.h"
#include "framework/ops/cuda/backend.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"
#include "framework/tensor/device_memory.h"
#include "framework/tensor/memory.h"
#include "tests/messages.h"

#if defined(GRADUS_CUDA_EMULATED)
#include "framework/kernels/cuda/emulation/settings.h"
#include "framework/kernels/cuda/emulation/stream.h"
#include "framework/ops/cuda/launching.h"
#endif

using namespace gradus;

namespace {

constexpr Device device{Device::Kind::cuda, 0};
constexpr std::int64_t kib = 1024, mib = kib * kib;

struct CachingDevice {
  CachingDevice() {
    static const bool installed = [] {
      install_cuda();
      DeviceMemory memory = device_memory(device);
      memory.caching = true;
      install_device_memory(device.kind, memory);
      return true;
    }();
    (void)installed;
  }
  ~CachingDevice() {
    CHECK(memory_statistics(device).bytes_in_use == 0);
    empty_cache(device);
    CHECK(memory_statistics(device).bytes_reserved == 0);
  }
#if defined(GRADUS_CUDA_EMULATED)
  const cuda::emulation::SettingsScope deferred{{.deferred = true}};
#endif
};

Tensor numbers(const Shape& shape, double value) { return full(shape, value, DType::f32); }

bool all_are(const Tensor& tensor, double value) {
  for (double element : tensor.to_vector<double>()) {
    if (element != value) return false;
  }
  return true;
}

/// Descent on a small network: weights after some steps.
std::vector<double> train() {
  Generator generator(3);
  const auto random = [&](const Shape& shape) {
    return on_device(random_normal(shape, generator, DType::f32), device);
  };
  const Tensor x = random({12, 8}), target = random({12, 4});
  std::vector<Tensor> weights = {random({8, 16}), random({16, 4})};
  for (int step = 0; step < 4; ++step) {
    for (Tensor& weight : weights) weight = weight.detach().set_requires_grad();
    const Tensor error = matmul(gelu(matmul(x, weights[0])), weights[1]) - target;
    backward(mean(error * error));
    const NoGradScope no_grad;
    for (Tensor& weight : weights) weight = weight - weight.gradient() * 0.1;
  }
  std::vector<double> values = weights[0].to_vector<double>();
  for (double value : weights[1].to_vector<double>()) values.push_back(value);
  return values;
}

}  // namespace

TEST_CASE("the device's memory is used again, and counted") {
  const CachingDevice caching;
  const auto before = memory_statistics(device);
  const void* first = nullptr;
  {
    const Tensor a = Tensor::empty({256, 1024}, DType::f32, device);
    first = a.bytes();
    CHECK(memory_statistics(device).bytes_in_use == mib);
  }
  const Tensor b = Tensor::empty({255, 1024}, DType::f32, device);
  CHECK(b.bytes() == first);
  const auto after = memory_statistics(device);
  CHECK(after.allocations == before.allocations + 2);
  CHECK(after.system_allocations == before.system_allocations + 1);
  CHECK(after.peak_bytes_in_use >= mib);
}

TEST_CASE("memory that changes hands while kernels that use it are queued") {
  const CachingDevice caching;
  Tensor x = on_device(numbers({1000}, 3), device);
  const void* block = x.bytes();
  const Tensor doubled = x * 2.0;
  x = Tensor();
  const Tensor next = on_device(numbers({1000}, 7), device);
  CHECK(next.bytes() == block);
  CHECK(all_are(doubled, 6));
  CHECK(all_are(next, 7));
}

TEST_CASE("what goes to the device is as it was when it was sent") {
  const CachingDevice caching;
  const Tensor host = numbers({1000}, 1);
  const Tensor there = on_device(host, device);
  host.mutable_data<float>()[3] = 5;
  CHECK(all_are(there, 1));
  std::vector<Tensor> many;  // more than waits at once
  for (int i = 0; i < 20; ++i) many.push_back(on_device(numbers({256, 1000}, i), device));
  many.push_back(on_device(numbers({600, 1024}, 20), device));  // and one that does not wait
  for (int i = 0; i < 21; ++i) CHECK(all_are(many[i], i));
}

TEST_CASE("training in memory that is used again gives the same bits as in new memory") {
  const CachingDevice caching;
  const std::vector<double> weights = train();
  empty_cache(device);
  CHECK(train() == weights);
#if defined(GRADUS_CUDA_EMULATED)
  const cuda::emulation::SettingsScope immediate({.deferred = false});
  CHECK(train() == weights);
#endif
}

TEST_CASE("where the device's memory is full, the error says for whom and who has it") {
  const CachingDevice caching;
  set_memory_limit(device, 3 * mib + kib);  // and a sum
  {
    const Tensor x = on_device(numbers({256, 1024}, 1), device);
    x.set_requires_grad();
    const std::int64_t line = SourceLocation::current().line();
    const Tensor kept = exp(x);
    const std::string message = message_of<MemoryError>([&] { backward(sum(kept * kept)); });
    INFO(message);
    CHECK(has(message, "out of memory on cuda:0: 1.0 MiB asked for by [mul] at tests/cuda/memory_on_device_test.cpp:"));
    CHECK(has(message, ", backward; "));
    CHECK(has(message, "3.0 MiB in use"));
    CHECK(has(message, "on the device\n"));
    CHECK(has(message, fmt::format("1.0 MiB        1  [exp] at tests/cuda/memory_on_device_test.cpp:{}\n", line + 1)));
    CHECK(has(message, "1.0 MiB        1  [on_device] at tests/cuda/memory_on_device_test.cpp:"));
  }
  set_memory_limit(device, std::numeric_limits<std::int64_t>::max());
}

#if defined(GRADUS_CUDA_EMULATED)
TEST_CASE("of two devices a process uses the one that it used first") {
  const CachingDevice caching;
  const Tensor x = Tensor::empty({1}, DType::f32, device);
  const cuda::emulation::SettingsScope two({.devices = 2});
  const Device second = device_from_string("cuda:1");
  CHECK(message_of<UsageError>([&] { Tensor::empty({1}, DType::f32, second); }) ==
        "cuda:1 cannot be used beside cuda:0: a process computes on one CUDA device");
  CHECK(has(message_of<UsageError>([] { device_from_string("cuda:2"); }), "there are: cpu, cuda:0, cuda:1"));
}

TEST_CASE("letting go does not wait, giving back does") {
  const CachingDevice caching;
  bool done = false;
  Tensor x = Tensor::empty({1000}, DType::f32, device);
  cuda::emulation::submit(cuda::compute_stream(), [&] { done = true; });
  x = Tensor();
  CHECK_FALSE(done);
  empty_cache(device);
  CHECK(done);
}

TEST_CASE("a kernel that fails while memory is given back is heard of at the next call") {
  const CachingDevice caching;
  { const Tensor x = Tensor::empty({1000}, DType::f32, device); }
  cuda::emulation::submit(cuda::compute_stream(), [] { throw std::runtime_error("a kernel failed"); });
  empty_cache(device);
  CHECK(message_of<std::runtime_error>([] { Tensor::empty({1000}, DType::f32, device); }) == "a kernel failed");
  const Tensor y = on_device(numbers({10}, 1), device);
  CHECK(all_are(y, 1));
}
#endif
