#include "framework/kernels/cuda/product_request.h"

#include <algorithm>

namespace gradus::cuda::products {
namespace {

std::string_view name_of(DType dtype) { return dtype == DType::f64 ? "f64" : dtype == DType::f32 ? "f32" : "bf16"; }

std::string_view name_of(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::none: return "none";
    case Epilogue::bias: return "bias";
    case Epilogue::gelu: return "gelu";
    case Epilogue::gelu_gradient: return "gelu_gradient";
    case Epilogue::sums_of_a: return "sums_of_a";
    case Epilogue::sums_of_b: return "sums_of_b";
  }
  return "unknown";
}

template <class... Args>
[[noreturn]] void refuse(const Request& request, fmt::format_string<Args...> format, Args&&... args) {
  fail("[matrix_product] {}: {}", fmt::format(format, std::forward<Args>(args)...), describe(request));
}

/// Of a matrix (rows, columns) in each batch.
void check_matrix(const Request& request, const char* name, const Matrix& matrix, std::int64_t rows,
                  std::int64_t columns) {
  const std::int64_t lines = matrix.transposed ? columns : rows, length = matrix.transposed ? rows : columns;
  if (lines == 0 || length == 0) return;
  if (!matrix.data) refuse(request, "{} has no memory", name);
  if (matrix.stride < length) {
    refuse(request, "{} has lines of {} elements and a stride of {}", name, length, matrix.stride);
  }
  if (matrix.batch_stride < 0) refuse(request, "{} has a batch stride of {}", name, matrix.batch_stride);
}

void check_epilogue(const Request& request) {
  const Epilogue epilogue = request.epilogue;
  const auto check_pointer = [&](const char* what, const void* pointer, bool used, bool empty) {
    if (used && !empty && !pointer) refuse(request, "{} has no memory", what);
    if (!used && pointer) refuse(request, "{} is given to an epilogue that does not use it", what);
  };
  check_pointer("bias", request.bias, adds_bias(epilogue), request.n == 0);
  check_pointer("sums", request.sums, has_sums(epilogue),
                (epilogue == Epilogue::sums_of_a ? request.m : request.n) == 0);
  check_pointer("pre_activation", request.pre_activation.data, has_pre_activation(epilogue),
                request.m == 0 || request.n == 0);
  if (has_pre_activation(epilogue)) {
    check_matrix(request, "pre_activation", request.pre_activation, request.m, request.n);
    if (request.beta != 0) refuse(request, "beta is {}, but this epilogue takes only 0", request.beta);
  }
  if (epilogue != Epilogue::none && request.batches != 1) {
    refuse(request, "{} batches, but an epilogue takes only 1", request.batches);
  }
}

}  // namespace

std::string describe(const Request& r) {
  const auto matrix = [](const char* name, const Matrix& x, std::int64_t rows, std::int64_t columns, DType dtype) {
    return fmt::format("{} ({},{}) {}{}", name, rows, columns, name_of(dtype), x.transposed ? " transposed" : "");
  };
  std::string text = fmt::format("{}, {}, {}", matrix("a", r.a, r.m, r.k, r.in), matrix("b", r.b, r.k, r.n, r.in),
                                 matrix("c", r.c, r.m, r.n, r.out));
  if (r.batches != 1) text += fmt::format(", {} batches", r.batches);
  if (r.precision == Precision::tf32) text += ", TF32";
  if (r.epilogue != Epilogue::none) text += fmt::format(", epilogue {}", name_of(r.epilogue));
  return text;
}

void check(const Request& request) {
  if (std::min({request.m, request.n, request.k, request.batches}) < 0) refuse(request, "a size is negative");
  check_epilogue(request);
  if (request.batches == 0) return;
  check_matrix(request, "a", request.a, request.m, request.k);
  check_matrix(request, "b", request.b, request.k, request.n);
  check_matrix(request, "c", request.c, request.m, request.n);
  const bool has_elements = request.m > 0 && request.n > 0;
  const std::int64_t elements_apart = (request.m - 1) * request.c.stride + request.n;
  if (has_elements && request.batches > 1 && request.c.batch_stride < elements_apart) {
    refuse(request, "the batches of c overlap: a batch has {} elements, its stride is {}", elements_apart,
           request.c.batch_stride);
  }
  if (request.precision == Precision::tf32 && request.in != DType::f32) refuse(request, "TF32 is for f32 only");
}

}  // namespace gradus::cuda::products
