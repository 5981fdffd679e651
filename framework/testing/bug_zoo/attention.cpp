// Who looks at whom. The mistakes leak across masks, lose scales, forget the other heads.
#include <cmath>

#include "framework/tensor/creation.h"
#include "framework/testing/bug_zoo/exercise.h"

namespace gradus::testing::zoo {
namespace {

double scale_of(const Array& q) { return 1 / std::sqrt(static_cast<double>(q.columns())); }

// --- causal scores: y[i][j] = q[i] k[j] / sqrt(width) for j <= i, zero above the diagonal ---

Arrays causal_scores(const Arrays& in) {
  const Array &q = in[0], &k = in[1];
  Array y({q.rows(), k.rows()});
  for (int i = 0; i < q.rows(); ++i)
    for (int j = 0; j <= i; ++j)
      for (int c = 0; c < q.columns(); ++c) y(i, j) += q(i, c) * k(j, c) * scale_of(q);
  return {y};
}

/// Counts g[i][j] where counts(i, j); the right one counts what lies on or below the diagonal.
template <class Counts>
Backward causal_scores_where(Counts counts) {
  return [=](const Arrays& in, const Arrays& up) {
    const Array &q = in[0], &k = in[1], &g = up[0];
    Array dq(q.shape), dk(k.shape);
    for (int i = 0; i < q.rows(); ++i)
      for (int j = 0; j < k.rows(); ++j)
        for (int c = 0; counts(i, j) && c < q.columns(); ++c) {
          dq(i, c) += g(i, j) * k(j, c) * scale_of(q);
          dk(j, c) += g(i, j) * q(i, c) * scale_of(q);
        }
    return Arrays{dq, dk};
  };
}

Exercise causal_scores_exercise(Generator& generator) {
  const Backward right = causal_scores_where([](int i, int j) { return j <= i; });
  return {"causal_scores",
          {"q", "k"},
          {"y"},
          {normal(generator, {4, 3}), normal(generator, {4, 3})},
          causal_scores,
          right,
          {
              {"causal mask missing", "hands gradient from masked scores to later positions", Cause::wrong_where,
               causal_scores_where([](int, int) { return true; })},
              {"diagonal masked, too", "j < i in backward where forward has j <= i", Cause::wrong_where,
               causal_scores_where([](int i, int j) { return j < i; })},
              {"mask of the transposed scores", "keeps what lies above the diagonal", Cause::wrong_where,
               causal_scores_where([](int i, int j) { return j >= i; })},
              {"scale missing", "forgets 1 / sqrt(width) in backward", Cause::constant_factor,
               scaled(right, std::sqrt(3.0))},
              {"queries and keys swapped", "returns dk as the gradient of q and dq as that of k", Cause::other_input,
               swapped(right, 0, 1)},
          }};
}

// --- causal attention: y = p v, p = softmax(q k^T / sqrt(width)) over the positions up to the own one ---

/// The weights; `causal` false: over all positions.
Array attention_weights(const Array& q, const Array& k, bool causal = true) {
  Array p({q.rows(), k.rows()});
  for (int i = 0; i < q.rows(); ++i) {
    const std::int64_t visible = causal ? i + 1 : k.rows();
    double sum = 0;
    for (int j = 0; j < visible; ++j) {
      double score = 0;
      for (int c = 0; c < q.columns(); ++c) score += q(i, c) * k(j, c) * scale_of(q);
      sum += p(i, j) = std::exp(score);
    }
    for (int j = 0; j < visible; ++j) p(i, j) /= sum;
  }
  return p;
}

Arrays attention(const Arrays& in) {
  const Array p = attention_weights(in[0], in[1]), &v = in[2];
  Array y(v.shape);
  for (int i = 0; i < p.rows(); ++i)
    for (int j = 0; j < p.columns(); ++j)
      for (int c = 0; c < v.columns(); ++c) y(i, c) += p(i, j) * v(j, c);
  return {y};
}

struct AttentionBackward {
  bool causal = true, correction = true, transposed_weights = true;

