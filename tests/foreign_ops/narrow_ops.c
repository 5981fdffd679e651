/* Ops that are wrong where their declared point does not look, and right ones that are easily misread at other shapes.
 * Version 2 of the contract: ranges of attributes. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "framework/testing/gradus_op.h"

static const double* x_of(const gradus_call* call) { return (const double*)call->inputs[0].data; }
static double* y_of(const gradus_call* call) { return (double*)call->outputs[0].data; }
static const double* grad_y_of(const gradus_call* call) { return (const double*)call->cotangents[0].data; }
static double* grad_x_of(const gradus_call* call) { return (double*)call->gradients[0].data; }
static int64_t count_of(const gradus_call* call) { return gradus_numel(&call->inputs[0]); }
static int64_t width_of(const gradus_call* call) { return call->inputs[0].shape[call->inputs[0].rank - 1]; }

/* y = x^2 */
static int square(const gradus_call* call) {
  for (int64_t i = 0; i < count_of(call); ++i) y_of(call)[i] = x_of(call)[i] * x_of(call)[i];
  return 0;
}
static double slope(const gradus_call* call, int64_t i) { return 2 * x_of(call)[i] * grad_y_of(call)[i]; }

static int first_block(const gradus_call* call) {
  for (int64_t i = 0; i < count_of(call); ++i) grad_x_of(call)[i] = i % width_of(call) < 64 ? slope(call, i) : 0;
  return 0;
}
static int two_items(const gradus_call* call) {
  for (int64_t i = 0; i < count_of(call); ++i)
    grad_x_of(call)[i] = i < 2 * width_of(call) ? slope(call, i) : 0.5 * slope(call, i);
  return 0;
}
static int first_rows(const gradus_call* call) {
  const int64_t rows = call->inputs[0].shape[0];
  for (int64_t i = 0; i < count_of(call); ++i) grad_x_of(call)[i] = i < rows * width_of(call) ? slope(call, i) : 0;
  return 0;
}
static int at_other_addresses(const gradus_call* call) {
  const int off = (uintptr_t)grad_x_of(call) % 64 % 32 == 8;
  for (int64_t i = 0; i < count_of(call); ++i) grad_x_of(call)[i] = off && i == 0 ? 0 : slope(call, i);
  return 0;
}
static int table_of_first_size(const gradus_call* call) {
  static int64_t size = 0;
  if (size == 0) size = count_of(call);
  for (int64_t i = 0; i < count_of(call); ++i) grad_x_of(call)[i] = i < size ? slope(call, i) : 0;
  return 0;
}

/* y = max(0, x - 5), of which nothing is seen in [-2, 2]. */
static int beyond_five(const gradus_call* call) {
  for (int64_t i = 0; i < count_of(call); ++i) y_of(call)[i] = fmax(0, x_of(call)[i] - 5);
  return 0;
}
static int negative_beyond_five(const gradus_call* call) {
  for (int64_t i = 0; i < count_of(call); ++i) grad_x_of(call)[i] = x_of(call)[i] > 5 ? -grad_y_of(call)[i] : 0;
  return 0;
}

/* y = x^p */
static int power(const gradus_call* call) {
  for (int64_t i = 0; i < count_of(call); ++i) y_of(call)[i] = pow(x_of(call)[i], call->attributes[0]);
  return 0;
}
static int power_of_two(const gradus_call* call) {
  for (int64_t i = 0; i < count_of(call); ++i) grad_x_of(call)[i] = slope(call, i);
  return 0;
}

/* The product of each row. */
static int row_shape(const gradus_call* call) {
  call->outputs[0].rank = 1;
  call->outputs[0].shape[0] = call->inputs[0].shape[0];
  return 0;
}
static int row_product(const gradus_call* call) {
  const int64_t rows = call->inputs[0].shape[0], width = call->inputs[0].shape[1];
  for (int64_t r = 0; r < rows; ++r) {
    y_of(call)[r] = 1;
    for (int64_t j = 0; j < width; ++j) y_of(call)[r] *= x_of(call)[r * width + j];
  }
  return 0;
}
static int divided_product(const gradus_call* call) {
  const int64_t rows = call->inputs[0].shape[0], width = call->inputs[0].shape[1];
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < width; ++j)
      grad_x_of(call)[r * width + j] = grad_y_of(call)[r] * y_of(call)[r] / x_of(call)[r * width + j];
  }
  return 0;
}

/* y = x[index] */
static int index_shape(const gradus_call* call) {
  call->outputs[0].rank = 1;
  call->outputs[0].shape[0] = call->inputs[1].shape[0];
  return 0;
}
static const int64_t* index_of(const gradus_call* call) { return (const int64_t*)call->inputs[1].data; }
static int gather(const gradus_call* call) {
  for (int64_t m = 0; m < gradus_numel(&call->inputs[1]); ++m) y_of(call)[m] = x_of(call)[index_of(call)[m]];
  return 0;
}
static int last_use(const gradus_call* call) {
  memset(grad_x_of(call), 0, sizeof(double) * count_of(call));
  for (int64_t m = 0; m < gradus_numel(&call->inputs[1]); ++m) grad_x_of(call)[index_of(call)[m]] = grad_y_of(call)[m];
  return 0;
}

