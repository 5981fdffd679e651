// What a graph of cuDNN means: its operations, from the attributes that the library was told, computed by plain loops
// in double, whatever the types of its tensors.
#pragma once

#include <cmath>
#include <cstring>
#include <map>
#include <stdexcept>

#include "framework/kernels/cuda/cudnn_graph.h"

/// What each descriptor was told, as numbers; descriptors as their addresses.
class GraphRecord {
 public:
  using Values = std::vector<std::int64_t>;

  /// A library whose attributes are recorded. Its descriptors stay, so that no two have the same address.
  static gradus::cuda::cudnn::Cudnn recording(const gradus::cuda::cudnn::Cudnn& library) {
    real() = library;
    gradus::cuda::cudnn::Cudnn recording = library;
    recording.BackendSetAttribute = set_attribute;
    recording.BackendDestroyDescriptor = [](cudnnBackendDescriptor_t) { return CUDNN_STATUS_SUCCESS; };
    return recording;
  }

  static const Values& of(std::int64_t descriptor, cudnnBackendAttributeName_t name) {
    return told().at({descriptor, name});
  }

 private:
  static gradus::cuda::cudnn::Cudnn& real() {
    static gradus::cuda::cudnn::Cudnn library;
    return library;
  }
  static std::map<std::pair<std::int64_t, int>, Values>& told() {
    static std::map<std::pair<std::int64_t, int>, Values> values;
    return values;
  }

  static std::size_t size_of(cudnnBackendAttributeType_t type) {
    if (type == CUDNN_TYPE_BOOLEAN) return sizeof(bool);
    return type == CUDNN_TYPE_INT64 || type == CUDNN_TYPE_BACKEND_DESCRIPTOR ? 8 : sizeof(int);
  }
  static cudnnStatus_t set_attribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                     cudnnBackendAttributeType_t type, std::int64_t count, const void* elements) {
    Values values(count);
    for (std::int64_t i = 0; i < count; ++i) {
      std::memcpy(&values[i], static_cast<const char*>(elements) + i * size_of(type), size_of(type));
    }
    told()[{reinterpret_cast<std::int64_t>(descriptor), name}] = values;
    return real().BackendSetAttribute(descriptor, name, type, count, elements);
  }
};

/// The memory of each tensor, by its id. Those of `stored` tensors and numbers are given, the results among them too.
using GraphMemory = std::map<std::int64_t, std::vector<double>>;

class GraphEvaluation {
 public:
  explicit GraphEvaluation(GraphMemory& memory) : memory_(memory) {}

  void run(const gradus::cuda::cudnn::Graph& graph) {
    for (const Descriptor& operation : graph.operations()) {
      switch (operation.type()) {
        case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR: matmul(operation); break;
        case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR: pointwise(operation); break;
        case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR: reduce(operation); break;
        case CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR: reshape(operation); break;
        default: throw std::runtime_error("an operation without a meaning");
      }
    }
  }

 private:
  using Descriptor = gradus::cuda::cudnn::Descriptor;
  using Index = std::vector<std::int64_t>;

  struct Tensor {
    Index sizes, strides;
    std::vector<double>& memory;

