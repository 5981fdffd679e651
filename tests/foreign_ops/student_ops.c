/* What students hand in: right forwards written in other ways than the built-in ops, wrong ones with the right gradient of
 * what they compute, and reads beyond buffers that no page stops at one of the two ends. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "framework/testing/gradus_op.h"

#define IN(i) ((const double*)call->inputs[i].data)
#define OUT(i) ((double*)call->outputs[i].data)
#define Y(i) ((const double*)call->outputs[i].data)
#define U(i) ((const double*)call->cotangents[i].data)
#define G(i) ((double*)call->gradients[i].data)
#define COUNT gradus_numel(&call->inputs[0])
#define ROWS call->inputs[0].shape[0]
#define COLUMNS call->inputs[0].shape[1]
#define FUNCTION(name) static int name(const gradus_call* call)

/* Without the subtraction of the maximum. */
FUNCTION(softmax_forward) {
  for (int64_t i = 0; i < ROWS; ++i) {
    double sum = 0;
    for (int64_t j = COLUMNS - 1; j >= 0; --j) sum += OUT(0)[i * COLUMNS + j] = exp(IN(0)[i * COLUMNS + j]);
    for (int64_t j = 0; j < COLUMNS; ++j) OUT(0)[i * COLUMNS + j] /= sum;
  }
  return 0;
}
FUNCTION(softmax_backward) {
  for (int64_t i = 0; i < ROWS; ++i) {
    double dot = 0;
    for (int64_t j = 0; j < COLUMNS; ++j) dot += Y(0)[i * COLUMNS + j] * U(0)[i * COLUMNS + j];
    for (int64_t j = 0; j < COLUMNS; ++j) G(0)[i * COLUMNS + j] = Y(0)[i * COLUMNS + j] * (U(0)[i * COLUMNS + j] - dot);
  }
  return 0;
}

/* In single precision, from inputs in single precision. */
FUNCTION(softmax_f32_forward) {
  const float* x = call->inputs[0].data;
  float* y = call->outputs[0].data;
  for (int64_t i = 0; i < ROWS; ++i) {
    float sum = 0;
    for (int64_t j = 0; j < COLUMNS; ++j) sum += y[i * COLUMNS + j] = expf(x[i * COLUMNS + j]);
    for (int64_t j = 0; j < COLUMNS; ++j) y[i * COLUMNS + j] /= sum;
  }
  return 0;
}
FUNCTION(softmax_f32_backward) {
  const float *y = call->outputs[0].data, *u = call->cotangents[0].data;
  float* g = call->gradients[0].data;
  for (int64_t i = 0; i < ROWS; ++i) {
    float dot = 0;
    for (int64_t j = 0; j < COLUMNS; ++j) dot += y[i * COLUMNS + j] * u[i * COLUMNS + j];
    for (int64_t j = 0; j < COLUMNS; ++j) g[i * COLUMNS + j] = y[i * COLUMNS + j] * (u[i * COLUMNS + j] - dot);
  }
  return 0;
}

FUNCTION(doubled) {
  for (int64_t i = 0; i < COUNT; ++i) OUT(0)[i] = 2 * IN(0)[i];
  return 0;
}
FUNCTION(doubled_backward) {
  for (int64_t i = 0; i < COUNT; ++i) G(0)[i] = 2 * U(0)[i];
  return 0;
}

/* tanh off by 1e-7 of itself. */
FUNCTION(nearly_tanh) {
  for (int64_t i = 0; i < COUNT; ++i) OUT(0)[i] = (1 + 1e-7) * tanh(IN(0)[i]);
  return 0;
}
FUNCTION(nearly_tanh_backward) {
  for (int64_t i = 0; i < COUNT; ++i) G(0)[i] = (1 + 1e-7) * U(0)[i] * (1 - tanh(IN(0)[i]) * tanh(IN(0)[i]));
  return 0;
}

