// The method cudnn of attention: what it refuses, and on a device its results beside those of our kernels.
#include "framework/base/error.h"
#include "tests/cuda/attention_cases.h"

using namespace gradus;
using namespace gradus::attention_cases;

TEST_CASE("attention: what cuDNN does not take") {
  alignas(16) static bfloat16 aligned[2];
  const auto refusal = []<class T>(const Case& c, T* data, T* out) -> std::string {
    const Operands<T> x(c);
    try {
      cuda::attention_backward<T>(
          shape_of(c),
          {x.of_q.view(data), x.of_k.view(data), x.of_v.view(data), nullptr, x.of_out.view(data), nullptr,
           x.of_q.mutable_view(data), x.of_k.mutable_view(data), x.of_v.mutable_view(data), x.of_out.view(out)},
          nullptr, AttentionMethod::cudnn);
    } catch (const ContractError& error) {
      return error.what();
    }
    return "none";
  };
  const std::string who = "[attention] cudnn does not take ";
  static float of_f32[1];
  CHECK(refusal({1, 1, 4, 4, 16, 16}, of_f32, of_f32) == who + "other types than bf16");
  CHECK(refusal({1, 1, 4, 4, 16, 16, true, 0.1}, aligned, aligned) == who + "dropout");
  CHECK(refusal({1, 1, 4, 4, 16, 16, true, 0, {3, 1}}, aligned, aligned) == who + "several sequences");
  CHECK(refusal({1, 1, 0, 4, 16, 16}, aligned, aligned) == who + "operands without elements");
  CHECK(refusal({1, 1, 4, 4, 12, 16}, aligned, aligned) == who + "widths that are no multiples of 8");
  CHECK(refusal({1, 1, 4, 4, 16, 12}, aligned, aligned) == who + "widths that are no multiples of 8");
  CHECK(refusal({1, 1, 4, 4, 16, 16}, aligned + 1, aligned) == who + "rows that do not begin at multiples of 16 bytes");
  const std::string no_out = who + "backward without what forward returned, in rows at multiples of 16 bytes";
  CHECK(refusal({1, 1, 4, 4, 16, 16}, aligned, static_cast<bfloat16*>(nullptr)) == no_out);
  CHECK(refusal({1, 1, 4, 4, 16, 16}, aligned, aligned + 1) == no_out);
}

TEST_CASE("attention: cuDNN, alone and before and behind our kernels") {
  if (!cuda::cudnn_state().usable) {
    const std::string why = "[attention] cudnn: " + cuda::cudnn_state().version_or_reason;
    CHECK_THROWS_WITH_AS(check<bfloat16>({1, 1, 3, 4, 16, 16}, AttentionMethod::cudnn), why.c_str(), Error);
    if (!cuda::is_emulation()) MESSAGE("not run: ", why);
    return;
  }
  const Case cases[] = {{1, 1, 1, 1, 8, 8},
                        {2, 3, 33, 47, 16, 32},
                        {2, 8, 127, 127, 32, 32, true},
                        {2, 8, 128, 128, 32, 32, true},
                        {1, 2, 100, 65, 64, 40, true},
                        {1, 2, 65, 200, 128, 128, true, 0, {}, 0.3}};
  for (const Case& c : cases) {
    const Operands<bfloat16> x(c);
    const Results<bfloat16> first = run(c, x, std::optional(AttentionMethod::cudnn));
    check(c, AttentionMethod::cudnn, x, first);
    check(c, AttentionMethod::cudnn, x, run(c, x, AttentionMethod::cudnn, AttentionMethod::tiles));
    check(c, AttentionMethod::cudnn, x, run(c, x, AttentionMethod::tiles, AttentionMethod::cudnn));
    const Results<bfloat16> again = run(c, x, std::optional(AttentionMethod::cudnn));
    CHECK(are_same(first.out, again.out));
    CHECK(are_same(first.dq, again.dq));
    CHECK(are_same(first.dk, again.dk));
    CHECK(are_same(first.dv, again.dv));
  }
  CHECK_THROWS_WITH_AS(check<bfloat16>({1, 1, 3, 4, 1024, 16}, AttentionMethod::cudnn),
                       doctest::Contains("[attention] cuDNN has no engine for forward of 1 batches"), Error);
}
