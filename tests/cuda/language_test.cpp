// CUDA's built-in variables and functions, as its programming guide describes them.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "tests/cuda/buffer.h"
#include "tests/cuda/language_kernels.h"
#include "tests/cuda/schedules.h"

using namespace gradus::cuda;

TEST_CASE("shuffles and votes") {
  for_each_schedule([] {
    Buffer<int> results(32 * 12);
    language::shuffles_and_votes(results.data(), nullptr);
    const std::vector<int> found = results.values();
    for (int lane = 0; lane < 32; ++lane) {
      CAPTURE(lane);
      const int* row = &found[12 * lane];
      CHECK(row[0] == 5);
      CHECK(row[1] == lane / 8 * 8 + 3);
      CHECK(row[2] == (lane ^ 17));
      CHECK(row[3] == (lane % 8 < 4 ? lane : lane - 4));  // an earlier segment can be read, a later one not
      CHECK(row[4] == (lane + 9 < 32 ? lane + 9 : lane));
      CHECK(row[5] == (lane % 8 + 3 < 8 ? lane + 3 : lane));
      CHECK(row[6] == (lane >= 9 ? lane - 9 : lane));
      CHECK(row[7] == (lane % 8 >= 3 ? lane - 3 : lane));
      CHECK(static_cast<unsigned>(row[8]) == (lane < 16 ? 0x00009249u : 0x49240000u));
      CHECK(row[9] == (lane >= 16));
      CHECK(row[10] == (lane < 16));
      CHECK(row[11] == lane / 2);
    }
  });
}

TEST_CASE("functions of one thread") {
  Buffer<double> results(12);
  Buffer<int> one(std::vector<int>{1});
  language::functions(results.data(), one.data(), nullptr);
  const std::vector<double> found = results.values();
  CHECK(std::vector<double>(found.begin(), found.begin() + 5) == std::vector<double>{8, 4, 24, 0x40000000, 0.5});
  CHECK(found[5] == doctest::Approx(std::sqrt(0.5)).epsilon(1e-6));
  CHECK(found[6] == doctest::Approx(std::sqrt(0.5)).epsilon(1e-15));
  CHECK(std::vector<double>(found.begin() + 7, found.begin() + 10) == std::vector<double>{37, 74, 20.5});
  CHECK(found[10] == doctest::Approx(std::exp(2.0)).epsilon(1e-6));
  CHECK(found[11] == doctest::Approx(std::log(2.0)).epsilon(1e-6));
}

TEST_CASE("atomics") {
  for_each_schedule([] {
    Buffer<int> results(std::vector<int>(4, 0));
    language::atomics(results.data(), nullptr);
    CHECK(results.values() == std::vector<int>{70 * 69 / 2, 70, 1, 1});
  });
}

TEST_CASE("atomic sums in each type") {
  Buffer<float> f32(std::vector<float>{0.5f});
  Buffer<double> f64(std::vector<double>{0.25});
  Buffer<unsigned long long> u64(std::vector<unsigned long long>{1ull << 40});
  language::atomic_sums(f32.data(), f64.data(), u64.data(), nullptr);
  CHECK(f32.values()[0] == 70 * 69 / 2 + 0.5f);
  CHECK(f64.values()[0] == 70 * 69 / 2 + 0.25);
  CHECK(u64.values()[0] == (1ull << 40) + 70 * 69 / 2);
}

TEST_CASE("matrices from shared memory into registers, straight and transposed") {
  std::vector<gradus::bfloat16> x(4 * 8 * 8);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = gradus::bfloat16(static_cast<float>(i));  // all have 8 bits
  Buffer<gradus::bfloat16> on_device(x);
  for (const bool transposed : {false, true}) {
    Buffer<float> results(32 * 4 * 2);
    language::load_matrices(results.data(), on_device.data(), transposed, nullptr);
    const std::vector<float> found = results.values();
    for (int lane = 0; lane < 32; ++lane) {
      for (int matrix = 0; matrix < 4; ++matrix) {
        for (int which = 0; which < 2; ++which) {
          int i = lane / 4, j = lane % 4 * 2 + which;
          if (transposed) std::swap(i, j);
          CHECK(found[lane * 8 + matrix * 2 + which] == matrix * 64 + i * 8 + j);
        }
      }
    }
  }
}

TEST_CASE("fences and a counter let the last block use what the others wrote") {
  for_each_schedule([] {
    std::vector<float> x(100);
    std::iota(x.begin(), x.end(), 0.0f);
    Buffer<float> on_device(x), partial(8), total(1);
    Buffer<unsigned> done(std::vector<unsigned>{0});
    language::sum_by_the_last_block(total.data(), partial.data(), done.data(), on_device.data(), x.size(), nullptr);
    CHECK(total.values()[0] == 100 * 99 / 2);
  });
}

TEST_CASE("indices of threads and blocks") {
  for_each_schedule([] {
    std::vector<int> expected(3 * 2 * 2 * 4 * 3 * 2);
    std::iota(expected.begin(), expected.end(), 0);
    Buffer<int> results(expected.size());
    language::indices(results.data(), nullptr);
    CHECK(results.values() == expected);
  });
}
