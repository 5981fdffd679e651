// Attention's kernels, each method beside plain loops in double and beside the CPU's kernels, with the same dropped
// weights.
#include "framework/kernels/cuda/attention.h"

#include <algorithm>
#include <optional>

#include "framework/base/error.h"
#include "framework/kernels/cpu/attention.h"
#include "framework/random/philox.h"
#include "tests/cuda/buffer.h"
#include "tests/cuda/kernel_values.h"
#include "tests/cuda/schedules.h"

using namespace gradus;
using cuda::AttentionMethod;

namespace {

struct Case {
  std::int64_t batches, heads, queries, keys, width, value_width;
  bool causal = false;
  double dropout = 0;
  std::vector<std::int64_t> lengths = {};
  double scale = 0;  // 0: 1 / sqrt(width)
};

AttentionShape shape_of(const Case& c) {
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
constexpr double untouched = 77;

template <class T>
Results<T> run(const Case& c, const Operands<T>& x, std::optional<AttentionMethod> method, bool backward = true) {
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
         x.of_k.mutable_view(dk.data()), x.of_v.mutable_view(dv.data())},
        nullptr, method);
  }
  return {log_sums.values(), out.values(), dq.values(), dk.values(), dv.values()};
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
void check(const Case& c, std::optional<AttentionMethod> method, const Operands<T>& x) {
  CAPTURE(c.queries);
  CAPTURE(c.keys);
  CAPTURE(c.width);
  CAPTURE(c.lengths.size());
  CAPTURE(sizeof(T));
  const std::string_view name = method ? to_string(*method) : "chosen";
  CAPTURE(name);
  const Results<T> found = run(c, x, method), on_cpu = run_on_cpu(c, x);
  const Reference expected = reference(c, x);
  // Roundings: of a score; relative, of a weight, in which that error is an exponent; and of the sums.
  const double u = rounding_error<Arithmetic<T>>, of_score = u * (c.width + 4) * expected.largest_score,
               of_weight = 2 * of_score + u * (c.keys + 16),
               of_score_gradient = 2 * of_weight + u * (c.value_width + c.keys + 16);
  // Tensor cores take weights and dL/d scores in bf16.
  const double of_factor =
      method != AttentionMethod::naive && method != AttentionMethod::tiles ? 1.01 * rounding_error<bfloat16> : 0;
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
void check(const Case& c, std::optional<AttentionMethod> method) {
  check(c, method, Operands<T>(c));
}

const std::vector<Case>& small_cases() {
  static const std::vector<Case> cases = {
      {1, 1, 1, 1, 1, 1},       {2, 2, 3, 5, 2, 3, false, 0.3},        {2, 1, 3, 5, 4, 2, true, 0.3},
      {1, 2, 7, 4, 3, 5, true}, {1, 1, 5, 5, 4, 4, false, 0, {}, 0.7}, {1, 2, 16, 16, 3, 2, true, 0.3, {3, 1, 7, 5}}};
  return cases;
}
const std::vector<Case>& cases_of_several_tiles() {
  static const std::vector<Case> cases = {{1, 2, 31, 33, 4, 4, true, 0.1},
                                          {1, 1, 70, 67, 17, 5, true, 0.2},
                                          {1, 1, 33, 129, 8, 33, true},
                                          {1, 1, 65, 130, 32, 32, false, 0.1},
                                          {1, 1, 127, 127, 32, 32, true, 0.1},
                                          {1, 1, 40, 35, 65, 70, true, 0.1},
                                          {1, 2, 79, 79, 16, 16, true, 0.3, {3, 1, 40, 33, 2}},
                                          {2, 1, 72, 72, 5, 6, false, 0.3, {65, 7}}};
  return cases;
}

template <class T>
void check_schedules(const Case& c, AttentionMethod method) {
  const Operands<T> x(c);
  const Results<T> first = run(c, x, std::optional(method));
  for_each_schedule([&] {
    const Results<T> again = run(c, x, std::optional(method));
    CHECK(are_same(first.log_sums, again.log_sums));
    CHECK(are_same(first.out, again.out));
    CHECK(are_same(first.dq, again.dq));
    CHECK(are_same(first.dk, again.dk));
    CHECK(are_same(first.dv, again.dv));
  });
}

template <class T>
void check_lost_scores(const Case& c, AttentionMethod method) {
  Operands<T> x(c);
  for (std::int64_t i = 0; i < c.queries; ++i) x.q[x.of_q.place(0, i, 0)] = T(1.0);
  for (std::int64_t j = 0; j < 66; ++j) x.k[x.of_k.place(0, j, 0)] = T(-INFINITY);
  const Reference expected = reference(c, x);
  const Results<T> found = run(c, x, std::optional(method), false);
  for (std::size_t place = 0; place < found.out.size(); ++place) {
    if (x.of_out.in_gap(place)) continue;
    CHECK(is_close(double(found.out[place]), expected.out[place].value,
                   3 * rounding_error<T> * expected.out[place].size + 1e-5));
  }
}

}  // namespace

