// A launch to step through in a debugger (docs/cuda-emulation.md).
#include <cstdio>

#include "tests/cuda/buffer.h"
#include "tests/cuda/teaching_kernels.h"

int main() {
  const int rows = 7, width = 45;
  std::vector<float> x(rows * width);
  for (int i = 0; i < rows * width; ++i) x[i] = static_cast<float>(i % 45);
  Buffer<float> on_device(x), maxima(rows);
  gradus::cuda::teaching::maximum_of_rows(maxima.data(), on_device.data(), rows, width, nullptr);
  for (const float maximum : maxima.values()) std::printf("%g ", maximum);
  std::puts("");
}
