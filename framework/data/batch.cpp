#include "framework/data/batch.h"

#include <algorithm>

#include "framework/base/error.h"
#include "framework/tensor/creation.h"

namespace gradus::data {

Batch collate(const std::vector<Example>& examples) {
  if (examples.empty()) fail("a batch needs at least one example");
  const std::size_t full = examples[0].input.size();
  std::size_t used = 1;  // up to the last column in which some row is not pad
  for (const Example& example : examples) {
    if (example.input.size() != full || example.target.size() != full) fail("the examples of a batch must have one length");
    for (std::size_t t = used; t < full; ++t) {
      if (example.input[t] != 0 || example.target[t] != 0) used = t + 1;
    }
  }
  used = std::min(used, full);
  std::vector<std::int64_t> inputs, targets;
  for (const Example& example : examples) {
    inputs.insert(inputs.end(), example.input.begin(), example.input.begin() + static_cast<std::ptrdiff_t>(used));
    targets.insert(targets.end(), example.target.begin(), example.target.begin() + static_cast<std::ptrdiff_t>(used));
  }
  const Shape shape{static_cast<std::int64_t>(examples.size()), static_cast<std::int64_t>(used)};
  return {from_values(shape, inputs), from_values(shape, targets), static_cast<std::int64_t>(examples.size() * full)};
}

}  // namespace gradus::data
