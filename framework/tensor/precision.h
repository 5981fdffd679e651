// How exactly products of f32 matrices are computed.
#pragma once

namespace gradus {

/// tf32: a CUDA device cuts factors to 10 bits after the point and sums in f32, which is several times faster and
/// leaves three decimal digits. It is never chosen by itself. The CPU always computes in full.
enum class ProductPrecision { full, tf32 };

/// For all products from now on.
void set_product_precision(ProductPrecision precision);
ProductPrecision product_precision();

}  // namespace gradus
