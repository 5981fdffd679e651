// cuBLASLt without a device. Its descriptors are objects of the host, made and read back by the library itself; only
// the calls that need a device are replaced: they read the descriptors back, refuse in a sentence what contradicts the
// library's documentation, and compute on the host.
//
// Not seen here: which algorithms the library has beyond what it documents, and how these round.
#pragma once

#include "framework/kernels/cuda/cublaslt.h"

namespace gradus::cuda::emulation {

/// `library` with Create, MatmulAlgoGetHeuristic and Matmul of the emulation. Both throw ContractError. An algorithm is
/// good for the descriptors it was found for only, as far as these are asked about; for k of 64 or more it wants a
/// workspace, if the preference grants one.
products::CublasLt with_emulated_products(const products::CublasLt& library);

}  // namespace gradus::cuda::emulation
