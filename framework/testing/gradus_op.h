/* The contract between the gradient checker of Gradus and an op in a shared library, written in any language that can
 * export a C function. Plain C99, nothing to link: include this file, define gradus_describe(), and build
 *
 *     cc -shared -fPIC -O2 -o my_op.so my_op.c -I<folder of this file>
 *
 * The checker loads the library in a process of its own, so a crash or an endless loop costs nothing but the check.
 *
 * Memory. Every buffer is contiguous and row-major, belongs to the checker and is valid only during the call. What a
 * function may only read lies on read-only pages, unreadable pages lie around every buffer, and what it has to fill
 * holds NaN before: set every element, do not add to it. Buffers are aligned to their element size and no further.
 *
 * A function must not keep pointers or results for the next call, must give the same result for the same inputs, must
 * not let C++ exceptions out and must not end the process. What it prints to standard output goes to standard error. */
#ifndef GRADUS_OP_H
#define GRADUS_OP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GRADUS_OP_VERSION 2     /* of this contract; libraries of version 1 are still taken */
#define GRADUS_MAX_RANK 8       /* axes of a tensor */
#define GRADUS_MAX_COUNT 32     /* inputs, outputs or attributes of an op */
#define GRADUS_MAX_KINKS 8      /* of an input */
#define GRADUS_MESSAGE_SIZE 512 /* bytes, with the final zero */

/* Element types. */
#define GRADUS_F64 0 /* double */
#define GRADUS_F32 1 /* float */
#define GRADUS_I64 2 /* int64_t; never differentiable */

typedef struct gradus_tensor {
  void* data;                     /* the elements; NULL where there are none (see gradus_call) */
  int32_t dtype;                  /* GRADUS_F64, ... */
  int32_t rank;                   /* 0 (one number) to GRADUS_MAX_RANK */
  int64_t shape[GRADUS_MAX_RANK]; /* the first `rank` sizes; a size may be 0 */
} gradus_tensor;

/* What every function of an op receives. Arrays are in the order of the op's declarations. */
typedef struct gradus_call {
  const gradus_tensor* inputs; /* read-only; shape() sees no data, only dtype, rank and shape */
  gradus_tensor* outputs;      /* shape(): set rank and shape. forward(): fill data. backward(), jvp(): what forward()
                                  gave for these inputs, read-only; other calls may lie in between */
  const double* attributes;    /* one number each */

  /* backward(): for a scalar L, cotangents[k] is dL/d outputs[k]; gradients[i] is to become dL/d inputs[i], with its
   * shape and dtype. data is NULL for GRADUS_I64 and where an input is not differentiable. */
  const gradus_tensor* cotangents;
  gradus_tensor* gradients;

  /* jvp(): output_tangents[k] is to become sum_i (d outputs[k] / d inputs[i]) tangents[i]; data NULL as above. */
  const gradus_tensor* tangents;
  gradus_tensor* output_tangents;

  char* message; /* GRADUS_MESSAGE_SIZE bytes: why the function refuses, as text; empty at first */
} gradus_call;

/* Returns 0, or anything else to refuse the call. */
typedef int (*gradus_function)(const gradus_call* call);

typedef struct gradus_input {
  const char* name;       /* letters, digits, _ - . and at most 63 of them; the same for all names */
  int32_t dtype;          /* GRADUS_F64, ... */
  int32_t differentiable; /* 1 or 0 */

  /* What the checker tries unless its user asks for something else. */
  int32_t rank;
  int64_t shape[GRADUS_MAX_RANK];
  double low, high; /* values are drawn uniformly from [low, high]; both 0: standard normal. GRADUS_I64: integers from
                       low to high, both included */

  int32_t kink_count;             /* of kinks[] */
  double kinks[GRADUS_MAX_KINKS]; /* values at which the op has no derivative (0 for relu): inputs keep a distance */
} gradus_input;

typedef struct gradus_output {
  const char* name;
  int32_t dtype;

  /* Since version 2. */
  double accuracy; /* how far off forward may leave an element, relative to the largest one: 1e-6 of a solver that stops
                      there; 0: rounding of the dtype alone */
} gradus_output;

typedef struct gradus_attribute {
  const char* name;
  double value; /* unless the user of the checker gives another */

  /* Since version 2. */
  double low, high; /* what the checker may try, both included; whole numbers alone where value, low and high are. Both
                       0: nothing but the value, or, where that is no whole number, 2 % less */
} gradus_attribute;

typedef struct gradus_op {
  const char* name;
  const char* summary; /* one line, or NULL */
  int32_t input_count, output_count, attribute_count;
  const gradus_input* inputs;         /* at least one */
  const gradus_output* outputs;       /* at least one */
  const gradus_attribute* attributes; /* NULL if attribute_count is 0 */

  gradus_function shape; /* NULL: every output has the shape of the first input */
  gradus_function forward;
  gradus_function backward;
  gradus_function jvp; /* forward mode; NULL where there is none */
} gradus_op;

typedef struct gradus_library {
  int32_t version; /* GRADUS_OP_VERSION */
  int32_t op_count;
  const gradus_op* ops; /* must stay valid */
} gradus_library;

#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const gradus_library*
gradus_describe(void); /* defined by the library */

#if defined(__GNUC__)
/* Whose structs these are, for a library that was written against version 1 and still says so. */
extern __attribute__((weak, visibility("default"))) const int32_t gradus_op_layout;
const int32_t gradus_op_layout = GRADUS_OP_VERSION;
#endif

/* Number of elements: the product of the sizes. */
static inline int64_t gradus_numel(const gradus_tensor* tensor) {
  int64_t count = 1;
  for (int32_t axis = 0; axis < tensor->rank; ++axis) count *= tensor->shape[axis];
  return count;
}

#ifdef __cplusplus
}
#endif

#endif
