// GRADUS_HOST_DEVICE marks a function that nvcc compiles for the host and for the device.
#pragma once

#if defined(__CUDACC__)
#define GRADUS_HOST_DEVICE __host__ __device__
#else
#define GRADUS_HOST_DEVICE
#endif
