#include "framework/kernels/cuda/runtime.h"

#include <cuda_runtime_api.h>

#include "framework/base/error.h"
#include "framework/base/source_location.h"
#include "framework/kernels/cuda/kernel_name.h"

namespace gradus::cuda {
namespace {

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // else the next launch would be taken for what failed
  fail("[cuda] {}: {}", what, cudaGetErrorString(status));
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
  if (status == cudaErrorInsufficientDriver)  // said of no driver too
    return "no NVIDIA driver was found, or it is older than the CUDA " + std::to_string(CUDART_VERSION / 1000) +
           " of this build";
  return status == cudaSuccess ? "" : cudaGetErrorString(status);
}

void use_device(int device) { check(cudaSetDevice(device), "cudaSetDevice"); }

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
  const cudaError_t status = cudaMalloc(&memory, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // else the next launch would be taken for the one that failed
    return nullptr;
  }
  check(status, "cudaMalloc");
  return memory;
}

void release(void* memory) { check(cudaFree(memory), "freeing memory"); }

Room memory_room() {
  Room room;
  check(cudaMemGetInfo(&room.free, &room.total), "cudaMemGetInfo");
  return room;
}

void* allocate_pinned(std::size_t bytes) {
  void* memory = nullptr;
  check(cudaMallocHost(&memory, bytes), "cudaMallocHost");
  return memory;
}

void release_pinned(void* memory) { check(cudaFreeHost(memory), "cudaFreeHost"); }

void begin_capture(Stream stream) {
  // Relaxed: memory may be allocated meanwhile.
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
}

GraphExec end_capture(Stream stream) {
  cudaGraph_t recorded = nullptr;
  check(cudaStreamEndCapture(stream, &recorded), "cudaStreamEndCapture");
  GraphExec graph = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&graph, recorded, 0);
  cudaGraphDestroy(recorded);
  check(status, "cudaGraphInstantiate");
  return graph;
}

void queue(GraphExec graph, Stream stream) { check(cudaGraphLaunch(graph, stream), "cudaGraphLaunch"); }

void destroy_graph(GraphExec graph) { check(cudaGraphExecDestroy(graph), "cudaGraphExecDestroy"); }

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
