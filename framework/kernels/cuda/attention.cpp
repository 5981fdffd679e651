// Which method takes which operands.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "framework/base/error.h"
#include "framework/kernels/cuda/attention_methods.h"
#include "framework/kernels/cuda/cudnn_attention.h"
#include "framework/kernels/cuda/runtime.h"

namespace gradus::cuda {
namespace {

using namespace attention;

/// Every row of the views begins at a multiple of 16 bytes.
template <class... Views>
bool has_aligned_rows(const Views&... views) {
  const auto aligned = [](const auto& view) {
    constexpr std::int64_t elements = 16 / sizeof(*view.data);
    return reinterpret_cast<std::uintptr_t>(view.data) % 16 == 0 && view.batch_stride % elements == 0 &&
           view.head_stride % elements == 0 && view.row_stride % elements == 0;
  };
  return (aligned(views) && ...);
}
template <class T>
bool has_aligned_rows(const AttentionForward<T>& x) {
  return has_aligned_rows(x.q, x.k, x.v, x.out);
}
template <class T>
bool has_aligned_rows(const AttentionBackward<T>& x) {
  return has_aligned_rows(x.q, x.k, x.v, x.g, x.dq, x.dk, x.dv);
}

std::int64_t longest_segment(const AttentionShape& shape) {
  std::int64_t longest = 0;
  for (const AttentionSegment& s : shape.segments) longest = std::max({longest, s.queries, s.keys});
  return longest;
}

template <class T>
bool fits_tensor_cores(const AttentionShape&, const AttentionForward<T>&, std::int64_t width) {
  return width <= most_tensor_core_width;
}
template <class T>
bool fits_tensor_cores(const AttentionShape& shape, const AttentionBackward<T>&, std::int64_t width) {
  return width <= most_backward_tensor_core_width && longest_segment(shape) <= most_backward_tensor_core_rows;
}

bool is_one_sequence(const AttentionShape& shape) {
  return shape.segments.size() == 1 && shape.segments[0].queries == shape.queries &&
         shape.segments[0].keys == shape.keys;
}
bool has_elements(const AttentionShape& s) {
  return std::min({s.batches, s.heads, s.queries, s.keys, s.width, s.value_width}) > 0;
}

bool has_out(const AttentionForward<bfloat16>&) { return true; }
bool has_out(const AttentionBackward<bfloat16>& x) { return x.out.data != nullptr && has_aligned_rows(x.out); }

/// What of the operands cuDNN does not take; empty if it takes them.
template <class T, template <class> class Operands>
std::string_view refused_by_cudnn(const AttentionShape& shape, const Operands<T>& operands) {
  if constexpr (!std::is_same_v<T, bfloat16>) {
    return "other types than bf16";
  } else {
    if (shape.dropout > 0) return "dropout";
    if (!has_elements(shape)) return "operands without elements";
    if (!is_one_sequence(shape)) return "several sequences";
    if (shape.width % 8 != 0 || shape.value_width % 8 != 0) return "widths that are no multiples of 8";
    if (!has_aligned_rows(operands)) return "rows that do not begin at multiples of 16 bytes";
    if (!has_out(operands)) return "backward without what forward returned, in rows at multiples of 16 bytes";
    return "";
  }
}

template <class T, template <class> class Operands>
bool takes(AttentionMethod method, const AttentionShape& shape, const Operands<T>& operands) {
  const std::int64_t width = std::max(shape.width, shape.value_width);
  switch (method) {
    case AttentionMethod::naive: return true;
    case AttentionMethod::tiles: return width <= most_tiled_width;
    case AttentionMethod::tensor_cores:
      return std::is_same_v<T, bfloat16> && shape.width % 16 == 0 && shape.value_width % 16 == 0 &&
             fits_tensor_cores(shape, operands, width) && has_aligned_rows(operands);
    case AttentionMethod::cudnn: return refused_by_cudnn(shape, operands).empty();
  }
  return false;
}

template <class T, template <class> class Operands>
AttentionMethod fastest(const AttentionShape& shape, const Operands<T>& operands) {
  for (const AttentionMethod method : {AttentionMethod::tensor_cores, AttentionMethod::tiles}) {
    if (takes(method, shape, operands)) return method;
  }
  return AttentionMethod::naive;
}

/// The method asked for, or the fastest.
template <class T, template <class> class Operands>
AttentionMethod choose(std::optional<AttentionMethod> method, const AttentionShape& shape,
                       const Operands<T>& operands) {
  if (std::max({shape.queries, shape.keys, shape.batches * shape.heads}) > std::numeric_limits<int>::max() / 2) {
    fail("[attention] {} queries, {} keys and {} heads are more than its kernels count", shape.queries, shape.keys,
         shape.batches * shape.heads);
  }
  if (!method) return fastest(shape, operands);
  if (*method == AttentionMethod::cudnn && !takes(*method, shape, operands)) {
    fail("[attention] cudnn does not take {}", refused_by_cudnn(shape, operands));
  }
  if (!takes(*method, shape, operands)) {
    fail("[attention] {} does not take width {}, value width {}, {} keys in elements of {} bytes and these strides",
         to_string(*method), shape.width, shape.value_width, longest_segment(shape), sizeof(T));
  }
  return *method;
}

}  // namespace

std::string_view to_string(AttentionMethod method) {
  switch (method) {
    case AttentionMethod::naive: return "naive";
    case AttentionMethod::tiles: return "tiles";
    case AttentionMethod::tensor_cores: return "tensor_cores";
    case AttentionMethod::cudnn: return "cudnn";
  }
  return "unknown";
}

template <class T>
AttentionMethod attention_method(const AttentionShape& shape, const AttentionForward<T>& operands) {
  return fastest(shape, operands);
}
template <class T>
AttentionMethod attention_method(const AttentionShape& shape, const AttentionBackward<T>& operands) {
  return fastest(shape, operands);
}

template <class T>
void attention_forward(const AttentionShape& shape, const AttentionForward<T>& operands, Stream stream,
                       std::optional<AttentionMethod> method) {
  switch (choose(method, shape, operands)) {
    case AttentionMethod::naive: return naive_forward(shape, operands, stream);
    case AttentionMethod::tiles: return tiled_forward(shape, operands, stream);
    case AttentionMethod::tensor_cores:
      if constexpr (std::is_same_v<T, bfloat16>) tensor_core_forward(shape, operands, stream);
      return;
    case AttentionMethod::cudnn:
      if constexpr (std::is_same_v<T, bfloat16>) cudnn_forward(shape, operands, stream);
  }
}

template <class T>
void attention_backward(const AttentionShape& shape, const AttentionBackward<T>& operands, Stream stream,
                        std::optional<AttentionMethod> method) {
  switch (choose(method, shape, operands)) {
    case AttentionMethod::naive: return naive_backward(shape, operands, stream);
    case AttentionMethod::tiles: return tiled_backward(shape, operands, stream);
    case AttentionMethod::tensor_cores:
      if constexpr (std::is_same_v<T, bfloat16>) tensor_core_backward(shape, operands, stream);
      return;
    case AttentionMethod::cudnn:
      if constexpr (std::is_same_v<T, bfloat16>) cudnn_backward(shape, operands, stream);
  }
}

#define GRADUS_INSTANTIATE(T)                                                                    \
  template AttentionMethod attention_method(const AttentionShape&, const AttentionForward<T>&);  \
  template AttentionMethod attention_method(const AttentionShape&, const AttentionBackward<T>&); \
  template void attention_forward(const AttentionShape&, const AttentionForward<T>&, Stream,     \
                                  std::optional<AttentionMethod>);                               \
  template void attention_backward(const AttentionShape&, const AttentionBackward<T>&, Stream,   \
                                   std::optional<AttentionMethod>);
GRADUS_INSTANTIATE(double)
GRADUS_INSTANTIATE(float)
GRADUS_INSTANTIATE(bfloat16)
#undef GRADUS_INSTANTIATE

const std::uint64_t* attention::zero_on_device() {
  static const std::uint64_t* const zero = [] {
    void* const word = allocate(sizeof(std::uint64_t));
    if (!word) fail<MemoryError>("[attention] out of memory: no room for a word");
    fill_bytes(word, 0, sizeof(std::uint64_t), nullptr);
    synchronize(nullptr);
    return static_cast<const std::uint64_t*>(word);
  }();
  return zero;
}

}  // namespace gradus::cuda
