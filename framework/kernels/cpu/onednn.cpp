#include "framework/kernels/cpu/onednn.h"

#ifdef GRADUS_ONEDNN

#include <omp.h>

#include <array>
#include <dnnl.hpp>
#include <map>
#include <unordered_map>
#include <vector>

#include "framework/base/error.h"
#include "framework/kernels/cpu/room.h"

namespace gradus::cpu::onednn {
namespace {

using dnnl::memory;

/// oneDNN would start the threads of OpenMP; the work is cut already.
class OneThreadScope {
 public:
  OneThreadScope() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThreadScope() { omp_set_num_threads(before_); }
  OneThreadScope(const OneThreadScope&) = delete;
  OneThreadScope& operator=(const OneThreadScope&) = delete;

 private:
  int before_;
};

dnnl::engine& engine() {
  static dnnl::engine* instance =
      new dnnl::engine(dnnl::engine::kind::cpu, 0);  // kernels of ending threads may need it
  return *instance;
}

memory::data_type type_of(DType dtype) {
  return dtype == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
}

struct Problem {
  DType dtype, out;
  std::int64_t m, n, k, a_stride, b_stride, c_stride;
  bool a_transposed, b_transposed, with_bias;
  auto operator<=>(const Problem&) const = default;
};

memory::desc matrix(std::int64_t rows, std::int64_t columns, DType dtype, std::int64_t stride, bool transposed) {
  return {{rows, columns}, type_of(dtype), transposed ? memory::dims{1, stride} : memory::dims{stride, 1}};
}

dnnl::matmul::primitive_desc describe(const Problem& p) {
  const memory::desc a = matrix(p.m, p.k, p.dtype, p.a_stride, p.a_transposed),
                     b = matrix(p.k, p.n, p.dtype, p.b_stride, p.b_transposed),
                     c = matrix(p.m, p.n, p.out, p.c_stride, false),
                     bias({1, p.n}, memory::data_type::f32, memory::dims{p.n, 1});
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
#if DNNL_VERSION_MAJOR >= 3
  return p.with_bias ? dnnl::matmul::primitive_desc(engine(), a, b, bias, c, attributes)
                     : dnnl::matmul::primitive_desc(engine(), a, b, c, attributes);
#else
  return {p.with_bias ? dnnl::matmul::desc(a, b, bias, c) : dnnl::matmul::desc(a, b, c), attributes, engine()};
#endif
}

/// A kernel with the memory objects that it is called with; their addresses are set at each call.
struct Kernel {
  explicit Kernel(const Problem& problem) : Kernel(describe(problem)) {}
  explicit Kernel(const dnnl::matmul::primitive_desc& description)
      : run(description),
        a(description.src_desc(), engine(), nullptr),
        b(description.weights_desc(), engine(), nullptr),
        bias(description.bias_desc(), engine(), nullptr),
        c(description.dst_desc(), engine(), nullptr),
        scratchpad(description.scratchpad_desc(), engine(), nullptr) {}

  dnnl::matmul run;
  memory a, b, bias, c, scratchpad;
};

/// Memory of the calling thread, aligned for vectors.
void* scratch(std::size_t bytes) {
  thread_local std::vector<std::max_align_t> buffer;
  constexpr std::size_t alignment = 64;
  const std::size_t needed = (bytes + alignment) / sizeof(std::max_align_t) + 1;
  if (buffer.size() < needed) buffer.resize(needed);
  const auto address = reinterpret_cast<std::uintptr_t>(buffer.data());
  return reinterpret_cast<void*>((address + alignment - 1) / alignment * alignment);
}

bool can_multiply(DType dtype) {
  try {
    describe({.dtype = dtype,
              .out = DType::f32,
              .m = 32,
              .n = 32,
              .k = 32,
              .a_stride = 32,
              .b_stride = 32,
              .c_stride = 32,
              .a_transposed = false,
              .b_transposed = false,
              .with_bias = true});
    return true;
  } catch (const dnnl::error&) {
    return false;
  }
}

}  // namespace

bool is_available(DType dtype) {
  static const std::array<bool, 2> available = {can_multiply(DType::f32), can_multiply(DType::bf16)};
  return (dtype == DType::f32 && available[0]) || (dtype == DType::bf16 && available[1]);
}

std::string_view bf16_products() {
  if (!is_available(DType::bf16)) return "f32";
  const auto has = [](dnnl::cpu_isa set) {
    return (unsigned(dnnl::get_effective_cpu_isa()) & unsigned(set)) == unsigned(set);
  };
  if (has(dnnl::cpu_isa::avx512_core_amx)) return "AMX";
  return has(dnnl::cpu_isa::avx512_core_bf16) ? "AVX-512 BF16" : "f32";
}

template <class T, class Out>
void product(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<T> a, Matrix<T> b, const float* bias, Out* c,
             std::int64_t c_stride) {
  thread_local std::map<Problem, Kernel> kernels;
  thread_local dnnl::stream stream(engine());
  const OneThreadScope one_thread;
  const Problem problem{dtype_of<T>,  dtype_of<Out>,  m, n, k, a.stride, b.stride, c_stride, a.transposed,
                        b.transposed, bias != nullptr};
  constexpr std::size_t most_kernels = 512;
  if (kernels.size() >= most_kernels) kernels.clear();  // of programs that never use a shape twice
  auto found = kernels.find(problem);
  if (found == kernels.end()) {
    require_room(16 << 20);  // oneDNN does not look whether it gets the memory in which it makes a kernel
    found = kernels.try_emplace(problem, problem).first;
  }
  Kernel& kernel = found->second;
  kernel.a.set_data_handle(const_cast<T*>(a.data));
  kernel.b.set_data_handle(const_cast<T*>(b.data));
  kernel.c.set_data_handle(c);
  kernel.scratchpad.set_data_handle(scratch(kernel.scratchpad.get_desc().get_size()));
  std::unordered_map<int, memory> arguments = {{DNNL_ARG_SRC, kernel.a},
                                               {DNNL_ARG_WEIGHTS, kernel.b},
                                               {DNNL_ARG_DST, kernel.c},
                                               {DNNL_ARG_SCRATCHPAD, kernel.scratchpad}};
  if (bias) {
    kernel.bias.set_data_handle(const_cast<float*>(bias));
    arguments.emplace(DNNL_ARG_BIAS, kernel.bias);
  }
  kernel.run.execute(stream, arguments);
  stream.wait();
}

}  // namespace gradus::cpu::onednn

#else

namespace gradus::cpu::onednn {

bool is_available(DType) { return false; }
std::string_view bf16_products() { return "f32"; }
template <class T, class Out>
void product(std::int64_t, std::int64_t, std::int64_t, Matrix<T>, Matrix<T>, const float*, Out*, std::int64_t) {
  fail("this build has no oneDNN");
}

}  // namespace gradus::cpu::onednn

#endif

namespace gradus::cpu::onednn {
template void product(std::int64_t, std::int64_t, std::int64_t, Matrix<float>, Matrix<float>, const float*, float*,
                      std::int64_t);
template void product(std::int64_t, std::int64_t, std::int64_t, Matrix<bfloat16>, Matrix<bfloat16>, const float*,
                      bfloat16*, std::int64_t);
template void product(std::int64_t, std::int64_t, std::int64_t, Matrix<bfloat16>, Matrix<bfloat16>, const float*,
                      float*, std::int64_t);
}  // namespace gradus::cpu::onednn
