#include "framework/ops/indexing.h"

#include <cmath>
#include <limits>

#include "framework/kernels/cpu/indexed.h"
#include "framework/kernels/elements.h"
#include "framework/ops/cost.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"

namespace gradus {
namespace {

using Integers = std::vector<std::int64_t>;
constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

void require_indices(const OpCall& call, std::size_t i, std::int64_t size) {
  call.require_dtype(i, DType::i64);
  const std::int64_t position = elements::first_outside(call.input(i), size);
  if (position < 0) return;
  const std::int64_t index = call.input(i).to_vector<std::int64_t>()[static_cast<std::size_t>(position)];
  call.fail("{} {} at position {} is outside 0..{}", call.input_name(i), index, position, size - 1);
}

/// Reads every index and what it chooses, each element of the table once at most, and writes the result.
Cost reading_cost(const OpCall& call) {
  const TensorSpec out = call.spec().infer(call)[0];
  return {0, bytes_of(call.input(1)) + std::min(bytes_of(call.input(0)), bytes_of(out)) + bytes_of(out)};
}

/// An addition for each element of the source.
Cost adding_cost(const OpCall& call) { return {double(call.input(0).numel()), bytes_of_operands(call)}; }

Tensor integers(const Shape& shape, const Integers& values) { return from_values(shape, values); }

/// Calls visit(position in index, position in the table) for gather's pairs, both row-major.
template <class Visit>
void for_each_gathered(const Shape& index_shape, const Shape& table_shape, int along, const std::int64_t* index, Visit&& visit) {
  const Shape strides = contiguous_strides(table_shape);
  for (std::int64_t i = 0; i < index_shape.numel(); ++i) {
    std::int64_t rest = i, at = 0;
    for (int axis = index_shape.rank() - 1; axis >= 0; --axis) {
      const std::int64_t coordinate = rest % index_shape[axis];
      rest /= index_shape[axis];
      at += (axis == along ? index[i] : coordinate) * strides[axis];
    }
    visit(i, at);
  }
}

void require_gatherable(const OpCall& call, const Shape& table) {
  call.require_rank(1, table.rank());
  if (table.rank() == 0) call.fail("a scalar has no axis to index");
  const int along = call.axis("axis", table.rank());
  for (int axis = 0; axis < table.rank(); ++axis) {
    if (axis != along && call.input(1).shape()[axis] > table[axis]) call.fail("index is larger than the table off the axis");
  }
  require_indices(call, 1, table[along]);
}

/// The most often that one id occurs: the number of additions behind one element.
double most_frequent(const Tensor& ids) {
  std::vector<std::int64_t> values = ids.to_vector<std::int64_t>();
  std::sort(values.begin(), values.end());
  std::int64_t longest = 0, run = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    run = i > 0 && values[i] == values[i - 1] ? run + 1 : 1;
    longest = std::max(longest, run);
  }
  return double(longest);
}

double largest_magnitude(const Tensor& tensor) {
  double largest = 0;
  for (double value : tensor.to_vector<double>()) largest = std::max(largest, std::fabs(value));
  return largest;
}

}  // namespace

