#include "framework/kernels/cuda/cublaslt.h"

#include "framework/base/error.h"
#include "framework/kernels/cuda/dynamic_library.h"

namespace gradus::cuda::products {

std::vector<std::string> cublaslt_files() {
  return library_files("libcublasLt.so", CUBLAS_VER_MAJOR, GRADUS_CUDA_LIBRARIES);
}

CublasLt load_cublaslt(const std::vector<std::string>& files) {
  const DynamicLibrary library("cuBLASLt", files);
  CublasLt functions;
#define GRADUS_FIND(name) library.find(functions.name, "cublasLt" #name);
  GRADUS_CUBLASLT_FUNCTIONS(GRADUS_FIND)
#undef GRADUS_FIND
  require_version(functions.GetVersion());
  return functions;
}

void require_version(std::size_t version) {
  if (version / 10000 == CUBLAS_VER_MAJOR) return;
  fail<Error>("cuBLASLt is of version {}, expected is {}.x", version_name(version), CUBLAS_VER_MAJOR);
}

}  // namespace gradus::cuda::products
