#include "framework/autograd/modes.h"

#include <utility>

namespace gradus {
namespace {
thread_local bool recording = true;
thread_local bool anomaly = false;
thread_local ModulePath module_path;
}  // namespace

bool grad_enabled() { return recording; }
GradModeScope::GradModeScope(bool enabled) : before_(recording) { recording = enabled; }
GradModeScope::~GradModeScope() { recording = before_; }

bool anomaly_enabled() { return anomaly; }
AnomalyScope::AnomalyScope(bool enabled) : before_(anomaly) { anomaly = enabled; }
AnomalyScope::~AnomalyScope() { anomaly = before_; }

const ModulePath& current_module_path() { return module_path; }
std::string describe_place(SourceLocation where, const ModulePath& module) {
  return module ? to_string(where) + " in " + *module : to_string(where);
}
ModuleScope::ModuleScope(const std::string& name) : before_(module_path) {
  module_path = std::make_shared<const std::string>(before_ ? *before_ + "." + name : name);
}
ModuleScope::ModuleScope(ModulePath path) : before_(std::exchange(module_path, std::move(path))) {}
ModuleScope::~ModuleScope() { module_path = std::move(before_); }

}  // namespace gradus
