// Whole models under the gradient checker: every parameter is an input, logits and loss are the outputs.
#pragma once

#include <string>

#include "framework/testing/gradcheck.h"

namespace gradus::tools {

/// Checks `model` ("gpt") in f64 without dropout, on random ids with ignored targets, at random parameters. `tiny`: two
/// layers that are small enough to check element by element. Throws UsageError for an unknown model.
testing::CheckReport check_model(const std::string& model, bool tiny, const testing::CheckOptions& options);

/// A row for each parameter.
std::string parameter_table(const testing::CheckReport& report);

}  // namespace gradus::tools
