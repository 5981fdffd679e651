#include "framework/kernels/cuda/dynamic_library.h"

#include <dlfcn.h>

namespace gradus::cuda {

DynamicLibrary::DynamicLibrary(std::string name, const std::vector<std::string>& files) : name_(std::move(name)) {
  std::string why_not;
  for (const std::string& file : files) {
    library_ = dlopen(file.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (library_) return;
    why_not += (why_not.empty() ? "" : "; ") + std::string(dlerror());
  }
  fail<Error>("{}", why_not);
}

void* DynamicLibrary::address_of(const char* symbol) const {
  void* const address = dlsym(library_, symbol);
  if (!address) fail<Error>("{} has no function {}", name_, symbol);
  return address;
}

std::vector<std::string> library_files(const std::string& name, int major, const std::string& folder) {
  const std::string file = fmt::format("{}.{}", name, major);
  return {file, folder + "/" + file};
}

std::string version_name(std::size_t version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace gradus::cuda
