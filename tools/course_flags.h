// The command line of the assignment's src/run.py, FUNCTION VARIANT CORPUS [flags]. It has one parser for all functions, so
// each of pretrain, finetune and evaluate takes every flag.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/gpt/gpt.h"

namespace gradus::tools {

struct CourseFlags {
  std::string variant, corpus;
  std::string reading_params_path, writing_params_path, finetune_corpus_path, eval_corpus_path, outputs_path;
  std::string tb_expt_name = "run";
  double pretrain_lr = 6e-3, finetune_lr = 6e-4;
  std::int64_t bottleneck_dim = 0;
  std::shared_ptr<CourseFlags> unused;  ///< what the command has no use for is parsed into these
};

/// Adds VARIANT and CORPUS, and all flags: those in `help`, by name with dashes, set `flags`; the others are ignored.
/// Returns the option of CORPUS.
CLI::Option* add_course_flags(CLI::App& command, CourseFlags& flags, const std::string& corpus_help,
                              const std::map<std::string, std::string>& help);

/// Says on standard error which flags were given without having a meaning. Throws UsageError for a variant that is none,
/// and for a negative --bottleneck_dim.
void note_unused_flags(const CLI::App& command, const CourseFlags& flags);

/// Throws UsageError where --bottleneck_dim asks for another number of latents than the perceiver has that was read.
void require_same_latents(const CourseFlags& flags, const models::GptConfig& model);

/// Puts what the assignment's scripts call into the program's words: `src/run.py FUNCTION` is FUNCTION,
/// `src/dataset.py TYPE` is `data TYPE`, `src/london_baseline.py` is `london_baseline`.
void translate_course_script(std::vector<std::string>& arguments);

}  // namespace gradus::tools
