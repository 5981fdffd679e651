#include "framework/testing/causes.h"

namespace gradus::testing {

std::string to_string(Cause cause) {
  switch (cause) {
    case Cause::unknown: return "unknown";
    case Cause::not_finite: return "not-finite";
    case Cause::wrong_shape: return "wrong-shape";
    case Cause::not_deterministic: return "not-deterministic";
    case Cause::not_linear: return "not-linear";
    case Cause::clipped: return "clipped";
    case Cause::modifies_input: return "modifies-input";
    case Cause::memory_layout: return "memory-layout";
    case Cause::forward_differs: return "forward-differs";
    case Cause::stale_state: return "stale-state";
    case Cause::zero: return "zero";
    case Cause::sign: return "sign";
    case Cause::constant_factor: return "constant-factor";
    case Cause::mean_for_sum: return "mean-for-sum";
    case Cause::upstream_ignored: return "upstream-ignored";
    case Cause::upstream_partly_used: return "upstream-partly-used";
    case Cause::other_input: return "other-input";
    case Cause::attribute_ignored: return "attribute-ignored";
    case Cause::transposed: return "transposed";
    case Cause::wrong_order: return "wrong-order";
    case Cause::some_parts: return "some-parts";
    case Cause::slice_for_sum: return "slice-for-sum";
    case Cause::last_use_only: return "last-use-only";
    case Cause::diagonal_only: return "diagonal-only";
    case Cause::missing_mean_term: return "missing-mean-term";
    case Cause::missing_output_term: return "missing-output-term";
    case Cause::missing_factor: return "missing-factor";
    case Cause::single_element: return "single-element";
    case Cause::boundary: return "boundary";
    case Cause::some_places: return "some-places";
    case Cause::repeated_indices: return "repeated-indices";
    case Cause::wrong_where: return "wrong-where";
    case Cause::wrong_point: return "wrong-point";
    case Cause::rounded: return "rounded";
  }
  return "unknown";
}

}  // namespace gradus::testing
