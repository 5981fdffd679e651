// Dropout: what one call drew has to hold for its backward, and for no other.
#include <memory>

#include "framework/tensor/creation.h"
#include "framework/testing/bug_zoo/exercise.h"

namespace gradus::testing::zoo {
namespace {

constexpr double kept_share = 0.8;

// --- y = x / 0.8 where `kept`, zero elsewhere ---

/// dx = g factor(kept).
template <class Factor>
Backward dropout_with(Factor factor) {
  return [=](const Arrays& in, const Arrays& up) {
    Array dx = up[0];
    for (int at = 0; at < dx.size(); ++at) dx[at] *= factor(in[1][at]);
    return Arrays{dx, Array()};
  };
}

/// Draws another mask for every call.
void redraw(Subject& right) {
  const auto generator = std::make_shared<Generator>(5, 5);
  right.backward = [=, backward = right.backward](const Tensors& inputs, const Tensors& cotangents) {
    Array kept = to_array(random_uniform(inputs[1].shape(), *generator, DType::f64));
    for (double& value : kept.values) value = value < kept_share;
    return backward({inputs[0], from_values(kept.shape, kept.values, DType::boolean)}, cotangents);
  };
}

Exercise dropout_exercise(Generator& generator) {
  const std::vector<double> kept = {1, 0, 1, 1, 1, 1, 0, 1, 1, 0, 1, 1};
  const Backward right = dropout_with([](double kept) { return kept / kept_share; });
  return {"dropout",
          {"x", "kept"},
          {"y"},
          {normal(generator, {3, 4}), from_values({3, 4}, kept, DType::boolean)},
          [](const Arrays& in) {
            Array y = in[0];
            for (int at = 0; at < y.size(); ++at) y[at] *= in[1][at] / kept_share;
            return Arrays{y};
          },
          right,
          {
              {"scale forgotten", "multiplies by the mask alone", Cause::constant_factor, scaled(right, kept_share)},
              {"scale there twice", "divides by the kept share once more", Cause::constant_factor,
               scaled(right, 1 / kept_share)},
              {"mask forgotten", "hands the scaled upstream gradient on everywhere", Cause::wrong_where,
               dropout_with([](double) { return 1 / kept_share; })},
              {"mask turned round", "takes the mask of what is kept for one of what is dropped", Cause::wrong_where,
               dropout_with([](double kept) { return (1 - kept) / kept_share; })},
              {"scaled where dropped", "scales what was kept, hands on what was dropped", Cause::wrong_where,
               dropout_with([](double kept) { return kept > 0 ? 1 / kept_share : 1; })},
              {"mask drawn again", "draws another mask in backward", Cause::not_deterministic, redraw},
          }};
}

}  // namespace

Exercises dropout_exercises(Generator& generator) { return {dropout_exercise(generator)}; }

}  // namespace gradus::testing::zoo
