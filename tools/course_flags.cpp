#include "tools/course_flags.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "framework/base/error.h"
#include "tools/options.h"

namespace gradus::tools {
namespace {

constexpr const char* unused_group = "Of the assignment's run.py, ignored here";

}  // namespace

CLI::Option* add_course_flags(CLI::App& command, CourseFlags& flags, const std::string& corpus_help,
                              const std::map<std::string, std::string>& help) {
  flags.unused = std::make_shared<CourseFlags>();
  command
      .add_option("VARIANT", flags.variant, fmt::format("Model: {}", fmt::join(models::variant_names(), ", ")))
      ->required();
  CLI::Option* corpus = command.add_option("CORPUS", flags.corpus, corpus_help);
  const auto add = [&](const std::string& name, auto CourseFlags::*member) {
    const bool is_used = help.contains(name);
    CLI::Option* option = command.add_option(name, (is_used ? flags : *flags.unused).*member, is_used ? help.at(name) : "");
    if (name.ends_with("_path")) option->type_name("FILE");
    else option->capture_default_str();
    if (!is_used) option->group(unused_group);
  };
  add("--reading_params_path", &CourseFlags::reading_params_path);
  add("--writing_params_path", &CourseFlags::writing_params_path);
  add("--finetune_corpus_path", &CourseFlags::finetune_corpus_path);
  add("--eval_corpus_path", &CourseFlags::eval_corpus_path);
  add("--outputs_path", &CourseFlags::outputs_path);
  add("--pretrain_lr", &CourseFlags::pretrain_lr);
  add("--finetune_lr", &CourseFlags::finetune_lr);
  add("--tb_expt_name", &CourseFlags::tb_expt_name);
  add_integer(command, "--bottleneck_dim", flags.bottleneck_dim,
              "Latents of a perceiver; 0 for the model's that is read, 32 as in the assignment (its scripts pass 64), "
              "or of perceiver-ar half of block_size");
  return corpus;
}

void note_unused_flags(const CLI::App& command, const CourseFlags& flags) {
  const bool is_perceiver = models::GptConfig{.variant = parse_variant(flags.variant)}.is_perceiver();
  if (is_perceiver && flags.bottleneck_dim < 0)
    fail<UsageError>("--bottleneck_dim must not be negative, not {}", flags.bottleneck_dim);
  std::vector<std::string> unused;
  for (const CLI::Option* option : command.get_options()) {
    const std::string name = option->get_name();
    const bool means_nothing = option->get_group() == unused_group || (name == "--bottleneck_dim" && !is_perceiver);
    const auto origin = option_origins().find(name);
    // All of the assignment's scripts name a TensorBoard folder.
    if (name == "--tb_expt_name" || !means_nothing) continue;
    if (origin != option_origins().end() && origin->second == "command line") unused.push_back(name);
  }
  if (unused.empty()) return;
  print_notices({fmt::format("{} {} nothing to {} {}: ignored, as the assignment's run.py does", fmt::join(unused, ", "),
                             unused.size() == 1 ? "means" : "mean", command.get_name(), flags.variant)});
}

void require_same_latents(const CourseFlags& flags, const models::GptConfig& model) {
  if (!model.is_perceiver() || flags.bottleneck_dim == 0 || flags.bottleneck_dim == model.latents) return;
  fail<UsageError>("--bottleneck_dim {}: the model in {} has {}", flags.bottleneck_dim, flags.reading_params_path,
                   model.latents);
}

void translate_course_script(std::vector<std::string>& arguments) {
  static const std::map<std::string, std::vector<std::string>> scripts = {
      {"run.py", {}}, {"dataset.py", {"data"}}, {"london_baseline.py", {"london_baseline"}}};
  if (arguments.empty()) return;
  const auto script = scripts.find(std::filesystem::path(arguments[0]).filename());
  if (script == scripts.end()) return;
  arguments.erase(arguments.begin());
  arguments.insert(arguments.begin(), script->second.begin(), script->second.end());
}

}  // namespace gradus::tools
