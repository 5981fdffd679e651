// What can be wrong with a gradient: the answers that the hint engine knows.
#pragma once

#include <string>

namespace gradus::testing {

enum class Cause {
  unknown,
  // Contracts
  not_finite,         ///< NaN or infinity where the true gradient is finite
  wrong_shape,        ///< shape or dtype is not the input's
  not_deterministic,  ///< another gradient for the same call
  not_linear,         ///< not linear in the upstream gradient
  clipped,            ///< from some size on the upstream gradient does not count
  modifies_input,     ///< an input is changed by forward or backward
  memory_layout,      ///< right for contiguous inputs only
  forward_differs,    ///< the forward is not that of the reference
  stale_state,        ///< the second call sees something left by the first (accumulation, stale saved tensors)
  // The whole gradient
  zero,                  ///< no gradient at all
  sign,                  ///< the negative of the true one
  constant_factor,       ///< off by one factor: 2, 1/2, a dimension, its root, or the inverse of these
  mean_for_sum,          ///< off by 1 / (a broadcast or reduced dimension)
  upstream_ignored,      ///< the upstream gradient was taken as all ones
  upstream_partly_used,  ///< the upstream gradient of one of several outputs is ignored, or two are swapped
  other_input,           ///< the gradient of another input
  attribute_ignored,     ///< the gradient for another value of an attribute: the usual one
  transposed,            ///< axes permuted
  wrong_order,           ///< the right numbers in other places: shifted, reversed, at a wrong offset
  // Parts of it
  some_parts,     ///< right in some rows, columns, slices or items, zero elsewhere
  slice_for_sum,  ///< one slice where the sum over a broadcast axis is needed
  last_use_only,  ///< one of several uses of the same element counts: `=` for `+=`, duplicate indices, a shared input
  diagonal_only,  ///< only the element's own output counts, the others that it influences do not
  missing_mean_term,    ///< the difference is constant along an axis
  missing_output_term,  ///< the difference is a number for each row times the output
  missing_factor,       ///< off by a factor that is another tensor: an input, the output, 1 - output
  single_element,       ///< one element alone is wrong
  boundary,             ///< right up to some element, wrong from there on, or the other way round
  some_places,          ///< wrong in some rows, columns, slices or items only, whatever the values
  repeated_indices,     ///< wrong only where two indices, or two values, are equal
  wrong_where,          ///< wrong exactly where a condition holds: negative or small inputs, masked, above the diagonal
  // The point and the precision
  wrong_point,  ///< the derivative taken at the output for the input, or the other way round
  rounded,      ///< right to the precision of f32 or bf16 only
};
constexpr int cause_count = static_cast<int>(Cause::rounded) + 1;

/// `mean-for-sum`: as in reports and JSON.
std::string to_string(Cause cause);

}  // namespace gradus::testing
