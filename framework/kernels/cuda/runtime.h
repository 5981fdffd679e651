// What the host asks of a CUDA device: streams, memory, copies. One implementation calls the CUDA runtime
// (runtime.cpp), the other emulates it (emulation/runtime.cpp); a program links one of the two. All failures are
// exceptions.
#pragma once

#include <cstddef>
#include <string>

#include "framework/kernels/cuda/launch.h"

namespace gradus::cuda {

/// Devices that can be used; the emulation is one.
int device_count();
/// Why there is none: what the driver says. Empty where there are some.
std::string why_no_device();
/// `NVIDIA H200`; for the emulation, a name that says so.
std::string device_name(int device);
/// Whether this program links the emulation.
bool is_emulation();

Stream create_stream();
/// Waits for what is queued.
void destroy_stream(Stream stream);
/// Returns when all that was queued on the stream is done; a kernel that failed throws here at the latest.
void synchronize(Stream stream);

/// Memory of the device, aligned to 256 bytes. Not initialised.
void* allocate(std::size_t bytes);
/// Frees at once: what is queued must not use it any more.
void release(void* memory);

/// Queued on the stream: both memories must stay, and the target is not to be read, until it is synchronised.
void copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream);
void copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream);
void fill_bytes(void* memory, int value, std::size_t bytes, Stream stream);

}  // namespace gradus::cuda
