// Few rows that show much: each row gives every one of several factors a level, so that all levels are seen early and
// all pairs of levels soon.
#pragma once

#include <cstdint>
#include <vector>

namespace gradus::testing {

class Covering {
 public:
  /// `levels`: how many each factor has, one at least. The row of all zeros counts as seen. Ties are broken by `seed`.
  Covering(std::vector<int> levels, std::uint64_t seed);

  /// A row with this level of the first factor. Of each other factor a level that was seen least; where there are
  /// several, one that was seen least together with the other levels of the row.
  std::vector<int> next(int first);

 private:
  int& pairs(std::size_t a, int level_of_a, std::size_t b, int level_of_b);
  void note(const std::vector<int>& row);
  int new_pairs(const std::vector<int>& row);
  std::vector<int> drawn_row(int first);
  int best_level(std::size_t factor, const std::vector<int>& row);

  std::vector<int> levels_;
  std::vector<std::vector<int>> seen_;                ///< by factor and level
  std::vector<std::vector<std::vector<int>>> pairs_;  ///< by two factors, then by both levels
  std::uint64_t seed_, draws_ = 0;
};

}  // namespace gradus::testing
