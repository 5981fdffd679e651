// Clipping and AdamW over many tensors at once: one launch for up to some fifty of them, and norm, clip factor and
// learning rate are read on the device, so that the host waits for nothing and a captured step can be run again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "framework/base/bfloat16.h"
#include "framework/kernels/cuda/launch.h"
#include "framework/kernels/shared/adamw_step.h"

namespace gradus::cuda {

/// A contiguous tensor on the device.
template <class T>
struct FlatTensor {
  T* values;
  std::int64_t count;
};

/// Lies on the device.
struct GlobalNorm {
  double norm;         ///< sqrt(sum of all squares)
  double clip_factor;  ///< min(1, max_norm / (norm + 1e-6)); 1 if the norm is NaN
};

/// The norm of all elements of all tensors, squares and sums in double, in a smaller unit where they overflow; *rounded,
/// unless null, is the norm as a T. The workspace on the device has the bytes that global_norm_workspace_bytes() says. T
/// is double, float or bfloat16.
template <class T>
void global_norm(GlobalNorm* norm, T* rounded, std::span<const FlatTensor<T>> gradients, double max_norm,
                 void* workspace, Stream stream);
template <class T>
std::size_t global_norm_workspace_bytes(std::span<const FlatTensor<T>> gradients);

/// g <- g T(clip_factor), in place; with a factor of 1 nothing is read or written.
template <class T>
void clip(std::span<const FlatTensor<T>> gradients, const GlobalNorm* norm, Stream stream);

/// One parameter: what adamw() reads and writes, all contiguous and of `count` elements.
template <class T, class Gradient>
struct AdamWTensor {
  T* parameter;
  const Gradient* gradient;
  T* first_moment;
  T* second_moment;
  bfloat16* copy;  ///< of the new parameter, rounded; or null
  std::int64_t count;
  double weight_decay;
};

struct AdamWConstants {
  double beta1, beta2, epsilon;
};

/// The update of the op adamw, in T, with the same constants rounded at the same places. Gradients are multiplied by
/// the norm's clip factor first, unless `norm` is null. `step`: on the device if `step_on_device` is not null. Where
/// `if_finite`, a number on the device, is NaN or infinite, nothing changes; null: it always does. T, Gradient: double,
/// double; float, float; float, bfloat16.
template <class T, class Gradient>
void adamw(std::span<const AdamWTensor<T, Gradient>> tensors, const AdamWConstants& constants, const AdamWStep& step,
           const AdamWStep* step_on_device, const GlobalNorm* norm, const T* if_finite, Stream stream);

}  // namespace gradus::cuda
