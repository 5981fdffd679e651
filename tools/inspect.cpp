#include <fmt/ranges.h>

#include <iostream>
#include <map>

#include "framework/base/error.h"
#include "framework/base/plural.h"
#include "framework/base/printable.h"
#include "framework/data/utf8.h"
#include "framework/io/file_kind.h"
#include "framework/io/files.h"
#include "framework/io/input_file.h"
#include "framework/io/safetensors.h"
#include "framework/train/checkpoint.h"
#include "tasks/span_corruption/span_corruption.h"
#include "tools/commands.h"
#include "tools/model_files.h"
#include "tools/options.h"

namespace gradus::tools {
namespace {

/// By its name, or by how it begins.
bool is_for_tensors(const io::InputFile& file) {
  const std::string& path = file.path();
  if (path.ends_with(".safetensors") || path.ends_with(".params") || path.ends_with(".checkpoint")) return true;
  return io::may_be_safetensors(file.beginning(io::telling_bytes));
}

/// `f32` for F32; a dtype that no tensor can have, as the format calls it.
std::string dtype_text(const std::string& name) {
  static const std::map<std::string, std::string> ours = {{"F64", "f64"}, {"F32", "f32"}, {"BF16", "bf16"}, {"I64", "i64"},
                                                          {"I32", "i32"}, {"U8", "u8"},   {"BOOL", "bool"}};
  const auto found = ours.find(name);
  return found == ours.end() ? name : found->second;
}

nlohmann::ordered_json inspect_tensors(io::InputFile& input) {
  const std::string& path = input.path();
  const io::SafetensorsContents file = io::inspect_safetensors(input);
  nlohmann::ordered_json json = {{"file", path}, {"kind", "safetensors"}};
  std::uint64_t elements = 0, not_finite = 0;
  const bool is_checkpoint = train::is_checkpoint(file.metadata);
  std::cout << printable(is_checkpoint ? train::describe(file.metadata, path) : path + ": safetensors") << "\n";
  for (const auto& [key, text] : file.metadata) {
    json["metadata"][key] = text;
    if (is_checkpoint && key == "state") continue;  // numbers for --resume
    const std::string shown = key == "vocabulary" ? plural(data::decode_utf8(text, path).size(), "character") : printable(text);
    std::cout << fmt::format("  {}: {}\n", printable(key), shown);
  }
  for (const auto& [entry, bad] : file.tensors) {
    std::cout << fmt::format("  {:40} {:5} ({}){}\n", printable(entry.name), dtype_text(entry.dtype), fmt::join(entry.shape, ","),
                             bad > 0 ? fmt::format("  {} not finite", bad) : "");
    json["tensors"][entry.name] = {{"dtype", dtype_text(entry.dtype)}, {"shape", entry.shape}};
    if (bad > 0) json["tensors"][entry.name]["not_finite"] = bad;
    elements += entry.elements();
    not_finite += bad;
  }
  std::cout << fmt::format("{}, {}\n", plural(file.tensors.size(), "tensor"), plural(elements, "element"));
  if (not_finite > 0) std::cout << fmt::format("{} elements are NaN or infinite: as a model it cannot be used\n", not_finite);
  if (const std::string notice = io::verification_notice(path, file.verified); !notice.empty()) print_notices({notice});
  json["elements"] = elements;
  json["checksum"] = file.verified == io::Verified::everything ? "of all" : file.verified == io::Verified::data ? "of the tensors" : "none";
  return json;
}

nlohmann::ordered_json inspect_text(const std::string& path, const std::string& bytes) {
  const tasks::Corpus corpus = tasks::corpus_of(data::parse_text(bytes, path), path);
  print_notices(corpus.notices);
  std::size_t longest = 0, non_ascii = 0;
  for (const auto& document : corpus.documents) longest = std::max(longest, document.size());
  for (char32_t character : corpus.vocabulary.characters().substr(2)) non_ascii += character >= 0x80;
  std::cout << printable(path) << ": text\n" << corpus.summary() << "\n"
            << fmt::format("{}, the longest of {}; {} outside ASCII\n", plural(corpus.documents.size(), "line"),
                           plural(longest, "character"), plural(non_ascii, "distinct character"));
  return {{"file", path}, {"kind", "text"}, {"characters", corpus.text.size()}, {"vocabulary", corpus.vocabulary.size()},
          {"lines", corpus.documents.size()}, {"longest_line", longest}};
}

}  // namespace

void add_inspect(CLI::App& program) {
  auto path = std::make_shared<std::string>(), json = std::make_shared<std::string>();
  CLI::App* command = program.add_subcommand("inspect", "Show what is in a model, a checkpoint or a text file");
  command->add_option("FILE", *path, "The file")->required();
  command->add_option("--json", *json, "Write it as JSON to FILE, - for standard output")->type_name("FILE");
  add_examples(*command, "  gradus inspect vanilla.pretrain.params\n  gradus inspect wiki.txt");
  command->callback([=] {
    prepare_json(*json);
    require_distinct({{"FILE", *path}}, {{"--json", *json}});
    require_no_model({{"--json", *json}});
    io::InputFile file(*path, UINT64_MAX);
    write_json(*json, is_for_tensors(file) ? inspect_tensors(file) : inspect_text(*path, io::rest_of(file)));
  });
}

}  // namespace gradus::tools
