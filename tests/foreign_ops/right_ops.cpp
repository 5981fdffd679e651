// An op in C++ that keeps every promise: two inputs with gradients, one of integers, an attribute, and forward mode.
//     y[m][d] = scale * table[index[m]][d] * weight[d]
#include <stdexcept>
#include <string>
#include <vector>

#include "framework/testing/gradus_op.h"

namespace {

struct Lookup {
  explicit Lookup(const gradus_call& call)
      : rows(call.inputs[0].shape[0]),
        width(call.inputs[0].shape[1]),
        count(call.inputs[1].shape[0]),
        table(static_cast<const double*>(call.inputs[0].data)),
        weight(static_cast<const double*>(call.inputs[2].data)),
        index(static_cast<const std::int64_t*>(call.inputs[1].data)),
        scale(call.attributes[0]) {}
  std::int64_t rows, width, count;
  const double *table, *weight;
  const std::int64_t* index;
  double scale;
};

int refuse(const gradus_call* call, const std::string& why) {
  why.copy(call->message, GRADUS_MESSAGE_SIZE - 1);
  return 1;
}

int shape(const gradus_call* call) {
  const gradus_tensor &table = call->inputs[0], &index = call->inputs[1], &weight = call->inputs[2];
  if (table.rank != 2 || index.rank != 1 || weight.rank != 1)
    return refuse(call, "table needs two axes, the others one");
  if (weight.shape[0] != table.shape[1]) return refuse(call, "weight and the rows of table differ in size");
  call->outputs[0].rank = 2;
  call->outputs[0].shape[0] = index.shape[0];
  call->outputs[0].shape[1] = table.shape[1];
  return 0;
}

int forward(const gradus_call* call) try {
  const Lookup at(*call);
  double* y = static_cast<double*>(call->outputs[0].data);
  for (std::int64_t m = 0; m < at.count; ++m) {
    if (at.index[m] < 0 || at.index[m] >= at.rows) throw std::out_of_range("index out of range");
    for (std::int64_t d = 0; d < at.width; ++d)
      y[m * at.width + d] = at.scale * at.table[at.index[m] * at.width + d] * at.weight[d];
  }
  return 0;
} catch (const std::exception& error) {
  return refuse(call, error.what());
}

int backward(const gradus_call* call) {
  const Lookup at(*call);
  const double* grad_y = static_cast<const double*>(call->cotangents[0].data);
  std::vector<double> grad_table(static_cast<std::size_t>(at.rows * at.width)),
      grad_weight(static_cast<std::size_t>(at.width));
  for (std::int64_t m = 0; m < at.count; ++m) {
    for (std::int64_t d = 0; d < at.width; ++d) {
      const std::int64_t from = at.index[m] * at.width + d;
      grad_table[from] += at.scale * at.weight[d] * grad_y[m * at.width + d];
      grad_weight[d] += at.scale * at.table[from] * grad_y[m * at.width + d];
    }
  }
  std::copy(grad_table.begin(), grad_table.end(), static_cast<double*>(call->gradients[0].data));
  std::copy(grad_weight.begin(), grad_weight.end(), static_cast<double*>(call->gradients[2].data));
  return call->gradients[1].data == nullptr ? 0 : refuse(call, "integers have no gradient");
}

int jvp(const gradus_call* call) {
  const Lookup at(*call);
  const double* table_tangent = static_cast<const double*>(call->tangents[0].data);
  const double* weight_tangent = static_cast<const double*>(call->tangents[2].data);
  double* y_tangent = static_cast<double*>(call->output_tangents[0].data);
  for (std::int64_t m = 0; m < at.count; ++m) {
    for (std::int64_t d = 0; d < at.width; ++d) {
      const std::int64_t from = at.index[m] * at.width + d;
      y_tangent[m * at.width + d] =
          at.scale * (table_tangent[from] * at.weight[d] + at.table[from] * weight_tangent[d]);
    }
  }
  return 0;
}

}  // namespace

const gradus_library* gradus_describe() {
  static const std::vector<gradus_input> inputs = [] {
    std::vector<gradus_input> all(3);
    all[0] = {"table", GRADUS_F64, 1, 2, {4, 3}, 0, 0, 0, {}};
    all[1] = {"index", GRADUS_I64, 0, 1, {6}, 0, 3, 0, {}};
    all[2] = {"weight", GRADUS_F64, 1, 1, {3}, 0.5, 1.5, 0, {}};
    return all;
  }();
  static const gradus_output output = {"y", GRADUS_F64};
  static const gradus_attribute scale = {"scale", 2.0};
  static const gradus_op op = {
      "lookup", "scale * table[index] * weight", 3, 1, 1, inputs.data(), &output, &scale, shape, forward, backward,
      jvp};
  static const gradus_library library = {GRADUS_OP_VERSION, 1, &op};
  return &library;
}