/* The variance of all elements from sums of squares, with n - 1. */
FUNCTION(var_shape) { return call->outputs[0].rank = 0, 0; }
FUNCTION(var_forward) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < COUNT; ++i) sum += IN(0)[i], squares += IN(0)[i] * IN(0)[i];
  OUT(0)[0] = (squares - sum * sum / COUNT) / (COUNT - 1);
  return 0;
}
FUNCTION(var_backward) {
  double sum = 0;
  for (int64_t i = 0; i < COUNT; ++i) sum += IN(0)[i];
  for (int64_t i = 0; i < COUNT; ++i) G(0)[i] = U(0)[0] * 2 * (IN(0)[i] - sum / COUNT) / (COUNT - 1);
  return 0;
}

/* a b, summed from the last term to the first. */
FUNCTION(matmul_shape) {
  if (call->inputs[0].shape[1] != call->inputs[1].shape[0]) return strcpy(call->message, "inner sizes differ"), 1;
  call->outputs[0].rank = 2;
  call->outputs[0].shape[0] = ROWS;
  call->outputs[0].shape[1] = call->inputs[1].shape[1];
  return 0;
}
FUNCTION(matmul_forward) {
  const int64_t n = call->inputs[1].shape[1], inner = COLUMNS;
  for (int64_t i = 0; i < ROWS; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t k = inner - 1; k >= 0; --k) sum += IN(0)[i * inner + k] * IN(1)[k * n + j];
      OUT(0)[i * n + j] = sum;
    }
  }
  return 0;
}
FUNCTION(matmul_backward) {
  const int64_t n = call->inputs[1].shape[1], inner = COLUMNS;
  memset(G(0), 0, sizeof(double) * COUNT);
  memset(G(1), 0, sizeof(double) * inner * n);
  for (int64_t i = 0; i < ROWS; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t k = 0; k < inner; ++k) {
        G(0)[i * inner + k] += U(0)[i * n + j] * IN(1)[k * n + j];
        G(1)[k * n + j] += U(0)[i * n + j] * IN(0)[i * inner + k];
      }
    }
  }
  return 0;
}

/* condition ? a : b, the condition as integers. */
FUNCTION(where_shape) {
  call->outputs[0].rank = call->inputs[1].rank;
  memcpy(call->outputs[0].shape, call->inputs[1].shape, sizeof call->inputs[1].shape);
  return 0;
}
FUNCTION(where_forward) {
  for (int64_t i = 0; i < COUNT; ++i) OUT(0)[i] = ((const int64_t*)call->inputs[0].data)[i] ? IN(1)[i] : IN(2)[i];
  return 0;
}
FUNCTION(where_backward) {
  for (int64_t i = 0; i < COUNT; ++i) {
    const int64_t first = ((const int64_t*)call->inputs[0].data)[i];
    G(1)[i] = first ? U(0)[i] : 0;
    G(2)[i] = first ? 0 : U(0)[i];
  }
  return 0;
}

FUNCTION(argmax) {
  int64_t* best = call->outputs[0].data;
  for (int64_t i = best[0] = 0; i < COUNT; ++i) best[0] = IN(0)[i] > IN(0)[best[0]] ? i : best[0];
  return 0;
}

FUNCTION(refuses) { return strcpy(call->message, "not today"), 1; }

/* Reads beyond buffers, whose values become part of the results. */
FUNCTION(average_next) {
  for (int64_t i = 0; i < COUNT; ++i) OUT(0)[i] = 0.5 * (IN(0)[i] + IN(0)[i + 1]);
  return 0;
}
FUNCTION(difference_before) {
  for (int64_t i = 0; i < COUNT; ++i) OUT(0)[i] = IN(0)[i] - IN(0)[i - 1];
  return 0;
}
FUNCTION(through_f32) {
  for (int64_t i = 0; i < COUNT; ++i) OUT(0)[i] = -(float)IN(0)[i + 1];
  return 0;
}
FUNCTION(running_sum) {
  for (int64_t i = 0; i < COUNT; ++i) OUT(0)[i] = OUT(0)[i - 1] + IN(0)[i];
  return 0;
}
FUNCTION(backward_looks_ahead) {
  for (int64_t i = 0; i < COUNT; ++i) G(0)[i] = 2 * U(0)[i] + 0 * Y(0)[i + 3];
  return 0;
}

