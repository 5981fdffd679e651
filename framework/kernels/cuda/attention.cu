#include "framework/kernels/cuda/attention.h"

#include "framework/kernels/cuda/attention_problem.h"

namespace gradus::cuda {
namespace {

AttentionMethod method_for(const AttentionShape& shape) {
  return std::max(shape.width, shape.value_width) <= attention::most_tile_width ? AttentionMethod::tiles
                                                                                : AttentionMethod::naive;
}

}  // namespace

std::string_view to_string(AttentionMethod method) {
  switch (method) {
    case AttentionMethod::naive: return "naive";
    case AttentionMethod::tiles: return "tiles";
  }
  return "unknown";
}

template <class T>
AttentionMethod attention_method(const AttentionShape& shape, const AttentionForward<T>&) {
  return method_for(shape);
}
template <class T>
AttentionMethod attention_method(const AttentionShape& shape, const AttentionBackward<T>&) {
  return method_for(shape);
}

template <class T>
void attention_forward(const AttentionShape& shape, const AttentionForward<T>& operands, Stream stream,
                       std::optional<AttentionMethod> method) {
  switch (method.value_or(attention_method(shape, operands))) {
    case AttentionMethod::naive: return attention::naive_forward(shape, operands, stream);
    case AttentionMethod::tiles: return attention::tiled_forward(shape, operands, stream);
  }
}

template <class T>
void attention_backward(const AttentionShape& shape, const AttentionBackward<T>& operands, Stream stream,
                        std::optional<AttentionMethod> method) {
  switch (method.value_or(attention_method(shape, operands))) {
    case AttentionMethod::naive: return attention::naive_backward(shape, operands, stream);
    case AttentionMethod::tiles: return attention::tiled_backward(shape, operands, stream);
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

}  // namespace gradus::cuda
