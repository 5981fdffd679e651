// The functions of cuBLASLt that we call, found in its library when they are first needed: so a program starts, and
// computes products by kernels of its own, where the library is not installed.
#pragma once

#include <cublasLt.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace gradus::cuda::products {

#define GRADUS_CUBLASLT_FUNCTIONS(each)                                                                            \
  each(Create) each(GetVersion) each(GetStatusString) each(MatrixLayoutCreate) each(MatrixLayoutDestroy)           \
      each(MatrixLayoutSetAttribute) each(MatrixLayoutGetAttribute) each(MatmulDescCreate) each(MatmulDescDestroy) \
          each(MatmulDescSetAttribute) each(MatmulDescGetAttribute) each(MatmulPreferenceCreate)                   \
              each(MatmulPreferenceDestroy) each(MatmulPreferenceSetAttribute) each(MatmulPreferenceGetAttribute)  \
                  each(MatmulAlgoGetHeuristic) each(Matmul)

/// `library.Create` is cublasLtCreate, and so on.
struct CublasLt {
#define GRADUS_MEMBER(name) decltype(&cublasLt##name) name = nullptr;
  GRADUS_CUBLASLT_FUNCTIONS(GRADUS_MEMBER)
#undef GRADUS_MEMBER
};

/// The functions of the first of `files` that can be loaded. Throws Error if none can be, or if it is of another major
/// version than the headers that this program was built with.
CublasLt load_cublaslt(const std::vector<std::string>& files);

/// Where it is looked for: in the loader's folders, then in the toolkit that this program was built with.
std::vector<std::string> cublaslt_files();

/// Throws Error if a library of this version is not that of the headers.
void require_version(std::size_t version);

template <class Descriptor>
using Owned = std::unique_ptr<Descriptor, cublasStatus_t (*)(Descriptor*)>;
using Layout = Owned<cublasLtMatrixLayoutOpaque_t>;
using Operation = Owned<cublasLtMatmulDescOpaque_t>;
using Preference = Owned<cublasLtMatmulPreferenceOpaque_t>;

}  // namespace gradus::cuda::products