    /// Along an axis of size 1 there is one element for every index.
    double& at(const Index& index) const {
      std::int64_t place = 0;
      for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
        place += (sizes[axis] == 1 ? 0 : index[axis]) * strides[axis];
      }
      return memory.at(place);
    }
  };

  static std::int64_t value(const Descriptor& descriptor, cudnnBackendAttributeName_t name) {
    return GraphRecord::of(reinterpret_cast<std::int64_t>(descriptor.raw()), name).at(0);
  }

  Tensor tensor(const Descriptor& operation, cudnnBackendAttributeName_t name) {
    const std::int64_t found = value(operation, name);
    const Index &sizes = GraphRecord::of(found, CUDNN_ATTR_TENSOR_DIMENSIONS),
                &strides = GraphRecord::of(found, CUDNN_ATTR_TENSOR_STRIDES);
    std::size_t extent = 1;
    for (std::size_t axis = 0; axis < sizes.size(); ++axis) extent += (sizes[axis] - 1) * strides[axis];
    std::vector<double>& memory = memory_[GraphRecord::of(found, CUDNN_ATTR_TENSOR_UNIQUE_ID).at(0)];
    if (GraphRecord::of(found, CUDNN_ATTR_TENSOR_IS_VIRTUAL).at(0)) memory.resize(extent);
    if (memory.size() < extent) throw std::runtime_error("a tensor reaches beyond its memory");
    return {sizes, strides, memory};
  }

  template <class Body>
  static void for_each_index(const Index& sizes, const Body& body) {
    for (Index at(4); at[0] < sizes[0]; ++at[0]) {
      for (at[1] = 0; at[1] < sizes[1]; ++at[1]) {
        for (at[2] = 0; at[2] < sizes[2]; ++at[2]) {
          for (at[3] = 0; at[3] < sizes[3]; ++at[3]) body(at);
        }
      }
    }
  }

  void matmul(const Descriptor& operation) {
    const Tensor a = tensor(operation, CUDNN_ATTR_OPERATION_MATMUL_ADESC),
                 b = tensor(operation, CUDNN_ATTR_OPERATION_MATMUL_BDESC),
                 c = tensor(operation, CUDNN_ATTR_OPERATION_MATMUL_CDESC);
    for_each_index(c.sizes, [&](const Index& at) {
      double sum = 0;
      for (std::int64_t i = 0; i < a.sizes[3]; ++i) {
        sum += a.at({at[0], at[1], at[2], i}) * b.at({at[0], at[1], i, at[3]});
      }
      c.at(at) = sum;
    });
  }

  void reduce(const Descriptor& operation) {
    const std::int64_t how = value(operation, CUDNN_ATTR_OPERATION_REDUCTION_DESC);
    const bool is_sum = GraphRecord::of(how, CUDNN_ATTR_REDUCTION_OPERATOR).at(0) == CUDNN_REDUCE_TENSOR_ADD;
    const Tensor x = tensor(operation, CUDNN_ATTR_OPERATION_REDUCTION_XDESC),
                 y = tensor(operation, CUDNN_ATTR_OPERATION_REDUCTION_YDESC);
    for_each_index(y.sizes, [&](const Index& at) { y.at(at) = is_sum ? 0 : -INFINITY; });
    for_each_index(x.sizes,
                   [&](const Index& at) { y.at(at) = is_sum ? y.at(at) + x.at(at) : std::fmax(y.at(at), x.at(at)); });
  }

  /// The same memory under other sizes and strides.
  void reshape(const Descriptor& operation) {
    const Tensor x = tensor(operation, CUDNN_ATTR_OPERATION_RESHAPE_XDESC),
                 y = tensor(operation, CUDNN_ATTR_OPERATION_RESHAPE_YDESC);
    y.memory = x.memory;
  }

  void pointwise(const Descriptor& operation) {
    const std::int64_t how = value(operation, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    const Tensor x = tensor(operation, CUDNN_ATTR_OPERATION_POINTWISE_XDESC),
                 y = tensor(operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
    const auto unary = [&](auto function) {
      for_each_index(y.sizes, [&](const Index& at) { y.at(at) = function(x.at(at)); });
    };
    const auto binary = [&](auto function) {
      const Tensor b = tensor(operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
      for_each_index(y.sizes, [&](const Index& at) { y.at(at) = function(x.at(at), b.at(at)); });
    };
    switch (GraphRecord::of(how, CUDNN_ATTR_POINTWISE_MODE).at(0)) {
      case CUDNN_POINTWISE_EXP: return unary([](double v) { return std::exp(v); });
      case CUDNN_POINTWISE_LOG: return unary([](double v) { return std::log(v); });
      case CUDNN_POINTWISE_ADD: return binary([](double v, double w) { return v + w; });
      case CUDNN_POINTWISE_SUB: return binary([](double v, double w) { return v - w; });
      case CUDNN_POINTWISE_MUL: return binary([](double v, double w) { return v * w; });
      case CUDNN_POINTWISE_DIV: return binary([](double v, double w) { return v / w; });
      case CUDNN_POINTWISE_CMP_GE: return binary([](double v, double w) { return double(v >= w); });
      case CUDNN_POINTWISE_GEN_INDEX: {
        const std::int64_t axis = GraphRecord::of(how, CUDNN_ATTR_POINTWISE_AXIS).at(0);
        return for_each_index(y.sizes, [&](const Index& at) { y.at(at) = double(at[axis]); });
      }
      case CUDNN_POINTWISE_BINARY_SELECT: {
        const Tensor b = tensor(operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC),
                     t = tensor(operation, CUDNN_ATTR_OPERATION_POINTWISE_TDESC);
        return for_each_index(y.sizes, [&](const Index& at) { y.at(at) = t.at(at) != 0 ? x.at(at) : b.at(at); });
      }
      default: throw std::runtime_error("a pointwise operation without a meaning");
    }
  }

  GraphMemory& memory_;
};
