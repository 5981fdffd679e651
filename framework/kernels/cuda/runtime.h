// What the host asks of a CUDA device: streams, memory, copies. One implementation calls the CUDA runtime
// (runtime.cpp), the other emulates it (emulation/runtime.cpp); a program links one of the two. All failures are
// exceptions.
#pragma once

#include <cstddef>
#include <string>

#include "framework/kernels/cuda/launch.h"

struct CUgraphExec_st;

namespace gradus::cuda {

using GraphExec = CUgraphExec_st*;

/// Devices that can be used; the emulation is one.
int device_count();
/// Why there is none: what the driver says. Empty where there are some.
std::string why_no_device();
/// What this thread asks for from here on is of that device.
void use_device(int device);
/// `NVIDIA H200`; for the emulation, a name that says so.
std::string device_name(int device);
/// Whether this program links the emulation.
bool is_emulation();

Stream create_stream();
/// Waits for what is queued.
void destroy_stream(Stream stream);
/// Returns when all that was queued on the stream is done; a kernel that failed throws here at the latest.
void synchronize(Stream stream);

/// Memory of the device, aligned to 256 bytes. Not initialised. Null where there is no room; whatever else fails is an
/// exception.
void* allocate(std::size_t bytes);
/// Frees at once: what is queued must not use it any more.
void release(void* memory);

struct Room {
  std::size_t free = 0, total = 0;  ///< bytes
};
/// Of the device's memory.
Room memory_room();

/// Memory of the host that stays where it is, so that copies from and to it go beside what the host does.
void* allocate_pinned(std::size_t bytes);
void release_pinned(void* memory);

/// Queued on the stream: both memories must stay, and the target is not to be read, until it is synchronised.
void copy_to_device(void* to, const void* from, std::size_t bytes, Stream stream);
void copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream);
void fill_bytes(void* memory, int value, std::size_t bytes, Stream stream);

/// From here on what is queued on the stream is recorded and not done. Nothing may wait for the stream until the end.
void begin_capture(Stream stream);
/// What was recorded, to be queued again and again: the same kernels and copies, at the same addresses.
GraphExec end_capture(Stream stream);
/// Queues all of it with one launch.
void queue(GraphExec graph, Stream stream);
/// What is queued of it must be done.
void destroy_graph(GraphExec graph);

}  // namespace gradus::cuda
