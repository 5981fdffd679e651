// What the processor could do at best: the yardstick of `gradus bench op`.
#pragma once

#include "framework/base/dtype.h"
#include "framework/tensor/device.h"

namespace gradus::tools {

struct Ceilings {
  double flops = 0;  ///< a second
  double bytes = 0;  ///< a second, read and written together
};

/// Measured now, with the threads that ops use, the best of many tries in half a second.
/// Arithmetic: chains of fused multiply-adds in vector registers, enough of them to hide their latency, and no memory.
/// f64 has its own rate; all other dtypes are measured against that of f32, as it is what every processor has.
/// Memory: a copy of 16 MiB, a hidden tensor of the vanilla model in f32, in parts of 64 KiB; a byte counts when it is
/// read and again when it is written. So a large cache helps the copy as it helps the ops; what works on less may pass
/// this ceiling, and what works on much more cannot reach it.
/// Of another device: products of square matrices of 4096 rows, and a copy of 256 MiB.
Ceilings measure_ceilings(DType dtype, Device device);

}  // namespace gradus::tools
