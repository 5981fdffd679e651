// Matrix products by cuBLASLt.
#include "framework/kernels/cuda/cublaslt_product.h"

#include <map>
#include <mutex>
#include <optional>
#include <tuple>

#include "framework/base/error.h"
#include "framework/kernels/cuda/cublaslt_descriptors.h"
#include "framework/kernels/cuda/dynamic_library.h"
#include "framework/kernels/cuda/runtime.h"

#if defined(GRADUS_CUDA_EMULATED)
#include "framework/kernels/cuda/emulation/cublaslt.h"
#endif

namespace gradus::cuda::products {
namespace {

/// All that the choice of an algorithm depends on.
auto key_of(const Request& r) {
  const auto matrix = [](const Matrix& x) {
    return std::tuple(x.stride, x.transposed, x.batch_stride, alignment_of(x.data));
  };
  return std::tuple(r.in, r.out, r.m, r.n, r.k, r.batches, matrix(r.a), matrix(r.b), matrix(r.c), r.precision,
                    r.epilogue, matrix(r.pre_activation));
}

/// How products of one kind are computed.
struct Plan {
  ProductDescriptors descriptors;
  std::optional<cublasLtMatmulHeuristicResult_t> found;
};

/// Says to the user, once for each kind of product, that it takes the slower kernels.
void say_without_algorithm([[maybe_unused]] const Request& request) {
#if !defined(GRADUS_CUDA_EMULATED)
  fmt::print(stderr, "[matrix_product] cuBLASLt has no algorithm for {}: a slower kernel of Gradus computes it\n",
             describe(request));
#endif
}

class Library {
 public:
  Library() : functions_(load_cublaslt(cublaslt_files())) {
#if defined(GRADUS_CUDA_EMULATED)
    functions_ = emulation::with_emulated_products(functions_);
#endif
    const cublasStatus_t status = functions_.Create(&handle_);
    if (status != CUBLAS_STATUS_SUCCESS) fail<Error>("cublasLtCreate: {}", functions_.GetStatusString(status));
  }

  std::string version() const { return version_name(functions_.GetVersion()); }

  bool has_algorithm(const Request& request) {
    const std::scoped_lock lock(mutex_);
    return plan_of(request).found.has_value();
  }

  void run(const Request& request, Stream stream) {
    const std::scoped_lock lock(mutex_);
    Plan& plan = plan_of(request);
    if (!plan.found) fail<Error>("[cuda] cuBLASLt has no algorithm for {}", describe(request));
    ProductDescriptors& as = plan.descriptors;
    as.point_to(request);
    const float narrow[] = {static_cast<float>(request.alpha), static_cast<float>(request.beta)};
    const double wide[] = {request.alpha, request.beta};
    const bool is_wide = request.in == DType::f64;
    const void* const alpha = is_wide ? static_cast<const void*>(wide) : narrow;
    const void* const beta = is_wide ? static_cast<const void*>(wide + 1) : narrow + 1;
    void* const c = const_cast<void*>(request.c.data);
    check_status(functions_,
                 functions_.Matmul(handle_, as.operation.get(), alpha, request.b.data, as.b.get(), request.a.data,
                                   as.a.get(), beta, c, as.c.get(), c, as.c.get(), &plan.found->algo,
                                   workspace_of(stream), workspace_bytes, stream),
                 "cublasLtMatmul", request);
  }

 private:
  Plan& plan_of(const Request& request) {
    const auto key = key_of(request);
    if (const auto known = plans_.find(key); known != plans_.end()) return known->second;
    if (plans_.size() == most_plans) plans_.clear();  // ragged batches ask for ever new shapes
    return plans_.emplace(key, make_plan(request)).first->second;
  }

  Plan make_plan(const Request& request) {
    Plan plan{ProductDescriptors(functions_, request), {}};
    const ProductDescriptors& as = plan.descriptors;
    cublasLtMatmulHeuristicResult_t result{};
    int count = 0;
    const cublasStatus_t status =
        functions_.MatmulAlgoGetHeuristic(handle_, as.operation.get(), as.b.get(), as.a.get(), as.c.get(), as.c.get(),
                                          as.preference.get(), 1, &result, &count);
    const bool none = status == CUBLAS_STATUS_NOT_SUPPORTED ||
                      (status == CUBLAS_STATUS_SUCCESS && (count == 0 || result.state != CUBLAS_STATUS_SUCCESS));
    if (none) {
      say_without_algorithm(request);
    } else {
      check_status(functions_, status, "cublasLtMatmulAlgoGetHeuristic", request);
      plan.found = result;
    }
    return plan;
  }

  /// Products on one stream follow each other and share it.
  void* workspace_of(Stream stream) {
    void*& workspace = workspaces_[stream];
    if (!workspace) workspace = allocate(workspace_bytes);
    if (!workspace)
      fail<MemoryError>("[cublasLtMatmul] out of memory: no room for a workspace of {} bytes", workspace_bytes);
    return workspace;
  }

  static constexpr std::size_t most_plans = 4096;

  CublasLt functions_;
  cublasLtHandle_t handle_ = nullptr;
  std::map<decltype(key_of({})), Plan> plans_;
  std::map<Stream, void*> workspaces_;
  std::mutex mutex_;
};

}  // namespace

const LibraryState& cublaslt_state() { return loaded<Library>().state; }

bool has_cublaslt_algorithm(const Request& request) {
  return cublaslt_state().usable && loaded<Library>().instance->has_algorithm(request);
}

void cublaslt_product(const Request& request, Stream stream) { loaded<Library>().instance->run(request, stream); }

}  // namespace gradus::cuda::products
