// Where threads of a block wait for each other. Kernels call them by their CUDA names (intrinsics.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>

namespace gradus::cuda::emulation {

using Site = std::source_location;

enum class Collective : unsigned char { syncthreads, syncwarp, shuffle, vote, matrix };

inline constexpr std::uint32_t all_lanes = 0xffffffffu;

/// All threads of the block.
void block_barrier(Site site);
/// The lanes of `mask`, all of which must call with the same mask.
void warp_barrier(std::uint32_t mask, Site site);

inline constexpr std::size_t slot_bytes = 16;

/// Every lane of `mask` hands in `bytes` (at most 16) of `value`; returns what each handed in: 32 slots of 16 bytes,
/// which stay until the lane's next collective. Passes values and orders no memory, as on a device.
const unsigned char* exchange(std::uint32_t mask, const void* value, std::size_t bytes, Collective kind, Site site);

/// Replaces `value` by the one of lane `source`, if that is `in_range`.
void shuffle(std::uint32_t mask, void* value, std::size_t bytes, int source, bool in_range, Site site);

/// Bit i: the predicate of lane i, 0 outside the mask.
std::uint32_t vote(std::uint32_t mask, bool predicate, Site site);

/// Of the running thread, in its warp.
int lane();

/// Fences are for ThreadSanitizer: one thread runs at a time, so memory is always in order.
void thread_fence();

}  // namespace gradus::cuda::emulation
