// Thread-local switches: recording the tape, anomaly detection, and the path of the module that is running.
#pragma once

#include <memory>
#include <string>

#include "framework/base/source_location.h"

namespace gradus {

/// True while ops record themselves for backward().
bool grad_enabled();

/// Switches recording for the lifetime of the scope.
class GradModeScope {
 public:
  explicit GradModeScope(bool enabled);
  ~GradModeScope();
  GradModeScope(const GradModeScope&) = delete;
  GradModeScope& operator=(const GradModeScope&) = delete;

 private:
  bool before_;
};

/// Ops inside are not recorded.
struct NoGradScope : GradModeScope {
  NoGradScope() : GradModeScope(false) {}
};

/// True while every op's outputs and gradients are checked for NaN and infinity.
bool anomaly_enabled();

/// While one lives, the first op whose output or gradient is not finite throws a NumericError that names the op, the
/// ranges of its inputs, the source line and the module.
class AnomalyScope {
 public:
  explicit AnomalyScope(bool enabled = true);
  ~AnomalyScope();
  AnomalyScope(const AnomalyScope&) = delete;
  AnomalyScope& operator=(const AnomalyScope&) = delete;

 private:
  bool before_;
};

using ModulePath = std::shared_ptr<const std::string>;

/// Path of the module whose forward is running, `blocks.0.attn`; null outside of modules.
const ModulePath& current_module_path();

/// `my.cpp:88`, or `my.cpp:88 in blocks.0.attn`: the place of a call for messages.
std::string describe_place(SourceLocation where, const ModulePath& module = current_module_path());

/// Appends `name` to the module path for the lifetime of the scope, or puts another path in its place.
class ModuleScope {
 public:
  explicit ModuleScope(const std::string& name);
  explicit ModuleScope(ModulePath path);
  ~ModuleScope();
  ModuleScope(const ModuleScope&) = delete;
  ModuleScope& operator=(const ModuleScope&) = delete;

 private:
  ModulePath before_;
};

}  // namespace gradus
