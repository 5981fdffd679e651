// A kernel's name, for messages.
#pragma once

#include <string>
#include <string_view>

namespace gradus::cuda {

/// From the __PRETTY_FUNCTION__ of a template whose parameter `Kernel` is the kernel: `softmax<float>`.
std::string kernel_name(std::string_view pretty_function);

}  // namespace gradus::cuda