TEST_CASE("attention: small operands, each method and type") {
  for (const Case& c : small_cases()) {
    for (const AttentionMethod method : {AttentionMethod::naive, AttentionMethod::tiles}) {
      check<double>(c, method);
      check<float>(c, method);
      check<bfloat16>(c, method);
    }
  }
}

TEST_CASE("attention: several tiles, and ragged ones") {
  for (const Case& c : cases_of_several_tiles()) {
    check<double>(c, AttentionMethod::tiles);
    check<float>(c, AttentionMethod::tiles);
    check<bfloat16>(c, AttentionMethod::tiles);
  }
}

TEST_CASE("attention: tensor cores") {
  const Case cases[] = {{1, 1, 1, 1, 16, 16},
                        {1, 2, 16, 16, 16, 16, true, 0.1},
                        {2, 1, 33, 47, 16, 32, false, 0.2},
                        {1, 1, 20, 30, 32, 16, true},
                        {1, 1, 30, 20, 16, 32, true, 0.1},
                        {1, 1, 64, 64, 32, 32, true},
                        {1, 2, 127, 127, 32, 32, true, 0.1},
                        {1, 1, 128, 100, 64, 48, false, 0.1},
                        {1, 1, 100, 128, 48, 64, true, 0.3, {}, 0.3},
                        {1, 2, 100, 100, 32, 32, true, 0.3, {1, 37, 33, 29}},
                        {1, 1, 100, 100, 16, 64, false, 0.3, {65, 35}}};
  for (const Case& c : cases) check<bfloat16>(c, AttentionMethod::tensor_cores);
}

TEST_CASE("attention: tensor cores for the forward of what is too large for their backward") {
  check<bfloat16>({1, 1, 130, 200, 16, 32, true, 0.1}, {});
  check<bfloat16>({1, 1, 70, 67, 112, 128, true, 0.1}, {});
}

TEST_CASE("attention: under every schedule, the same bits") {
  for (const AttentionMethod method : {AttentionMethod::naive, AttentionMethod::tiles}) {
    check_schedules<float>({1, 1, 35, 35, 3, 4, true, 0.3, {33, 2}}, method);
    check_schedules<float>({1, 1, 65, 67, 5, 4, false, 0.3}, method);
  }
  check_schedules<bfloat16>({1, 1, 75, 75, 16, 32, true, 0.3, {68, 7}}, AttentionMethod::tensor_cores);
}

TEST_CASE("attention: more sequences than one launch takes") {
  Case c = {1, 1, 0, 0, 2, 2, true, 0.2};
  for (std::int64_t i = 0; i < 130; ++i) c.lengths.push_back(1 + i % 3);
  for (const std::int64_t length : c.lengths) c.queries = c.keys += length;
  check<double>(c, AttentionMethod::tiles);
}

TEST_CASE("attention: features beyond what tiles take") { check<float>({1, 1, 3, 4, 129, 2}, {}); }

