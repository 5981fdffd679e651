#include "framework/testing/jacobian.h"

#include "framework/autograd/modes.h"
#include "framework/tensor/creation.h"

namespace gradus::testing {
namespace {

constexpr std::int64_t most_entries = 20000;

}  // namespace

std::int64_t coordinate(const Shape& shape, std::int64_t element, int axis) {
  for (int a = shape.rank() - 1; a > axis; --a) element /= shape[a];
  return element % shape[axis];
}

std::string place_of(const Shape& shape, std::int64_t element) {
  if (shape.numel() == 0) return "-";
  std::string text;
  for (int axis = 0; axis < shape.rank(); ++axis)
    text += (axis ? "," : "") + std::to_string(coordinate(shape, element, axis));
  return "[" + text + "]";
}

Numbers broadcast_values(const Tensor& tensor, const Shape& shape) {
  if (!tensor.defined() || tensor.rank() > shape.rank()) return {};
  const int lead = shape.rank() - tensor.rank();
  for (int axis = 0; axis < tensor.rank(); ++axis) {
    if (tensor.shape()[axis] != shape[axis + lead] && tensor.shape()[axis] != 1) return {};
  }
  const Numbers values = tensor.to_vector<double>();
  Numbers result(static_cast<std::size_t>(shape.numel()));
  for (std::int64_t e = 0; e < shape.numel(); ++e) {
    std::int64_t from = 0;
    for (int axis = 0; axis < tensor.rank(); ++axis) {
      from = from * tensor.shape()[axis] + (tensor.shape()[axis] == 1 ? 0 : coordinate(shape, e, axis + lead));
    }
    result[e] = values[from];
  }
  return result;
}

std::optional<Jacobians> Jacobians::find(const Subject& subject, Line& line, const Tensors& cotangents,
                                         std::size_t input) {
  Jacobians found;
  const Tensor& x = line.inputs()[input];
  found.input_shape_ = x.shape();
  found.columns_ = x.numel();
  for (std::size_t k = 0; k < line.outputs().size(); ++k) {
    if (!cotangents[k].defined()) continue;
    const std::string name = k < subject.outputs.size() ? subject.outputs[k] : fmt::format("output {}", k);
    found.outputs_.push_back({name, line.outputs()[k].shape(), found.rows_});
    found.rows_ += line.outputs()[k].numel();
    const Numbers values = line.outputs()[k].to_vector<double>();
    found.output_.insert(found.output_.end(), values.begin(), values.end());
  }
  if (found.rows_ * found.columns_ > most_entries || found.rows_ == 0) return std::nullopt;
  found.true_.assign(found.rows_, Numbers(found.columns_));
  found.bars_ = found.claimed_ = found.true_;
  for (std::int64_t e = 0; e < found.columns_; ++e) {
    const Line::Column column = line.column(input, e);
    for (std::int64_t o = 0; o < found.rows_; ++o) {
      found.true_[o][e] = column.value[o];
      found.bars_[o][e] = column.bar[o];
      if (!std::isfinite(column.value[o])) return std::nullopt;
      found.scale_ = std::max(found.scale_, std::fabs(column.value[o]));
    }
  }
  std::int64_t row = 0;
  for (std::size_t k = 0; k < cotangents.size(); ++k) {
    if (!cotangents[k].defined()) continue;
    for (std::int64_t o = 0; o < cotangents[k].numel(); ++o, ++row) {
      Tensors units;
      for (std::size_t l = 0; l < cotangents.size(); ++l) {
        if (!cotangents[l].defined()) {
          units.emplace_back();
          continue;
        }
        Numbers values(static_cast<std::size_t>(cotangents[l].numel()), 0.0);
        if (l == k) values[o] = 1;
        units.push_back(from_values(cotangents[l].shape(), values, cotangents[l].dtype()));
      }
      found.claimed_[row] = numbers_of(subject.backward(line.inputs(), units)[input], found.columns_);
      if (!all_finite(found.claimed_[row])) return std::nullopt;
    }
  }
  if (found.outputs_.size() == 1) {
    const Shape& shape = found.outputs_[0].shape;
    const auto offer = [&](const std::string& name, const Numbers& values) {
      if (!values.empty()) found.by_output_.emplace_back(name, values);
    };
    for (std::size_t j = 0; j < line.inputs().size(); ++j) {
      if (line.inputs()[j].defined() && line.inputs()[j].rank() > 0)
        offer("'" + subject.inputs[j] + "'", broadcast_values(line.inputs()[j], shape));
    }
    const Numbers y = line.outputs()[0].to_vector<double>();
    Numbers one_minus = y;
    for (double& value : one_minus) value = 1 - value;
    offer("the output", y);
    offer("(1 - output)", one_minus);
  }
  return found;
}

std::int64_t Jacobians::widest() const {
  std::int64_t widest = 0;
  std::vector<std::int64_t> outputs_of(static_cast<std::size_t>(columns_));
  for (std::int64_t o = 0; o < rows_; ++o) {
    std::int64_t inputs = 0;
    for (std::int64_t e = 0; e < columns_; ++e) {
      const bool depends = !same(0, true_[o][e], bars_[o][e]);
      inputs += depends;
      outputs_of[e] += depends;
    }
    widest = std::max(widest, inputs);
  }
  for (const std::int64_t outputs : outputs_of) widest = std::max(widest, outputs);
  return widest;
}

bool Jacobians::same(double claimed, double expected, double bar) const {
  return std::fabs(claimed - expected) <= 20 * bar + 1e-8 * scale_;
}

Jacobians::Entry Jacobians::entry(std::int64_t out, std::int64_t in) const {
  const double expected = true_[out][in], claimed = claimed_[out][in], bar = bars_[out][in];
  const bool no_true = same(0, expected, bar), no_claim = std::fabs(claimed) <= 1e-12 * scale_;
  if (no_true && no_claim) return Entry::both_zero;
  if (same(claimed, expected, bar)) return Entry::equal;
  return no_claim ? Entry::missing : no_true ? Entry::invented : Entry::different;
}

}  // namespace gradus::testing
