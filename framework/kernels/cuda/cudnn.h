// The functions of cuDNN that we call, found in its library when they are first needed.
#pragma once

#include <cudnn_graph.h>

#include <cstddef>
#include <string>
#include <vector>

namespace gradus::cuda::cudnn {

#define GRADUS_CUDNN_FUNCTIONS(each)                                                                                   \
  each(GetVersion) each(GetErrorString) each(GetLastErrorString) each(Create) each(SetStream)                          \
      each(BackendCreateDescriptor) each(BackendDestroyDescriptor) each(BackendSetAttribute) each(BackendGetAttribute) \
          each(BackendFinalize) each(BackendExecute)

/// `library.Create` is cudnnCreate, and so on.
struct Cudnn {
#define GRADUS_MEMBER(name) decltype(&cudnn##name) name = nullptr;
  GRADUS_CUDNN_FUNCTIONS(GRADUS_MEMBER)
#undef GRADUS_MEMBER
};

/// The functions of the first of `files` that can be loaded. Throws Error if none can be, or if its version is one that
/// require_version refuses.
Cudnn load_cudnn(const std::vector<std::string>& files);

/// Where it is looked for: in the loader's folders, then where it was when this program was built.
std::vector<std::string> cudnn_files();

/// Throws Error if a library of this version is of another major version than the headers, or older than 9.16: before,
/// gradients of attention needed a padding mask where the keys were no multiple of 128.
void require_version(std::size_t version);

/// Throws Error if `status` is not success: `[cuda] cudnnBackendFinalize of a matmul: STATUS: what cuDNN says of it`.
void check_status(const Cudnn& library, cudnnStatus_t status, const std::string& call);

}  // namespace gradus::cuda::cudnn
