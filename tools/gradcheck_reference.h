// What `--like` names: a built-in op, or one of another library, whose forward a library's op is to have.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/testing/foreign_op.h"
#include "framework/testing/forward_check.h"

namespace gradus::tools {

struct GradcheckRequest;

/// The op cannot be compared with the reference: other inputs, or shapes that it refuses.
struct NotComparable : Error {
  using Error::Error;
};

class Reference {
 public:
  virtual ~Reference() = default;
  virtual std::string name() const = 0;
  virtual bool has_attribute(const std::string& attribute) const = 0;
  /// Inputs are matched by their order. Throws NotComparable, and for what `op` does wrong ForeignFailure.
  virtual testing::ForwardComparison compare(const testing::ForeignOp& op, const Tensors& inputs,
                                             std::uint64_t seed) const = 0;
};

/// `softmax`, `reference.so:op`, or `reference.so` where that has one op. Attributes are those of the request that it
/// has.
std::unique_ptr<Reference> make_reference(const GradcheckRequest& request);

}  // namespace gradus::tools
