#include "framework/kernels/cuda/cublaslt.h"

#include <dlfcn.h>

#include "framework/base/error.h"

namespace gradus::cuda::products {
namespace {

template <class Function>
void find(Function& function, void* library, const char* name) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (!function) fail<Error>("cuBLASLt has no function {}", name);
}

}  // namespace

std::vector<std::string> cublaslt_files() {
  const std::string name = "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR);
  return {name, std::string(GRADUS_CUDA_LIBRARIES) + "/" + name};
}

CublasLt load_cublaslt(const std::vector<std::string>& files) {
  void* library = nullptr;
  std::string why_not;
  for (const std::string& file : files) {
    library = dlopen(file.c_str(), RTLD_LAZY | RTLD_LOCAL);  // stays until the program ends
    if (library) break;
    why_not += (why_not.empty() ? "" : "; ") + std::string(dlerror());
  }
  if (!library) fail<Error>("{}", why_not);
  CublasLt functions;
#define GRADUS_FIND(name) find(functions.name, library, "cublasLt" #name);
  GRADUS_CUBLASLT_FUNCTIONS(GRADUS_FIND)
#undef GRADUS_FIND
  require_version(functions.GetVersion());
  return functions;
}

std::string version_name(std::size_t version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

void require_version(std::size_t version) {
  if (version / 10000 == CUBLAS_VER_MAJOR) return;
  fail<Error>("cuBLASLt is of version {}, expected is {}.x", version_name(version), CUBLAS_VER_MAJOR);
}

}  // namespace gradus::cuda::products
