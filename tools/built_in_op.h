#pragma once

#include <string>

namespace gradus {
struct OpSpec;
}

namespace gradus::tools {

/// The built-in record of this name; throws UsageError with the name that may have been meant.
const OpSpec& built_in_op(const std::string& name);

}  // namespace gradus::tools
