#include "tools/bench_ceilings.h"

#include <algorithm>
#include <cstring>

#include "framework/autograd/modes.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"
#include "framework/tensor/device_memory.h"
#include "tools/bench.h"

namespace gradus::tools {
namespace {

constexpr std::int64_t always_worth_sharing = std::int64_t{1} << 40;

/// The shortest time that `work` took in a quarter of a second.
template <class Work>
double least_seconds(const Work& work) {
  double least = 1e30;
  for (const Stopwatch all; all.seconds() < 0.25;) {
    const Stopwatch watch;
    work();
    least = std::min(least, watch.seconds());
  }
  return least;
}

/// `rounds` rounds of multiply-adds on one thread; returns a number that depends on all of them.
template <class T>
T multiply_add(std::int64_t rounds, T start) {
  typedef T Vector __attribute__((vector_size(__BIGGEST_ALIGNMENT__)));
  constexpr int chains = 12;
  Vector sums[chains];
  for (int c = 0; c < chains; ++c) sums[c] = Vector{} + start + T(c);
  const Vector factor = Vector{} + T(0.999), addend = Vector{} + T(0.001);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int c = 0; c < chains; ++c) sums[c] = sums[c] * factor + addend;
  }
  for (int c = 1; c < chains; ++c) sums[0] += sums[c];
  return sums[0][0];
}

template <class T>
constexpr double flops_of_a_round = 2.0 * 12 * __BIGGEST_ALIGNMENT__ / sizeof(T);

template <class T>
double measure_arithmetic() {
  constexpr std::int64_t rounds = 1000000;
  const std::int64_t threads = cpu::thread_count();
  std::vector<T> results(static_cast<std::size_t>(threads));
  const double seconds = least_seconds([&] {
    cpu::parallel_for(threads, 1, always_worth_sharing, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t thread = begin; thread < end; ++thread)
        results[static_cast<std::size_t>(thread)] = multiply_add<T>(rounds, T(thread));
    });
  });
  // Reading the results keeps the compiler from leaving the work out.
  return std::count(results.begin(), results.end(), T(0)) > 0
             ? 0
             : double(threads) * rounds * flops_of_a_round<T> / seconds;
}

double measure_copy() {
  constexpr std::int64_t bytes = 16 << 20, part = 64 << 10;
  const Tensor from = zeros({bytes}, DType::u8), to = zeros({bytes}, DType::u8);
  const std::uint8_t* source = from.data<std::uint8_t>();
  std::uint8_t* target = to.mutable_data<std::uint8_t>();
  return 2.0 * bytes / least_seconds([&] {
           cpu::parallel_for(bytes, part, always_worth_sharing, [&](std::int64_t begin, std::int64_t end) {
             std::memcpy(target + begin, source + begin, static_cast<std::size_t>(end - begin));
           });
         });
}

/// By the ops themselves: what is compared with them is the other ops.
Ceilings measure_device(DType dtype, Device device) {
  const NoGradScope no_grad;
  const auto least = [&](const auto& work) {
    work();
    return least_seconds([&] {
      work();
      synchronize(device);
    });
  };
  // The emulation is no faster than a reader.
  const std::int64_t n = device_memory(device).emulated ? 64 : 4096, bytes = n * n * 16;
  const Tensor a = full({n, n}, 0.5, dtype, device), block = zeros({bytes}, DType::u8, device);
  return {2.0 * n * n * n / least([&] { matmul(a, a); }), 2.0 * bytes / least([&] { clone(block); })};
}

}  // namespace

Ceilings measure_ceilings(DType dtype, Device device) {
  if (device != Device{}) return measure_device(dtype, device);
  return {dtype == DType::f64 ? measure_arithmetic<double>() : measure_arithmetic<float>(), measure_copy()};
}

}  // namespace gradus::tools
