// Few rows that show all levels and all pairs of them.
#include "framework/testing/covering.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "framework/base/error.h"

using namespace gradus;
using namespace gradus::testing;

namespace {

const std::vector<int> levels = {6, 5, 3, 4, 2};

std::vector<std::vector<int>> rows_of(Covering covering, int count) {
  std::vector<std::vector<int>> rows;
  for (int row = 0; row < count; ++row) rows.push_back(covering.next((row + 1) % levels[0]));
  return rows;
}

/// Pairs of levels of all but the first factor, which nobody chooses, that rows show.
std::size_t pairs_in(const std::vector<std::vector<int>>& rows) {
  std::set<std::vector<std::size_t>> pairs;
  for (const std::vector<int>& row : rows) {
    for (std::size_t a = 1; a < row.size(); ++a) {
      for (std::size_t b = a + 1; b < row.size(); ++b)
        pairs.insert({a, b, static_cast<std::size_t>(row[a]), static_cast<std::size_t>(row[b])});
    }
  }
  return pairs.size();
}

}  // namespace

TEST_CASE("every level is seen before one is seen again") {
  for (const std::uint64_t seed : {1, 2, 3, 4, 5}) {
    const std::vector<std::vector<int>> rows = rows_of(Covering(levels, seed), 5);
    for (std::size_t factor = 1; factor < levels.size(); ++factor) {
      std::set<int> seen = {0};  // the row of zeros counts
      for (int row = 0; row + 1 < levels[factor]; ++row) seen.insert(rows[row][factor]);
      CHECK(static_cast<int>(seen.size()) == levels[factor]);
    }
    for (int row = 0; row < 5; ++row) CHECK(rows[row][0] == row + 1);
  }
}

TEST_CASE("pairs of levels are seen soon: the two largest factors alone need 20 rows") {
  const std::size_t all = 5 * 3 + 5 * 4 + 5 * 2 + 3 * 4 + 3 * 2 + 4 * 2;
  for (const std::uint64_t seed : {1, 2, 3, 4, 5}) {
    CHECK(pairs_in(rows_of(Covering(levels, seed), 8)) > all / 2);
    CHECK(pairs_in(rows_of(Covering(levels, seed), 30)) > all * 95 / 100);
    CHECK(pairs_in(rows_of(Covering(levels, seed), 60)) == all);
  }
}

TEST_CASE("rows are the same for the same seed, and others for another") {
  CHECK(rows_of(Covering(levels, 7), 10) == rows_of(Covering(levels, 7), 10));
  CHECK(rows_of(Covering(levels, 7), 10) != rows_of(Covering(levels, 8), 10));
}

TEST_CASE("a factor without levels is refused") {
  CHECK_THROWS_AS(Covering({}, 1), ContractError);
  CHECK_THROWS_AS(Covering({2, 0}, 1), ContractError);
}
