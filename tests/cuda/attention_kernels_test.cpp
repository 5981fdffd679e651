// Attention's kernels, each method beside plain loops in double and beside the CPU's kernels.
#include "framework/base/error.h"
#include "tests/cuda/attention_cases.h"
#include "tests/cuda/schedules.h"

using namespace gradus;
using namespace gradus::attention_cases;

namespace {

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
