// Does a forward compute what a reference computes? The checker judges a gradient by its own forward: a wrong forward
// with the right gradient of it agrees.
#pragma once

#include "framework/testing/gradcheck.h"

namespace gradus::testing {

struct ForwardComparison {
  Verdict verdict = Verdict::agree;
  std::string finding = {};  ///< a sentence unless they agree
};

/// The reference cannot be asked: it refuses the inputs, or fails by itself.
struct ReferenceError : Error {
  using Error::Error;
};

/// Both forwards at one point; `reference_inputs` are the same values in the reference's own dtypes. Elements may
/// differ by 1.5e-8 of the largest one, half of the digits (1.5e-5 where one of the two is in f32), and by what
/// rounding of the inputs does to the reference, and within limits to the op itself. Throws ReferenceError; what
/// `subject` throws reaches the caller.
ForwardComparison compare_forwards(const Subject& subject, const Tensors& inputs, const Subject& reference,
                                   const Tensors& reference_inputs, std::uint64_t seed);

/// Makes a comparison part of the report on the gradient at the same point.
void add_comparison(CheckReport& report, const std::string& reference, const ForwardComparison& comparison);

}  // namespace gradus::testing
