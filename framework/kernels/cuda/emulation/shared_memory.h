// The shared memory of the block that runs: of the exact size, new for every block, and full of NaN, so that
// AddressSanitizer sees its end and a read of what no thread wrote shows.
#pragma once

#include <cstddef>

namespace gradus::cuda::emulation {

void* dynamic_shared_memory();

/// The block's memory for the array that `key` stands for.
void* shared_memory_of(const void* key, std::size_t bytes);

/// Before each block: fresh memory; static __shared__ arrays are filled with NaN.
void begin_block_memory(std::size_t dynamic_bytes);
void end_block_memory();

}  // namespace gradus::cuda::emulation