  Arrays operator()(const Arrays& in, const Arrays& up) const {
    const Array &q = in[0], &k = in[1], &v = in[2], &g = up[0], p = attention_weights(q, k, causal);
    Array dq(q.shape), dk(k.shape), dv(v.shape), dp(p.shape);
    for (int i = 0; i < p.rows(); ++i) {
      double average = 0;
      for (int j = 0; j < p.columns(); ++j)
        for (int c = 0; c < v.columns(); ++c) {
          dp(i, j) += g(i, c) * v(j, c);
          dv(j, c) += g(i, c) * (transposed_weights ? p(i, j) : p(j, i));
          average += p(i, j) * g(i, c) * v(j, c);
        }
      for (int j = 0; j < p.columns(); ++j)
        for (int c = 0; c < q.columns(); ++c) {
          const double of_score = p(i, j) * (dp(i, j) - (correction ? average : 0)) * scale_of(q);
          dq(i, c) += of_score * k(j, c);
          dk(j, c) += of_score * q(i, c);
        }
    }
    return {dq, dk, dv};
  }
};

Exercise attention_exercise(Generator& generator) {
  const Backward right = AttentionBackward{};
  return {"causal_attention",
          {"q", "k", "v"},
          {"y"},
          {normal(generator, {4, 3}), normal(generator, {4, 3}), normal(generator, {4, 3})},
          attention,
          right,
          {
              {"softmax correction missing", "p dp for the gradient of the scores, without minus p sum(p dp)",
               Cause::missing_output_term, AttentionBackward{.correction = false}},
              {"recomputed without the mask", "recomputes the weights in backward over all positions",
               Cause::wrong_where, AttentionBackward{.causal = false}},
              {"weights not transposed", "computes p g for the gradient of the values, where p^T g is meant",
               Cause::transposed, AttentionBackward{.transposed_weights = false}},
              {"scale there twice", "scales the scores' gradient, and the queries' once more", Cause::constant_factor,
               scaled(right, 1 / std::sqrt(3.0), 0)},
              {"values without gradient", "the loop that fills dv is never reached", Cause::zero, scaled(right, 0, 2)},
              {"keys and values swapped", "returns dv as the gradient of k and dk as that of v", Cause::other_input,
               swapped(right, 1, 2)},
          }};
}

// --- scores of several heads that share their keys: y[h][i][j] = q[h][i] k[j] ---

Arrays shared_key_scores(const Arrays& in) {
  const Array &q = in[0], &k = in[1];
  Array y({q.shape[0], q.shape[1], k.rows()});
  for (int h = 0; h < y.shape[0]; ++h)
    for (int i = 0; i < y.shape[1]; ++i)
      for (int j = 0; j < y.shape[2]; ++j)
        for (int c = 0; c < k.columns(); ++c) y(h, i, j) += q(h, i, c) * k(j, c);
  return {y};
}

/// `last_head_only`: dk is assigned, not added to, once per head.
Backward shared_key_backward(bool last_head_only) {
  return [=](const Arrays& in, const Arrays& up) {
    const Array &q = in[0], &k = in[1], &g = up[0];
    Array dq(q.shape), dk(k.shape);
    for (int h = 0; h < g.shape[0]; ++h) {
      if (last_head_only) dk = Array(k.shape);
      for (int i = 0; i < g.shape[1]; ++i)
        for (int j = 0; j < g.shape[2]; ++j)
          for (int c = 0; c < k.columns(); ++c) {
            dq(h, i, c) += g(h, i, j) * k(j, c);
            dk(j, c) += g(h, i, j) * q(h, i, c);
          }
    }
    return Arrays{dq, dk};
  };
}

Exercise shared_key_exercise(Generator& generator) {
  const Backward right = shared_key_backward(false);
  return {"shared_key_scores",
          {"q", "k"},
          {"y"},
          {normal(generator, {3, 2, 4}), normal(generator, {5, 4})},
          shared_key_scores,
          right,
          {
              {"last head for the sum", "every head overwrites the gradient of the shared keys", Cause::slice_for_sum,
               shared_key_backward(true)},
              {"mean over the heads", "averages the gradient of the shared keys over the heads", Cause::mean_for_sum,
               scaled(right, 1.0 / 3, 1)},
          }};
}

// --- rotary positions: each pair of columns turned by an angle that grows with the row ---

/// Turned by `direction` times the angle of its row.
Array turned(const Array& x, double direction) {
  Array y(x.shape);
  for (int t = 0; t < x.rows(); ++t)
    for (int c = 0; c + 1 < x.columns(); c += 2) {
      const double angle = direction * (t + 1) / (1 + c), cosine = std::cos(angle), sine = std::sin(angle);
      y(t, c) = cosine * x(t, c) - sine * x(t, c + 1);
      y(t, c + 1) = sine * x(t, c) + cosine * x(t, c + 1);
    }
  return y;
}

Exercise rotary_exercise(Generator& generator) {
  return {"rotary",
          {"x"},
          {"y"},
          {normal(generator, {3, 4})},
          [](const Arrays& in) { return Arrays{turned(in[0], 1)}; },
          [](const Arrays&, const Arrays& up) { return Arrays{turned(up[0], -1)}; },
          {
              {"turned forward again", "turns the upstream gradient the way forward turns x, not back",
               Cause::transposed, [](const Arrays&, const Arrays& up) { return Arrays{turned(up[0], 1)}; }},
              {"first pair only", "the loop over the pairs of columns ends after one", Cause::some_parts,
               [](const Arrays&, const Arrays& up) {
                 Array dx = turned(up[0], -1);
                 for (int t = 0; t < dx.rows(); ++t) dx(t, 2) = dx(t, 3) = 0;
                 return Arrays{dx};
               }},
          }};
}

// --- mean over the rows that are no padding: y[c] = sum over t of mask[t] x[t][c] / count ---

double count_of(const Array& mask) {
  double count = 0;
  for (double value : mask.values) count += value;
  return count;
}

Arrays masked_mean(const Arrays& in) {
  const Array &x = in[0], &mask = in[1];
  Array y({x.columns()});
  for (int t = 0; t < x.rows(); ++t)
    for (int c = 0; c < x.columns(); ++c) y[c] += mask[t] * x(t, c) / count_of(mask);
  return {y};
}

/// dx[t][c] = weight(mask, t) g[c].
template <class Weight>
Backward masked_mean_with(Weight weight) {
  return [=](const Arrays& in, const Arrays& up) {
    Array dx(in[0].shape);
    for (int t = 0; t < dx.rows(); ++t)
      for (int c = 0; c < dx.columns(); ++c) dx(t, c) = weight(in[1], t) * up[0][c];
    return Arrays{dx, Array()};
  };
}

Exercise masked_mean_exercise(Generator& generator) {
  const Tensor mask = from_values({5}, std::vector<double>{1, 1, 0, 1, 0}, DType::boolean);
  const Backward right = masked_mean_with([](const Array& mask, int t) { return mask[t] / count_of(mask); });
  return {
      "masked_mean",
      {"x", "mask"},
      {"y"},
      {normal(generator, {5, 3}), mask},
      masked_mean,
      right,
      {
          {"gradient at the padding", "spreads the upstream gradient over all rows, padding or not", Cause::wrong_where,
           masked_mean_with([](const Array& mask, int) { return 1 / count_of(mask); })},
          {"divided by the length", "divides by the number of rows where forward counts the true ones",
           Cause::constant_factor, masked_mean_with([](const Array& mask, int t) { return mask[t] / mask.size(); })},
          {"mask turned round", "reads the mask as one of the padding", Cause::wrong_where,
           masked_mean_with([](const Array& mask, int t) { return (1 - mask[t]) / count_of(mask); })},
      }};
}

}  // namespace

Exercises attention_exercises(Generator& generator) {
  return {causal_scores_exercise(generator), attention_exercise(generator), shared_key_exercise(generator),
          rotary_exercise(generator), masked_mean_exercise(generator)};
}

}  // namespace gradus::testing::zoo
