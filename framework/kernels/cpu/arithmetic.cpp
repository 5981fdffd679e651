#include "framework/kernels/cpu/arithmetic.h"

#include <fmt/format.h>

#ifdef GRADUS_ONEDNN
#include <dnnl.hpp>
#endif
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#if defined __x86_64__ && __has_include(<sys/platform/x86.h>)
#include <sys/platform/x86.h>
#endif
#endif

#include "framework/base/instructions.h"

#ifdef GRADUS_OPENBLAS
extern "C" {
char* openblas_get_config();
char* openblas_get_corename();
}
#endif

namespace gradus::cpu {
namespace {

#ifdef GRADUS_ONEDNN
std::string describe_products() {
  const std::pair<dnnl::cpu_isa, const char*> sets[] = {
      {dnnl::cpu_isa::sse41, "SSE4.1"},
      {dnnl::cpu_isa::avx, "AVX"},
      {dnnl::cpu_isa::avx2, "AVX2"},
      {dnnl::cpu_isa::avx512_core, "AVX-512"},
      {dnnl::cpu_isa::avx512_core_vnni, "AVX-512 VNNI"},
      {dnnl::cpu_isa::avx512_core_bf16, "AVX-512 BF16"},
      {dnnl::cpu_isa::avx512_core_amx, "AMX"}};
  const dnnl::cpu_isa set = dnnl::get_effective_cpu_isa();
  std::string name = fmt::format("set {:#x}", unsigned(set));  // of a later version
  for (const auto& [known, text] : sets) {
    if (known == set) name = text;
  }
  const dnnl_version_t& version = *dnnl_version();
  return fmt::format("oneDNN {}.{}.{} {}", version.major, version.minor, version.patch, name);
}
#else
std::string describe_products() { return "no oneDNN"; }
#endif

#ifdef GRADUS_OPENBLAS
std::string describe_blas() {
  const std::string build = openblas_get_config();  // "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ..."
  return fmt::format("{} {}", build.substr(0, build.find(' ', build.find(' ') + 1)), openblas_get_corename());
}
#else
std::string describe_blas() { return "another BLAS"; }
#endif

#ifdef __GLIBC__
/// exp, log and the like are there in several versions, of which the loader takes one.
std::string describe_functions() {
  std::string text = fmt::format("glibc {}", gnu_get_libc_version());
#ifdef CPU_FEATURE_ACTIVE
  if (CPU_FEATURE_ACTIVE(AVX2)) text += " AVX2";
  if (CPU_FEATURE_ACTIVE(FMA)) text += " FMA";
#endif
  return text;
}
#else
std::string describe_functions() { return "another C library than glibc"; }
#endif

}  // namespace

std::string describe_arithmetic() {
  return fmt::format("{}; {}; {}; {}", instructions_in_use(), describe_products(), describe_blas(), describe_functions());
}

}  // namespace gradus::cpu