TEST_CASE("attention: which method takes what") {
  const auto forward = []<class T>(const Case& c, T* data) {
    const Operands<T> x(c);
    return cuda::attention_method<T>(shape_of(c),
                                     cuda::AttentionForward<T>{x.of_q.view(data), x.of_k.view(data), x.of_v.view(data),
                                                               x.of_out.mutable_view(data), nullptr});
  };
  const auto backward = []<class T>(const Case& c, T* data) {
    const Operands<T> x(c);
    return cuda::attention_method<T>(
        shape_of(c), cuda::AttentionBackward<T>{x.of_q.view(data), x.of_k.view(data), x.of_v.view(data), nullptr,
                                                x.of_out.view(data), nullptr, x.of_q.mutable_view(data),
                                                x.of_k.mutable_view(data), x.of_v.mutable_view(data)});
  };
  alignas(16) bfloat16 aligned[2];
  alignas(16) float aligned_f32[1];
  CHECK(forward({1, 2, 300, 300, 128, 16}, aligned) == AttentionMethod::tensor_cores);
  CHECK(forward({1, 2, 3, 3, 144, 16}, aligned) == AttentionMethod::naive);
  CHECK(forward({1, 2, 3, 3, 24, 16}, aligned) == AttentionMethod::tiles);
  CHECK(forward({1, 2, 3, 3, 16, 24}, aligned) == AttentionMethod::tiles);
  CHECK(forward({1, 2, 3, 3, 16, 16}, aligned + 1) == AttentionMethod::tiles);
  CHECK(forward({1, 2, 3, 3, 16, 16}, aligned_f32) == AttentionMethod::tiles);
  CHECK(backward({1, 2, 128, 128, 64, 16}, aligned) == AttentionMethod::tensor_cores);
  CHECK(backward({1, 2, 200, 200, 64, 16, true, 0, {100, 100}}, aligned) == AttentionMethod::tensor_cores);
  CHECK(backward({1, 2, 128, 129, 64, 16}, aligned) == AttentionMethod::tiles);
  CHECK(backward({1, 2, 3, 3, 80, 16}, aligned) == AttentionMethod::tiles);
  CHECK_THROWS_WITH_AS(check<float>({1, 1, 3, 4, 16, 16}, AttentionMethod::tensor_cores),
                       doctest::Contains("[attention] tensor_cores does not take width 16"), ContractError);
}

TEST_CASE("attention: no queries, no batch") {
  for (const AttentionMethod method : {AttentionMethod::naive, AttentionMethod::tiles}) {
    check<float>({1, 2, 0, 3, 2, 2}, method);
    check<float>({0, 2, 3, 3, 2, 2, true}, method);
  }
}

TEST_CASE("attention: a query that is not a number spoils what it touches only; large scores") {
  for (const AttentionMethod method : {AttentionMethod::naive, AttentionMethod::tiles}) {
    const Case c = {1, 2, 40, 40, 2, 3, true, 0, {37, 3}};
    Operands<double> spoilt(c), large(c);
    spoilt.q[spoilt.of_q.place(1, 36, 1)] = NAN;
    check(c, method, spoilt);
    for (double& x : large.q) x = 50 + std::fabs(x);
    for (double& x : large.k) x = 50 + std::fabs(x);
    check(c, method, large);
  }
}

TEST_CASE("attention: scores of -inf before finite ones") {
  check_lost_scores<float>({1, 1, 3, 70, 2, 3}, AttentionMethod::naive);
  check_lost_scores<float>({1, 1, 3, 70, 2, 3}, AttentionMethod::tiles);
  check_lost_scores<bfloat16>({1, 1, 3, 70, 16, 16}, AttentionMethod::tensor_cores);
}

TEST_CASE("attention: a key that a query does not see changes none of its bits") {
  const Case c = {1, 1, 40, 40, 3, 4, true};
  for (const AttentionMethod method : {AttentionMethod::naive, AttentionMethod::tiles}) {
    Operands<float> x(c);
    const Results<float> before = run(c, x, method);
    for (std::int64_t d = 0; d < c.width; ++d) x.k[x.of_k.place(0, 35, d)] = 10;
    for (std::int64_t e = 0; e < c.value_width; ++e) x.v[x.of_v.place(0, 35, e)] = 10;
    const Results<float> after = run(c, x, method);
    const auto same_until = [](const std::vector<float>& a, const std::vector<float>& b, std::size_t end) {
      return are_same(std::vector<float>(a.begin(), a.begin() + end), std::vector<float>(b.begin(), b.begin() + end));
    };
    CHECK(same_until(before.out, after.out, x.of_out.place(0, 35, 0)));
    CHECK(same_until(before.dq, after.dq, x.of_q.place(0, 35, 0)));
    CHECK_FALSE(same_until(before.out, after.out, x.of_out.place(0, 36, 0)));
  }
}
