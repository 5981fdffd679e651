// Is this gradient right? The analytic gradient of <f(x), u>, for a random cotangent u, against differences of f in f64.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "framework/ops/op_spec.h"

namespace gradus::testing {

/// A differentiable function of f64 tensors.
using Function = std::function<Tensors(const Tensors&)>;

struct GradcheckOptions {
  std::uint64_t seed = 1;             ///< of cotangents and directions
  double cotangent_scale = 1;         ///< the verdict must not depend on it
  double tolerance = 1e-7;            ///< largest error, relative to the gradient tensor's own scale
  std::int64_t every_element_up_to = 200;  ///< larger inputs are checked along random directions
  int directions = 4;
};

struct InputVerdict {
  std::string name;
  std::int64_t elements = 0;
  bool by_direction = false;
  std::int64_t worst = 0;  ///< flat index, or number of the direction
  double analytic = 0, numeric = 0;
  double relative_error = 0;  ///< |analytic - numeric| / scale of the gradient; NaN where either is
  bool passed = false;
};

struct GradcheckReport {
  std::vector<InputVerdict> inputs;
  std::string complaint;  ///< a broken contract (shape, dtype, missing gradient); empty if none
  bool passed() const;
  /// One line for each input.
  std::string text() const;
};

/// Checks the gradient with respect to each input with differentiable[i]. Central differences at steps that shrink, joined
/// by Richardson extrapolation; inputs are restored from saved bits. Also: gradients have their input's shape and dtype, a
/// zero cotangent gives zero, and the gradient is linear in the cotangent. NaN never passes.
GradcheckReport gradcheck(const Function& function, const Tensors& inputs, const std::vector<bool>& differentiable,
                          const std::vector<std::string>& names, const GradcheckOptions& options = {});

/// The same for the gradient itself, as a function of the inputs and the cotangents (create_graph).
GradcheckReport gradgradcheck(const Function& function, const Tensors& inputs, const std::vector<bool>& differentiable,
                              const std::vector<std::string>& names, const GradcheckOptions& options = {});

/// An op on one of its samples.
GradcheckReport gradcheck(const OpSpec& spec, const Sample& sample, const GradcheckOptions& options = {});
GradcheckReport gradgradcheck(const OpSpec& spec, const Sample& sample, const GradcheckOptions& options = {});

/// Which inputs of a call with `count` tensors have gradients, and all their names.
std::vector<bool> differentiable_inputs(const OpSpec& spec, const Tensors& inputs);
std::vector<std::string> input_names(const OpSpec& spec, std::size_t count);

}  // namespace gradus::testing
