// Attention as its formula says it: each thread computes numbers of the result on its own, from the operands. It
// computes every weight once for each of them, and so is slow, but it has no barrier, no shared memory and no limit.
#include "framework/kernels/cuda/attention_problem.h"

namespace gradus::cuda::attention {
namespace {

constexpr int threads = 64;

/// One query i with what it sees. j counts the keys of its segment.
template <class T, class A = Arithmetic<T>>
struct Query {
  const Problem<A>& problem;
  const Work& work;
  int i;
  const T *q, *k, *v;
  std::int64_t key_stride, value_stride;

  template <class Operands>
  __device__ Query(const Operands& operands, const Problem<A>& problem_, const Work& work_, int i_)
      : problem(problem_),
        work(work_),
        i(i_),
        q(row_of(operands.q, work, work.segment.first_query + i)),
        k(row_of(operands.k, work, work.segment.first_key)),
        v(row_of(operands.v, work, work.segment.first_key)),
        key_stride(operands.k.row_stride),
        value_stride(operands.v.row_stride) {}

  __device__ int seen() const { return seen_keys(problem, work.segment, i); }
  __device__ A key(int j, int d) const { return A(k[j * key_stride + d]); }
  __device__ A value(int j, int e) const { return A(v[j * value_stride + e]); }
  __device__ A score(int j) const {
    A sum = 0;
    for (int d = 0; d < problem.width; ++d) sum += A(q[d]) * key(j, d);
    return problem.scale * sum;
  }
  /// What dropout multiplies weight j by.
  __device__ A factor(int j) const {
    const std::uint64_t index = first_word(problem, work, i) + work.segment.first_key + j;
    return random::below(random::philox_word(problem.seed, problem.stream(), index), problem.threshold)
               ? A(0)
               : problem.keep_scale;
  }
};

/// Blocks of one query, threads of one feature of its result.
template <class T>
__global__ void __launch_bounds__(threads, 1)
    forward_kernel(const __grid_constant__ Problem<Arithmetic<T>> problem,
                   const __grid_constant__ AttentionForward<T> operands, const __grid_constant__ Segments segments) {
  using A = Arithmetic<T>;
  const Work work = work_of_block(problem, segments);
  const Query<T> query(operands, problem, work, work.tile);
  A peak = -std::numeric_limits<A>::infinity();
#pragma unroll 1
  for (int j = 0; j < query.seen(); ++j) {
    const A score = query.score(j);
    peak = score > peak ? score : peak;
  }
  A sum = 0;
#pragma unroll 1
  for (int j = 0; j < query.seen(); ++j) sum += functions::exp(query.score(j) - peak);
  const int t = work.segment.first_query + query.i;
  T* out = row_of(operands.out, work, t);
  for (int e = threadIdx.x; e < problem.value_width; e += threads) {
    A mean = 0;
#pragma unroll 1
    for (int j = 0; j < query.seen(); ++j) {
      mean += query.factor(j) * functions::exp(query.score(j) - peak) * query.value(j, e);
    }
    out[e] = T(mean / sum);
  }
  if (threadIdx.x == 0) operands.log_sums[work.pair * problem.queries + t] = peak + functions::log(sum);
}

/// A query in backward: it knows its weights from the saved sum.
template <class T, class A = Arithmetic<T>>
struct QueryWithGradient : Query<T> {
  const T* g;
  A log_sum;

  __device__ QueryWithGradient(const AttentionBackward<T>& operands, const Problem<A>& problem, const Work& work, int i)
      : Query<T>(operands, problem, work, i),
        g(row_of(operands.g, work, work.segment.first_query + i)),
        log_sum(operands.log_sums[work.pair * problem.queries + work.segment.first_query + i]) {}

