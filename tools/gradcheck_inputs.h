// Inputs and attributes of an op as the command line gives them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/ops/op_spec.h"

namespace gradus::tools {

/// `x=f64[2,3]`, then perhaps `:normal`, `:uniform(LOW,HIGH)` or `:whole(LOW,HIGH)`; or `x=FILE`, a safetensors file
/// with a tensor of that name.
struct InputRequest {
  enum class Values { as_usual, normal, uniform, whole, from_file };

  std::string name;
  DType dtype = DType::f64;
  Shape shape;
  Values values = Values::as_usual;
  double low = 0, high = 0;  ///< of `uniform` and `whole`; integers: both included
  std::string path;          ///< of `from_file`
};
/// Throws UsageError with the form that was expected.
InputRequest parse_input(const std::string& text);
/// The tensor of a request `from_file`. Throws DataError.
Tensor read_tensor(const InputRequest& request);

/// `name=value`; throws UsageError.
std::pair<std::string, std::string> parse_attribute(const std::string& text);

/// A finite number, and nothing else.
std::optional<double> number_of(const std::string& text);

/// `scale=0.5`, ... as numbers; throws UsageError.
std::map<std::string, double> attribute_numbers(const std::vector<std::string>& texts);
/// In the types of the record. Throws UsageError.
Attributes requested_attributes(const OpSpec& spec, const std::vector<std::string>& attributes);

/// A call of a built-in op with these inputs (all that are not optional) and attributes (in the types of its record;
/// the others keep their defaults). Usual values are normal; integers come from 0 and 1. Throws UsageError naming what
/// does not fit the record, DataError for files.
Sample requested_sample(const OpSpec& spec, const std::vector<std::string>& inputs,
                        const std::vector<std::string>& attributes, std::uint64_t seed);

}  // namespace gradus::tools
