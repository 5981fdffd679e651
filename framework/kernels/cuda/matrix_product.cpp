// Which method takes which product.
#include "framework/kernels/cuda/matrix_product.h"

#include <algorithm>
#include <limits>

#include "framework/kernels/cuda/cublaslt_product.h"
#include "framework/kernels/cuda/product_kernels.h"

namespace gradus::cuda {
namespace {

using products::Request;

bool starts_at_16_bytes(const void* address) { return reinterpret_cast<std::uintptr_t>(address) % 16 == 0; }

/// What cuBLASLt documents for its epilogues and sizes; its heuristics know the rest.
bool is_for_cublaslt(const Request& r) {
  const auto sizes = {r.m, r.n, r.k, r.batches};
  if (std::min(sizes) == 0 || std::max(sizes) > std::numeric_limits<int>::max()) return false;
  if (r.epilogue == Epilogue::none) return true;
  const bool aligned =
      starts_at_16_bytes(r.bias) && starts_at_16_bytes(r.sums) && starts_at_16_bytes(r.pre_activation.data);
  return r.in != DType::f64 && aligned && r.pre_activation.stride % 8 == 0;
}

bool takes(ProductMethod method, const Request& request) {
  return method != ProductMethod::cublaslt || (is_for_cublaslt(request) && products::has_cublaslt_algorithm(request));
}

ProductMethod fastest(const Request& request) {
  return takes(ProductMethod::cublaslt, request) ? ProductMethod::cublaslt : ProductMethod::tiles;
}

/// The method asked for, or the fastest.
ProductMethod choose(std::optional<ProductMethod> method, const Request& request) {
  if (!method) return fastest(request);
  if (takes(*method, request)) return *method;
  const auto& state = products::cublaslt_state();
  fail("[matrix_product] {} does not take this product{}: {}", to_string(*method),
       state.usable ? "" : fmt::format(" ({})", state.version_or_reason), products::describe(request));
}

}  // namespace

std::string_view to_string(ProductMethod method) {
  switch (method) {
    case ProductMethod::naive: return "naive";
    case ProductMethod::tiles: return "tiles";
    case ProductMethod::cublaslt: return "cublaslt";
  }
  return "unknown";
}

std::string products_by() {
  const auto& state = products::cublaslt_state();
  return state.usable ? "cuBLASLt " + state.version_or_reason
                      : "kernels of Gradus, without tensor cores (" + state.version_or_reason + ")";
}

template <class T, class Out>
ProductMethod product_method(const MatrixProduct<T, Out>& product) {
  const Request request = products::request_of(product);
  products::check(request);
  return fastest(request);
}

template <class T, class Out>
void matrix_product(const MatrixProduct<T, Out>& product, Stream stream, std::optional<ProductMethod> method) {
  const Request request = products::request_of(product);
  products::check(request);
  switch (choose(method, request)) {
    case ProductMethod::naive: return products::naive_product(product, stream);
    case ProductMethod::tiles: return products::tiled_product(product, stream);
    case ProductMethod::cublaslt: return products::cublaslt_product(request, stream);
  }
}

#define GRADUS_INSTANTIATE(T, Out)                                     \
  template ProductMethod product_method(const MatrixProduct<T, Out>&); \
  template void matrix_product(const MatrixProduct<T, Out>&, Stream, std::optional<ProductMethod>);
GRADUS_INSTANTIATE(double, double)
GRADUS_INSTANTIATE(float, float)
GRADUS_INSTANTIATE(bfloat16, bfloat16)
GRADUS_INSTANTIATE(bfloat16, float)
#undef GRADUS_INSTANTIATE

}  // namespace gradus::cuda
