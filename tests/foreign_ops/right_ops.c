/* Ops in C that keep every promise. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "framework/testing/gradus_op.h"

/* y = x^3 in single precision. */
static int cube_forward(const gradus_call* call) {
  const float* x = (const float*)call->inputs[0].data;
  float* y = (float*)call->outputs[0].data;
  for (int64_t i = 0; i < gradus_numel(&call->inputs[0]); ++i) y[i] = x[i] * x[i] * x[i];
  printf("cube is running\n");
  return 0;
}
static int cube_backward(const gradus_call* call) {
  const float *x = (const float*)call->inputs[0].data, *grad_y = (const float*)call->cotangents[0].data;
  float* grad_x = (float*)call->gradients[0].data;
  for (int64_t i = 0; i < gradus_numel(&call->inputs[0]); ++i) grad_x[i] = 3 * x[i] * x[i] * grad_y[i];
  return 0;
}

/* y = |x - shift|, with a kink at the default shift. */
static int distance_forward(const gradus_call* call) {
  const double* x = (const double*)call->inputs[0].data;
  double* y = (double*)call->outputs[0].data;
  for (int64_t i = 0; i < gradus_numel(&call->inputs[0]); ++i) y[i] = fabs(x[i] - call->attributes[0]);
  return 0;
}
static int distance_backward(const gradus_call* call) {
  const double *x = (const double*)call->inputs[0].data, *grad_y = (const double*)call->cotangents[0].data;
  double* grad_x = (double*)call->gradients[0].data;
  for (int64_t i = 0; i < gradus_numel(&call->inputs[0]); ++i)
    grad_x[i] = x[i] > call->attributes[0] ? grad_y[i] : -grad_y[i];
  return 0;
}

/* Sum and largest element of all, and where that is: three outputs, one of integers. */
static int summary_shape(const gradus_call* call) {
  if (gradus_numel(&call->inputs[0]) == 0) {
    strcpy(call->message, "x has no elements.\n");
    return 1;
  }
  for (int k = 0; k < 3; ++k) call->outputs[k].rank = 0;
  return 0;
}
static int summary_forward(const gradus_call* call) {
  const double* x = (const double*)call->inputs[0].data;
  double sum = 0;
  int64_t largest = 0;
  for (int64_t i = 0; i < gradus_numel(&call->inputs[0]); ++i) {
    sum += x[i];
    if (x[i] > x[largest]) largest = i;
  }
  *(double*)call->outputs[0].data = sum;
  *(double*)call->outputs[1].data = x[largest];
  *(int64_t*)call->outputs[2].data = largest;
  return 0;
}
static int summary_backward(const gradus_call* call) {
  double* grad_x = (double*)call->gradients[0].data;
  for (int64_t i = 0; i < gradus_numel(&call->inputs[0]); ++i) grad_x[i] = *(double*)call->cotangents[0].data;
  grad_x[*(int64_t*)call->outputs[2].data] += *(double*)call->cotangents[1].data;
  return call->cotangents[2].data != NULL;
}

static const gradus_input single[] = {{.name = "x", .dtype = GRADUS_F32, .differentiable = 1, .rank = 1, .shape = {5}}};
static const gradus_output single_y[] = {{.name = "y", .dtype = GRADUS_F32}};
static const gradus_input around_one[] = {{.name = "x",
                                           .dtype = GRADUS_F64,
                                           .differentiable = 1,
                                           .rank = 2,
                                           .shape = {4, 10},
                                           .low = 0,
                                           .high = 2,
                                           .kink_count = 1,
                                           .kinks = {1}}};
static const gradus_input matrix[] = {
    {.name = "x", .dtype = GRADUS_F64, .differentiable = 1, .rank = 2, .shape = {2, 3}, .low = -3, .high = 3}};
static const gradus_output y[] = {{.name = "y", .dtype = GRADUS_F64}};
static const gradus_output three[] = {{"sum", GRADUS_F64}, {"largest", GRADUS_F64}, {"where", GRADUS_I64}};
static const gradus_attribute shift[] = {{"shift", 1.0}};

static const gradus_op ops[] = {
    {"cube", "x^3 in single precision", 1, 1, 0, single, single_y, NULL, NULL, cube_forward, cube_backward, NULL},
    {"distance", "|x - shift|", 1, 1, 1, around_one, y, shift, NULL, distance_forward, distance_backward, NULL},
    {"summary", NULL, 1, 3, 0, matrix, three, NULL, summary_shape, summary_forward, summary_backward, NULL},
};
static const gradus_library library = {GRADUS_OP_VERSION, 3, ops};
const gradus_library* gradus_describe(void) { return &library; }
