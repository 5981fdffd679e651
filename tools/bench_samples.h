// The large inputs that `gradus bench op` runs an op on.
#pragma once

#include "framework/ops/op_spec.h"

namespace gradus::tools {

/// The sizes of the vanilla model's tensors.
struct ModelSizes {
  std::int64_t batch = 128, length = 128, width = 256, heads = 8, vocabulary = 256;
  std::int64_t rows() const { return batch * length; }
};

/// Inputs as the model has them, for ops that it uses or whose attributes name sizes; for every other op the first of
/// its record's samples, tiled along each axis longer than 1 until the largest input has about batch x length x width
/// elements. Floating inputs are of `dtype`, random from `seed`.
Sample large_sample(const OpSpec& spec, const ModelSizes& sizes, DType dtype, std::uint64_t seed);

}  // namespace gradus::tools
