// Rows whose squares overflow or underflow are normalised in another unit: a power of two, so that nothing is rounded by
// the change. The normalised row is the same in every unit. Compiled for every device.
#pragma once

#include <limits>

#include "framework/base/host_device.h"

namespace gradus {

/// The factors, and the range in which the mean square is trusted. Squares that overflow come from deviations beyond
/// `most`^(1/2), whose squares in the smaller unit are ordinary numbers, and so do those below `least`, however small.
template <class A>
struct RowUnits;
template <>
struct RowUnits<float> {
  static constexpr float least = 0x1p-100f, most = std::numeric_limits<float>::max();
  static constexpr float larger = 0x1p90f, smaller = 0x1p-100f;
};
template <>
struct RowUnits<double> {
  static constexpr double least = 0x1p-900, most = std::numeric_limits<double>::max();
  static constexpr double larger = 0x1p600, smaller = 0x1p-600;
};

/// What to multiply a row by before it is measured again, from its variance plus epsilon: 1 where that can be trusted,
/// and then nothing changes. A NaN, which a sum of infinities is, asks for a smaller unit too.
template <class A>
GRADUS_HOST_DEVICE inline A row_unit(A spread) {
  if (spread < RowUnits<A>::least) return RowUnits<A>::larger;
  return spread <= RowUnits<A>::most ? A(1) : RowUnits<A>::smaller;
}

}  // namespace gradus
