// The methods naive and tiles of matrix_product.h.
#pragma once

#include "framework/kernels/cuda/matrix_product.h"

namespace gradus::cuda::products {

template <class T, class Out>
void naive_product(const MatrixProduct<T, Out>& product, Stream stream);
template <class T, class Out>
void tiled_product(const MatrixProduct<T, Out>& product, Stream stream);

}  // namespace gradus::cuda::products
