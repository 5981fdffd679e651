#include "framework/kernels/cuda/runtime.h"

#include <cuda_runtime_api.h>

#include "framework/base/error.h"
#include "framework/base/source_location.h"
#include "framework/kernels/cuda/kernel_name.h"

namespace gradus::cuda {
namespace {

void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) fail("[cuda] {}: {}", what, cudaGetErrorString(status));
}

}  // namespace

void check_launched(const char* kernel, const LaunchShape& shape) {
  const cudaError_t status = cudaGetLastError();
  if (status == cudaSuccess) return;
  fail("[kernel {}] {}, at {}", kernel_name(kernel), cudaGetErrorString(status), to_string(shape.where));
}

void allow_shared_bytes(const void* kernel, std::size_t bytes) {
  constexpr std::size_t allowed_to_all = 48 * 1024;
  if (bytes <= allowed_to_all) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
        "asking for more shared memory");
}

int device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

std::string why_no_device() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  return status == cudaSuccess ? "" : cudaGetErrorString(status);
}

std::string device_name(int device) {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, device), "asking for the device's name");
  return properties.name;
}

bool is_emulation() { return false; }

Stream create_stream() {
  Stream stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream");
  return stream;
}

void destroy_stream(Stream stream) {
  synchronize(stream);
  check(cudaStreamDestroy(stream), "destroying a stream");
}

void synchronize(Stream stream) { check(cudaStreamSynchronize(stream), "running what was queued"); }

void* allocate(std::size_t bytes) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes), "allocating memory");
  return memory;
}

void release(void* memory) { check(cudaFree(memory), "freeing memory"); }

void copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream), "copying to the device");
}

void copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream), "copying to the host");
}

void fill_bytes(void* memory, int value, std::size_t bytes, Stream stream) {
  check(cudaMemsetAsync(memory, value, bytes, stream), "filling memory");
}

}  // namespace gradus::cuda
