// The explicit list of all ops.
#pragma once

#include <string>
#include <vector>

namespace gradus {

struct OpSpec;

/// Every built-in record, in the order of the documentation.
const std::vector<const OpSpec*>& all_ops();

/// The record named `name`, built in or given to define_op(); throws UsageError naming all that there are.
const OpSpec& find_op(const std::string& name);

}  // namespace gradus
