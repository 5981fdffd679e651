/* Libraries that go wrong before there is an op: one for each value of WRONG. */
#include <stdlib.h>

#include "framework/testing/gradus_op.h"

#define CRASHES_WHEN_LOADED 1
#define HANGS_WHEN_ASKED 2
#define POINTS_NOWHERE 3
#define OTHER_VERSION 4
#define NO_DESCRIPTION 5
#define CRASHES_WHEN_ASKED 6

#if WRONG == CRASHES_WHEN_LOADED
__attribute__((constructor)) static void crash(void) { abort(); }
#endif

#if WRONG != NO_DESCRIPTION
const gradus_library* gradus_describe(void) {
  static gradus_library library = {GRADUS_OP_VERSION, 1, (const gradus_op*)0x12340};
  if (WRONG == OTHER_VERSION) library.version = 99;
  if (WRONG == CRASHES_WHEN_ASKED) abort();
  while (WRONG == HANGS_WHEN_ASKED) *(volatile int32_t*)&library.op_count = 1;
  return &library;
}
#endif