static const gradus_input x[] = {
    {.name = "x", .dtype = GRADUS_F64, .differentiable = 1, .rank = 2, .shape = {3, 4}, .low = -2, .high = 2}};
static const gradus_input x_f32[] = {
    {.name = "x", .dtype = GRADUS_F32, .differentiable = 1, .rank = 2, .shape = {3, 4}, .low = -2, .high = 2}};
static const gradus_input x_empty[] = {{.name = "x", .dtype = GRADUS_F64, .differentiable = 1, .rank = 2, .shape = {3, 0}}};
#define MATRIX(n, r, c) {.name = n, .dtype = GRADUS_F64, .differentiable = 1, .rank = 2, .shape = {r, c}}
static const gradus_input factors[] = {MATRIX("a", 3, 4), MATRIX("b", 4, 2)};
static const gradus_input swapped[] = {MATRIX("b", 3, 4), MATRIX("a", 4, 2)};
static const gradus_input choices[] = {
    {.name = "flag", .dtype = GRADUS_I64, .rank = 2, .shape = {3, 4}, .low = 0, .high = 1},
    MATRIX("a", 3, 4),
    MATRIX("b", 3, 4)};
static const gradus_output y[] = {{.name = "y", .dtype = GRADUS_F64}};
static const gradus_output y_f32[] = {{.name = "y", .dtype = GRADUS_F32}};
static const gradus_output index_alone[] = {{.name = "index", .dtype = GRADUS_I64}};
static const gradus_input misnamed[] = {{.name = "a b", .dtype = GRADUS_F64, .differentiable = 1, .rank = 0}};
static const gradus_attribute slope[] = {{.name = "slope", .value = 2}};

#define OP(op_name, in, out, shape_, forward_, backward_) \
  {.name = op_name, .input_count = sizeof in / sizeof in[0], .output_count = 1, .inputs = in, .outputs = out, \
   .shape = shape_, .forward = forward_, .backward = backward_}

static const gradus_op ops[] = {
    OP("softmax", x, y, NULL, softmax_forward, softmax_backward),
    OP("softmax_f32", x_f32, y_f32, NULL, softmax_f32_forward, softmax_f32_backward),
    OP("softmax_empty", x_empty, y, NULL, softmax_forward, softmax_backward),
    OP("doubled", x, y, NULL, doubled, doubled_backward),
    OP("nearly_tanh", x, y, NULL, nearly_tanh, nearly_tanh_backward),
    OP("var", x, y, var_shape, var_forward, var_backward),
    OP("matmul", factors, y, matmul_shape, matmul_forward, matmul_backward),
    OP("swapped", swapped, y, matmul_shape, matmul_forward, matmul_backward),
    OP("where", choices, y, where_shape, where_forward, where_backward),
    OP("argmax", x, index_alone, var_shape, argmax, doubled_backward),
    OP("refuses", x, y, NULL, refuses, doubled_backward),
    OP("misnamed", misnamed, y, NULL, doubled, doubled_backward),
    OP("average_next", x, y, NULL, average_next, doubled_backward),
    OP("difference_before", x, y, NULL, difference_before, doubled_backward),
    OP("through_f32", x, y, NULL, through_f32, doubled_backward),
    OP("running_sum", x, y, NULL, running_sum, doubled_backward),
    OP("backward_looks_ahead", x, y, NULL, doubled, backward_looks_ahead),
    {.name = "sloped", .input_count = 1, .output_count = 1, .attribute_count = 1, .inputs = x, .outputs = y,
     .attributes = slope, .forward = doubled, .backward = doubled_backward}};

static const gradus_library library = {
    .version = GRADUS_OP_VERSION, .op_count = sizeof ops / sizeof ops[0], .ops = ops};

const gradus_library* gradus_describe(void) { return &library; }
