#include "framework/kernels/cuda/emulation/tensor_core.h"

#include <array>
#include <bit>
#include <cstring>

#include "framework/kernels/cuda/emulation/block.h"
#include "framework/kernels/cuda/emulation/report.h"

namespace gradus::cuda::emulation {
namespace {

using Words = std::array<std::uint32_t, 4>;

/// What each lane of the warp hands in. The instructions are for whole warps only.
std::array<Words, 32> all_lanes_words(const Words& mine, Site site) {
  if (machine.current->number / 32 * 32 + 32 > machine.threads.size()) {
    misuse("a matrix instruction in a warp of less than 32 threads", site);
  }
  std::array<Words, 32> all;
  std::memcpy(all.data(), exchange(all_lanes, mine.data(), sizeof mine, Collective::matrix, site), sizeof all);
  return all;
}

/// d[i] += sum over k of a(row, k) b(k, column), for this lane's four elements of the 16 x 8 result.
template <class A, class B>
void add_products(float (&d)[4], int inner, const A& a, const B& b) {
  for (int i = 0; i < 4; ++i) {
    const int row = lane() / 4 + i / 2 * 8, column = lane() % 4 * 2 + i % 2;
    for (int k = 0; k < inner; ++k) d[i] += a(row, k) * b(k, column);
  }
}

float bf16_of(std::uint32_t pair, int which) { return std::bit_cast<float>(which ? pair & 0xffff0000u : pair << 16); }

/// A tensor core does not look at the lower 13 bits.
float tf32_of(std::uint32_t word) { return std::bit_cast<float>(word & 0xffffe000u); }

}  // namespace

void multiply_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Site site) {
  const auto all_a = all_lanes_words({a[0], a[1], a[2], a[3]}, site);
  const auto all_b = all_lanes_words({b[0], b[1]}, site);
  add_products(
      d, 16, [&](int row, int k) { return bf16_of(all_a[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2], k % 2); },
      [&](int k, int column) { return bf16_of(all_b[column * 4 + k % 8 / 2][k / 8], k % 2); });
}

void multiply_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Site site) {
  const auto all_a = all_lanes_words({a[0], a[1], a[2], a[3]}, site);
  const auto all_b = all_lanes_words({b[0], b[1]}, site);
  add_products(
      d, 8, [&](int row, int k) { return tf32_of(all_a[row % 8 * 4 + k % 4][row / 8 + k / 4 * 2]); },
      [&](int k, int column) { return tf32_of(all_b[column * 4 + k % 4][k / 4]); });
}

std::uint32_t to_tf32(float value) {
  const auto word = std::bit_cast<std::uint32_t>(value);
  const bool finite = (word & 0x7f800000u) != 0x7f800000u;
  return (finite ? word + 0x1000u : word) & 0xffffe000u;
}

void load_matrices(std::uint32_t (&registers)[4], const uint4& row, bool transposed, Site site) {
  const auto rows = all_lanes_words({row.x, row.y, row.z, row.w}, site);
  const int g = lane() / 4, t = lane() % 4;
  const auto element = [&](int matrix, int i, int j) { return rows[8 * matrix + i][j / 2] >> (j % 2 * 16) & 0xffffu; };
  for (int matrix = 0; matrix < 4; ++matrix) {
    registers[matrix] = transposed ? element(matrix, 2 * t, g) | element(matrix, 2 * t + 1, g) << 16
                                   : element(matrix, g, 2 * t) | element(matrix, g, 2 * t + 1) << 16;
  }
}

}  // namespace gradus::cuda::emulation
