// Where cuDNN is not, attention takes the methods of our own kernels.
#include "framework/base/error.h"
#include "framework/kernels/cuda/cudnn_attention.h"
#include "framework/kernels/cuda/runtime.h"

namespace gradus::cuda {
namespace attention {

void cudnn_forward(const AttentionShape&, const AttentionForward<bfloat16>&, Stream) {
  fail<Error>("[attention] cudnn: {}", cudnn_state().version_or_reason);
}

void cudnn_backward(const AttentionShape&, const AttentionBackward<bfloat16>&, Stream) {
  fail<Error>("[attention] cudnn: {}", cudnn_state().version_or_reason);
}

}  // namespace attention

const LibraryState& cudnn_state() {
  static const LibraryState state{
      false, is_emulation() ? "the emulation does not compute cuDNN's graphs" : "built without cuDNN"};
  return state;
}

}  // namespace gradus::cuda
