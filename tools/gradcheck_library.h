// `gradus gradcheck --lib` and `--new`: ops from shared libraries.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "framework/testing/foreign_op.h"

namespace gradus::tools {

struct LibraryCheckOptions {
  std::string library, op, json;
  std::vector<std::string> attributes, inputs;  ///< `scale=0.5`, `x=f64[2,3]:uniform(0,1)`
  double timeout = 10;
  std::uint64_t seed = 1;
  bool explain = false, list = false;
};

/// Throws ExitWith where the answer is another than `agree`.
void check_library(const LibraryCheckOptions& options);

/// Writes NAME.c and gradus_op.h into the current folder. Files that are there already are not overwritten
/// (UsageError), unless it is the same gradus_op.h.
void write_op_template(const std::string& name);

/// An input as on the command line: `x=f64[2,3]`, then perhaps `:normal` or `:uniform(a,b)`. `known`: the op's own
/// inputs, for what is left out.
testing::ForeignInput parse_input(const std::string& text, const std::vector<testing::ForeignInput>& known);

}  // namespace gradus::tools
