// What only the emulation does: sentences about misuse, schedules, deferred streams. The kernels are in this file,
// since no device runs them.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <limits>
#include <set>

#include "framework/base/error.h"
#include "framework/kernels/cuda/asynchronous_copy.h"
#include "framework/kernels/cuda/emulation/sanitizers.h"
#include "framework/kernels/cuda/emulation/settings.h"
#include "framework/kernels/cuda/kernel.h"
#include "framework/kernels/cuda/kernel_name.h"
#include "framework/kernels/cuda/tensor_core.h"
#include "tests/cuda/buffer.h"
#include "tests/messages.h"

using namespace gradus;
using namespace gradus::cuda;
using emulation::SettingsScope;

namespace {

__global__ void set(float* y, float value) { y[threadIdx.x] = value; }

template <class T>
__global__ void set_first(T* y) {
  if (threadIdx.x == 0) *y = T(1);
}

__global__ void some_wait(float* y) {
  if (threadIdx.x < 40) __syncthreads();
  y[threadIdx.x] = 0;
}

__global__ void leave_out_own_lane(int* y) { *y = __shfl_sync(0x0000ffffu, 1, 0); }

__global__ void launch_another(float* y) { launch<set>({.blocks = 1, .threads = 1}, y, 1.0f); }

__global__ void throw_from_thread(int number) {
  if (static_cast<int>(threadIdx.x) == number) throw std::runtime_error("thrown by a kernel");
  __syncthreads();
}

__global__ void log_order(int* order, int* count) {
  order[atomicAdd(count, 1)] = static_cast<int>(threadIdx.x);
  __syncthreads();
}

__global__ void copy_misaligned(float* x) { copy_asynchronously<16>(dynamic_shared<float>(), x + 1); }

__global__ void multiply_in_half_a_warp() {
  float d[4] = {};
  multiply_bf16(d, {0, 0, 0, 0}, {0, 0});
}

__global__ void two_arrays_of_one_type(int* y) {
  auto& first = shared_array<int[4], struct first_array>();
  auto& second = shared_array<int[4], struct second_array>();
  first[threadIdx.x] = 1;
  second[threadIdx.x] = 2;
  __syncthreads();
  y[threadIdx.x] = first[3 - threadIdx.x] * 10 + second[3 - threadIdx.x];
}

__attribute__((noinline)) int sum_to(volatile const int* n) {
  volatile int here[64] = {*n};
  const int below = here[0] - 1;
  return here[0] + (here[0] > 0 ? sum_to(&below) : 0);
}

__global__ void recurse(int* y, int depth) { *y = sum_to(&depth); }

/// The order in which 40 threads reached a point.
std::vector<int> order_under(std::uint64_t schedule) {
  const SettingsScope scope({.schedule = schedule});
  Buffer<int> order(40), count(std::vector<int>(1, 0));
  launch<log_order>({.blocks = 1, .threads = 40}, order.data(), count.data());
  return order.values();
}

template <class Body>
std::string refused(const Body& body) {
  return message_of<ContractError>(body);
}

}  // namespace

TEST_CASE("a thread that cannot go on: who waits, and where") {
  Buffer<float> y(64);
  const std::string message = refused([&] { launch<some_wait>({.blocks = 1, .threads = 64}, y.data()); });
  CHECK(has(message,
            "[kernel some_wait] not every thread reaches the same collective: of 64 threads 40 wait in "
            "__syncthreads at tests/cuda/emulation_test.cpp:"));
  CHECK(has(message, ", 24 have returned; the first that waits, at tests/cuda/emulation_test.cpp:"));
  CHECK(has(message, ", block (0,0,0), thread (0,0,0)"));
}

TEST_CASE("a misuse is told with the kernel, the place, the block and the thread") {
  Buffer<int> y(1);
  const std::string message = refused([&] { launch<leave_out_own_lane>({.blocks = 1, .threads = {8, 4}}, y.data()); });
  CHECK(has(message,
            "[kernel leave_out_own_lane] lane 16 calls a shuffle with mask 0x0000ffff, which leaves it out, at "
            "tests/cuda/emulation_test.cpp:"));
  CHECK(has(message, ", block (0,0,0), thread (0,2,0)"));
}

TEST_CASE("after a failure the next launch is as good as ever") {
  for (int number : {0, 33}) {
    CHECK(message_of<std::runtime_error>([&] { launch<throw_from_thread>({.blocks = 1, .threads = 64}, number); }) ==
          "thrown by a kernel");
    Buffer<float> y(64);
    launch<set>({.blocks = 1, .threads = 64}, y.data(), 2.0f);
    CHECK(y.values() == std::vector<float>(64, 2));
  }
}

TEST_CASE("kernels do not launch kernels") {
  Buffer<float> y(1);
  CHECK(has(refused([&] { launch<launch_another>({.blocks = 1, .threads = 1}, y.data()); }),
            "[kernel launch_another] a kernel launches another one"));
}

TEST_CASE("asynchronous copies are aligned") {
  Buffer<float> x(8);
  const auto body = [&] { launch<copy_misaligned>({.blocks = 1, .threads = 1, .shared_bytes = 16}, x.data()); };
  CHECK(has(refused(body), "an asynchronous copy of 16 bytes needs addresses that are multiples of 16"));
}

TEST_CASE("matrix instructions need whole warps") {
  CHECK(has(refused([] { launch<multiply_in_half_a_warp>({.blocks = 1, .threads = 48}); }),
            "a matrix instruction in a warp of less than 32 threads"));
}

