// Ops that move numbers and do not change them: backward has to move every gradient back to where its number came from.
#include <algorithm>

#include "framework/tensor/creation.h"
#include "framework/testing/bug_zoo/exercise.h"

namespace gradus::testing::zoo {
namespace {

std::int64_t id(const Array& ids, std::int64_t at) { return static_cast<std::int64_t>(ids[at]); }

// --- embedding: y[t] = table[ids[t]]; ids repeat, one row is never used ---

constexpr std::int64_t padding_id = 0;

Arrays embedding(const Arrays& in) {
  const Array &table = in[0], &ids = in[1];
  Array y({ids.size(), table.columns()});
  for (int t = 0; t < y.rows(); ++t)
    for (int c = 0; c < y.columns(); ++c) y(t, c) = table(id(ids, t), c);
  return {y};
}

/// step(dtable, ids, t, c, g) puts one number of the upstream gradient where it belongs.
template <class Step>
Backward embedding_with(Step step) {
  return [=](const Arrays& in, const Arrays& up) {
    Array dtable(in[0].shape);
    for (int t = 0; t < up[0].rows(); ++t)
      for (int c = 0; c < up[0].columns(); ++c) step(dtable, in[1], t, c, up[0](t, c));
    return Arrays{dtable, Array()};
  };
}

double uses(const Array& ids, std::int64_t of) { return std::ranges::count(ids.values, ids[of]); }

Exercise embedding_exercise(Generator& generator) {
  const Backward right =
      embedding_with([](Array& dtable, const Array& ids, int t, int c, double g) { dtable(id(ids, t), c) += g; });
  return {
      "embedding",
      {"table", "ids"},
      {"y"},
      {normal(generator, {5, 3}), from_values({6}, std::vector<std::int64_t>{3, 0, 3, 1, 4, 3})},
      embedding,
      right,
      {
          {"last use only", "assigns where an id that repeats needs adding", Cause::last_use_only,
           embedding_with([](Array& dtable, const Array& ids, int t, int c, double g) { dtable(id(ids, t), c) = g; })},
          {"first use only", "skips the ids that it has seen before", Cause::last_use_only,
           embedding_with([](Array& dtable, const Array& ids, int t, int c, double g) {
             if (std::ranges::find(ids.values, ids[t]) == ids.values.begin() + t) dtable(id(ids, t), c) = g;
           })},
          {"zero taken for unused", "assigns where the row still holds zero, and leaves it alone where it does not",
           Cause::not_linear, embedding_with([](Array& dtable, const Array& ids, int t, int c, double g) {
             if (dtable(id(ids, t), c) == 0) dtable(id(ids, t), c) = g;
           })},
          {"mean over the uses",
           "divides by how often the id occurs",
           Cause::mean_for_sum,
           embedding_with([](Array& dtable, const Array& ids, int t, int c, double g) {
             dtable(id(ids, t), c) += g / uses(ids, t);
           }),
           {Cause::repeated_indices}},
          {"repeated ids twice", "adds once more to a row that an earlier id has read", Cause::repeated_indices,
           embedding_with([](Array& dtable, const Array& ids, int t, int c, double g) {
             dtable(id(ids, t), c) += uses(ids, t) > 1 ? 2 * g : g;
           })},
          {"mean over the ids", "divides by the number of ids", Cause::mean_for_sum, scaled(right, 1.0 / 6)},
          {"ids counted from one", "adds to the row after the one that was read", Cause::wrong_order,
           embedding_with([](Array& dtable, const Array& ids, int t, int c, double g) {
             dtable((id(ids, t) + 1) % dtable.rows(), c) += g;
           })},
          {"row of the position", "adds to the row of the position, not to the row of the id", Cause::wrong_order,
           embedding_with(
               [](Array& dtable, const Array&, int t, int c, double g) { dtable(t % dtable.rows(), c) += g; })},
          {"last id left out", "the loop over the ids ends one too early", Cause::some_parts,
           embedding_with([](Array& dtable, const Array& ids, int t, int c, double g) {
             if (t + 1 < ids.size()) dtable(id(ids, t), c) += g;
           })},
          {"upstream gradient ignored", "counts how often each id occurs", Cause::upstream_ignored,
           ignoring_upstream(right)},
      }};
}

// --- embedding whose row `padding_id` reads as zeros ---

Exercise padded_embedding_exercise(Generator& generator) {
  const auto forward = [](const Arrays& in) {
    Array y = embedding(in)[0];
    for (int t = 0; t < y.rows(); ++t)
      for (int c = 0; id(in[1], t) == padding_id && c < y.columns(); ++c) y(t, c) = 0;
    return Arrays{y};
  };
  const Backward right = embedding_with([](Array& dtable, const Array& ids, int t, int c, double g) {
    if (id(ids, t) != padding_id) dtable(id(ids, t), c) += g;
  });
  return {
      "padded_embedding",
      {"table", "ids"},
      {"y"},
      {normal(generator, {5, 3}), from_values({6}, std::vector<std::int64_t>{3, 0, 2, 1, 0, 3})},
      forward,
      right,
      {
          {"padding gets gradient", "adds to the row of the padding, which forward does not read", Cause::wrong_where,
           embedding_with([](Array& dtable, const Array& ids, int t, int c, double g) { dtable(id(ids, t), c) += g; })},
      }};
}

// --- gather: y[i][j] = x[i][index[i][j]] ---

Arrays gather(const Arrays& in) {
  const Array &x = in[0], &index = in[1];
  Array y(index.shape);
  for (int i = 0; i < y.rows(); ++i)
    for (int j = 0; j < y.columns(); ++j) y(i, j) = x(i, id(index, i * y.columns() + j));
  return {y};
}

template <class Step>
Backward gather_with(Step step) {
  return [=](const Arrays& in, const Arrays& up) {
    Array dx(in[0].shape);
    for (int i = 0; i < up[0].rows(); ++i)
      for (int j = 0; j < up[0].columns(); ++j) step(dx, i, j, id(in[1], i * up[0].columns() + j), up[0](i, j));
    return Arrays{dx, Array()};
  };
}

Exercise gather_exercise(Generator& generator) {
  const std::vector<std::int64_t> index = {0, 2, 2, 3, 1, 0, 1, 1, 1, 2, 3, 0};
  return {"gather",
          {"x", "index"},
          {"y"},
          {normal(generator, {4, 4}), from_values({4, 3}, index)},
          gather,
          gather_with([](Array& dx, int i, int, std::int64_t from, double g) { dx(i, from) += g; }),
          {
              {"assigned", "assigns where an index that repeats needs adding", Cause::last_use_only,
               gather_with([](Array& dx, int i, int, std::int64_t from, double g) { dx(i, from) = g; })},
              {"along the other axis", "adds at (index, row) where (row, index) is meant", Cause::transposed,
               gather_with([](Array& dx, int i, int, std::int64_t from, double g) { dx(from, i) += g; })},
              {"index ignored", "adds where the number stands in the output", Cause::wrong_order,
               gather_with([](Array& dx, int i, int j, std::int64_t, double g) { dx(i, j) += g; })},
          }};
}

// --- concatenation of rows, a slice of rows, rolled rows, permuted axes ---

Arrays concatenate(const Arrays& in) {
  Array y({in[0].rows() + in[1].rows(), in[0].columns()});
  std::ranges::copy(in[1].values, std::ranges::copy(in[0].values, y.values.begin()).out);
  return {y};
}

/// The gradient of b begins at the row `begin` of the upstream gradient.
Backward concatenate_with(std::int64_t begin) {
  return [=](const Arrays& in, const Arrays& up) {
    Arrays gradients = {Array(in[0].shape), Array(in[1].shape)};
    std::copy_n(up[0].values.begin(), gradients[0].size(), gradients[0].values.begin());
    std::copy_n(up[0].values.begin() + begin * up[0].columns(), gradients[1].size(), gradients[1].values.begin());
    return gradients;
  };
}

Exercise concatenation_exercise(Generator& generator) {
  return {"concatenate",
          {"a", "b"},
          {"y"},
          {normal(generator, {3, 2}), normal(generator, {3, 2})},
          concatenate,
          concatenate_with(3),
          {
              {"offset forgotten",
               "reads the gradient of b from the beginning",
               Cause::other_input,
               concatenate_with(0),
               {Cause::wrong_order}},
              {"offset one row short", "reads the gradient of b one row too early", Cause::wrong_order,
               concatenate_with(2)},
              {"parts swapped",
               "returns the parts in the opposite order",
               Cause::other_input,
               swapped(concatenate_with(3), 0, 1),
               {Cause::wrong_order}},
          }};
}

/// y = x[begin], x[begin + step], ...
Exercise slice_exercise(Generator& generator) {
  constexpr int begin = 1, step = 2;
  const auto forward = [](const Arrays& in) {
    const Array& x = in[0];
    Array y({3, x.columns()});
    for (int i = 0; i < y.rows(); ++i)
      for (int c = 0; c < x.columns(); ++c) y(i, c) = x(begin + i * step, c);
    return Arrays{y};
  };
  const auto backward = [](int begin, int step) -> Backward {
    return [=](const Arrays& in, const Arrays& up) {
      Array dx(in[0].shape);
      for (int i = 0; i < up[0].rows(); ++i)
        for (int c = 0; c < dx.columns(); ++c) dx(begin + i * step, c) = up[0](i, c);
      return Arrays{dx};
    };
  };
  return {"slice",
          {"x"},
          {"y"},
          {normal(generator, {7, 2})},
          forward,
          backward(begin, step),
          {
              {"begin forgotten", "writes from the first row on", Cause::wrong_order, backward(0, step)},
              {"step forgotten", "writes to neighbouring rows", Cause::wrong_order, backward(begin, 1)},
              {"gradient of the slice's size", "returns the upstream gradient itself, in the shape of the slice",
               Cause::wrong_shape, [](const Arrays&, const Arrays& up) { return up; }},
          }};
}

/// Row i moved to row i + by, around.
Array rolled(const Array& x, std::int64_t by) {
  Array y(x.shape);
  for (int i = 0; i < x.rows(); ++i)
    for (int c = 0; c < x.columns(); ++c) y((i + by + x.rows()) % x.rows(), c) = x(i, c);
  return y;
}

Exercise roll_exercise(Generator& generator) {
  return {"roll",
          {"x"},
          {"y"},
          {normal(generator, {5, 2})},
          [](const Arrays& in) { return Arrays{rolled(in[0], 2)}; },
          [](const Arrays&, const Arrays& up) { return Arrays{rolled(up[0], -2)}; },
          {
              {"rolled on, not back",
               "moves the upstream gradient the way forward moves x",
               Cause::wrong_order,
               [](const Arrays&, const Arrays& up) { return Arrays{rolled(up[0], 2)}; },
               {Cause::transposed}},
              {"not rolled back", "hands the upstream gradient on as it is", Cause::wrong_order,
               [](const Arrays&, const Arrays& up) { return up; }},
          }};
}

/// Axes (0, 1, 2) in the order (1, 2, 0): y[j][k][i] = x[i][j][k].
Array permuted(const Array& x) {
  Array y({x.shape[1], x.shape[2], x.shape[0]});
  for (int i = 0; i < x.shape[0]; ++i)
    for (int j = 0; j < x.shape[1]; ++j)
      for (int k = 0; k < x.shape[2]; ++k) y(j, k, i) = x(i, j, k);
  return y;
}

Exercise permutation_exercise(Generator& generator) {
  return {"permute_axes",
          {"x"},
          {"y"},
          {normal(generator, {3, 3, 3})},
          [](const Arrays& in) { return Arrays{permuted(in[0])}; },
          [](const Arrays&, const Arrays& up) { return Arrays{permuted(permuted(up[0]))}; },
          {
              {"permuted once more", "applies the same order of axes again, not the inverse", Cause::transposed,
               [](const Arrays&, const Arrays& up) { return Arrays{permuted(up[0])}; }},
          }};
}

// --- the largest of each row: y[i] = max over j of x[i][j] ---

Exercise row_maximum_exercise(Generator& generator) {
  const auto largest_of = [](const Array& x, int i) {
    int best = 0;
    for (int j = 1; j < x.columns(); ++j)
      if (x(i, j) > x(i, best)) best = j;
    return best;
  };
  const auto backward = [=](auto share) -> Backward {
    return [=](const Arrays& in, const Arrays& up) {
      Array dx(in[0].shape);
      for (int i = 0; i < dx.rows(); ++i) share(dx, i, largest_of(in[0], i), up[0][i]);
      return Arrays{dx};
    };
  };
  return {"row_maximum",
          {"x"},
          {"y"},
          {all_different(generator, {4, 5})},
          [=](const Arrays& in) {
            Array y({in[0].rows()});
            for (int i = 0; i < in[0].rows(); ++i) y[i] = in[0](i, largest_of(in[0], i));
            return Arrays{y};
          },
          backward([](Array& dx, int i, int best, double g) { dx(i, best) = g; }),
          {
              {"index within the row taken as flat", "adds to dx[best], which lies in the first row",
               Cause::wrong_order, backward([](Array& dx, int, int best, double g) { dx[best] += g; })},
              {"whole row", "hands the upstream gradient to every element of the row", Cause::wrong_where,
               backward([](Array& dx, int i, int, double g) {
                 for (int j = 0; j < dx.columns(); ++j) dx(i, j) = g;
               })},
              {"shared out", "divides by the length of the row, as if all of it were tied", Cause::mean_for_sum,
               backward([](Array& dx, int i, int best, double g) { dx(i, best) = g / dx.columns(); })},
          }};
}

}  // namespace

Exercises indexing_exercises(Generator& generator) {
  return {embedding_exercise(generator),   padded_embedding_exercise(generator),
          gather_exercise(generator),      concatenation_exercise(generator),
          slice_exercise(generator),       roll_exercise(generator),
          permutation_exercise(generator), row_maximum_exercise(generator)};
}

}  // namespace gradus::testing::zoo
