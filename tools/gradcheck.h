// `gradus gradcheck`: what was asked, and its parts.
#pragma once

#include <string>
#include <vector>

#include "framework/testing/gradcheck.h"
#include "tools/gradcheck_session.h"

namespace gradus::tools {

struct GradcheckRequest {
  std::string op, shared_library, model, new_op;  ///< what to check; `op` goes alone or with `shared_library`
  bool all = false, list = false, zoo = false, tiny = false, sandbox = false;
  std::string sample, mode = "auto";
  std::int64_t order = 0, repeat = 0, points = 0;  ///< order 0: both
  std::string like, dump;                          ///< of `shared_library`: a reference; of one point: a file
  std::vector<std::string> attributes, inputs;     ///< `scale=0.5`, `x=f64[2,3]:uniform(0,1)`
  double timeout = 10;
  std::int64_t offset = -1, threads = 1;        ///< of buffers, and of the process of a library
  std::string device = "cpu";
  std::uint64_t seed = 1;
  GradcheckOutput output;

  testing::CheckOptions check_options() const;
  std::string mode_flag() const;  ///< for the line that repeats a check
};

/// All ops of the library, or the one of `op`. What they do wrong becomes part of the report.
void check_library(const GradcheckRequest& request, GradcheckSession& session);
void list_library(const GradcheckRequest& request);

/// A whole model ("gpt") in f64 without dropout, on random ids with ignored targets, at random parameters. `tiny`: two
/// layers that are small enough to be checked element by element. Throws UsageError for an unknown model.
void check_model(const GradcheckRequest& request, GradcheckSession& session);

/// Writes NAME.c and gradus_op.h into the current folder. Files that are there already are not overwritten
/// (UsageError), unless it is the same gradus_op.h.
void write_op_template(const std::string& name);

/// A word of a command line for the shell.
std::string quoted(const std::string& word);

}  // namespace gradus::tools
