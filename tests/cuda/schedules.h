// The orders in which a test of the emulation runs its kernels; a device has its own.
#pragma once

#if defined(GRADUS_CUDA_EMULATED)
#include <doctest/doctest.h>

#include "framework/kernels/cuda/emulation/settings.h"

/// Calls `body` under six schedules, and with streams that wait until they are synchronised.
template <class Body>
void for_each_schedule(const Body& body) {
  using namespace gradus::cuda::emulation;
  for (std::uint64_t schedule = 0; schedule < 6; ++schedule) {
    CAPTURE(schedule);
    const SettingsScope scope({.schedule = schedule, .deferred = schedule == 2});
    body();
  }
}
#else
template <class Body>
void for_each_schedule(const Body& body) {
  body();
}
#endif
