#include "framework/data/batch.h"

#include <algorithm>
#include <numeric>

#include "framework/base/error.h"
#include "framework/tensor/creation.h"

namespace gradus::data {

Batch collate(const std::vector<Example>& examples) {
  if (examples.empty()) fail("a batch needs at least one example");
  const std::size_t full = examples[0].input.size();
  Batch batch{.inputs = {},
              .targets = {},
              .lengths = {},
              .predicted = 0,
              .counted_tokens = static_cast<std::int64_t>(examples.size() * full)};
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
  batch.predicted = static_cast<std::int64_t>(targets.size()) - std::count(targets.begin(), targets.end(), 0);
  const Shape shape{1, static_cast<std::int64_t>(inputs.size())};
  batch.inputs = from_values(shape, inputs);
  batch.targets = from_values(shape, targets);
  return batch;
}

Batch padded(const Batch& batch, Padding padding) {
  const auto rows = static_cast<std::int64_t>(batch.lengths.size());
  if (rows == 0) return batch;
  const std::int64_t full = batch.counted_tokens / rows, longest = *std::ranges::max_element(batch.lengths);
  const std::int64_t columns = padding == Padding::to_longest ? longest : full;
  if (full * rows != batch.counted_tokens || longest > full)
    fail("a part of a batch cannot be padded: {} sequences, {} tokens counted", rows, batch.counted_tokens);
  const auto spread = [&](const Tensor& ragged) {
    const std::vector<std::int64_t> ids = ragged.to_vector<std::int64_t>();
    std::vector<std::int64_t> table(static_cast<std::size_t>(rows * columns));
    auto from = ids.begin();
    auto row = table.begin();
    for (const std::int64_t length : batch.lengths) {
      std::copy_n(from, length, row);
      from += length, row += columns;
    }
    return from_values({rows, columns}, table);
  };
  Batch result = batch;
  result.inputs = spread(batch.inputs);
  result.targets = spread(batch.targets);
  result.lengths.clear();
  return result;
}

std::vector<Batch> split(const Batch& batch, std::int64_t parts) {
  const bool ragged = !batch.lengths.empty();
  const std::int64_t sequences = ragged ? static_cast<std::int64_t>(batch.lengths.size()) : batch.inputs.size(0);
  if (parts < 1) fail("a batch can be split into one part at least, not {}", parts);
  if (parts == 1 || sequences < 2) return {batch};
  parts = std::min(parts, sequences);
  const std::vector<std::int64_t> inputs = batch.inputs.to_vector<std::int64_t>(),
                                  targets = batch.targets.to_vector<std::int64_t>();
  std::vector<Batch> result;
  std::int64_t begin = 0;
  for (std::int64_t part = 0; part < parts; ++part) {
    const std::int64_t first = part * sequences / parts, last = (part + 1) * sequences / parts;
    Batch piece = batch;
    if (ragged) piece.lengths.assign(batch.lengths.begin() + first, batch.lengths.begin() + last);
    piece.counted_tokens = part == 0 ? batch.counted_tokens : 0;
    const std::int64_t end = ragged ? std::accumulate(piece.lengths.begin(), piece.lengths.end(), begin)
                                    : begin + (last - first) * batch.inputs.size(1);
    const std::vector<std::int64_t> own_inputs(inputs.begin() + begin, inputs.begin() + end),
        own_targets(targets.begin() + begin, targets.begin() + end);
    const Shape shape = ragged ? Shape{1, end - begin} : Shape{last - first, batch.inputs.size(1)};
    piece.inputs = from_values(shape, own_inputs);
    piece.targets = from_values(shape, own_targets);
    piece.predicted = (end - begin) - std::count(own_targets.begin(), own_targets.end(), 0);
    result.push_back(std::move(piece));
    begin = end;
  }
  return result;
}

Batch on_device(const Batch& batch, Device device) {
  Batch moved = batch;
  moved.inputs = gradus::on_device(batch.inputs, device);
  moved.targets = gradus::on_device(batch.targets, device);
  return moved;
}

}  // namespace gradus::data
