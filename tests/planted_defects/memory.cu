// Reads and writes of memory that is not there, not aligned or was never written.
#include "framework/kernels/cuda/kernel.h"
#include "tests/planted_defects/planted.h"

namespace planted {
namespace {

using gradus::cuda::dynamic_shared;
using gradus::cuda::launch;
using gradus::cuda::shared_array;

__global__ void copy(float* y, const float* x, int n) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) y[i] = x[i];
}
__global__ void write_past_end(float* y, int n) {
  for (int i = threadIdx.x; i <= n; i += blockDim.x) y[i] = 1;
}
__global__ void read_past_end(float* y, const float* x, int n) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) y[i] = x[i] + x[i + 1];
}

// Not inlined: the array's size is not known here.
__device__ __attribute__((noinline)) void store(float* s, int i) { s[i] = 1; }

__global__ void reverse_static_shared(float* y, int n) {
  __shared__ float s[64];
  s[threadIdx.x] = threadIdx.x;
  __syncthreads();
  y[threadIdx.x] = s[n - 1 - threadIdx.x];
}
__global__ void static_shared_past_end(float* y, int n) {
  __shared__ float s[64];
  s[threadIdx.x] = threadIdx.x;
  if (threadIdx.x == 0) store(s, n);
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
}
template <class T>
__global__ void static_shared_of_template_past_end(T* y, int n) {
  __shared__ T s[64];
  s[threadIdx.x] = threadIdx.x;
  if (threadIdx.x == 0) store(s, n);
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
}
template <class T>
__global__ void shared_array_past_end(T* y, int n) {
  auto& s = shared_array<T[64], struct numbers_of_threads>();
  s[threadIdx.x] = threadIdx.x;
  if (threadIdx.x == 0) store(s, n);
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
}
__global__ void dynamic_shared_past_end(float* y, int n) {
  float* s = dynamic_shared<float>();
  s[threadIdx.x] = threadIdx.x;
  if (threadIdx.x == 0) s[n] = 1;
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
}
__global__ void register_array_past_end(float* y, int n) {
  float r[8];
  for (int i = 0; i <= n; ++i) r[i] = i;
  y[threadIdx.x] = r[threadIdx.x % n];
}
__global__ void misaligned_vector(float* y) { reinterpret_cast<float4*>(y + 1)[threadIdx.x].x = 1; }
__global__ void index_overflow(float* y, int rows, int width) {
  const int last = rows * width;  // of 70000 x 70000 elements
  if (last < 0) y[threadIdx.x] = 1;
}
__global__ void unwritten_output(float* y) {
  if (threadIdx.x != 5) y[threadIdx.x] = 0;
}
__global__ void unwritten_dynamic_shared(float* y) {
  float* s = dynamic_shared<float>();
  if (threadIdx.x < 32) s[threadIdx.x] = 0;
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
}
template <class T>
__global__ void unwritten_shared_array(T* y) {
  auto& s = shared_array<T[64], struct zeros>();
  if (threadIdx.x < 32) s[threadIdx.x] = 0;
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
}
__global__ void unwritten_static_shared(float* y) {
  __shared__ float s[64];
  if (threadIdx.x < 32) s[threadIdx.x] = 0;
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
}

float zero(int) { return 0; }

}  // namespace

