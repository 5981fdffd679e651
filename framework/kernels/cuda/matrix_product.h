// Matrix products on a device, one for each of `batches`: c = alpha a b + beta c and what an epilogue makes of it.
// Shapes: a (m,k), b (k,n), c (m,n), all row-major. T and Out: double and double, float and float, bfloat16 and
// bfloat16, or bfloat16 and float; sums are of type Arithmetic<T> and are rounded once. Three ways, deterministic each:
//   naive     a thread for each element of c
//   tiles     tiles of a and b in shared memory, 4 x 4 elements of c in a thread's registers
//   cublaslt  NVIDIA's library, if it can be loaded, on tensor cores
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "framework/base/bfloat16.h"
#include "framework/kernels/cuda/launch.h"

namespace gradus::cuda {

/// Element (i, j) of batch l is data[l * batch_stride + i * stride + j], or data[l * batch_stride + j * stride + i] if
/// transposed. A batch_stride of 0 is one matrix for all batches.
template <class T>
struct MatrixOperand {
  const T* data = nullptr;
  std::int64_t stride = 0;
  bool transposed = false;
  std::int64_t batch_stride = 0;
};
template <class T>
struct MatrixOutput {
  T* data = nullptr;
  std::int64_t stride = 0;
  std::int64_t batch_stride = 0;
};

/// What products of floats are made of. tf32: factors are cut to 10 bits after the point if a tensor core multiplies
/// them, sums are f32; a choice of the caller's, since three decimal digits are left.
enum class Precision { full, tf32 };

/// All but `none` take one batch. GELU is the tanh form, which differs from the exact one by up to 5e-4.
enum class Epilogue {
  none,
  bias,           ///< c = alpha a b + beta c + bias
  gelu,           ///< pre_activation = alpha a b + bias, c = gelu(pre_activation)
  gelu_gradient,  ///< c = alpha a b gelu'(pre_activation)
  sums_of_a,      ///< beside c: sums[i] = sum over p of a[i,p], the bias gradient where a is a transposed cotangent
  sums_of_b,      ///< beside c: sums[j] = sum over p of b[p,j]
};

/// All in the memory of the device; c shares none with the others.
template <class T, class Out = T>
struct MatrixProduct {
  std::int64_t m, n, k;
  MatrixOperand<T> a = {}, b = {};
  MatrixOutput<Out> c = {};  ///< read only if beta is not 0
  std::int64_t batches = 1;
  Arithmetic<T> alpha = 1, beta = 0;  ///< beta is 0 with gelu and gelu_gradient
  Precision precision = Precision::full;
  Epilogue epilogue = Epilogue::none;
  const Out* bias = nullptr;              ///< (n), for bias and gelu
  MatrixOutput<Out> pre_activation = {};  ///< (m,n), written by gelu, read by gelu_gradient
  Out* sums = nullptr;                    ///< (m) or (n), overwritten
};

enum class ProductMethod { naive, tiles, cublaslt };

std::string_view to_string(ProductMethod method);

/// The method that is taken unless one is asked for: cublaslt if it is there and has an algorithm for this product,
/// which is looked up once and kept. It takes no empty products, no epilogue in double, pre_activation with strides
/// that are multiples of 8 only, and bias, pre_activation and sums at multiples of 16 bytes only. Else tiles.
template <class T, class Out>
ProductMethod product_method(const MatrixProduct<T, Out>& product);

/// Throws ContractError if the sizes, strides and pointers do not belong together, or if the method asked for does not
/// take this product.
template <class T, class Out = T>
void matrix_product(const MatrixProduct<T, Out>& product, Stream stream, std::optional<ProductMethod> method = {});

/// "cuBLASLt 13.1.0", or "kernels of Gradus, without tensor cores (REASON)".
std::string products_by();

}  // namespace gradus::cuda
