/* A library as the first version of the contract described it, with structs of its own: languages without this header
 * still have these. Two outputs and two attributes, so that their sizes matter. */
#include <stdint.h>

typedef struct {
  void* data;
  int32_t dtype, rank;
  int64_t shape[8];
} tensor;
typedef struct {
  const tensor* inputs;
  tensor* outputs;
  const double* attributes;
  const tensor* cotangents;
  tensor* gradients;
  const tensor* tangents;
  tensor* output_tangents;
  char* message;
} call;
typedef struct {
  const char* name;
  int32_t dtype, differentiable, rank;
  int64_t shape[8];
  double low, high;
  int32_t kink_count;
  double kinks[8];
} input;
typedef struct {
  const char* name;
  int32_t dtype;
} output;
typedef struct {
  const char* name;
  double value;
} attribute;
typedef struct {
  const char *name, *summary;
  int32_t input_count, output_count, attribute_count;
  const input* inputs;
  const output* outputs;
  const attribute* attributes;
  int (*shape)(const call*);
  int (*forward)(const call*);
  int (*backward)(const call*);
  int (*jvp)(const call*);
} op;
typedef struct {
  int32_t version, op_count;
  const op* ops;
} library;

static int forward(const call* c) {
  const double* x = (const double*)c->inputs[0].data;
  for (int i = 0; i < 3; ++i) {
    ((double*)c->outputs[0].data)[i] = c->attributes[0] * x[i];
    ((double*)c->outputs[1].data)[i] = c->attributes[1] * x[i] * x[i];
  }
  return 0;
}
static int backward(const call* c) {
  const double *x = (const double*)c->inputs[0].data, *u = (const double*)c->cotangents[0].data,
               *v = (const double*)c->cotangents[1].data;
  for (int i = 0; i < 3; ++i)
    ((double*)c->gradients[0].data)[i] = c->attributes[0] * u[i] + 2 * c->attributes[1] * x[i] * v[i];
  return 0;
}

const library* gradus_describe(void) {
  static const input inputs[] = {{"x", 0, 1, 1, {3}, -1, 1, 0, {0}}};
  static const output outputs[] = {{"y", 0}, {"z", 0}};
  static const attribute attributes[] = {{"a", 2}, {"b", 0.5}};
  static const op ops[] = {{"old", 0, 1, 2, 2, inputs, outputs, attributes, 0, forward, backward, 0}};
  static const library all = {1, 1, ops};
  return &all;
}
