// Attention by cuDNN.
#include "framework/kernels/cuda/cudnn_attention.h"

#include <limits>
#include <map>
#include <mutex>
#include <utility>

#include "framework/base/error.h"
#include "framework/kernels/cuda/cudnn_attention_graph.h"
#include "framework/kernels/cuda/dynamic_library.h"
#include "framework/kernels/cuda/runtime.h"

namespace gradus::cuda {
namespace {

using namespace cudnn;

template <class View>
Sizes strides_of(const View& view) {
  return {view.batch_stride, view.head_stride, view.row_stride, 1};
}

template <class Operands>
AttentionLayout layout_of(const AttentionShape& shape, const Operands& x) {
  return {.batches = shape.batches,
          .heads = shape.heads,
          .queries = shape.queries,
          .keys = shape.keys,
          .width = shape.width,
          .value_width = shape.value_width,
          .causal = shape.causal,
          .q = strides_of(x.q),
          .k = strides_of(x.k),
          .v = strides_of(x.v),
          .out = strides_of(x.out)};
}

AttentionLayout backward_layout_of(const AttentionShape& shape, const AttentionBackward<bfloat16>& x) {
  AttentionLayout layout = layout_of(shape, x);
  layout.g = strides_of(x.g);
  layout.dq = strides_of(x.dq);
  layout.dk = strides_of(x.dk);
  layout.dv = strides_of(x.dv);
  return layout;
}

std::string describe(const AttentionLayout& x) {
  return fmt::format("{} batches, {} heads, {} queries, {} keys, width {}, value width {}", x.batches, x.heads,
                     x.queries, x.keys, x.width, x.value_width);
}

/// Addresses of a graph's tensors, in pairs with their ids.
class Addresses {
 public:
  Addresses& add(Operand id, const void* address) {
    ids_.push_back(id);
    pointers_.push_back(const_cast<void*>(address));
    return *this;
  }
  Descriptor variant_pack(const Cudnn& library, void* workspace) const {
    return Descriptor(library, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, "the addresses")
        .set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids_)
        .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, pointers_)
        .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace)
        .finalize();
  }

 private:
  std::vector<std::int64_t> ids_;
  std::vector<void*> pointers_;
};

/// The numbers that graphs take from the host.
struct Numbers {
  float scale, hidden = -std::numeric_limits<float>::infinity(), one = 1;
};

struct Plan {
  Descriptor plan;
  std::size_t workspace_bytes;
};

struct Workspace {
  void* data = nullptr;
  std::size_t bytes = 0;
};

class Library {
 public:
  Library() : functions_(load_cudnn(cudnn_files())), device_(make_device()) {}

  std::string version() const { return version_name(functions_.GetVersion()); }

  void forward(const AttentionLayout& layout, const Addresses& addresses, Stream stream) {
    run({"forward", layout}, attention_forward_graph, addresses, stream);
  }
  void backward(const AttentionLayout& layout, const Addresses& addresses, Stream stream) {
    run({"backward", layout}, attention_backward_graph, addresses, stream);
  }

 private:
  using Key = std::pair<std::string, AttentionLayout>;
  using BuildGraph = Graph (*)(const Cudnn&, const AttentionLayout&);

  Descriptor make_device() {
    check_status(functions_, functions_.Create(&handle_), "cudnnCreate");
    return Descriptor(functions_, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, "a device")
        .set(CUDNN_ATTR_DEVICEPROP_HANDLE, handle_)
        .finalize();
  }

  void run(const Key& key, BuildGraph build_graph, const Addresses& addresses, Stream stream) {
    const std::scoped_lock lock(mutex_);
    const Plan& plan = plan_of(key, build_graph);
    const Descriptor pack = addresses.variant_pack(functions_, workspace_of(stream, plan.workspace_bytes));
    check_status(functions_, functions_.SetStream(handle_, stream), "cudnnSetStream");
    check_status(functions_, functions_.BackendExecute(handle_, plan.plan.raw(), pack.raw()), "cudnnBackendExecute");
  }

  const Plan& plan_of(const Key& key, BuildGraph build_graph) {
    if (const auto known = plans_.find(key); known != plans_.end()) return known->second;
    return plans_.emplace(key, first_plan(key, build_graph(functions_, key.second).finalized())).first->second;
  }

  /// Of the first engine that can be made ready.
  Plan first_plan(const Key& key, const Descriptor& graph) {
    std::string why_not;
    for (const Descriptor& engine : propose_engines(functions_, graph, device_)) {
      try {
        const Descriptor plan = make_plan(functions_, engine, device_);
        return {plan, static_cast<std::size_t>(plan.get<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE))};
      } catch (const Error& error) {
        why_not = std::string("; ") + error.what();
      }
    }
    fail<Error>("[attention] cuDNN has no engine for {} of {}{}", key.first, describe(key.second), why_not);
  }

  /// What runs on one stream follows each other and shares it.
  void* workspace_of(Stream stream, std::size_t bytes) {
    Workspace& workspace = workspaces_[stream];
    if (workspace.bytes < bytes) {
      if (workspace.data) {
        synchronize(stream);
        release(workspace.data);
        workspace = {};
      }
      workspace = {allocate(bytes), bytes};
    }
    return workspace.data;
  }

  Cudnn functions_;
  cudnnHandle_t handle_ = nullptr;
  Descriptor device_;
  std::map<Key, Plan> plans_;
  std::map<Stream, Workspace> workspaces_;
  std::mutex mutex_;
};

Library& library() {
  const Loaded<Library>& cudnn = loaded<Library>();
  if (!cudnn.instance) fail<Error>("[attention] cudnn: {}", cudnn.state.version_or_reason);
  return *cudnn.instance;
}

/// The operands that both directions have, and the numbers.
template <class Operands>
Addresses addresses_of(const AttentionShape& shape, const Operands& x, const Numbers& numbers) {
  Addresses addresses;
  addresses.add(id_q, x.q.data)
      .add(id_k, x.k.data)
      .add(id_v, x.v.data)
      .add(id_out, x.out.data)
      .add(id_log_sums, x.log_sums)
      .add(id_scale, &numbers.scale);
  if (shape.causal) addresses.add(id_hidden, &numbers.hidden);
  return addresses;
}

}  // namespace

namespace attention {

void cudnn_forward(const AttentionShape& shape, const AttentionForward<bfloat16>& x, Stream stream) {
  const Numbers numbers{.scale = static_cast<float>(shape.scale)};
  library().forward(layout_of(shape, x), addresses_of(shape, x, numbers), stream);
}

void cudnn_backward(const AttentionShape& shape, const AttentionBackward<bfloat16>& x, Stream stream) {
  const Numbers numbers{.scale = static_cast<float>(shape.scale)};
  const Addresses addresses = addresses_of(shape, x, numbers)
                                  .add(id_g, x.g.data)
                                  .add(id_dots, x.dots)
                                  .add(id_one, &numbers.one)
                                  .add(id_dq, x.dq.data)
                                  .add(id_dk, x.dk.data)
                                  .add(id_dv, x.dv.data);
  library().backward(backward_layout_of(shape, x), addresses, stream);
}

}  // namespace attention

const LibraryState& cudnn_state() { return loaded<Library>().state; }

}  // namespace gradus::cuda
