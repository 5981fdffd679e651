#include "framework/ops/cost.h"

namespace gradus {

double bytes_of(const TensorSpec& spec) { return double(spec.shape.numel()) * double(size_in_bytes(spec.dtype)); }

double bytes_of(const Tensor& tensor) { return tensor.defined() ? bytes_of(tensor.spec()) : 0; }

double bytes_of_operands(const OpCall& call) {
  double bytes = 0;
  for (const Tensor& input : call.inputs()) bytes += bytes_of(input);
  for (const TensorSpec& output : call.spec().infer(call)) bytes += bytes_of(output);
  return bytes;
}

}  // namespace gradus
