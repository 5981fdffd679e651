#include "framework/kernels/cuda/emulation/collectives.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>

#include "framework/base/source_location.h"
#include "framework/kernels/cuda/emulation/block.h"
#include "framework/kernels/cuda/emulation/report.h"
#include "framework/kernels/cuda/emulation/sanitizers.h"

namespace gradus::cuda::emulation {
namespace {

bool same_place(const Site& a, const Site& b) {
  return a.line() == b.line() && (a.file_name() == b.file_name() || std::string_view(a.file_name()) == b.file_name());
}

void arrive_and_wait(Barrier& barrier, Collective kind, Site site) {
  char* token = &barrier.tokens[barrier.generation % 2];
  const bool orders_memory = kind == Collective::syncthreads || kind == Collective::syncwarp;
  if (orders_memory) sanitizers::release(token);
  if (barrier.arrived == 0) {
    barrier.first_site = site;
    barrier.first_kind = kind;
  } else if (kind != barrier.first_kind || !same_place(site, barrier.first_site)) {
    misuse(fmt::format("threads that belong together meet in different collectives, {} here and {} at {}",
                       to_string(kind), to_string(barrier.first_kind), gradus::to_string(barrier.first_site)),
           site);
  }
  if (++barrier.arrived == barrier.expected) {
    barrier.arrived = 0;
    ++barrier.generation;  // the others may go on; this thread simply does
  } else {
    Thread& thread = *machine.current;
    thread.waiting_at = &barrier;
    thread.waiting_since = barrier.generation;
    thread.waiting_in = kind;
    thread.waiting_site = site;
    sanitizers::release(&grid_tokens.left);
    Fiber::suspend();
  }
  if (orders_memory) sanitizers::acquire(token);
}

std::uint32_t lanes_of_warp(unsigned warp) {
  const unsigned count = std::min(32u, static_cast<unsigned>(machine.threads.size()) - 32 * warp);
  return count == 32 ? all_lanes : (1u << count) - 1;
}

LaneGroup& new_group(Warp& warp) {
  const sanitizers::UnseenScope unseen;
  if (warp.groups_in_use == warp.groups.size()) warp.groups.push_back(std::make_unique<LaneGroup>());
  return *warp.groups[warp.groups_in_use++];
}

LaneGroup& group_of(std::uint32_t mask, Collective kind, Site site) {
  const unsigned number = machine.current->number;
  if (!(mask >> (number % 32) & 1u)) {
    misuse(fmt::format("lane {} calls {} with mask {:#010x}, which leaves it out", number % 32, to_string(kind), mask),
           site);
  }
  Warp& warp = machine.warps[number / 32];
  for (std::size_t i = 0; i < warp.groups_in_use; ++i) {
    if (warp.groups[i]->mask == mask) return *warp.groups[i];
  }
  LaneGroup& group = new_group(warp);
  group.mask = mask;
  group.barrier = {};
  group.barrier.expected = static_cast<unsigned>(std::popcount(mask & lanes_of_warp(number / 32)));
  return group;
}

}  // namespace

int lane() { return static_cast<int>(machine.current->number % 32); }

void block_barrier(Site site) { arrive_and_wait(machine.block_barrier, Collective::syncthreads, site); }

void warp_barrier(std::uint32_t mask, Site site) {
  arrive_and_wait(group_of(mask, Collective::syncwarp, site).barrier, Collective::syncwarp, site);
}

const unsigned char* exchange(std::uint32_t mask, const void* value, std::size_t bytes, Collective kind, Site site) {
  LaneGroup& group = group_of(mask, kind, site);
  auto& slots = group.slots[group.barrier.generation % 2];
  {
    const sanitizers::UnseenScope unseen;
    std::memcpy(slots[lane()], value, bytes);
  }
  arrive_and_wait(group.barrier, kind, site);
  return slots[0];
}

void shuffle(std::uint32_t mask, void* value, std::size_t bytes, int source, bool in_range, Site site) {
  const unsigned char* slots = exchange(mask, value, bytes, Collective::shuffle, site);
  if (!in_range) return;
  const std::uint32_t there = mask & lanes_of_warp(machine.current->number / 32);
  if (!(there >> source & 1u)) {
    misuse(
        fmt::format("lane {} shuffles from lane {}, which is not in mask {:#010x} of its warp", lane(), source, there),
        site);
  }
  std::memcpy(value, slots + slot_bytes * source, bytes);
}

std::uint32_t vote(std::uint32_t mask, bool predicate, Site site) {
  const unsigned char* slots = exchange(mask, &predicate, sizeof predicate, Collective::vote, site);
  std::uint32_t result = 0;
  for (int other = 0; other < 32; ++other) {
    if (mask & lanes_of_warp(machine.current->number / 32) & (1u << other)) {
      result |= std::uint32_t{slots[slot_bytes * other]} << other;
    }
  }
  return result;
}

void thread_fence() {
  static char token;
  sanitizers::release(&token);
  sanitizers::acquire(&token);
}

}  // namespace gradus::cuda::emulation
