#include "framework/tensor/print.h"

#include "framework/base/error.h"

namespace gradus {
namespace {

constexpr std::int64_t ends = 3;  // elements shown at each end of a long axis

void print_axis(const std::vector<double>& values, const Shape& shape, int axis, std::int64_t first, int digits,
                std::string& out) {
  if (axis == shape.rank()) {
    out += fmt::format("{:.{}g}", values[first], digits);
    return;
  }
  std::int64_t step = 1;
  for (int inner = axis + 1; inner < shape.rank(); ++inner) step *= shape[inner];
  out += '[';
  for (std::int64_t i = 0; i < shape[axis]; ++i) {
    if (i > 0) out += ", ";
    if (shape[axis] > 2 * ends + 1 && i == ends) {
      out += "..., ";
      i = shape[axis] - ends;
    }
    print_axis(values, shape, axis + 1, first + i * step, digits, out);
  }
  out += ']';
}

}  // namespace

std::string to_string(const Tensor& tensor, int digits) {
  if (!tensor.defined()) return "undefined";
  std::string out;
  print_axis(tensor.to_vector<double>(), tensor.shape(), 0, 0, digits, out);
  return out + "  " + tensor.describe();
}

}  // namespace gradus
