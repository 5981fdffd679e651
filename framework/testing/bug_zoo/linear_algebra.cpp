// Matrix products and a convolution.
#include "framework/testing/bug_zoo/exercise.h"

namespace gradus::testing::zoo {
namespace {

// --- y = a b ---

Arrays matmul(const Arrays& in) {
  const Array &a = in[0], &b = in[1];
  Array y({a.rows(), b.columns()});
  for (int i = 0; i < a.rows(); ++i)
    for (int j = 0; j < b.columns(); ++j)
      for (int k = 0; k < a.columns(); ++k) y(i, j) += a(i, k) * b(k, j);
  return {y};
}

/// da = g b^T, db = a^T g.
Arrays matmul_backward(const Arrays& in, const Arrays& up) {
  const Array &a = in[0], &b = in[1], &g = up[0];
  Array da(a.shape), db(b.shape);
  for (int i = 0; i < a.rows(); ++i)
    for (int j = 0; j < b.columns(); ++j)
      for (int k = 0; k < a.columns(); ++k) {
        da(i, k) += g(i, j) * b(k, j);
        db(k, j) += g(i, j) * a(i, k);
      }
  return {da, db};
}

Array transposed(const Array& a) {
  Array result({a.columns(), a.rows()});
  for (int i = 0; i < a.rows(); ++i)
    for (int j = 0; j < a.columns(); ++j) result(j, i) = a(i, j);
  return result;
}

Exercise matmul_exercise(Generator& generator) {
  return {
      "matmul",
      {"a", "b"},
      {"y"},
      {normal(generator, {3, 5}), normal(generator, {5, 4})},
      matmul,
      matmul_backward,
      {
          {"gradient of a left at zero", "allocates da and forgets to fill it", Cause::zero,
           scaled(matmul_backward, 0, 0)},
          {"sign of db", "subtracts the products from db", Cause::sign, scaled(matmul_backward, -1, 1)},
          {"both twice", "adds each product to da and to db twice", Cause::constant_factor, scaled(matmul_backward, 2)},
          {"only the first row of da", "the loop over the rows of a ends after one", Cause::some_parts,
           one_row_only(matmul_backward, 0, 0)},
          {"upstream gradient ignored", "differentiates the sum of the outputs, whatever comes from above",
           Cause::upstream_ignored, ignoring_upstream(matmul_backward)},
          {"db averaged over the rows", "divides the gradient of b by the number of rows of a: a mean over the batch",
           Cause::mean_for_sum, scaled(matmul_backward, 1.0 / 3, 1)},
      }};
}

Exercise square_matmul_exercise(Generator& generator) {
  return {"square_matmul",
          {"a", "b"},
          {"y"},
          {normal(generator, {4, 4}), normal(generator, {4, 4})},
          matmul,
          matmul_backward,
          {
              {"gradients swapped", "returns db as the gradient of a and da as that of b", Cause::other_input,
               swapped(matmul_backward, 0, 1)},
              {"a gets b's gradient", "returns db twice", Cause::other_input,
               [](const Arrays& in, const Arrays& up) {
                 const Array db = matmul_backward(in, up)[1];
                 return Arrays{db, db};
               }},
              {"both transposed", "computes b g^T for da and g^T a for db", Cause::transposed,
               [](const Arrays& in, const Arrays& up) {
                 const Arrays gradients = matmul_backward(in, up);
                 return Arrays{transposed(gradients[0]), transposed(gradients[1])};
               }},
              {"db transposed", "computes g^T a where a^T g is meant", Cause::transposed,
               [](const Arrays& in, const Arrays& up) {
                 const Arrays gradients = matmul_backward(in, up);
                 return Arrays{gradients[0], transposed(gradients[1])};
               }},
              {"b used untransposed",
               "computes da = g b where da = g b^T is meant; the shapes fit only because b is square",
               Cause::transposed,
               [](const Arrays& in, const Arrays& up) {
                 return Arrays{matmul({up[0], in[1]})[0], matmul_backward(in, up)[1]};
               },
               {Cause::unknown}},
              {"half of da", "da gets the factor 1/2 of a quadratic form", Cause::constant_factor,
               scaled(matmul_backward, 0.5, 0)},
          }};
}

// --- y[n] = a[n] b[n] ---

Arrays batched_matmul(const Arrays& in) {
  const Array &a = in[0], &b = in[1];
  Array y({a.shape[0], a.shape[1], b.shape[2]});
  for (int n = 0; n < y.shape[0]; ++n)
    for (int i = 0; i < y.shape[1]; ++i)
      for (int j = 0; j < y.shape[2]; ++j)
        for (int k = 0; k < a.shape[2]; ++k) y(n, i, j) += a(n, i, k) * b(n, k, j);
  return {y};
}

/// Over the first `items` of the batch; the right one takes them all.
Arrays batched_matmul_backward(const Arrays& in, const Arrays& up, std::int64_t items) {
  const Array &a = in[0], &b = in[1], &g = up[0];
  Array da(a.shape), db(b.shape);
  for (int n = 0; n < items; ++n)
    for (int i = 0; i < g.shape[1]; ++i)
      for (int j = 0; j < g.shape[2]; ++j)
        for (int k = 0; k < a.shape[2]; ++k) {
          da(n, i, k) += g(n, i, j) * b(n, k, j);
          db(n, k, j) += g(n, i, j) * a(n, i, k);
        }
  return {da, db};
}

Exercise batched_matmul_exercise(Generator& generator) {
  return {"batched_matmul",
          {"a", "b"},
          {"y"},
          {normal(generator, {3, 2, 4}), normal(generator, {3, 4, 5})},
          batched_matmul,
          [](const Arrays& in, const Arrays& up) { return batched_matmul_backward(in, up, up[0].shape[0]); },
          {
              {"last item of the batch missing", "the loop over the batch ends one too early", Cause::some_parts,
               [](const Arrays& in, const Arrays& up) { return batched_matmul_backward(in, up, up[0].shape[0] - 1); }},
          }};
}

// --- y[i] = sum_k x[i+k] w[k] ---

Arrays convolve(const Arrays& in) {
  const Array &x = in[0], &w = in[1];
  Array y({x.size() - w.size() + 1});
  for (int i = 0; i < y.size(); ++i)
    for (int k = 0; k < w.size(); ++k) y[i] += x[i + k] * w[k];
  return {y};
}

Arrays convolve_backward(const Arrays& in, const Arrays& up) {
  const Array &x = in[0], &w = in[1], &g = up[0];
  Array dx(x.shape), dw(w.shape);
  for (int i = 0; i < g.size(); ++i)
    for (int k = 0; k < w.size(); ++k) {
      dx[i + k] += g[i] * w[k];
      dw[k] += g[i] * x[i + k];
    }
  return {dx, dw};
}

Exercise convolution_exercise(Generator& generator) {
  return {"conv1d",
          {"x", "w"},
          {"y"},
          {normal(generator, {8}), normal(generator, {3})},
          convolve,
          convolve_backward,
          {
              {"kernel gradient flipped", "fills dw from its end, as the signal processor's convolution would",
               Cause::wrong_order,
               [](const Arrays& in, const Arrays& up) {
                 const Arrays right = convolve_backward(in, up);
                 Array dw(in[1].shape);
                 for (int k = 0; k < dw.size(); ++k) dw[k] = right[1][dw.size() - 1 - k];
                 return Arrays{right[0], dw};
               }},
          }};
}

}  // namespace

Exercises linear_algebra_exercises(Generator& generator) {
  return {matmul_exercise(generator), square_matmul_exercise(generator), batched_matmul_exercise(generator),
          convolution_exercise(generator)};
}

}  // namespace gradus::testing::zoo
