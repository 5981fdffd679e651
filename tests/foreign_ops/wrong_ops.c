/* y = x^2 on (3,4), done wrong in every way that the checker is to survive and to name. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "framework/testing/gradus_op.h"

enum { count = 12 };

static double* x_of(const gradus_call* call) { return (double*)call->inputs[0].data; }
static double* y_of(const gradus_call* call) { return (double*)call->outputs[0].data; }
static double* grad_y_of(const gradus_call* call) { return (double*)call->cotangents[0].data; }
static double* grad_x_of(const gradus_call* call) { return (double*)call->gradients[0].data; }

static int forward(const gradus_call* call) {
  for (int i = 0; i < count; ++i) y_of(call)[i] = x_of(call)[i] * x_of(call)[i];
  return 0;
}
static int backward(const gradus_call* call) {
  for (int i = 0; i < count; ++i) grad_x_of(call)[i] = 2 * x_of(call)[i] * grad_y_of(call)[i];
  return 0;
}
static int jvp(const gradus_call* call) {
  for (int i = 0; i < count; ++i)
    ((double*)call->output_tangents[0].data)[i] = 2 * x_of(call)[i] * ((double*)call->tangents[0].data)[i];
  return 0;
}

/* Does not return. */
static int follows_null(const gradus_call* call) {
  static double* volatile nowhere = NULL;
  return (int)nowhere[call->inputs[0].rank];
}
static int divides_by_zero(const gradus_call* call) {
  volatile int zero = call->inputs[0].rank - 2;
  return 7 / zero;
}
static volatile int bottomless = 1;
static int recurses(const gradus_call* call) {
  volatile char room[4096];
  room[0] = (char)call->inputs[0].rank;
  if (bottomless) recurses(call);
  return room[0] != 2;
}
static int aborts(const gradus_call* call) { return (void)call, abort(), 0; }
static int exits(const gradus_call* call) { return (void)call, exit(0), 0; }
static int leaves(const gradus_call* call) { return (void)call, _exit(42), 0; }
static int is_killed(const gradus_call* call) { return (void)call, raise(SIGKILL), 0; }
static int loops(const gradus_call* call) {
  while (*(volatile const int32_t*)&call->inputs[0].rank == 2) continue;
  return 0;
}
static int starts_another(const gradus_call* call) {
  if (fork() == 0) sleep(1000);
  return loops(call);
}

static int hangs_up(const gradus_call* call) {
  for (int file = 3; file < 64; ++file) close(file);
  return loops(call);
}

/* Touches what it must not. */
static int writes_past(const gradus_call* call) { return forward(call), ((volatile double*)y_of(call))[count] = 1, 0; }
static int writes_before(const gradus_call* call) { return forward(call), ((volatile double*)y_of(call))[-1] = 1, 0; }
static int writes_far_before(const gradus_call* call) {
  return forward(call), ((volatile double*)y_of(call))[-1000] = 1, 0;
}
static int reads_past(const gradus_call* call) { return forward(call), (void)((volatile double*)x_of(call))[count], 0; }
static int reads_before(const gradus_call* call) { return forward(call), (void)((volatile double*)x_of(call))[-1], 0; }
static int gradient_past(const gradus_call* call) {
  return backward(call), ((volatile double*)grad_x_of(call))[count] = 1, 0;
}
static int gradient_before(const gradus_call* call) {
  return backward(call), ((volatile double*)grad_x_of(call))[-2] = 1, 0;
}
static int edits_input(const gradus_call* call) { return forward(call), ((volatile double*)x_of(call))[5] = 0, 0; }
static int edits_cotangent(const gradus_call* call) {
  return backward(call), ((volatile double*)grad_y_of(call))[0] = 0, 0;
}
static int edits_output(const gradus_call* call) { return backward(call), ((volatile double*)y_of(call))[11] = 0, 0; }

/* Leaves something out. */
static int skips_last(const gradus_call* call) {
  for (int i = 0; i + 1 < count; ++i) y_of(call)[i] = x_of(call)[i] * x_of(call)[i];
  return 0;
}
static int skips_odd(const gradus_call* call) {
  for (int i = 0; i < count; i += 2) grad_x_of(call)[i] = 2 * x_of(call)[i] * grad_y_of(call)[i];
  return 0;
}
static int adds(const gradus_call* call) {
  for (int i = 0; i < count; ++i) grad_x_of(call)[i] += 2 * x_of(call)[i] * grad_y_of(call)[i];
  return 0;
}
static int skips_tangent(const gradus_call* call) { return (void)call, 0; }

