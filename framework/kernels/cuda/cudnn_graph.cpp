#include "framework/kernels/cuda/cudnn_graph.h"

#include <utility>

namespace gradus::cuda::cudnn {
namespace {

constexpr std::int64_t first_id_of_nowhere = 1000;  // above those that callers give

std::vector<std::int64_t> list(const Sizes& sizes) { return {sizes.begin(), sizes.end()}; }

Sizes packed_strides(const Sizes& s) { return {s[1] * s[2] * s[3], s[2] * s[3], s[3], 1}; }

}  // namespace

Node Graph::stored(std::int64_t id, cudnnDataType_t type, const Sizes& sizes, const Sizes& strides) {
  return make(id, Place::memory, type, sizes, strides);
}

Node Graph::number(std::int64_t id) { return make(id, Place::host, CUDNN_DATA_FLOAT, {1, 1, 1, 1}, {1, 1, 1, 1}); }

Node Graph::matmul(const Node& a, const Node& b) {
  const Node c = between({a.sizes[0], a.sizes[1], a.sizes[2], b.sizes[3]}, CUDNN_DATA_FLOAT);
  matmul_into(a, b, c);
  return c;
}

Node Graph::pointwise(cudnnPointwiseMode_t mode, const Node& x, cudnnDataType_t type) {
  const Node y = between(x.sizes, type);
  add(pointwise_operation(mode, x, y));
  return y;
}

Node Graph::pointwise(cudnnPointwiseMode_t mode, const Node& x, const Node& b, cudnnDataType_t type) {
  const Node y = between(x.sizes, type);
  pointwise_into(mode, x, b, y);
  return y;
}

Node Graph::index(const Node& x, std::int64_t axis) {
  const Node y = between(x.sizes, CUDNN_DATA_FLOAT);
  add(pointwise_operation(CUDNN_POINTWISE_GEN_INDEX, x, y, axis));
  return y;
}

Node Graph::select(const Node& condition, const Node& x, const Node& otherwise) {
  const Node y = between(x.sizes, CUDNN_DATA_FLOAT);
  add(pointwise_operation(CUDNN_POINTWISE_BINARY_SELECT, x, y)
          .set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, otherwise.descriptor)
          .set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, condition.descriptor));
  return y;
}

Node Graph::reduce(cudnnReduceTensorOp_t reduction, const Node& x) {
  const Node y = between({x.sizes[0], x.sizes[1], x.sizes[2], 1}, CUDNN_DATA_FLOAT);
  Descriptor how(library_, CUDNN_BACKEND_REDUCTION_DESCRIPTOR, "a reduction");
  how.set(CUDNN_ATTR_REDUCTION_OPERATOR, reduction).set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT).finalize();
  add(Descriptor(library_, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, "a reduction")
          .set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, how)
          .set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x.descriptor)
          .set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y.descriptor));
  return y;
}

Node Graph::transpose(const Node& x, cudnnDataType_t type) {
  const auto exchanged = [](Sizes s) {
    std::swap(s[2], s[3]);
    return s;
  };
  const Node y = make(0, Place::nowhere, type, exchanged(x.sizes), exchanged(x.strides));
  add(Descriptor(library_, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR, "a transposition")
          .set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x.descriptor)
          .set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y.descriptor));
  return y;
}

void Graph::matmul_into(const Node& a, const Node& b, const Node& c) {
  Descriptor how(library_, CUDNN_BACKEND_MATMUL_DESCRIPTOR, "a matmul");
  how.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT).finalize();
  add(Descriptor(library_, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, "a matmul")
          .set(CUDNN_ATTR_OPERATION_MATMUL_DESC, how)
          .set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, a.descriptor)
          .set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, b.descriptor)
          .set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, c.descriptor));
}

void Graph::pointwise_into(cudnnPointwiseMode_t mode, const Node& x, const Node& b, const Node& y) {
  add(pointwise_operation(mode, x, y).set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b.descriptor));
}

Descriptor Graph::finalized() const {
  return Descriptor(library_, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, "a graph")
      .set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations_)
      .finalize();
}

Node Graph::make(std::int64_t id, Place place, cudnnDataType_t type, const Sizes& sizes, const Sizes& strides) {
  if (place == Place::nowhere) id = first_id_of_nowhere + nodes_++;
  Descriptor tensor(library_, CUDNN_BACKEND_TENSOR_DESCRIPTOR, "a tensor");
  tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, type)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, list(sizes))
      .set(CUDNN_ATTR_TENSOR_STRIDES, list(strides))
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, std::int64_t{16})
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, place == Place::nowhere)
      .set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, place == Place::host)
      .finalize();
  return {tensor, sizes, strides};
}

Node Graph::between(const Sizes& sizes, cudnnDataType_t type) {
  return make(0, Place::nowhere, type, sizes, packed_strides(sizes));
}

Descriptor Graph::pointwise_operation(cudnnPointwiseMode_t mode, const Node& x, const Node& y,
                                      std::optional<std::int64_t> axis) {
  Descriptor how(library_, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, "a pointwise operation");
  how.set(CUDNN_ATTR_POINTWISE_MODE, mode).set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
  if (axis) how.set(CUDNN_ATTR_POINTWISE_AXIS, *axis);
  how.finalize();
  return Descriptor(library_, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, "a pointwise operation")
      .set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x.descriptor)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y.descriptor);
}

std::vector<Descriptor> propose_engines(const Cudnn& library, const Descriptor& graph, const Descriptor& device) {
  const Descriptor heuristics = Descriptor(library, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, "heuristics")
                                    .set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
                                    .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_HEUR_MODE_A)
                                    .set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device)
                                    .finalize();
  return heuristics.get_list(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, "an engine");
}

Descriptor make_plan(const Cudnn& library, const Descriptor& engine, const Descriptor& device) {
  return Descriptor(library, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, "a plan")
      .set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device)
      .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, engine)
      .finalize();
}

}  // namespace gradus::cuda::cudnn
