// CUDA as a device of Gradus: its memory, and the kernels of the ops. A program that has it calls install_cuda() once,
// and links either the kernels for devices or the emulated ones.
#pragma once

namespace gradus {

/// What is emulated is chosen by its name `cuda` alone, not by `auto`.
void install_cuda();

}  // namespace gradus