/* Remembers. */
static int calls = 0;
static int counts_calls(const gradus_call* call) {
  backward(call);
  grad_x_of(call)[0] += 1e-3 * (calls++ % 3);
  return 0;
}
static double saved[count], total[count];
static int saves(const gradus_call* call) { return memcpy(saved, x_of(call), sizeof saved), forward(call); }
static int uses_saved(const gradus_call* call) {
  for (int i = 0; i < count; ++i) grad_x_of(call)[i] = 2 * saved[i] * grad_y_of(call)[i];
  return 0;
}
static int piles_up(const gradus_call* call) {
  for (int i = 0; i < count; ++i) grad_x_of(call)[i] = total[i] += 2 * x_of(call)[i] * grad_y_of(call)[i];
  return 0;
}

/* Is merely wrong. */
static int half(const gradus_call* call) {
  for (int i = 0; i < count; ++i) grad_x_of(call)[i] = x_of(call)[i] * grad_y_of(call)[i];
  return 0;
}
static int ignores_upstream(const gradus_call* call) {
  for (int i = 0; i < count; ++i) grad_x_of(call)[i] = 2 * x_of(call)[i];
  return 0;
}
static int only_first_row(const gradus_call* call) {
  for (int i = 0; i < count; ++i) grad_x_of(call)[i] = i < 4 ? 2 * x_of(call)[i] * grad_y_of(call)[i] : 0;
  return 0;
}
static int wrong_jvp(const gradus_call* call) {
  jvp(call);
  ((double*)call->output_tangents[0].data)[3] *= 1.5;
  return 0;
}

/* Refuses, or answers nonsense. */
static int refuses(const gradus_call* call) {
  return snprintf(call->message, GRADUS_MESSAGE_SIZE, "not on a Sunday.\n");
}
static int shouts(const gradus_call* call) {
  return snprintf(call->message, GRADUS_MESSAGE_SIZE, "not\x1b[2J on \xc2\x9b" "31m a Sunday\xff");
}
static int refuses_silently(const gradus_call* call) { return (void)call, 7; }
static int rank_99(const gradus_call* call) { return call->outputs[0].rank = 99, 0; }
static int negative_size(const gradus_call* call) {
  return call->outputs[0].rank = 1, call->outputs[0].shape[0] = -3, 0;
}
static int enormous(const gradus_call* call) {
  return call->outputs[0].rank = 2, call->outputs[0].shape[0] = call->outputs[0].shape[1] = 1000000000, 0;
}

static const gradus_input inputs[] = {
    {.name = "x", .dtype = GRADUS_F64, .differentiable = 1, .rank = 2, .shape = {3, 4}, .low = 0.5, .high = 2}};
static const gradus_output outputs[] = {{"y", GRADUS_F64}};

#define OP(name, shape, forward, backward, jvp) \
  { #name, NULL, 1, 1, 0, inputs, outputs, NULL, shape, forward, backward, jvp }
#define FORWARD(function) OP(function, NULL, function, backward, NULL)
#define BACKWARD(function) OP(function, NULL, forward, function, NULL)
#define SHAPE(function) OP(function, function, forward, backward, NULL)

static const gradus_op ops[] = {
    FORWARD(follows_null),
    FORWARD(divides_by_zero),
    FORWARD(recurses),
    FORWARD(aborts),
    FORWARD(exits),
    BACKWARD(leaves),
    BACKWARD(is_killed),
    BACKWARD(loops),
    BACKWARD(hangs_up),
    BACKWARD(starts_another),
    FORWARD(writes_past),
    FORWARD(writes_before),
    FORWARD(writes_far_before),
    FORWARD(reads_past),
    FORWARD(reads_before),
    BACKWARD(gradient_past),
    BACKWARD(gradient_before),
    FORWARD(edits_input),
    BACKWARD(edits_cotangent),
    BACKWARD(edits_output),
    FORWARD(skips_last),
    BACKWARD(skips_odd),
    BACKWARD(adds),
    OP(skips_tangent, NULL, forward, backward, skips_tangent),
    BACKWARD(counts_calls),
    OP(uses_saved, NULL, saves, uses_saved, NULL),
    BACKWARD(piles_up),
    BACKWARD(half),
    BACKWARD(ignores_upstream),
    BACKWARD(only_first_row),
    OP(wrong_jvp, NULL, forward, backward, wrong_jvp),
    FORWARD(refuses),
    FORWARD(shouts),
    FORWARD(refuses_silently),
    SHAPE(rank_99),
    SHAPE(negative_size),
    SHAPE(enormous),
};
static const gradus_library library = {GRADUS_OP_VERSION, sizeof ops / sizeof ops[0], ops};
const gradus_library* gradus_describe(void) { return &library; }
