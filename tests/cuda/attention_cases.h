// Attention for tests: cases of it, their operands, plain loops in double as the reference, and how far results may be
// from that and from the CPU's kernels, with the same dropped weights.
#pragma once

#include <algorithm>
#include <optional>

#include "framework/kernels/cpu/attention.h"
#include "framework/kernels/cuda/attention.h"
#include "framework/random/philox.h"
#include "tests/cuda/buffer.h"
#include "tests/cuda/kernel_values.h"

namespace gradus::attention_cases {

using cuda::AttentionMethod;

struct Case {
  std::int64_t batches, heads, queries, keys, width, value_width;
  bool causal = false;
  double dropout = 0;
  std::vector<std::int64_t> lengths = {};
  double scale = 0;  // 0: 1 / sqrt(width)
};

inline AttentionShape shape_of(const Case& c) {
  AttentionShape shape = {.batches = c.batches,
                          .heads = c.heads,
                          .queries = c.queries,
                          .keys = c.keys,
                          .width = c.width,
                          .value_width = c.value_width,
                          .causal = c.causal,
                          .scale = c.scale != 0 ? c.scale : 1 / std::sqrt(double(c.width)),
                          .dropout = c.dropout,
                          .seed = 5,
                          .stream = std::uint64_t{3} << 33,
                          .segments = {}};
  std::int64_t start = 0;
  for (const std::int64_t length : c.lengths) {
    shape.segments.push_back({start, length, start, length});
    start += length;
  }
  if (shape.segments.empty()) shape.segments.push_back({0, c.queries, 0, c.keys});
  return shape;
}

/// (B,H,T,D) whose memory runs (B,T,H,D), with a gap behind each row of all heads, as in a view of several projections.
struct Layout {
  std::int64_t batches, heads, rows, width;
  static constexpr std::int64_t gap = 16;

  std::int64_t row_stride() const { return heads * width + gap; }
  std::size_t size() const { return batches * rows * row_stride(); }
  std::size_t place(std::int64_t pair, std::int64_t row, std::int64_t d) const {
    return (pair / heads * rows + row) * row_stride() + pair % heads * width + d;
  }
  bool in_gap(std::size_t place) const { return std::int64_t(place) % row_stride() >= heads * width; }

  template <class T>
  HeadView<T> view(const T* data) const {
    return {data, rows * row_stride(), width, row_stride()};
  }
  template <class T>
  MutableHeadView<T> mutable_view(T* data) const {
    return {data, rows * row_stride(), width, row_stride()};
  }
};

/// What is given and what is found; g and the gradients lie like the tensors that they belong to.
template <class T>
struct Operands {
  Layout of_q, of_k, of_v, of_out;
  std::vector<T> q, k, v, g;

