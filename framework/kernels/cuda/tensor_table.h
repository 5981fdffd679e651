// One launch over many tensors: each block takes a part of one of them, which it finds in a table that comes with the
// kernel's arguments. For kernel files.
#pragma once

#include <span>

#include "framework/kernels/cuda/kernel.h"

namespace gradus::cuda {

/// Elements of a tensor for a block.
inline constexpr std::int64_t elements_of_block = 4096;
inline constexpr int table_threads = 256;

/// Arguments of a kernel may take 4096 bytes.
template <class Tensor>
inline constexpr int most_tensors = 3600 / (sizeof(Tensor) + sizeof(std::int64_t));

template <class Tensor>
struct TensorTable {
  Tensor tensors[most_tensors<Tensor>];
  std::int64_t first_block[most_tensors<Tensor> + 1];  // of each tensor; then the number of all blocks
  int count;
};

/// Elements [begin, end) of tensor number `tensor`.
struct PartOfTensor {
  int tensor;
  std::int64_t begin, end;
};

/// Of the calling block.
template <class Tensor>
__device__ __forceinline__ PartOfTensor part_of_block(const TensorTable<Tensor>& table) {
  const std::int64_t block = blockIdx.x;
  int low = 0, high = table.count;  // the tensor is among [low, high)
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (block < table.first_block[middle]) high = middle;
    else low = middle;
  }
  const std::int64_t begin = (block - table.first_block[low]) * elements_of_block;
  const std::int64_t end = begin + elements_of_block, count = table.tensors[low].count;
  return {low, begin, end < count ? end : count};
}

/// Blocks that all tensors take together.
template <class Tensor>
std::int64_t blocks_of(std::span<const Tensor> tensors) {
  std::int64_t blocks = 0;
  for (const Tensor& tensor : tensors) blocks += blocks_for(tensor.count, elements_of_block);
  return blocks;
}

/// Calls launch_table(table, blocks, blocks before it) for as many tables as the tensors fill; those without elements
/// are left out.
template <class Tensor, class LaunchTable>
void for_each_table(std::span<const Tensor> tensors, const LaunchTable& launch_table) {
  std::int64_t blocks_before = 0;
  TensorTable<Tensor> table;
  table.count = 0;
  table.first_block[0] = 0;
  const auto flush = [&] {
    const std::int64_t blocks = table.first_block[table.count];
    if (table.count > 0) launch_table(table, blocks, blocks_before);
    blocks_before += blocks;
    table.count = 0;
  };
  for (const Tensor& tensor : tensors) {
    if (tensor.count == 0) continue;
    table.tensors[table.count] = tensor;
    table.first_block[table.count + 1] = table.first_block[table.count] + blocks_for(tensor.count, elements_of_block);
    if (++table.count == most_tensors<Tensor>) flush();
  }
  flush();
}

}  // namespace gradus::cuda