std::vector<Case> memory_cases() {
  constexpr const char* heap = "heap-buffer-overflow";
  constexpr const char* global = "global-buffer-overflow";
  constexpr const char* wrong = "wrong result";
  return {
      {"copy",
       nullptr,
       {},
       [] {
         Buffer<float> y(100), x(std::vector<float>(100, 3));
         launch<copy>({.blocks = 1, .threads = 32}, y.data(), x.data(), 100);
         return holds(y, [](int) { return 3; });
       }},
      {"write_past_end",
       "writes one element past the end of global memory",
       {.address = heap},
       [] {
         Buffer<float> y(100);
         launch<write_past_end>({.blocks = 1, .threads = 32}, y.data(), 100);
         return true;
       }},
      {"read_past_end",
       "reads one element past the end of global memory",
       {.address = heap},
       [] {
         Buffer<float> y(100), x(100);
         launch<read_past_end>({.blocks = 1, .threads = 32}, y.data(), x.data(), 100);
         return true;
       }},
      {"reverse_static_shared",
       nullptr,
       {},
       [] {
         Buffer<float> y(64);
         launch<reverse_static_shared>({.blocks = 1, .threads = 64}, y.data(), 64);
         return holds(y, [](int i) { return 63 - i; });
       }},
      {"static_shared_past_end",
       "writes past a `__shared__` array, through a pointer",
       {.address = global},
       [] {
         Buffer<float> y(64);
         launch<static_shared_past_end>({.blocks = 1, .threads = 64}, y.data(), 64);
         return true;
       }},
      {"static_shared_of_template_past_end",
       "the same in a template",
       {.address = global},
       [] {
         Buffer<float> y(64);
         launch<static_shared_of_template_past_end<float>>({.blocks = 1, .threads = 64}, y.data(), 64);
         return true;
       }},
      {"shared_array_past_end",
       "writes past a `shared_array`",
       {.address = heap},
       [] {
         Buffer<float> y(64);
         launch<shared_array_past_end<float>>({.blocks = 1, .threads = 64}, y.data(), 64);
         return true;
       }},
      {"dynamic_shared_past_end",
       "writes past the dynamic shared memory that the launch asked for",
       {.address = heap},
       [] {
         Buffer<float> y(64);
         launch<dynamic_shared_past_end>({.blocks = 1, .threads = 64, .shared_bytes = 256}, y.data(), 64);
         return true;
       }},
      {"register_array_past_end",
       "writes past an array in registers",
       {.address = "out of bounds"},
       [] {
         Buffer<float> y(64);
         launch<register_array_past_end>({.blocks = 1, .threads = 64}, y.data(), 8);
         return true;
       }},
      {"misaligned_vector",
       "writes a `float4` at an address that is no multiple of 16",
       {.address = "misaligned"},
       [] {
         Buffer<float> y(300);
         launch<misaligned_vector>({.blocks = 1, .threads = 32}, y.data());
         return true;
       }},
      {"index_overflow",
       "computes an index beyond 2^31 in 32 bits",
       {.address = "signed integer overflow"},
       [] {
         Buffer<float> y(32);
         launch<index_overflow>({.blocks = 1, .threads = 32}, y.data(), 70000, 70000);
         return true;
       }},
      {"unwritten_output",
       "leaves out one element of the output",
       {wrong, wrong, wrong},
       [] {
         Buffer<float> y(64);
         launch<unwritten_output>({.blocks = 1, .threads = 64}, y.data());
         return holds(y, zero);
       }},
      {"unwritten_dynamic_shared",
       "reads dynamic shared memory that no thread wrote",
       {wrong, wrong, wrong},
       [] {
         Buffer<float> y(64);
         launch<unwritten_dynamic_shared>({.blocks = 1, .threads = 64, .shared_bytes = 256}, y.data());
         return holds(y, zero);
       }},
      {"unwritten_shared_array",
       "reads a `shared_array` that no thread wrote",
       {wrong, wrong, wrong},
       [] {
         Buffer<float> y(64);
         launch<unwritten_shared_array<float>>({.blocks = 1, .threads = 64}, y.data());
         return holds(y, zero);
       }},
      {"unwritten_static_shared",
       "reads a `__shared__` array that no thread wrote",
       {.plain = wrong, .thread = wrong},
       [] {
         Buffer<float> y(64);
         launch<unwritten_static_shared>({.blocks = 1, .threads = 64}, y.data());
         return holds(y, zero);
       }},
  };
}

}  // namespace planted
