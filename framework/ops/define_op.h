// Ops of one's own: a record, handed to define_op() anywhere in a program, is an op like the built-in ones from then
// on.
#pragma once

#include "framework/kernels/cpu/copy.h"
#include "framework/kernels/cpu/elementwise.h"
#include "framework/ops/op_spec.h"

namespace gradus {

/// Checks and completes the record, keeps it for the rest of the program and returns it where it will stay. Throws
/// UsageError naming op and field: a name that is taken, an index outside of inputs or outputs, no way to a gradient,
/// ...
///
/// Needed: `name`, `inputs`, `cpu.forward`, and `cpu.backward` or `backward_composite` where an input is
/// differentiable. Without `infer` the op is taken for an element-wise one: inputs f32 or f64, all of one dtype, and
/// one output of that dtype and of the shape that the inputs broadcast to.
const OpSpec& define_op(OpSpec record);

/// Every record that define_op() has accepted so far, in that order.
std::vector<const OpSpec*> defined_ops();

namespace detail {

/// The shape that all tensors broadcast to; throws naming both shapes where two do not fit.
Shape common_shape(std::initializer_list<Tensor> tensors);
/// Throws unless every tensor broadcasts to the shape of `to` and has its dtype.
void require_elementwise(const Tensor& to, std::initializer_list<Tensor> from);

}  // namespace detail

/// to[i] = function(from[i]...) for every element, in f32 or f64 as `to` has it; the operands broadcast to its shape.
/// For outputs of a forward: `fill_elements(call.output(0), [](auto x) { return x > 0 ? x * x : 0; }, call.input(0))`.
template <class Function, class... Operands>
void fill_elements(const Tensor& to, const Function& function, const Operands&... from) {
  detail::require_elementwise(to, {from...});
  visit_compute_dtype(to.dtype(), [&]<class T>() {
    const auto in_dtype = [&function](std::conditional_t<true, T, Operands>... values) {
      return static_cast<T>(function(values...));
    };
    cpu::map_elements<T>(to, in_dtype, cpu::Operand<T>{from}...);
  });
}

/// A new tensor with the elements function(first[i], rest[i]...), of the shape that the operands broadcast to.
template <class Function, class... Operands>
Tensor map_elements(const Function& function, const Tensor& first, const Operands&... rest) {
  const Tensor result = Tensor::empty(detail::common_shape({first, rest...}), first.dtype());
  fill_elements(result, function, first, rest...);
  return result;
}

}  // namespace gradus
