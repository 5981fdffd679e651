// Memory of tensors: what is kept and handed out again, what is counted, and what is said where it is full.
#include "framework/tensor/memory.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <sstream>

#include "framework/autograd/autograd.h"
#include "framework/autograd/recompute.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"
#include "tests/messages.h"

using namespace gradus;

namespace {

constexpr std::int64_t kib = 1024, mib = kib * kib;

/// A source that notes what is asked of it, with room for `room` bytes.
struct Bank {
  std::int64_t room = std::int64_t{1} << 40, held = 0;
  std::map<void*, std::int64_t> blocks = {};

  CachingAllocator allocator(bool caching = true) {
    return CachingAllocator({.name = "bank:0",
                             .alignment = 64,
                             .caching = caching,
                             .allocate = [this](std::int64_t capacity) { return lend(capacity); },
                             .release = [this](void* block) { take_back(block); },
                             .room =
                                 [this] {
                                   return MemoryRoom{room - held, room};
                                 }});
  }
  ~Bank() {
    for (const auto& [block, capacity] : blocks) std::free(block);
  }
  void* lend(std::int64_t capacity) {
    if (capacity > room - held) return nullptr;
    void* block = std::malloc(1);
    blocks[block] = capacity;
    held += capacity;
    return block;
  }
  void take_back(void* block) {
    held -= blocks.at(block);
    blocks.erase(block);
    std::free(block);
  }
};

/// Limits the memory of the CPU to `more` bytes beyond what is held, while it lives.
struct LimitScope {
  explicit LimitScope(std::int64_t more) {
    empty_cache();
    set_memory_limit({}, memory_statistics().bytes_reserved + more);
  }
  ~LimitScope() { set_memory_limit({}, std::numeric_limits<std::int64_t>::max()); }
};

bool any_has(const std::string& text, const std::string& first, const std::string& second) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (has(line, first) && has(line, second)) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("a block that went back is handed out again, for as much or somewhat less") {
  Bank bank;
  CachingAllocator allocator = bank.allocator();
  void* const first = allocator.allocate(4 * mib);
  allocator.release(first);
  CHECK(bank.held == 4 * mib);
  CHECK(allocator.allocate(3 * mib) == first);
  void* const second = allocator.allocate(3 * mib);
  CHECK(second != first);
  allocator.release(first);
  void* const third = allocator.allocate(2 * mib);  // 4 MiB are too many for it
  CHECK(third != first);
  CHECK(allocator.statistics().allocations == 4);
  CHECK(allocator.statistics().system_allocations == 3);
  allocator.release(second);
  allocator.release(third);
  allocator.empty_cache();
  CHECK(bank.held == 0);
}

TEST_CASE("what is counted") {
  Bank bank;
  CachingAllocator allocator = bank.allocator();
  void* const small = allocator.allocate(1);
  CHECK(allocator.statistics().bytes_in_use == 64);
  void* const odd = allocator.allocate(mib + 1);  // an eighth more at most
  CHECK(allocator.statistics().bytes_in_use == 64 + mib + mib / 8);
  allocator.release(odd);
  const AllocatorStatistics after = allocator.statistics();
  CHECK(after.bytes_in_use == 64);
  CHECK(after.peak_bytes_in_use == 64 + mib + mib / 8);
  CHECK(after.bytes_reserved == bank.held);
  CHECK(after.bytes_reserved == after.peak_bytes_in_use);
  allocator.release(small);
  allocator.empty_cache();
  CHECK(allocator.statistics().bytes_reserved == 0);
}

TEST_CASE("without a cache blocks are exact and go back at once") {
  Bank bank;
  CachingAllocator allocator = bank.allocator(false);
  void* const block = allocator.allocate(mib + 1);
  CHECK(bank.held == mib + 1);
  allocator.release(block);
  CHECK(bank.held == 0);
  CHECK(allocator.statistics().bytes_reserved == 0);
}

TEST_CASE("where there is no room, cached blocks are given back first") {
  Bank bank{.room = 10 * mib};
  CachingAllocator allocator = bank.allocator();
  void* const kept = allocator.allocate(2 * mib);
  allocator.release(allocator.allocate(6 * mib));
  void* const large = allocator.allocate(8 * mib);
  CHECK(bank.held == 10 * mib);
  allocator.release(large);
  void* const nearly = allocator.allocate(7 * mib);
  const std::string message = message_of<MemoryError>([&] { allocator.allocate(4 * mib); });
  CHECK(has(message,
            "out of memory on bank:0: 4.0 MiB asked for by code outside of ops; 10 MiB in use, 0 bytes free of 10 MiB "
            "on the device\n"));
  allocator.release(nearly);
  CHECK(has(message_of<MemoryError>([&] { allocator.allocate(9 * mib); }),
            "9.0 MiB asked for by code outside of ops; 2.0 MiB in use, 8.0 MiB cached, which were given back, 8.0 MiB "
            "free of 10 MiB on the device\n"));
  CHECK(bank.held == 2 * mib);
  allocator.release(kept);
}

TEST_CASE("no more than the limit is held") {
  Bank bank;
  CachingAllocator allocator = bank.allocator();
  allocator.set_limit(4 * mib);
  void* const block = allocator.allocate(3 * mib);
  CHECK(has(message_of<MemoryError>([&] { allocator.allocate(2 * mib); }), "3.0 MiB in use, the limit is 4.0 MiB, "));
  CHECK(bank.held == 3 * mib);
  allocator.release(block);
  allocator.release(allocator.allocate(2 * mib));
  CHECK(bank.held == 3 * mib);
}

TEST_CASE("a pool's blocks are its own until it is given up") {
  for (const bool caching : {true, false}) {
    CAPTURE(caching);
    Bank bank;
    CachingAllocator allocator = bank.allocator(caching);
    CachingAllocator::Pool pool;
    void* const before = allocator.allocate(mib);
    allocator.fill_pool(pool);
    CHECK(has(message_of<std::runtime_error>([&] { allocator.fill_pool(pool); }), "while another one is"));
    void* const own = allocator.allocate(mib);
    allocator.release(own);
    void* const again = allocator.allocate(mib);
    CHECK((again == own) == caching);
    void* const kept = allocator.allocate(mib);
    allocator.release(before);  // of no pool, but the source might wait
    CHECK(bank.blocks.contains(before));
    allocator.close_pool();
    allocator.release(again);
    void* const other = allocator.allocate(mib);
    CHECK(other != again);
    const std::int64_t held = bank.held;
    allocator.give_up_pool(pool);
    CHECK(bank.held == (caching ? held : 2 * mib));  // what is in use stays
    allocator.release(kept);
    allocator.release(other);
    allocator.empty_cache();
    CHECK(bank.held == 0);
    CHECK(allocator.statistics().bytes_reserved == 0);
  }
}

TEST_CASE("tensors use memory that was let go") {
  { const Tensor a = Tensor::empty({1000, 1000}, DType::f32); }
  const AllocatorStatistics before = memory_statistics();
  { const Tensor b = Tensor::empty({1000, 1000}, DType::f32); }
  const AllocatorStatistics after = memory_statistics();
  CHECK(after.allocations == before.allocations + 1);
#if !defined(__SANITIZE_ADDRESS__)
  CHECK(after.system_allocations == before.system_allocations);
#endif
  CHECK(after.bytes_in_use == before.bytes_in_use);
  empty_cache();
  CHECK(memory_statistics().bytes_reserved == memory_statistics().bytes_in_use);
}

TEST_CASE("the report names who holds the memory, those with most first") {
  const Tensor x = ones({64, 1024});
  x.set_requires_grad();
  const Tensor product = matmul(x, transpose(x, 0, 1));
  std::vector<Tensor> more;
  for (int i = 0; i < 3; ++i) more.push_back(exp(x));
  backward(sum(exp(x * 2.0)));
  const std::string report = memory_report();
  CHECK(any_has(report, "256 KiB        1  ", "[ones] at tests/memory_test.cpp:"));
  CHECK(any_has(report, "16 KiB        1  ", "[matmul] at tests/memory_test.cpp:"));
  CHECK(any_has(report, "768 KiB        3  ", "[exp] at tests/memory_test.cpp:"));
  CHECK(any_has(report, "256 KiB        1  ", ", backward"));
  CHECK(report.find("[exp]") < report.find("[ones]"));
  CHECK(report.find("[ones]") < report.find("[matmul]"));
}

TEST_CASE("an op made of ops is one; ops that run again for backward are themselves") {
  const Tensor x = ones({128, 80});
  x.set_requires_grad();
  const std::int64_t line = SourceLocation::current().line();
  const Tensor y = recompute([](const Tensor& t) { return exp(exp(exp(t))); }, x);
  std::string seen;
  register_hook(x, [&](const Tensor&) { return seen = memory_report(), Tensor(); });
  backward(sum(y), Tensor(), {.retain_graph = true});
  INFO(seen);
  // The result, and the three that ran again and are kept for a second backward.
  CHECK(any_has(seen, "160 KiB        4  ", fmt::format("[exp] at tests/memory_test.cpp:{}", line + 1)));
  CHECK(has(seen, fmt::format("[exp] at tests/memory_test.cpp:{}, backward", line + 1)));
}

TEST_CASE("where the CPU's memory is full, the error says for whom, who has it, and how to need less") {
  const LimitScope limit(3 * mib + kib);  // and a number
  const Tensor kept = zeros({512, 1024});
  const std::int64_t line = SourceLocation::current().line();
  const std::string message = message_of<MemoryError>([&] { kept + kept; });
  CHECK(has(message,
            fmt::format("out of memory on cpu: 2.0 MiB asked for by [add] at tests/memory_test.cpp:{}; ", line + 1)));
  CHECK(any_has(message, "2.0 MiB        1  ", fmt::format("[zeros] at tests/memory_test.cpp:{}", line - 1)));
  CHECK(has(message, "--micro_batches"));
  CHECK(kept.to_vector<double>()[0] == 0);  // and the program can go on
  CHECK((kept.window({256, 1024}, {1024, 1}, 0) + 1.0).to_vector<double>()[0] == 1);
}

TEST_CASE("of many places the smaller ones are one row") {
  std::vector<MemoryUse> uses;
  const char* const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"};
  for (int i = 0; i < 12; ++i) uses.push_back({{names[i]}, (12 - i) * mib});
  uses.push_back({{"a"}, 1250 * mib});
  CHECK(memory_table(uses) ==
        "      in use   blocks  by\n"
        "   1,262 MiB        2  [a]\n"
        "      11 MiB        1  [b]\n"
        "      10 MiB        1  [c]\n"
        "     9.0 MiB        1  [d]\n"
        "     8.0 MiB        1  [e]\n"
        "     7.0 MiB        1  [f]\n"
        "     6.0 MiB        1  [g]\n"
        "     5.0 MiB        1  [h]\n"
        "      10 MiB        4  4 other places\n");
  CHECK(readable_bytes(1023) == "1023 bytes");
  CHECK(readable_bytes(1234567 * mib) == "1,234,567 MiB");
}