const OpSpec& gather_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "gather";
    spec.summary = "Reads one element for each index along an axis.";
    spec.math = "y[i, j] = x[i, index[i, j]] for the last axis; likewise for others";
    spec.derivation = "An element read several times gets the sum of the cotangents of its uses: scatter_add.";
    spec.pitfalls = "Writing in place of adding where an index occurs twice.";
    spec.inputs = {{"x"}, {.name = "index", .differentiable = false}};
    spec.attributes = {{"axis", std::int64_t{-1}, "the indexed axis"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      require_gatherable(call, call.input(0).shape());
      return {{call.input(1).shape(), call.input(0).dtype()}};
    };
    spec.saves = {.inputs = {1}};
    spec.reference = [](const OpCall& call) -> Tensors {
      const std::vector<double> table = call.input(0).to_vector<double>();
      const Integers index = call.input(1).to_vector<std::int64_t>();
      std::vector<double> out(index.size());
      for_each_gathered(call.input(1).shape(), call.input(0).shape(), normalize_axis(call.integer("axis"), call.input(0).rank()), index.data(),
                        [&](std::int64_t i, std::int64_t at) { out[i] = table[at]; });
      return {from_values(call.input(1).shape(), out, call.input(0).dtype())};
    };
    spec.cpu.forward = [](ForwardCall& call) {
      const Tensor& x = call.input(0);
      cpu::gather(call.output(0), x, call.input(1), normalize_axis(call.integer("axis"), x.rank()));
    };
    spec.backward_composite = [](BackwardCall& call) {
      call.set_gradient(0, scatter_add(call.cotangent(), call.integer("axis"), call.input(1), call.input_spec(0).shape));
    };
    const auto along = [](std::int64_t axis) { return Attributes{{"axis", axis}}; };
    spec.samples = [along](SampleMaker& make) -> std::vector<Sample> {
      return {{"rows", {make.normal({3, 5}), make.integers({3, 2}, 0, 4)}, along(-1)},
              {"columns with duplicates", {make.normal({3, 4}), make.integers({7, 4}, 0, 2)}, along(0)},
              {"smaller index", {make.normal({3, 5, 2}), make.integers({2, 4, 1}, 0, 4)}, along(1)},
              {"wide", {make.normal({2, 3, 70}), make.integers({2, 5, 67}, 0, 2)}, along(1)}};
    };
    spec.edge_samples = [along](SampleMaker& make) -> std::vector<Sample> {
      return {{"special values", {make.values({4}, {nan, inf, -0.0, -inf}), integers({4}, {3, 0, 2, 0})}, along(0)},
              {"nothing", {make.normal({3, 5}), make.integers({3, 0}, 0, 4)}, along(1)}};
    };
    spec.error_samples = [along](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"outside", {make.normal({3}), integers({2}, {0, 3})}, along(0), "index 3 at position 1 is outside 0..2: x (3) f64 cpu, index (2) i64 cpu"},
              {"negative", {make.normal({3}), integers({1}, {-1})}, along(0), "index -1 at position 0 is outside 0..2"},
              {"rank", {make.normal({3, 2}), integers({1}, {0})}, along(0), "index must have 2 axes, not 1"},
              {"dtype", {make.normal({3}), make.normal({3})}, along(0), "index must be i64, not f64"}};
    };
    spec.error_model.roundings = [](const OpCall&) { return 0.0; };
    spec.cost = reading_cost;
    return spec;
  }();
  return op;
}

const OpSpec& scatter_add_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "scatter_add";
    spec.summary = "Adds each element at an index along an axis of a table of zeros: the adjoint of gather.";
    spec.math = "y[i, index[i, j]] += source[i, j] for the last axis; likewise for others";
    spec.derivation = "Each source element has slope 1 in one place: its gradient is read from there (gather).";
    spec.inputs = {{"source"}, {.name = "index", .differentiable = false}};
    spec.attributes = {{"axis", std::int64_t{-1}, "the indexed axis"}, {"shape", Integers{}, "shape of the result"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      call.require_compute_dtype(0);
      const Shape shape(call.attributes().integers("shape"));
      if (!(call.input(0).shape() == call.input(1).shape())) call.fail("source and index need one shape");
      require_gatherable(call, shape);
      return {{shape, call.input(0).dtype()}};
    };
    spec.saves = {.inputs = {1}};
    spec.reference = [](const OpCall& call) -> Tensors {
      const Shape shape(call.attributes().integers("shape"));
      const std::vector<double> source = call.input(0).to_vector<double>();
      const Integers index = call.input(1).to_vector<std::int64_t>();
      std::vector<double> out(shape.numel(), 0.0);
      for_each_gathered(call.input(1).shape(), shape, normalize_axis(call.integer("axis"), shape.rank()), index.data(),
                        [&](std::int64_t i, std::int64_t at) { out[at] += source[i]; });
      return {from_values(shape, out, call.input(0).dtype())};
    };
    spec.cpu.forward = [](ForwardCall& call) {
      const Tensor out = zeros(call.promised()[0].shape, call.input(0).dtype());
      cpu::scatter_add(out, call.input(0), call.input(1), normalize_axis(call.integer("axis"), out.rank()));
      call.set_output(0, out);
    };
    spec.backward_composite = [](BackwardCall& call) {
      call.set_gradient(0, gather(call.cotangent(), call.integer("axis"), call.input(1)));
    };
    const auto into = [](std::int64_t axis, Integers shape) { return Attributes{{"axis", axis}, {"shape", std::move(shape)}}; };
    spec.samples = [into](SampleMaker& make) -> std::vector<Sample> {
      return {{"rows", {make.normal({3, 2}), make.integers({3, 2}, 0, 4)}, into(-1, {3, 5})},
              {"duplicates", {make.normal({7, 4}), make.integers({7, 4}, 0, 2)}, into(0, {3, 4})},
              {"smaller source", {make.normal({2, 4, 3}), make.integers({2, 4, 3}, 0, 1)}, into(0, {2, 5, 3})},
              {"wide", {make.normal({2, 5, 67}), make.integers({2, 5, 67}, 0, 2)}, into(1, {2, 3, 70})}};
    };
    spec.edge_samples = [into](SampleMaker& make) -> std::vector<Sample> {
      return {{"special values", {make.values({4}, {nan, inf, -0.0, -inf}), integers({4}, {1, 0, 2, 0})}, into(0, {4})},
              {"nothing", {make.normal({3, 0}), make.integers({3, 0}, 0, 4)}, into(1, {3, 2})}};
    };
    spec.error_samples = [into](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"outside", {make.normal({2}), integers({2}, {0, 3})}, into(0, {3}), "index 3 at position 1 is outside 0..2"},
              {"shapes", {make.normal({2}), integers({1}, {0})}, into(0, {3}), "source and index need one shape"}};
    };
    spec.error_model.roundings = [](const OpCall& call) { return call.input(0).numel() + 1.0; };
    spec.error_model.magnitude = [](const OpCall& call, const Tensors&) { return call.input(0).numel() * largest_magnitude(call.input(0)); };
    spec.cost = adding_cost;
    return spec;
  }();
  return op;
}

