// Right formulas with broken promises around them: state between calls, memory that belongs to others, lost precision.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "framework/tensor/creation.h"
#include "framework/testing/bug_zoo/exercise.h"

namespace gradus::testing::zoo {
namespace {

/// dx = g slope(x), all of it in the precision of Real.
template <class Real, class Slope>
Backward times_slope(Slope slope) {
  return [=](const Arrays& in, const Arrays& up) {
    Array dx = up[0];
    for (int at = 0; at < dx.size(); ++at) dx[at] = static_cast<Real>(dx[at]) * slope(static_cast<Real>(in[0][at]));
    return Arrays{dx};
  };
}

/// Each gradient of `right` after change(gradient).
template <class Change>
Backward changed(Backward right, Change change) {
  return [=](const Arrays& in, const Arrays& up) {
    Arrays gradients = right(in, up);
    for (Array& gradient : gradients) change(gradient);
    return gradients;
  };
}

double to_bf16(double value) {
  float single = static_cast<float>(value);
  std::uint32_t bits;
  std::memcpy(&bits, &single, sizeof bits);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
  std::memcpy(&single, &bits, sizeof bits);
  return single;
}

// --- swish: y = x sigmoid(x) ---

template <class Real>
Real swish_slope(Real x) {
  const Real s = 1 / (1 + std::exp(-x));
  return s + x * s * (1 - s);
}

/// Calls change(tensor) on one of its arguments after the work is done.
template <class Change>
Damage in_forward(Change change) {
  return [=](Subject& right) {
    right.forward = [=, forward = right.forward](const Tensors& inputs) {
      const Tensors outputs = forward(inputs);
      change(inputs, outputs);
      return outputs;
    };
  };
}

template <class Change>
Damage in_backward(Change change) {
  return [=](Subject& right) {
    right.backward = [=, backward = right.backward](const Tensors& inputs, const Tensors& cotangents) {
      Tensors gradients = backward(inputs, cotangents);
      change(inputs, cotangents, gradients);
      return gradients;
    };
  };
}

void assign(const Tensor& to, const Tensor& from) {
  std::ranges::copy(from.to_vector<double>(), to.mutable_data<double>());
}

/// Backward at the inputs that remember() saved; `first_only`: and never again.
Damage at_saved_inputs(bool first_only) {
  return [=](Subject& right) {
    const auto saved = std::make_shared<Tensors>();
    right.forward = [=, forward = right.forward](const Tensors& inputs) {
      if (saved->empty() || !first_only) {
        saved->clear();
        for (const Tensor& input : inputs) saved->push_back(to_tensor(to_array(input)));
      }
      return forward(inputs);
    };
    right.backward = [=, backward = right.backward](const Tensors& inputs, const Tensors& cotangents) {
      return backward(saved->empty() ? inputs : *saved, cotangents);
    };
  };
}

/// Adds to a buffer of its own; the n-th call returns the sum of all so far, or n times the gradient.
void accumulate(Subject& right) {
  const auto buffers = std::make_shared<std::vector<Array>>();
  right.backward = [=, backward = right.backward](const Tensors& inputs, const Tensors& cotangents) {
    const Tensors gradients = backward(inputs, cotangents);
    buffers->resize(gradients.size());
    Tensors sums;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      Array& buffer = (*buffers)[i];
      const Array gradient = to_array(gradients[i]);
      if (buffer.values.empty()) buffer = Array(gradient.shape);
      for (int at = 0; at < buffer.size(); ++at) buffer[at] += gradient[at];
      sums.push_back(to_tensor(buffer));
    }
    return sums;
  };
}

/// Right for the first call, twice the gradient from then on.
void double_later(Subject& right) {
  const auto called = std::make_shared<bool>(false);
  right.backward = [=, backward = right.backward](const Tensors& inputs, const Tensors& cotangents) {
    Tensors gradients = backward(inputs, cotangents);
    for (Tensor& gradient : gradients) {
      Array values = to_array(gradient);
      for (double& value : values.values) value *= *called ? 2 : 1;
      gradient = to_tensor(values);
    }
    *called = true;
    return gradients;
  };
}

/// Another element of the gradient is lost in every call, as threads lose one that write without a lock.
void lose_an_element(Subject& right) {
  const auto calls = std::make_shared<std::int64_t>(0);
  right.backward = [=, backward = right.backward](const Tensors& inputs, const Tensors& cotangents) {
    const Tensors gradients = backward(inputs, cotangents);
    gradients[0].mutable_data<double>()[(*calls)++ % gradients[0].numel()] = 0;
    return gradients;
  };
}

/// Walks through memory from the first element on, whatever the strides are.
void ignore_strides(Subject& right) {
  const auto as_if_contiguous = [](const Tensor& tensor) {
    Array array(tensor.shape());
    std::copy_n(tensor.data<double>(), array.size(), array.values.begin());
    return to_tensor(array);
  };
  right.backward = [=, backward = right.backward](const Tensors& inputs, const Tensors& cotangents) {
    return backward({as_if_contiguous(inputs[0])}, cotangents);
  };
}

Exercise swish_exercise(Generator& generator) {
  const Backward right = times_slope<double>(swish_slope<double>);
  return {
      "swish",
      {"x"},
      {"y"},
      {normal(generator, {3, 5})},
      [](const Arrays& in) {
        Array y = in[0];
        for (double& value : y.values) value *= sigmoid(value);
        return Arrays{y};
      },
      right,
      {
          {"works in place", "writes its output over its input", Cause::modifies_input,
           in_forward([](const Tensors& inputs, const Tensors& outputs) { assign(inputs[0], outputs[0]); })},
          {"upstream gradient as working memory", "writes the product over the upstream gradient",
           Cause::modifies_input, in_backward([](const Tensors&, const Tensors& cotangents, const Tensors& gradients) {
             if (cotangents[0].defined()) assign(cotangents[0], gradients[0]);
           })},
          {"input as working memory", "leaves the gradient in its saved input", Cause::modifies_input,
           in_backward([](const Tensors& inputs, const Tensors&, const Tensors& gradients) {
             assign(inputs[0], gradients[0]);
           })},
          {"input of the last forward", "keeps one saved input for the op, not one for each call", Cause::stale_state,
           at_saved_inputs(false)},
          {"input of the first forward", "saves its input once and never again", Cause::stale_state,
           at_saved_inputs(true)},
          {"buffer not cleared", "adds to a buffer that outlives the call", Cause::stale_state, accumulate},
          {"twice from the second call on", "adds to the gradient that the call before left", Cause::stale_state,
           double_later},
          {"race", "threads overwrite each other's element", Cause::not_deterministic, lose_an_element},
          {"strides ignored", "reads its input as if it were contiguous", Cause::memory_layout, ignore_strides},
          {"gradient in f32", "returns an f32 tensor for an f64 input", Cause::wrong_shape,
           in_backward([](const Tensors&, const Tensors&, Tensors& gradients) {
             gradients[0] = from_values(gradients[0].shape(), gradients[0].to_vector<double>(), DType::f32);
           })},
          {"gradient flattened", "returns the right numbers as a vector", Cause::wrong_shape,
           changed(right, [](Array& gradient) { gradient.shape = {gradient.size()}; })},
          {"computed in f32", "float where double is meant", Cause::rounded, times_slope<float>(swish_slope<float>)},
          {"stored in f32", "a buffer of floats between two doubles", Cause::rounded,
           changed(right,
                   [](Array& gradient) {
                     for (double& value : gradient.values) value = static_cast<float>(value);
                   })},
          {"stored in bf16", "mixed precision without a copy in full precision", Cause::rounded,
           changed(right,
                   [](Array& gradient) {
                     for (double& value : gradient.values) value = to_bf16(value);
                   })},
          {"normalised", "divides the gradient by its own length: clipping that always clips", Cause::not_linear,
           changed(right,
                   [](Array& gradient) {
                     double squares = 0;
                     for (double value : gradient.values) squares += value * value;
                     for (double& value : gradient.values) value /= squares > 0 ? std::sqrt(squares) : 1;
                   })},
          {"weight decay inside", "adds a hundredth of the input to its gradient", Cause::not_linear,
           [=](const Arrays& in, const Arrays& up) {
             Arrays gradients = right(in, up);
             for (int at = 0; at < in[0].size(); ++at) gradients[0][at] += 0.01 * in[0][at];
             return gradients;
           }},
          {"derivative at the output", "an in-place forward has replaced x by y before backward reads it",
           Cause::wrong_point,
           [=](const Arrays& in, const Arrays& up) {
             Array y = in[0];
             for (double& value : y.values) value *= sigmoid(value);
             return right({y}, up);
           }},
      }};
}

// --- square, one element of which is exactly zero ---

Exercise square_exercise(Generator& generator) {
  Array x = to_array(normal_away_from(generator, {6}, {0}));
  x[2] = 0;
  const Backward right = times_slope<double>([](double x) { return 2 * x; });
  return {"square",
          {"x"},
          {"y"},
          {to_tensor(x)},
          [](const Arrays& in) {
            Array y = in[0];
            for (double& value : y.values) value *= value;
            return Arrays{y};
          },
          right,
          {
              {"zero over zero", "2 y / x for the derivative of a power, NaN at zero", Cause::not_finite,
               times_slope<double>([](double x) { return 2 * (x * x) / x; })},
              {"one of two equal factors",
               "differentiates x * x as if one x were a constant",
               Cause::constant_factor,
               scaled(right, 0.5),
               {Cause::last_use_only}},
          }};
}

// --- softplus: y = log(1 + exp(x)), with one large x ---

Exercise softplus_exercise(Generator& generator) {
  Array x = to_array(normal(generator, {6}));
  x[4] += 800;
  return {"softplus",
          {"x"},
          {"y"},
          {to_tensor(x)},
          [](const Arrays& in) {
            Array y = in[0];
            for (double& value : y.values) value = std::max(value, 0.0) + std::log1p(std::exp(-std::fabs(value)));
            return Arrays{y};
          },
          times_slope<double>(sigmoid),
          {
              {"infinity over infinity", "exp(x) / (1 + exp(x)), NaN where exp(x) overflows", Cause::not_finite,
               times_slope<double>([](double x) { return std::exp(x) / (1 + std::exp(x)); })},
          }};
}

}  // namespace

Exercises contract_exercises(Generator& generator) {
  return {swish_exercise(generator), square_exercise(generator), softplus_exercise(generator)};
}

}  // namespace gradus::testing::zoo
