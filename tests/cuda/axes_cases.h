// Tensors and axes for the tests of reductions: a contiguous one of `shape`, of which `axes` go, seen as it lies or
// with its axes turned round.
#pragma once

#include <algorithm>

#include "framework/kernels/cuda/reduce.h"

struct AxesCase {
  gradus::Shape shape;
  std::vector<int> axes;
  bool reversed = false;  // the axes in the opposite order: strides grow
};

inline std::vector<AxesCase> axes_cases() {
  return {{{7, 1}, {1}},         {{3, 31}, {1}},         {{33, 129}, {1}},     {{2, 1000}, {1}},
          {{1, 1025}, {1}},      {{130, 8}, {1}},        {{1, 1}, {0}},        {{31, 3}, {0}},
          {{129, 127}, {0}},     {{128, 256}, {0}},      {{1000, 33}, {0}},    {{2, 7, 3}, {1}},
          {{3, 70, 40}, {1}},    {{3, 5, 2}, {0, 2}},    {{13, 5, 8}, {0, 1}}, {{4, 3, 5, 2}, {1, 3}},
          {{9, 4, 3}, {}},       {{0, 3}, {1}},          {{3, 5}, {0, 1}},     {{40, 17}, {1}, true},
          {{40, 17}, {0}, true}, {{5, 6, 7}, {1}, true}, {{1, 20011}, {1}},    {{20011}, {0}}};
}

/// The tensor's strides and what goes, as the kernels take it.
inline gradus::cuda::ReducedAxes reduced_axes(const AxesCase& c) {
  gradus::Shape strides = gradus::contiguous_strides(c.shape), shape = c.shape;
  std::vector<bool> reduced(c.shape.rank());
  for (int axis : c.axes) reduced[axis] = true;
  if (c.reversed) {
    const int rank = shape.rank();
    for (int axis = 0; axis < rank / 2; ++axis) {
      std::swap(shape[axis], shape[rank - 1 - axis]);
      std::swap(strides[axis], strides[rank - 1 - axis]);
    }
  }
  return {shape, strides, reduced};
}

/// For each result, in order, its elements, in row-major order of the reduced axes.
template <class T>
std::vector<std::vector<T>> elements_of_results(const std::vector<T>& x, const gradus::cuda::ReducedAxes& axes) {
  const int rank = axes.shape.rank();
  std::int64_t results = 1;
  for (int axis = 0; axis < rank; ++axis) results *= axes.reduced[axis] ? 1 : axes.shape[axis];
  std::vector<std::vector<T>> elements(results);
  const std::int64_t count = axes.shape.numel();
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t rest = i, offset = 0, result = 0, step = 1;
    for (int axis = rank - 1; axis >= 0; --axis) {
      const std::int64_t index = rest % axes.shape[axis];
      rest /= axes.shape[axis];
      offset += index * axes.strides[axis];
      if (axes.reduced[axis]) continue;
      result += index * step;
      step *= axes.shape[axis];
    }
    elements[result].push_back(x[offset]);
  }
  return elements;
}
