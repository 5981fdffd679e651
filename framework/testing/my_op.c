/* my_op: y = tanh(scale * x), element by element. An example to be replaced by an op of your own.
 *
 * Build:  cc -shared -fPIC -O2 -o my_op.so my_op.c -lm
 * Check:  gradus gradcheck --lib ./my_op.so
 */
#include <math.h>
#include <stdio.h>

#include "gradus_op.h"

/* Output shapes from input shapes. Return 1 to refuse, and say why in call->message. */
static int my_op_shape(const gradus_call* call) {
  const gradus_tensor* x = &call->inputs[0];
  gradus_tensor* y = &call->outputs[0];
  if (x->rank < 1) {
    snprintf(call->message, GRADUS_MESSAGE_SIZE, "x needs at least one axis");
    return 1;
  }
  y->rank = x->rank;
  for (int axis = 0; axis < x->rank; ++axis) y->shape[axis] = x->shape[axis];
  return 0;
}

/* y[i] = tanh(scale * x[i]) */
static int my_op_forward(const gradus_call* call) {
  const double* x = (const double*)call->inputs[0].data;
  double* y = (double*)call->outputs[0].data;
  const double scale = call->attributes[0];
  const int64_t count = gradus_numel(&call->inputs[0]);
  for (int64_t i = 0; i < count; ++i) y[i] = tanh(scale * x[i]);
  return 0;
}

/* dL/dx[i] = dL/dy[i] * scale * (1 - y[i]^2): the derivative of tanh, from the output of forward.
 *
 * To see the checker find a bug and name its cause, leave out `scale *` in the last line, build and check again. */
static int my_op_backward(const gradus_call* call) {
  const double* y = (const double*)call->outputs[0].data;
  const double* grad_y = (const double*)call->cotangents[0].data;
  double* grad_x = (double*)call->gradients[0].data;
  const double scale = call->attributes[0];
  const int64_t count = gradus_numel(&call->inputs[0]);
  for (int64_t i = 0; i < count; ++i) grad_x[i] = grad_y[i] * scale * (1.0 - y[i] * y[i]);
  return 0;
}

/* What there is to know about the op; what is not set is 0 or NULL. */
static const gradus_input inputs[] = {
    {.name = "x", .dtype = GRADUS_F64, .differentiable = 1, .rank = 2, .shape = {3, 4}, .low = -2, .high = 2}};
static const gradus_output outputs[] = {{.name = "y", .dtype = GRADUS_F64}};
static const gradus_attribute attributes[] = {{.name = "scale", .value = 0.5, .low = 0.25, .high = 2}};

static const gradus_op ops[] = {{.name = "my_op",
                                 .summary = "tanh(scale * x), element by element",
                                 .input_count = 1,
                                 .output_count = 1,
                                 .attribute_count = 1,
                                 .inputs = inputs,
                                 .outputs = outputs,
                                 .attributes = attributes,
                                 .shape = my_op_shape,
                                 .forward = my_op_forward,
                                 .backward = my_op_backward}};

static const gradus_library library = {.version = GRADUS_OP_VERSION, .op_count = 1, .ops = ops};

/* The checker asks this once: which ops are here? */
const gradus_library* gradus_describe(void) { return &library; }
