// A computation told to cuDNN as a graph: operations between tensors, of which only some are in memory. cuDNN looks for
// an engine that does all of it in a few kernels.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "framework/kernels/cuda/cudnn_descriptor.h"

namespace gradus::cuda::cudnn {

using Sizes = std::array<std::int64_t, 4>;

/// A tensor of the graph, with sizes and strides in elements.
struct Node {
  Descriptor descriptor;
  Sizes sizes, strides;
};

/// Arithmetic is in f32.
class Graph {
 public:
  explicit Graph(const Cudnn& library) : library_(library) {}

  /// In the device's memory, at a multiple of 16 bytes; the caller gives the address when the graph is run, by `id`.
  Node stored(std::int64_t id, cudnnDataType_t type, const Sizes& sizes, const Sizes& strides);
  /// A number in f32 on the host, given when the graph is run.
  Node number(std::int64_t id);

  // These make a node that is not in memory, f32 unless another type is named.
  Node matmul(const Node& a, const Node& b);
  Node pointwise(cudnnPointwiseMode_t mode, const Node& x, cudnnDataType_t type = CUDNN_DATA_FLOAT);
  Node pointwise(cudnnPointwiseMode_t mode, const Node& x, const Node& b, cudnnDataType_t type = CUDNN_DATA_FLOAT);
  /// The index along `axis` at each place of x.
  Node index(const Node& x, std::int64_t axis);
  /// x where `condition` is true, else `otherwise`.
  Node select(const Node& condition, const Node& x, const Node& otherwise);
  /// Over the last axis.
  Node reduce(cudnnReduceTensorOp_t reduction, const Node& x);
  /// The last two axes exchanged.
  Node transpose(const Node& x, cudnnDataType_t type);

  // These write to one that is there.
  void matmul_into(const Node& a, const Node& b, const Node& c);
  void pointwise_into(cudnnPointwiseMode_t mode, const Node& x, const Node& b, const Node& y);

  const std::vector<Descriptor>& operations() const { return operations_; }
  /// Checked by cuDNN as a whole.
  Descriptor finalized() const;

 private:
  enum class Place { memory, host, nowhere };

  Node make(std::int64_t id, Place place, cudnnDataType_t type, const Sizes& sizes, const Sizes& strides);
  Node between(const Sizes& sizes, cudnnDataType_t type);
  Descriptor pointwise_operation(cudnnPointwiseMode_t mode, const Node& x, const Node& y,
                                 std::optional<std::int64_t> axis = {});
  void add(Descriptor operation) { operations_.push_back(operation.finalize()); }

  const Cudnn& library_;
  std::vector<Descriptor> operations_;
  std::int64_t nodes_ = 0;
};

/// Engines, with their settings, that cuDNN's heuristics propose for a device, the fastest first; none for a graph that
/// it does not support.
std::vector<Descriptor> propose_engines(const Cudnn& library, const Descriptor& graph, const Descriptor& device);

/// A plan to run the graph by one of them; its kernels are compiled now. Throws Error if that fails.
Descriptor make_plan(const Cudnn& library, const Descriptor& engine, const Descriptor& device);

}  // namespace gradus::cuda::cudnn