  explicit Operands(const Case& c)
      : of_q{c.batches, c.heads, c.queries, c.width},
        of_k{c.batches, c.heads, c.keys, c.width},
        of_v{c.batches, c.heads, c.keys, c.value_width},
        of_out{c.batches, c.heads, c.queries, c.value_width},
        q(normal_values<T>(of_q.size(), 1)),
        k(normal_values<T>(of_k.size(), 2)),
        v(normal_values<T>(of_v.size(), 3)),
        g(normal_values<T>(of_out.size(), 4)) {}
};
template <class T>
struct Results {
  std::vector<Arithmetic<T>> log_sums;
  std::vector<T> out, dq, dk, dv;
};

/// What gaps hold before and after.
inline constexpr double untouched = 77;

template <class T>
Results<T> run(const Case& c, const Operands<T>& x, std::optional<AttentionMethod> method,
               std::optional<AttentionMethod> of_backward, bool backward = true) {
  const AttentionShape shape = shape_of(c);
  const auto filled = [](const Layout& layout) { return std::vector<T>(layout.size(), T(untouched)); };
  Buffer<T> q(x.q), k(x.k), v(x.v), g(x.g), out(filled(x.of_out)), dq(filled(x.of_q)), dk(filled(x.of_k)),
      dv(filled(x.of_v));
  Buffer<Arithmetic<T>> log_sums(c.batches * c.heads * c.queries), dots(c.batches * c.heads * c.queries);
  const auto of_q = x.of_q.view(q.data()), of_k = x.of_k.view(k.data()), of_v = x.of_v.view(v.data());
  cuda::attention_forward<T>(shape, {of_q, of_k, of_v, x.of_out.mutable_view(out.data()), log_sums.data()}, nullptr,
                             method);
  if (backward) {
    cuda::attention_backward<T>(
        shape,
        {of_q, of_k, of_v, log_sums.data(), x.of_out.view(g.data()), dots.data(), x.of_q.mutable_view(dq.data()),
         x.of_k.mutable_view(dk.data()), x.of_v.mutable_view(dv.data()), x.of_out.view(out.data())},
        nullptr, of_backward);
  }
  return {log_sums.values(), out.values(), dq.values(), dk.values(), dv.values()};
}

template <class T>
Results<T> run(const Case& c, const Operands<T>& x, std::optional<AttentionMethod> method, bool backward = true) {
  return run(c, x, method, method, backward);
}

template <class T>
Results<T> run_on_cpu(const Case& c, const Operands<T>& x) {
  const AttentionShape shape = shape_of(c);
  const auto filled = [](const Layout& layout) { return std::vector<T>(layout.size(), T(untouched)); };
  Results<T> to = {std::vector<Arithmetic<T>>(c.batches * c.heads * c.queries), filled(x.of_out), filled(x.of_q),
                   filled(x.of_k), filled(x.of_v)};
  const auto of_q = x.of_q.view(x.q.data()), of_k = x.of_k.view(x.k.data()), of_v = x.of_v.view(x.v.data());
  cpu::attention_forward<T>(shape, of_q, of_k, of_v, x.of_out.mutable_view(to.out.data()), to.log_sums.data());
  cpu::attention_backward<T>(shape, of_q, of_k, of_v, to.log_sums.data(), x.of_out.view(x.g.data()),
                             x.of_q.mutable_view(to.dq.data()), x.of_k.mutable_view(to.dk.data()),
                             x.of_v.mutable_view(to.dv.data()));
  return to;
}

/// A sum, and the sum of the sizes of its terms, by which its roundings are judged.
struct Sum {
  double value = 0, size = 0;
  void add(double term, double term_size) {
    value += term;
    size += term_size;
  }
};

/// The plain loops. A result that nothing flows to has the size 0, and so must be 0 exactly.
struct Reference {
  std::vector<double> log_sums;
  std::vector<Sum> out, dq, dk, dv;
  double largest_score = 0;  // sum of the sizes of its products
};

template <class T>
Reference reference(const Case& c, const Operands<T>& x) {
  const AttentionShape s = shape_of(c);
  Reference to = {std::vector<double>(c.batches * c.heads * c.queries), std::vector<Sum>(x.g.size()),
                  std::vector<Sum>(x.q.size()), std::vector<Sum>(x.k.size()), std::vector<Sum>(x.v.size())};
  const auto product = [](const std::vector<T>& a, const Layout& of_a, std::int64_t i, const std::vector<T>& b,
                          const Layout& of_b, std::int64_t j, std::int64_t pair) {
    Sum sum;
    for (std::int64_t d = 0; d < of_a.width; ++d) {
      const double term = double(a[of_a.place(pair, i, d)]) * double(b[of_b.place(pair, j, d)]);
      sum.add(term, std::fabs(term));
    }
    return sum;
  };
  for (std::int64_t pair = 0; pair < c.batches * c.heads; ++pair) {
    for (const AttentionSegment& segment : s.segments) {
      for (std::int64_t row = 0; row < segment.queries; ++row) {
        const std::int64_t i = segment.first_query + row,
                           seen = c.causal ? std::min(segment.keys, row + 1) : segment.keys;
        std::vector<double> scores(seen), factors(seen);
        std::vector<Sum> gradients(seen);
        for (std::int64_t column = 0; column < seen; ++column) {
          const std::int64_t j = segment.first_key + column;
          const Sum score = product(x.q, x.of_q, i, x.k, x.of_k, j, pair);
          scores[column] = s.scale * score.value;
          to.largest_score = std::max(to.largest_score, s.scale * score.size);
          const std::uint32_t word =
              random::philox_word(s.seed, s.stream, (pair * c.queries + i) * s.word_stride() + j);
          factors[column] = word < random::dropout_threshold(c.dropout) ? 0 : 1 / (1 - c.dropout);
          const Sum gradient = product(x.g, x.of_out, i, x.v, x.of_v, j, pair);
          gradients[column] = {factors[column] * gradient.value, factors[column] * gradient.size};
        }
        const double peak = *std::max_element(scores.begin(), scores.end());
        double sum = 0;
        for (const double score : scores) sum += std::exp(score - peak);
        const double log_sum = to.log_sums[pair * c.queries + i] = peak + std::log(sum);
        Sum dot;
        for (std::int64_t column = 0; column < seen; ++column) {
          const double weight = std::exp(scores[column] - log_sum);
          dot.add(weight * gradients[column].value, weight * gradients[column].size);
        }
        for (std::int64_t column = 0; column < seen; ++column) {
          const std::int64_t j = segment.first_key + column;
          const double weight = std::exp(scores[column] - log_sum), kept = factors[column] * weight;
          const double ds = s.scale * weight * (gradients[column].value - dot.value);
          const double ds_size = s.scale * weight * (gradients[column].size + dot.size);
          for (std::int64_t e = 0; e < c.value_width; ++e) {
            const double value = double(x.v[x.of_v.place(pair, j, e)]), g = double(x.g[x.of_out.place(pair, i, e)]);
            to.out[x.of_out.place(pair, i, e)].add(kept * value, kept * std::fabs(value));
            to.dv[x.of_v.place(pair, j, e)].add(kept * g, kept * std::fabs(g));
          }
          for (std::int64_t d = 0; d < c.width; ++d) {
            const double q = double(x.q[x.of_q.place(pair, i, d)]), k = double(x.k[x.of_k.place(pair, j, d)]);
            to.dq[x.of_q.place(pair, i, d)].add(ds * k, ds_size * std::fabs(k));
            to.dk[x.of_k.place(pair, j, d)].add(ds * q, ds_size * std::fabs(q));
          }
        }
      }
    }
  }
  return to;
}

/// How many are further from the reference than `relative` times their size and a last rounding, or from the CPU's by
/// twice that, or lie in a gap and were written.
template <class T>
std::size_t count_wrong(const std::vector<T>& found, const std::vector<Sum>& expected, const std::vector<T>& on_cpu,
                        const Layout& layout, double relative) {
  std::size_t wrong = 0;
  for (std::size_t place = 0; place < found.size(); ++place) {
    if (layout.in_gap(place)) {
      wrong += double(found[place]) != untouched;
      continue;
    }
    const Sum& sum = expected[place];
    const double bound = relative * sum.size + 1.01 * rounding_error<T> * std::fabs(sum.value);
    wrong += !is_close(double(found[place]), sum.value, bound) ||
             !is_close(double(found[place]), double(on_cpu[place]), 2 * bound);
  }
  return wrong;
}

template <class T>
void check(const Case& c, std::optional<AttentionMethod> method, const Operands<T>& x, const Results<T>& found) {
  CAPTURE(c.queries);
  CAPTURE(c.keys);
  CAPTURE(c.width);
  CAPTURE(c.lengths.size());
  CAPTURE(sizeof(T));
  const std::string_view name = method ? to_string(*method) : "chosen";
  CAPTURE(name);
  const Results<T> on_cpu = run_on_cpu(c, x);
  const Reference expected = reference(c, x);
  // Roundings: of a score; relative, of a weight, in which that error is an exponent; and of the sums.
  const double u = rounding_error<Arithmetic<T>>, of_score = u * (c.width + 4) * expected.largest_score,
               of_weight = 2 * of_score + u * (c.keys + 16),
               of_score_gradient = 2 * of_weight + u * (c.value_width + c.keys + 16);
  // Tensor cores take weights and dL/d scores in bf16; cuDNN also takes the dots from a rounded result.
  const bool is_exact = method == AttentionMethod::naive || method == AttentionMethod::tiles;
  const double of_factor = (is_exact ? 0 : method == AttentionMethod::cudnn ? 2.02 : 1.01) * rounding_error<bfloat16>;
  for (std::size_t row = 0; row < found.log_sums.size(); ++row) {
    const double bound = of_score + u * (c.keys + 16 + 2 * std::fabs(expected.log_sums[row]));
    CHECK(is_close(found.log_sums[row], expected.log_sums[row], bound));
    CHECK(is_close(found.log_sums[row], on_cpu.log_sums[row], 2 * bound));
  }
  CHECK(count_wrong(found.out, expected.out, on_cpu.out, x.of_out, of_weight + of_factor + u * (c.keys + 8)) == 0);
  CHECK(count_wrong(found.dq, expected.dq, on_cpu.dq, x.of_q, of_score_gradient + of_factor + u * (c.keys + 8)) == 0);
  CHECK(count_wrong(found.dk, expected.dk, on_cpu.dk, x.of_k, of_score_gradient + of_factor + u * (c.queries + 8)) ==
        0);
  CHECK(count_wrong(found.dv, expected.dv, on_cpu.dv, x.of_v, of_weight + of_factor + u * (c.queries + 8)) == 0);
}

template <class T>
void check(const Case& c, std::optional<AttentionMethod> method, const Operands<T>& x) {
  check(c, method, x, run(c, x, method));
}

template <class T>
void check(const Case& c, std::optional<AttentionMethod> method) {
  check(c, method, Operands<T>(c));
}

}  // namespace gradus::attention_cases
