// The order in which blocks, warps and lanes run (Settings::schedule).
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

namespace gradus::cuda::emulation {

class Schedule {
 public:
  explicit Schedule(std::uint64_t number) : number_(number), random_(number) {}

  /// 0 to `count` - 1, in the order of the next turn.
  template <class Index>
  void order(std::vector<Index>& order, Index count) {
    order.resize(count);
    for (Index i = 0; i < count; ++i) order[i] = number_ == 1 ? count - 1 - i : i;
    if (number_ > 1) std::shuffle(order.begin(), order.end(), random_);
  }

  /// Whether to turn to another warp although this one could go on. Most schedules run a warp as far as it comes: that
  /// is the least even of the legal orders, and shows a missing barrier best.
  bool leaves_warp_early() { return number_ > 1 && number_ % 2 == 1 && random_() % 4 == 0; }

 private:
  std::uint64_t number_;
  std::mt19937_64 random_;
};

}  // namespace gradus::cuda::emulation