/* a b, whose backward takes the columns of b for its rows. */
static int matmul_shape(const gradus_call* call) {
  call->outputs[0].rank = 2;
  call->outputs[0].shape[0] = call->inputs[0].shape[0];
  call->outputs[0].shape[1] = call->inputs[1].shape[1];
  return call->inputs[0].shape[1] != call->inputs[1].shape[0];
}
static int matmul(const gradus_call* call) {
  const int64_t rows = call->inputs[0].shape[0], inner = call->inputs[0].shape[1], columns = call->inputs[1].shape[1];
  const double* b = (const double*)call->inputs[1].data;
  for (int64_t i = 0; i < rows * columns; ++i) {
    y_of(call)[i] = 0;
    for (int64_t k = 0; k < inner; ++k)
      y_of(call)[i] += x_of(call)[i / columns * inner + k] * b[k * columns + i % columns];
  }
  return 0;
}
static int square_matmul(const gradus_call* call) {
  const int64_t rows = call->inputs[0].shape[0], inner = call->inputs[0].shape[1], columns = call->inputs[1].shape[1];
  const double* b = (const double*)call->inputs[1].data;
  double* grad_b = (double*)call->gradients[1].data;
  for (int64_t i = 0; i < rows * inner; ++i) {
    grad_x_of(call)[i] = 0;
    for (int64_t j = 0; j < columns; ++j)
      grad_x_of(call)[i] += grad_y_of(call)[i / inner * columns + j] * b[(i % inner * inner + j) % (inner * columns)];
  }
  for (int64_t i = 0; i < inner * columns; ++i) {
    grad_b[i] = 0;
    for (int64_t r = 0; r < rows; ++r)
      grad_b[i] += x_of(call)[r * inner + i / columns] * grad_y_of(call)[r * columns + i % columns];
  }
  return 0;
}

/* Right. Sums of rows of a matrix, taking the first two sizes for all there are. */
static int row_sum(const gradus_call* call) {
  const int64_t rows = call->inputs[0].shape[0], width = call->inputs[0].shape[1];
  for (int64_t r = 0; r < rows; ++r) {
    y_of(call)[r] = 0;
    for (int64_t j = 0; j < width; ++j) y_of(call)[r] += sin(x_of(call)[r * width + j]);
  }
  return 0;
}
static int row_cosines(const gradus_call* call) {
  const int64_t rows = call->inputs[0].shape[0], width = call->inputs[0].shape[1];
  for (int64_t i = 0; i < rows * width; ++i) grad_x_of(call)[i] = cos(x_of(call)[i]) * grad_y_of(call)[i / width];
  return 0;
}
/* Right: means of as many elements of a row as an index says. Of other ranks it would read on into the next row. */
static int mean_of_some(const gradus_call* call) {
  const int64_t rows = call->inputs[0].shape[0], width = call->inputs[0].shape[1];
  const int64_t* length = (const int64_t*)call->inputs[1].data;
  for (int64_t r = 0; r < rows; ++r) {
    y_of(call)[r] = 0;
    for (int64_t j = 0; j < length[r]; ++j) y_of(call)[r] += x_of(call)[r * width + j] / length[r];
  }
  return 0;
}
static int share_of_some(const gradus_call* call) {
  const int64_t rows = call->inputs[0].shape[0], width = call->inputs[0].shape[1];
  const int64_t* length = (const int64_t*)call->inputs[1].data;
  memset(grad_x_of(call), 0, sizeof(double) * count_of(call));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < length[r]; ++j) grad_x_of(call)[r * width + j] = grad_y_of(call)[r] / length[r];
  }
  return 0;
}
/* Right, of two by two only, and silent about it. */
static int scalar_shape(const gradus_call* call) { return call->outputs[0].rank = 0, 0; }
static int determinant(const gradus_call* call) {
  const double* a = x_of(call);
  return y_of(call)[0] = a[0] * a[3] - a[1] * a[2], 0;
}
static int cofactors(const gradus_call* call) {
  const double *a = x_of(call), u = grad_y_of(call)[0];
  double* grad_a = grad_x_of(call);
  grad_a[0] = u * a[3], grad_a[1] = -u * a[2], grad_a[2] = -u * a[1], grad_a[3] = u * a[0];
  return 0;
}
/* Right, of even widths only, and ends the process at others. */
static int pairs(const gradus_call* call) {
  if (width_of(call) % 2) abort();
  return square(call);
}
/* Right, with corners at whole numbers. */
static int largest(const gradus_call* call) {
  const int64_t rows = call->inputs[0].shape[0], width = call->inputs[0].shape[1];
  for (int64_t r = 0; r < rows; ++r) {
    y_of(call)[r] = x_of(call)[r * width];
    for (int64_t j = 1; j < width; ++j) y_of(call)[r] = fmax(y_of(call)[r], x_of(call)[r * width + j]);
  }
  return 0;
}
static int to_first_largest(const gradus_call* call) {
  const int64_t rows = call->inputs[0].shape[0], width = call->inputs[0].shape[1];
  for (int64_t r = 0; r < rows; ++r) {
    int found = 0;
    for (int64_t j = 0; j < width; ++j) {
      const int here = !found && x_of(call)[r * width + j] == y_of(call)[r];
      found |= here;
      grad_x_of(call)[r * width + j] = here ? grad_y_of(call)[r] : 0;
    }
  }
  return 0;
}
/* Right: an angle, which has none where both are 0. */
static int angle(const gradus_call* call) {
  const double* b = (const double*)call->inputs[1].data;
  for (int64_t i = 0; i < count_of(call); ++i) y_of(call)[i] = atan2(x_of(call)[i], b[i]);
  return 0;
}
static int angle_backward(const gradus_call* call) {
  const double *a = x_of(call), *b = (const double*)call->inputs[1].data;
  for (int64_t i = 0; i < count_of(call); ++i) {
    const double u = grad_y_of(call)[i] / (a[i] * a[i] + b[i] * b[i]);
    grad_x_of(call)[i] = u * b[i];
    ((double*)call->gradients[1].data)[i] = -u * a[i];
  }
  return 0;
}

