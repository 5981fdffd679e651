#include "framework/data/batch.h"

#include <algorithm>

#include "framework/base/error.h"
#include "framework/tensor/creation.h"

namespace gradus::data {

Batch collate(const std::vector<Example>& examples) {
  if (examples.empty()) fail("a batch needs at least one example");
  const std::size_t full = examples[0].input.size();
  Batch batch{
      .inputs = {}, .targets = {}, .lengths = {}, .counted_tokens = static_cast<std::int64_t>(examples.size() * full)};
  std::vector<std::int64_t> inputs, targets;
  for (const Example& example : examples) {
    if (example.input.size() != full || example.target.size() != full)
      fail("the examples of a batch must have one length");
    std::size_t used = full;
    while (used > 1 && example.input[used - 1] == 0 && example.target[used - 1] == 0) --used;
    batch.lengths.push_back(static_cast<std::int64_t>(std::min(used, full)));
    inputs.insert(inputs.end(), example.input.begin(), example.input.begin() + batch.lengths.back());
    targets.insert(targets.end(), example.target.begin(), example.target.begin() + batch.lengths.back());
  }
  const Shape shape{1, static_cast<std::int64_t>(inputs.size())};
  batch.inputs = from_values(shape, inputs);
  batch.targets = from_values(shape, targets);
  return batch;
}

}  // namespace gradus::data
