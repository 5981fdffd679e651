#include "framework/base/dtype.h"

namespace gradus {

std::int64_t size_in_bytes(DType dtype) {
  return visit_dtype(dtype, []<class T>() { return static_cast<std::int64_t>(sizeof(T)); });
}

std::string_view to_string(DType dtype) {
  switch (dtype) {
    case DType::f64: return "f64";
    case DType::f32: return "f32";
    case DType::bf16: return "bf16";
    case DType::i64: return "i64";
    case DType::i32: return "i32";
    case DType::u8: return "u8";
    case DType::boolean: return "bool";
  }
  return "invalid";
}

DType dtype_from_string(std::string_view name) {
  for (DType dtype : {DType::f64, DType::f32, DType::bf16, DType::i64, DType::i32, DType::u8, DType::boolean}) {
    if (to_string(dtype) == name) return dtype;
  }
  fail<UsageError>("unknown dtype '{}': expected one of f64, f32, bf16, i64, i32, u8, bool", name);
}

}  // namespace gradus
