#include "framework/tensor/precision.h"

#include <atomic>

namespace gradus {
namespace {

std::atomic<ProductPrecision> precision_of_products = ProductPrecision::full;

}  // namespace

void set_product_precision(ProductPrecision precision) { precision_of_products = precision; }
ProductPrecision product_precision() { return precision_of_products; }

}  // namespace gradus