#define NUMBERS(name, rank, low, high, ...)                       \
  {                                                               \
    name, GRADUS_F64, 1, rank, {__VA_ARGS__}, low, high, 0, { 0 } \
  }
static const gradus_input matrix[] = {NUMBERS("x", 2, -2, 2, 3, 4)}, pair[] = {NUMBERS("x", 2, -2, 2, 2, 4)},
                          positive[] = {NUMBERS("x", 2, 0.5, 2, 3, 4)}, small[] = {NUMBERS("a", 2, -2, 2, 2, 2)},
                          squares[] = {NUMBERS("a", 2, 0, 0, 4, 4), NUMBERS("b", 2, 0, 0, 4, 4)},
                          two[] = {NUMBERS("a", 1, -2, 2, 6), NUMBERS("b", 1, -2, 2, 6)},
                          some[] = {NUMBERS("x", 2, -2, 2, 4, 6), {"n", GRADUS_I64, 0, 1, {4}, 1, 6, 0, {0}}},
                          sparse[] = {NUMBERS("x", 1, -2, 2, 900), {"i", GRADUS_I64, 0, 1, {2}, 0, 899, 0, {0}}};
static const gradus_output y[] = {{.name = "y", .dtype = GRADUS_F64, .accuracy = 1e-9}};
static const gradus_attribute exponent[] = {{.name = "p", .value = 2, .low = 1, .high = 4}};

#define OP(name, inputs, count, attributes, attribute_count, shape, forward, backward) \
  { #name, NULL, count, 1, attribute_count, inputs, y, attributes, shape, forward, backward, NULL }
#define PLAIN(name, inputs, forward, backward) OP(name, inputs, 1, NULL, 0, NULL, forward, backward)
static const gradus_op ops[] = {
    PLAIN(first_block, matrix, square, first_block),
    PLAIN(two_items, pair, square, two_items),
    PLAIN(first_rows, matrix, square, first_rows),
    PLAIN(at_other_addresses, matrix, square, at_other_addresses),
    PLAIN(table_of_first_size, matrix, square, table_of_first_size),
    PLAIN(beyond_five, matrix, beyond_five, negative_beyond_five),
    OP(power_of_two, positive, 1, exponent, 1, NULL, power, power_of_two),
    OP(divided_product, matrix, 1, NULL, 0, row_shape, row_product, divided_product),
    OP(last_use, sparse, 2, NULL, 0, index_shape, gather, last_use),
    OP(square_matmul, squares, 2, NULL, 0, matmul_shape, matmul, square_matmul),
    OP(right_rows, matrix, 1, NULL, 0, row_shape, row_sum, row_cosines),
    OP(right_lengths, some, 2, NULL, 0, row_shape, mean_of_some, share_of_some),
    OP(right_determinant, small, 1, NULL, 0, scalar_shape, determinant, cofactors),
    PLAIN(right_pairs, matrix, pairs, power_of_two),
    OP(right_largest, matrix, 1, NULL, 0, row_shape, largest, to_first_largest),
    OP(right_angle, two, 2, NULL, 0, NULL, angle, angle_backward),
};
static const gradus_library library = {GRADUS_OP_VERSION, sizeof ops / sizeof ops[0], ops};
const gradus_library* gradus_describe(void) { return &library; }
