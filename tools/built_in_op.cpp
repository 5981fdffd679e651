#include "tools/built_in_op.h"

#include "framework/base/error.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/registry.h"
#include "tools/arguments.h"

namespace gradus::tools {

const OpSpec& built_in_op(const std::string& name) {
  std::vector<std::string> names;
  for (const OpSpec* spec : all_ops()) {
    if (spec->name == name) return *spec;
    names.push_back(spec->name);
  }
  fail<UsageError>("there is no op '{}'{}; gradus gradcheck --list shows them all", name, did_you_mean(name, names));
}

}  // namespace gradus::tools