TEST_CASE("a launch that no device could start names the kernel and the limit") {
  const std::int64_t beyond = std::int64_t{1} << 32;
  Buffer<double> y(1);
  const std::string message = refused([&] { launch<set_first<double>>({.blocks = beyond, .threads = 32}, y.data()); });
  CHECK(has(message, "[kernel set_first"));  // Clang leaves out <double>
  CHECK(has(message,
            "] launched with 4294967296 blocks along x, possible are 1 to 2147483647, at "
            "tests/cuda/emulation_test.cpp:"));
  CHECK(has(refused([&] {
              launch<set_first<double>>({.blocks = 1, .threads = {1, 1, 65}}, y.data());
            }),
            "65 threads along z, possible are 1 to 64"));
}

TEST_CASE("names of kernels as GCC and Clang write them") {
  CHECK(kernel_name("void f() [with auto Kernel = gradus::{anonymous}::sum; Arguments = {int}]") == "sum");
  CHECK(kernel_name("void f() [with auto Kernel = {anonymous}::sum<gradus::bfloat16>; Arguments = {}]") ==
        "sum<gradus::bfloat16>");
  CHECK(kernel_name("void f() [Kernel = &(anonymous namespace)::sum<float>, Arguments = <int>]") == "sum<float>");
  CHECK(kernel_name("void f() [Kernel = &sum]") == "sum");
}

TEST_CASE("schedules: in order, reversed, and random ones that can be repeated") {
  std::vector<int> ascending(40), descending(40);
  for (int i = 0; i < 40; ++i) ascending[i] = descending[39 - i] = i;
  CHECK(order_under(0) == ascending);
  CHECK(order_under(1) == descending);
  std::set<std::vector<int>> orders;
  for (std::uint64_t schedule = 0; schedule < 6; ++schedule) {
    orders.insert(order_under(schedule));
    CHECK(order_under(schedule) == order_under(schedule));
  }
  CHECK(orders.size() == 6);
}

TEST_CASE("a deferred launch runs when its stream is synchronised, and fails there") {
  const SettingsScope scope({.deferred = true});
  const Stream stream = create_stream(), other = create_stream();
  Buffer<float> y(64);
  fill_bytes(y.data(), 0, 64 * sizeof(float), other);
  synchronize(other);
  launch<set>({.blocks = 1, .threads = 64, .stream = stream}, y.data(), 1.0f);
  CHECK(y.values(other) == std::vector<float>(64, 0));
  CHECK(y.values(stream) == std::vector<float>(64, 1));
  launch<some_wait>({.blocks = 1, .threads = 64, .stream = stream}, y.data());
  CHECK(has(refused([&] { synchronize(stream); }), "[kernel some_wait]"));
  synchronize(stream);  // nothing is left of it
  destroy_stream(stream);
  destroy_stream(other);
}

TEST_CASE("settings from the environment") {
  setenv("GRADUS_CUDA_SCHEDULE", "17", 1);
  setenv("GRADUS_CUDA_DEFERRED", "1", 1);
  CHECK(emulation::settings_from_environment().schedule == 17);
  CHECK(emulation::settings_from_environment().deferred);
  setenv("GRADUS_CUDA_DEFERRED", "2", 1);
  CHECK(message_of<UsageError>(emulation::settings_from_environment) ==
        "GRADUS_CUDA_DEFERRED=2: a number from 0 to 1 is expected");
  setenv("GRADUS_CUDA_SCHEDULE", "3x", 1);
  CHECK(
      has(message_of<UsageError>(emulation::settings_from_environment), "GRADUS_CUDA_SCHEDULE=3x: a number from 0 to"));
  unsetenv("GRADUS_CUDA_SCHEDULE");
  unsetenv("GRADUS_CUDA_DEFERRED");
  CHECK(emulation::settings_from_environment().schedule == 0);
  CHECK(!emulation::settings_from_environment().deferred);
}

TEST_CASE("shared arrays of one type are told apart by their names") {
  Buffer<int> y(4);
  launch<two_arrays_of_one_type>({.blocks = 1, .threads = 4}, y.data());
  CHECK(y.values() == std::vector<int>(4, 12));
}

TEST_CASE("TF32 is rounded to the nearest, ties away from zero") {
  const auto rounded = [](float value) { return std::bit_cast<float>(to_tf32(value)); };
  const float step = 1.0f / 1024;
  CHECK(rounded(1 + 0.49f * step) == 1);
  CHECK(rounded(1 + 0.5f * step) == 1 + step);
  CHECK(rounded(-1 - 0.5f * step) == -1 - step);
  CHECK(rounded(std::numeric_limits<float>::infinity()) == std::numeric_limits<float>::infinity());
  CHECK(std::isnan(rounded(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("a stack that overflows ends the program with a sentence") {
  if (emulation::sanitizers::address_sanitizer() || emulation::sanitizers::thread_sanitizer()) return;  // theirs then
  int pipe_ends[2];
  REQUIRE(pipe(pipe_ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);  // not doctest's
    dup2(pipe_ends[1], STDERR_FILENO);
    Buffer<int> y(1);
    launch<recurse>({.blocks = 1, .threads = 3}, y.data(), 100000);
    _exit(0);
  }
  close(pipe_ends[1]);
  std::string said(1000, '\0');
  said.resize(std::max<ssize_t>(0, read(pipe_ends[0], said.data(), said.size())));
  close(pipe_ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status));
  CHECK(has(said, "[kernel recurse] the stack of 256 KiB overflows; launched, at tests/cuda/emulation_test.cpp:"));
  CHECK(has(said, "thread (0,0,0)"));
}