const OpSpec& index_select_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "index_select";
    spec.summary = "The slices of one axis at the given positions.";
    spec.math = "y[..., j, ...] = x[..., index[j], ...]";
    spec.derivation = "A slice read several times gets the sum of the cotangents of its uses.";
    spec.pitfalls = "Writing in place of adding where a position occurs twice.";
    spec.inputs = {{"x"}, {.name = "index", .differentiable = false}};
    spec.attributes = {{"axis", std::int64_t{0}, "the indexed axis"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      call.require_rank(1, 1);
      if (call.input(0).rank() == 0) call.fail("a scalar has no axis to index");
      Shape shape = call.input(0).shape();
      const int axis = call.axis("axis", shape.rank());
      require_indices(call, 1, shape[axis]);
      shape[axis] = call.input(1).shape()[0];
      return {{shape, call.input(0).dtype()}};
    };
    spec.saves = {.inputs = {1}};
    spec.reference = [](const OpCall& call) -> Tensors {
      Shape shape = call.input(0).shape();
      const int axis = normalize_axis(call.integer("axis"), shape.rank());
      const Integers index = call.input(1).to_vector<std::int64_t>();
      const std::vector<double> from = call.input(0).to_vector<double>();
      const std::int64_t size = shape[axis];
      shape[axis] = index.size();
      std::int64_t inner = 1;
      for (int i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
      std::vector<double> out(shape.numel());
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(out.size()); ++i) {
        const std::int64_t column = i % inner, position = i / inner % shape[axis], outer = i / inner / shape[axis];
        out[i] = from[(outer * size + index[position]) * inner + column];
      }
      return {from_values(shape, out, call.input(0).dtype())};
    };
    spec.cpu.forward = [](ForwardCall& call) {
      const Tensor& x = call.input(0);
      cpu::select(call.output(0), x, call.input(1), normalize_axis(call.integer("axis"), x.rank()));
    };
    spec.backward_composite = [](BackwardCall& call) {
      // The axis moved to the front turns the slices into rows of a table.
      const Shape& shape = call.input_spec(0).shape;
      const std::int64_t axis = normalize_axis(call.integer("axis"), shape.rank()), size = shape[static_cast<int>(axis)];
      const Tensor front = transpose(call.cotangent(), 0, axis);
      Shape rest = front.shape();
      rest[0] = size;
      const std::int64_t count = front.shape()[0];
      const Tensor rows = reshape(front, {count, count == 0 ? 0 : front.numel() / count});
      if (count == 0) {
        call.set_gradient(0, zeros(shape, front.dtype(), front.device()));
        return;
      }
      call.set_gradient(0, transpose(reshape(embedding_add(rows, call.input(1), size), rest), 0, axis));
    };
    const auto along = [](std::int64_t axis) { return Attributes{{"axis", axis}}; };
    spec.samples = [along](SampleMaker& make) -> std::vector<Sample> {
      return {{"rows", {make.normal({5, 3}), integers({3}, {4, 0, 2})}, along(0)},
              {"duplicates", {make.normal({3, 4}), integers({5}, {1, 1, 3, 0, 1})}, along(1)},
              {"middle", {make.normal({2, 3, 5}), integers({2}, {2, 2})}, along(1)}};
    };
    spec.edge_samples = [along](SampleMaker& make) -> std::vector<Sample> {
      return {{"special values", {make.values({4}, {nan, inf, -0.0, -inf}), integers({4}, {3, 0, 2, 0})}, along(0)},
              {"nothing", {make.normal({3, 2}), make.integers({0}, 0, 1)}, along(0)}};
    };
    spec.error_samples = [along](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"outside", {make.normal({3}), integers({1}, {3})}, along(0), "index 3 at position 0 is outside 0..2: x (3) f64 cpu"},
              {"rank", {make.normal({3}), integers({1, 1}, {0})}, along(0), "index must have 1 axis, not 2"}};
    };
    spec.error_model.roundings = [](const OpCall&) { return 0.0; };
    spec.cost = reading_cost;
    return spec;
  }();
  return op;
}