  __device__ A weight(int j) const { return functions::exp(this->score(j) - log_sum); }
  /// dL/d weight j
  __device__ A weight_gradient(int j) const {
    A sum = 0;
    for (int e = 0; e < this->problem.value_width; ++e) sum += A(g[e]) * this->value(j, e);
    return this->factor(j) * sum;
  }
};

/// Blocks of one query, threads of one feature of its gradient.
template <class T>
__global__ void __launch_bounds__(threads, 1) query_gradient_kernel(const __grid_constant__ Problem<Arithmetic<T>> problem,
                                                                 const __grid_constant__ AttentionBackward<T> operands,
                                                                 const __grid_constant__ Segments segments) {
  using A = Arithmetic<T>;
  const Work work = work_of_block(problem, segments);
  const QueryWithGradient<T> query(operands, problem, work, work.tile);
  A dot = 0;
#pragma unroll 1
  for (int j = 0; j < query.seen(); ++j) dot += query.weight(j) * query.weight_gradient(j);
  const int t = work.segment.first_query + query.i;
  T* dq = row_of(operands.dq, work, t);
  for (int d = threadIdx.x; d < problem.width; d += threads) {
    A sum = 0;
#pragma unroll 1
    for (int j = 0; j < query.seen(); ++j) {
      sum += query.weight(j) * (query.weight_gradient(j) - dot) * query.key(j, d);
    }
    dq[d] = T(problem.scale * sum);
  }
  if (threadIdx.x == 0) operands.dots[work.pair * problem.queries + t] = dot;
}

/// Blocks of one key, threads of one feature of its gradient or of its value's.
template <class T>
__global__ void __launch_bounds__(threads, 1) key_gradient_kernel(const __grid_constant__ Problem<Arithmetic<T>> problem,
                                                               const __grid_constant__ AttentionBackward<T> operands,
                                                               const __grid_constant__ Segments segments) {
  using A = Arithmetic<T>;
  const Work work = work_of_block(problem, segments);
  const int j = work.tile, first_query = problem.causal ? j : 0, t = work.segment.first_key + j;
  T* dk = row_of(operands.dk, work, t);
  for (int d = threadIdx.x; d < problem.width; d += threads) {
    A sum = 0;
#pragma unroll 1
    for (int i = first_query; i < work.segment.queries; ++i) {
      const QueryWithGradient<T> query(operands, problem, work, i);
      const A dot = operands.dots[work.pair * problem.queries + work.segment.first_query + i];
      sum += query.weight(j) * (query.weight_gradient(j) - dot) * A(query.q[d]);
    }
    dk[d] = T(problem.scale * sum);
  }
  T* dv = row_of(operands.dv, work, t);
  for (int e = threadIdx.x; e < problem.value_width; e += threads) {
    A sum = 0;
#pragma unroll 1
    for (int i = first_query; i < work.segment.queries; ++i) {
      const QueryWithGradient<T> query(operands, problem, work, i);
      sum += query.factor(j) * query.weight(j) * A(query.g[e]);
    }
    dv[e] = T(sum);
  }
}

}  // namespace

template <class T>
void naive_forward(const AttentionShape& shape, const AttentionForward<T>& operands, Stream stream) {
  const auto problem = problem_of<Arithmetic<T>>(shape);
  for_each_launch(shape.segments, &AttentionSegment::queries, 1, shape.batches * shape.heads,
                  [&](const Segments& segments, std::int64_t blocks) {
                    launch<forward_kernel<T>>({.blocks = blocks, .threads = threads, .stream = stream}, problem,
                                              operands, segments);
                  });
}

template <class T>
void naive_backward(const AttentionShape& shape, const AttentionBackward<T>& operands, Stream stream) {
  const auto problem = problem_of<Arithmetic<T>>(shape);
  const std::int64_t pairs = shape.batches * shape.heads;
  for_each_launch(shape.segments, &AttentionSegment::queries, 1, pairs,
                  [&](const Segments& segments, std::int64_t blocks) {
                    launch<query_gradient_kernel<T>>({.blocks = blocks, .threads = threads, .stream = stream}, problem,
                                                     operands, segments);
                  });
  for_each_launch(shape.segments, &AttentionSegment::keys, 1, pairs,
                  [&](const Segments& segments, std::int64_t blocks) {
                    launch<key_gradient_kernel<T>>({.blocks = blocks, .threads = threads, .stream = stream}, problem,
                                                   operands, segments);
                  });
}

#define GRADUS_INSTANTIATE(T)                                                             \
  template void naive_forward(const AttentionShape&, const AttentionForward<T>&, Stream); \
  template void naive_backward(const AttentionShape&, const AttentionBackward<T>&, Stream);
GRADUS_INSTANTIATE(double)
GRADUS_INSTANTIATE(float)
GRADUS_INSTANTIATE(bfloat16)
#undef GRADUS_INSTANTIATE

}  // namespace gradus::cuda::attention
