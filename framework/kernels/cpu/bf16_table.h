// A function of one bf16 has 65,536 values: where computing one costs more than looking it up, they are computed once.
#pragma once

#include <cstdint>
#include <vector>

#include "framework/base/dtype.h"

namespace gradus::cpu {

/// f, from f32 to f32, at every bf16, NaN and infinities included: f(x) is element x.bits.
template <class Function>
std::vector<float> tabulate(const Function& f) {
  std::vector<float> table(std::size_t{1} << 16);
  for (std::size_t bits = 0; bits < table.size(); ++bits) {
    bfloat16 x;
    x.bits = static_cast<std::uint16_t>(bits);
    table[bits] = f(float(x));
  }
  return table;
}

}  // namespace gradus::cpu
