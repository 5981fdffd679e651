#include "framework/testing/covering.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "framework/base/error.h"
#include "framework/random/generator.h"

namespace gradus::testing {

namespace {
constexpr int unset = -1;  ///< a factor of a row that has no level yet
}

Covering::Covering(std::vector<int> levels, std::uint64_t seed) : levels_(std::move(levels)), seed_(seed) {
  if (levels_.empty() || *std::min_element(levels_.begin(), levels_.end()) < 1)
    fail<ContractError>("a covering needs factors, each of one level at least");
  pairs_.resize(levels_.size());
  for (std::size_t a = 0; a < levels_.size(); ++a) {
    seen_.emplace_back(levels_[a]);
    for (std::size_t b = 0; b < levels_.size(); ++b) pairs_[a].emplace_back(levels_[a] * levels_[b]);
  }
  note(std::vector<int>(levels_.size()));
}

int& Covering::pairs(std::size_t a, int level_of_a, std::size_t b, int level_of_b) {
  return a < b ? pairs_[a][b][level_of_a * levels_[b] + level_of_b]
               : pairs_[b][a][level_of_b * levels_[a] + level_of_a];
}

void Covering::note(const std::vector<int>& row) {
  for (std::size_t a = 0; a < row.size(); ++a) {
    ++seen_[a][row[a]];
    for (std::size_t b = a + 1; b < row.size(); ++b) ++pairs(a, row[a], b, row[b]);
  }
}

int Covering::best_level(std::size_t factor, const std::vector<int>& row) {
  StreamReader reader(seed_, draws_++);
  std::tuple<int, int, double> least;
  int best = unset;
  for (int level = 0; level < levels_[factor]; ++level) {
    int together = 0;
    for (std::size_t other = 0; other < row.size(); ++other) {
      if (row[other] != unset) together += pairs(factor, level, other, row[other]);
    }
    const std::tuple own{seen_[factor][level], together, reader.next_uniform()};
    if (best != unset && least <= own) continue;
    least = own;
    best = level;
  }
  return best;
}

std::vector<int> Covering::drawn_row(int first) {
  std::vector<int> row(levels_.size(), unset);
  row[0] = first;
  std::vector<std::size_t> order(levels_.size() - 1);
  std::iota(order.begin(), order.end(), std::size_t{1});
  StreamReader reader(seed_, draws_++);
  for (std::size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[static_cast<std::size_t>(reader.next_integer(0, static_cast<std::int64_t>(i) - 1))]);
  for (const std::size_t factor : order) row[factor] = best_level(factor, row);
  return row;
}

int Covering::new_pairs(const std::vector<int>& row) {
  int count = 0;
  for (std::size_t a = 0; a < row.size(); ++a) {
    for (std::size_t b = a + 1; b < row.size(); ++b) count += pairs(a, row[a], b, row[b]) == 0;
  }
  return count;
}

std::vector<int> Covering::next(int first) {
  constexpr int candidates = 20;
  std::vector<int> best = drawn_row(first);
  for (int candidate = 1; candidate < candidates; ++candidate) {
    std::vector<int> row = drawn_row(first);
    if (new_pairs(row) > new_pairs(best)) best = std::move(row);
  }
  note(best);
  return best;
}

}  // namespace gradus::testing