const OpSpec& embedding_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "embedding";
    spec.summary = "Reads a row of a table for each id.";
    spec.math = "y[i, c] = weight[ids[i], c]";
    spec.derivation = "A row is used once for each occurrence of its id, so its gradient is the sum of their cotangents.";
    spec.pitfalls = "Duplicate ids: `=` for `+=` keeps only the last occurrence.";
    spec.inputs = {{"weight"}, {.name = "ids", .differentiable = false}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      call.require_rank(0, 2);
      require_indices(call, 1, call.input(0).shape()[0]);
      Shape shape = call.input(1).shape();
      shape.push_back(call.input(0).shape()[1]);
      return {{shape, call.input(0).dtype()}};
    };
    spec.saves = {.inputs = {1}};
    spec.reference = [](const OpCall& call) -> Tensors {
      const std::vector<double> table = call.input(0).to_vector<double>();
      const std::int64_t columns = call.input(0).shape()[1];
      std::vector<double> out;
      for (std::int64_t id : call.input(1).to_vector<std::int64_t>()) {
        out.insert(out.end(), table.begin() + id * columns, table.begin() + (id + 1) * columns);
      }
      Shape shape = call.input(1).shape();
      shape.push_back(columns);
      return {from_values(shape, out, call.input(0).dtype())};
    };
    spec.cpu.forward = [](ForwardCall& call) { cpu::select(call.output(0), call.input(0), call.input(1), 0); };
    spec.backward_composite = [](BackwardCall& call) {
      const Shape& table = call.input_spec(0).shape;
      const std::int64_t count = call.input_spec(1).shape.numel();
      call.set_gradient(0, embedding_add(reshape(call.cotangent(), {count, table[1]}), reshape(call.input(1), {count}), table[0]));
    };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"duplicates", {make.normal({5, 3}), integers({2, 3}, {0, 4, 4, 2, 4, 0})}, {}},
              {"one id", {make.normal({3, 7}), integers({}, {2})}, {}},
              {"many", {make.normal({11, 5}), make.integers({67}, 0, 10)}, {}},
              {"wide", {make.normal({3, 67}), make.integers({5}, 0, 2)}, {}}};
    };
    spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"special values", {make.values({2, 2}, {nan, inf, -0.0, -inf}), integers({3}, {1, 0, 1})}, {}},
              {"no ids", {make.normal({3, 2}), make.integers({0, 2}, 0, 1)}, {}}};
    };
    spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"outside", {make.normal({3, 2}), integers({2}, {1, 3})}, {}, "ids 3 at position 1 is outside 0..2: weight (3,2) f64 cpu, ids (2) i64 cpu"},
              {"dtype", {make.normal({3, 2}), make.normal({2})}, {}, "ids must be i64, not f64"},
              {"rank", {make.normal({3}), integers({1}, {0})}, {}, "weight must have 2 axes, not 1"}};
    };
    spec.error_model.roundings = [](const OpCall&) { return 0.0; };
    spec.cost = reading_cost;
    return spec;
  }();
  return op;
}

