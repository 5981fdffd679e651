// What the gradient checker says about every bug of the zoo: the page docs/bug-zoo.md.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "framework/testing/bug_zoo.h"
#include "framework/testing/gradcheck.h"

namespace gradus::testing {

enum class Answer {
  precise,  ///< names the cause
  near,     ///< names another that is not wrong either
  none,     ///< says nothing
  wrong,
};

struct Sighting {
  std::string bug, op, summary;
  bool rejected = false, rejected_when_small = false;  ///< with upstream gradients near 1 and near a millionth
  std::optional<Hint> hint;
  Answer answer = Answer::none;
};

std::vector<Sighting> visit_zoo(std::uint64_t seed = 1);
std::string to_markdown(const std::vector<Sighting>& sightings);

}  // namespace gradus::testing
