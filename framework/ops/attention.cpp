#include "framework/ops/attention.h"

#include <cmath>
#include <limits>

#include "framework/kernels/cpu/attention.h"
#include "framework/kernels/cpu/random_words.h"
#include "framework/ops/attention_layout.h"
#include "framework/ops/cost.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"

namespace gradus {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

}  // namespace

const OpSpec& attention_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "scaled_dot_product_attention";
    spec.summary = "Each query takes a weighted mean of the values; the weights come from its products with the keys.";
    spec.math = "y = dropout(p) v, p = softmax(s), s = scale q k^T, with s[i,j] = -inf for j > i where causal";
    spec.derivation = "With m the dropout factors: dL/dv = (p m)^T g; dL/dp = (g v^T) m; the softmax gives "
                      "dL/ds = p (dL/dp - rowsum(p dL/dp)); then dL/dq = scale dL/ds k and dL/dk = scale (dL/ds)^T q. A masked "
                      "score has p = 0, so nothing flows through it.";
    spec.source = "Vaswani et al. 2017, arXiv:1706.03762, equation 1";
    spec.pitfalls = "A missing 1/sqrt(D); a mask that leaks above the diagonal; dropping scores in place of weights.";
    spec.inputs = {{"q"}, {"k"}, {"v"}};
    spec.attributes = {
        {"causal", false, "query i of a sequence sees its keys j <= i only"},
        {"dropout", 0.0, "probability with which a weight is dropped"},
        {"seed", std::int64_t{0}, "key of dropout's random words"},
        {"stream", std::int64_t{0},
         "their stream; weight (b,h,i,j) has the index "
         "((b H + h) Tq + i) S + j, with S = Tk rounded up to a multiple of 4"},
        {"scale", 0.0, "factor of the scores; 0 stands for 1/sqrt(D)"},
        {"lengths", std::vector<std::int64_t>{}, "of sequences that follow each other, each on its own"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      call.require_compute_dtype(0);
      for (std::size_t i : {0, 1, 2}) {
        call.require_same_dtype(0, i);
        call.require_rank(i, 4);
      }
      const Shape &q = call.input(0).shape(), &k = call.input(1).shape(), &v = call.input(2).shape();
      if (q[0] != k[0] || q[0] != v[0]) call.fail("batch sizes differ");
      if (q[1] != k[1] || q[1] != v[1]) call.fail("numbers of heads differ");
      if (q[3] != k[3] || q[3] == 0) call.fail("q and k need the same number of features, at least 1");
      if (k[2] != v[2]) call.fail("{} keys but {} values", k[2], v[2]);
      if (k[2] == 0) call.fail("there are no keys to attend to");
      const std::vector<std::int64_t>& lengths = call.attributes().integers("lengths");
      if (!lengths.empty()) {
        std::int64_t sum = 0;
        for (const std::int64_t length : lengths) {
          if (length < 1) call.fail("lengths must be at least 1, not {}", length);
          sum += length;
        }
        if (sum != q[2] || sum != k[2])
          call.fail("the lengths add up to {}, there are {} queries and {} keys", sum, q[2], k[2]);
      }
      const double probability = call.number("dropout");
      if (!(probability >= 0 && probability < 1)) call.fail("dropout must be in [0, 1)");
      return {{{q[0], q[1], q[2], v[3]}, call.input(0).dtype()}};
    };
    spec.reference = [](const OpCall& call) -> Tensors {
      const Tensor &q = call.input(0), &k = call.input(1), &v = call.input(2);
      const AttentionShape s = attention_shape(q.shape(), k.shape(), v.shape(), call.attributes());
      Tensor scores = matmul(q, transpose(k)) * s.scale;
      if (s.causal || s.segments.size() > 1) {
        std::vector<double> mask(s.queries * s.keys, -inf);
        for (const AttentionSegment& segment : s.segments) {
          for (std::int64_t i = 0; i < segment.queries; ++i) {
            const std::int64_t seen = s.causal ? std::min(segment.keys, i + 1) : segment.keys;
            std::fill_n(mask.begin() + (segment.first_query + i) * s.keys + segment.first_key, seen, 0.0);
          }
        }
        scores = scores + on_device(from_values({s.queries, s.keys}, mask, q.dtype()), q.device());
      }
      Tensor weights = softmax(scores);
      if (s.dropout > 0) {
        std::vector<double> factors(weights.numel());
        for (std::int64_t row = 0; row < s.batches * s.heads * s.queries; ++row) {
          for (std::int64_t j = 0; j < s.keys; ++j) {
            const std::uint32_t word = random::philox_word(s.seed, s.stream, row * s.word_stride() + j);
            factors[row * s.keys + j] = word < random::dropout_threshold(s.dropout) ? 0 : 1 / (1 - s.dropout);
          }
        }
        weights = weights * on_device(from_values(weights.shape(), factors, weights.dtype()), q.device());
      }
      return {matmul(weights, v)};
    };
    spec.saves = {.all_inputs = true};
    spec.cpu.bf16 = true;
    spec.cpu.forward = [](ForwardCall& call) {
      const Tensor q = with_packed_rows(call.input(0)), k = with_packed_rows(call.input(1)), v = with_packed_rows(call.input(2));
      const AttentionShape s = attention_shape(q.shape(), k.shape(), v.shape(), call.attributes());
      const Tensor out = heads_inside(call.promised()[0].shape, q);
      visit_floating_dtype(q.dtype(), [&]<class T>() {
        const Tensor log_sums = Tensor::empty({s.batches, s.heads, s.queries}, dtype_of<Arithmetic<T>>);
        cpu::attention_forward<T>(s, view<T>(q), view<T>(k), view<T>(v), mutable_view<T>(out),
                                  log_sums.fresh_data<Arithmetic<T>>());
        if (call.will_run_backward()) call.save(log_sums);
      });
      call.set_output(0, out);
    };
    spec.cpu.backward = [](BackwardCall& call) {
      const Tensor q = with_packed_rows(call.input(0)), k = with_packed_rows(call.input(1)), v = with_packed_rows(call.input(2));
      const Tensor g = with_packed_rows(call.cotangent());
      const AttentionShape s = attention_shape(q.shape(), k.shape(), v.shape(), call.attributes());
      const Tensor dq = heads_inside(q.shape(), q), dk = heads_inside(k.shape(), q), dv = heads_inside(v.shape(), q);
      visit_floating_dtype(q.dtype(), [&]<class T>() {
        cpu::attention_backward<T>(s, view<T>(q), view<T>(k), view<T>(v), call.saved(0).data<Arithmetic<T>>(),
                                   view<T>(g), mutable_view<T>(dq), mutable_view<T>(dk), mutable_view<T>(dv));
      });
      if (call.needs(0)) call.set_gradient(0, dq);
      if (call.needs(1)) call.set_gradient(1, dk);
      if (call.needs(2)) call.set_gradient(2, dv);
    };
    const auto options = [](bool causal, double dropout = 0, double scale = 0, std::vector<std::int64_t> lengths = {}) {
      return Attributes{{"causal", causal},          {"dropout", dropout}, {"seed", std::int64_t{5}},
                        {"stream", std::int64_t{3}}, {"scale", scale},     {"lengths", std::move(lengths)}};
    };
    spec.samples = [options](SampleMaker& make) -> std::vector<Sample> {
      return {
          {"self", {make.normal({2, 2, 3, 4}), make.normal({2, 2, 3, 4}), make.normal({2, 2, 3, 4})}, options(false)},
          {"causal", {make.normal({1, 2, 5, 3}), make.normal({1, 2, 5, 3}), make.normal({1, 2, 5, 3})}, options(true)},
          {"cross", {make.normal({2, 1, 3, 2}), make.normal({2, 1, 5, 2}), make.normal({2, 1, 5, 3})}, options(false)},
          {"causal, fewer queries",
           {make.normal({1, 2, 3, 2}), make.normal({1, 2, 5, 2}), make.normal({1, 2, 5, 2})},
           options(true)},
          {"causal, more queries",
           {make.normal({1, 2, 5, 2}), make.normal({1, 2, 3, 2}), make.normal({1, 2, 3, 2})},
           options(true)},
          {"dropout",
           {make.normal({2, 2, 5, 3}), make.normal({2, 2, 5, 3}), make.normal({2, 2, 5, 3})},
           options(true, 0.3)},
          {"own scale",
           {make.normal({1, 1, 3, 2}), make.normal({1, 1, 3, 2}), make.normal({1, 1, 3, 2})},
           options(false, 0, 0.7)},
          {"sequences",
           {make.normal({1, 2, 9, 2}), make.normal({1, 2, 9, 2}), make.normal({1, 2, 9, 3})},
           options(true, 0, 0, {3, 1, 5})},
          {"sequences, all keys",
           {make.normal({2, 1, 5, 2}), make.normal({2, 1, 5, 2}), make.normal({2, 1, 5, 2})},
           options(false, 0.3, 0, {2, 3})},
          {"one query",
           {make.normal({2, 2, 1, 19}), make.normal({2, 2, 37, 19}), make.normal({2, 2, 37, 5})},
           options(false, 0.2)},
          {"several tiles",
           {make.normal({1, 1, 67, 3}), make.normal({1, 1, 71, 3}), make.normal({1, 1, 71, 2})},
           options(true, 0.1)}};
    };
    spec.edge_samples = [options](SampleMaker& make) -> std::vector<Sample> {
      return {{"one key", {make.normal({1, 1, 3, 2}), make.normal({1, 1, 1, 2}), make.normal({1, 1, 1, 2})}, options(true)},
              {"no queries", {make.normal({1, 2, 0, 2}), make.normal({1, 2, 3, 2}), make.normal({1, 2, 3, 2})}, options(false)},
              {"no batch", {make.normal({0, 2, 3, 2}), make.normal({0, 2, 3, 2}), make.normal({0, 2, 3, 2})}, options(true)},
              {"large scores", {make.uniform({1, 1, 3, 2}, 50, 60), make.uniform({1, 1, 3, 2}, 50, 60), make.normal({1, 1, 3, 2})}, options(true)},
              {"not a number", {make.values({1, 1, 2, 1}, {1, NAN}), make.values({1, 1, 2, 1}, {1, 2}), make.values({1, 1, 2, 1}, {1, 2})}, options(true)}};
    };
    spec.error_samples = [options](SampleMaker& make) -> std::vector<ErrorSample> {
      const auto t = [&](std::int64_t b, std::int64_t h, std::int64_t n, std::int64_t d) { return make.normal({b, h, n, d}); };
      return {
          {"features",
           {t(1, 2, 3, 4), t(1, 2, 3, 5), t(1, 2, 3, 4)},
           options(false),
           "q and k need the same number of features"},
          {"heads",
           {t(1, 2, 3, 4), t(1, 3, 3, 4), t(1, 3, 3, 4)},
           options(false),
           "numbers of heads differ: q (1,2,3,4) f64 cpu"},
          {"batches", {t(1, 2, 3, 4), t(2, 2, 3, 4), t(2, 2, 3, 4)}, options(false), "batch sizes differ"},
          {"values", {t(1, 2, 3, 4), t(1, 2, 3, 4), t(1, 2, 5, 4)}, options(false), "3 keys but 5 values"},
          {"no keys", {t(1, 2, 3, 4), t(1, 2, 0, 4), t(1, 2, 0, 4)}, options(false), "there are no keys to attend to"},
          {"dropout", {t(1, 1, 2, 2), t(1, 1, 2, 2), t(1, 1, 2, 2)}, options(false, 1.5), "dropout must be in [0, 1)"},
          {"lengths",
           {t(1, 1, 3, 2), t(1, 1, 3, 2), t(1, 1, 3, 2)},
           options(false, 0, 0, {1, 3}),
           "the lengths add up to 4, there are 3 queries and 3 keys"},
          {"no length",
           {t(1, 1, 3, 2), t(1, 1, 3, 2), t(1, 1, 3, 2)},
           options(false, 0, 0, {3, 0}),
           "lengths must be at least 1, not 0"},
          {"rank",
           {make.normal({2, 3, 4}), t(1, 2, 3, 4), t(1, 2, 3, 4)},
           options(false),
           "q must have 4 axes, not 3"}};
    };
    spec.error_model.roundings = [](const OpCall& call) {
      return call.input(1).shape()[2] + 2.0 * call.input(0).shape()[3] + 16;
    };
    spec.error_model.magnitude = [](const OpCall& call, const Tensors&) {
      double values = 0, scores = 1;  // an error of the scores becomes a relative error of the weights
      for (double value : call.input(2).to_vector<double>()) values = std::max(values, std::fabs(value));
      double q = 0, k = 0;
      for (double value : call.input(0).to_vector<double>()) q = std::max(q, std::fabs(value));
      for (double value : call.input(1).to_vector<double>()) k = std::max(k, std::fabs(value));
      scores += q * k * call.input(0).shape()[3] * score_scale(call.attributes(), call.input(0).shape());
      return values * scores / (1 - call.number("dropout"));
    };
    spec.cost = [](const OpCall& call) -> Cost {
      const Shape &q = call.input(0).shape(), &v = call.input(2).shape();
      double pairs = 0;
      for (const double length : call.attributes().integers("lengths")) pairs += length * length;
      if (pairs == 0) pairs = double(q[2]) * v[2];
      pairs *= double(q[0]) * q[1] * (call.flag("causal") ? 0.5 : 1);
      return {pairs * 2 * (q[3] + v[3]), bytes_of_operands(call)};
    };
    return spec;
  }();
  return op;
}

Tensor scaled_dot_product_attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options, SourceLocation where) {
  return apply(attention_op(), {q, k, v},
               {{"causal", options.causal},
                {"dropout", options.dropout},
                {"seed", options.seed},
                {"stream", options.stream},
                {"scale", options.scale},
                {"lengths", options.lengths}},
               where)[0];
}

}  // namespace gradus
