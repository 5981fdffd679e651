#include "framework/kernels/cuda/kernel_name.h"

namespace gradus::cuda {

std::string kernel_name(std::string_view pretty_function) {
  constexpr std::string_view parameter = "Kernel = ";
  const auto found = pretty_function.find(parameter);
  if (found == std::string_view::npos) return std::string(pretty_function);
  std::string_view name = pretty_function.substr(found + parameter.size());
  for (const char* end : {"; ", ", Arguments", "]"}) name = name.substr(0, name.find(end));
  const auto qualifier = name.substr(0, name.find('<')).rfind("::");
  if (qualifier != std::string_view::npos) name.remove_prefix(qualifier + 2);
  if (name.starts_with('&')) name.remove_prefix(1);
  return std::string(name);
}

}  // namespace gradus::cuda