const OpSpec& embedding_add_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "embedding_add";
    spec.summary = "Adds rows into a table of zeros at the given ids: the adjoint of embedding.";
    spec.math = "y[ids[i], c] += source[i, c], in the order of i";
    spec.derivation = "Each source row has slope 1 in one row of the table: its gradient is read from there (embedding).";
    spec.inputs = {{"source"}, {.name = "ids", .differentiable = false}};
    spec.attributes = {{"rows", std::int64_t{0}, "rows of the table"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      call.require_compute_dtype(0);
      call.require_rank(0, 2);
      call.require_rank(1, 1);
      if (call.input(0).shape()[0] != call.input(1).shape()[0]) call.fail("as many ids as source rows are needed");
      if (call.integer("rows") < 0) call.fail("rows must not be negative");
      require_indices(call, 1, call.integer("rows"));
      return {{{call.integer("rows"), call.input(0).shape()[1]}, call.input(0).dtype()}};
    };
    spec.saves = {.inputs = {1}};
    spec.reference = [](const OpCall& call) -> Tensors {
      const std::int64_t columns = call.input(0).shape()[1];
      const std::vector<double> source = call.input(0).to_vector<double>();
      const Integers ids = call.input(1).to_vector<std::int64_t>();
      std::vector<double> out(call.integer("rows") * columns, 0.0);
      for (std::size_t i = 0; i < ids.size(); ++i) {
        for (std::int64_t c = 0; c < columns; ++c) out[ids[i] * columns + c] += source[i * columns + c];
      }
      return {from_values({call.integer("rows"), columns}, out, call.input(0).dtype())};
    };
    spec.cpu.forward = [](ForwardCall& call) {
      const Tensor out = zeros(call.promised()[0].shape, call.input(0).dtype());
      cpu::add_rows(out, call.input(0), call.input(1));
      call.set_output(0, out);
    };
    spec.backward_composite = [](BackwardCall& call) { call.set_gradient(0, embedding(call.cotangent(), call.input(1))); };
    const auto rows = [](std::int64_t count) { return Attributes{{"rows", count}}; };
    spec.samples = [rows](SampleMaker& make) -> std::vector<Sample> {
      return {{"duplicates", {make.normal({5, 3}), integers({5}, {0, 3, 3, 1, 3})}, rows(4)},
              {"wide", {make.normal({7, 67}), make.integers({7}, 0, 2)}, rows(3)}};
    };
    spec.edge_samples = [rows](SampleMaker& make) -> std::vector<Sample> {
      return {{"special values", {make.values({2, 2}, {nan, inf, -0.0, -inf}), integers({2}, {1, 1})}, rows(2)},
              {"no ids", {make.normal({0, 2}), make.integers({0}, 0, 1)}, rows(3)}};
    };
    spec.error_samples = [rows](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"outside", {make.normal({1, 2}), integers({1}, {3})}, rows(3), "ids 3 at position 0 is outside 0..2"},
              {"count", {make.normal({2, 2}), integers({1}, {0})}, rows(3), "as many ids as source rows are needed"}};
    };
    spec.error_model.roundings = [](const OpCall& call) { return most_frequent(call.input(1)) + 1; };
    spec.error_model.magnitude = [](const OpCall& call, const Tensors&) {
      return most_frequent(call.input(1)) * largest_magnitude(call.input(0));
    };
    spec.cost = adding_cost;
    return spec;
  }();
  return op;
}

Tensor gather(const Tensor& x, std::int64_t axis, const Tensor& index, SourceLocation where) {
  return apply(gather_op(), {x, index}, {{"axis", axis}}, where)[0];
}
Tensor scatter_add(const Tensor& source, std::int64_t axis, const Tensor& index, const Shape& shape, SourceLocation where) {
  return apply(scatter_add_op(), {source, index}, {{"axis", axis}, {"shape", shape.to_vector()}}, where)[0];
}
Tensor index_select(const Tensor& x, std::int64_t axis, const Tensor& index, SourceLocation where) {
  return apply(index_select_op(), {x, index}, {{"axis", axis}}, where)[0];
}
Tensor embedding(const Tensor& weight, const Tensor& ids, SourceLocation where) {
  return apply(embedding_op(), {weight, ids}, {}, where)[0];
}
Tensor embedding_add(const Tensor& source, const Tensor& ids, std::int64_t rows, SourceLocation where) {
  return apply(embedding_add_op(), {source, ids}, {{"rows", rows}}, where)[0];
}

}  // namespace gradus
