// Help pages that fit the terminal.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace gradus::tools {

/// CLI11's pages with descriptions broken between words, beside their names; examples that are too long go on in the next
/// line behind a backslash, as a shell takes them.
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter();

 protected:
  std::string make_description(const CLI::App* app) const override;
  std::string make_footer(const CLI::App* app) const override;
  std::string make_subcommand(const CLI::App* command) const override;
  std::string make_option(const CLI::Option* option, bool is_positional) const override;

 private:
  std::string entry(const std::string& name, const std::string& description) const;
};

}  // namespace gradus::tools
