#include "framework/kernels/cuda/cudnn.h"

#include <array>

#include "framework/base/error.h"
#include "framework/kernels/cuda/dynamic_library.h"

namespace gradus::cuda::cudnn {
namespace {

constexpr std::size_t oldest_version = 91600;

/// In one line; empty where cuDNN says nothing.
std::string last_error(const Cudnn& library) {
  std::array<char, 2048> text{};
  library.GetLastErrorString(text.data(), text.size());
  std::string line(text.data());
  for (char& c : line) c = c == '\n' ? ' ' : c;
  return line;
}

}  // namespace

std::vector<std::string> cudnn_files() { return library_files("libcudnn.so", CUDNN_MAJOR, GRADUS_CUDNN_LIBRARIES); }

Cudnn load_cudnn(const std::vector<std::string>& files) {
  const DynamicLibrary library("cuDNN", files);
  Cudnn functions;
#define GRADUS_FIND(name) library.find(functions.name, "cudnn" #name);
  GRADUS_CUDNN_FUNCTIONS(GRADUS_FIND)
#undef GRADUS_FIND
  require_version(functions.GetVersion());
  return functions;
}

void require_version(std::size_t version) {
  if (version / 10000 == CUDNN_MAJOR && version >= oldest_version) return;
  fail<Error>("cuDNN is of version {}, expected is {}.x, {} or newer", version_name(version), CUDNN_MAJOR,
              version_name(oldest_version));
}

void check_status(const Cudnn& library, cudnnStatus_t status, const std::string& call) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  const std::string why = last_error(library);
  fail<Error>("[cuda] {}: {}{}{}", call, library.GetErrorString(status), why.empty() ? "" : ": ", why);
}

}  // namespace gradus::cuda::cudnn
