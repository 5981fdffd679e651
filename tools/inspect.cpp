#include <iostream>

#include "framework/base/error.h"
#include "framework/base/plural.h"
#include "framework/base/printable.h"
#include "framework/data/utf8.h"
#include "framework/io/files.h"
#include "framework/io/safetensors.h"
#include "tasks/span_corruption/span_corruption.h"
#include "tools/commands.h"
#include "tools/options.h"

namespace gradus::tools {
namespace {

/// By its name, or by how it begins: the length of a header, which is no text, and the header's brace.
bool is_safetensors(const std::string& path, const std::string& bytes) {
  const bool named = path.ends_with(".safetensors") || path.ends_with(".params") || path.ends_with(".checkpoint");
  return named || (bytes.size() > 8 && bytes[8] == '{' && bytes.find('\0') < 8);
}

nlohmann::ordered_json inspect_tensors(const std::string& path) {
  const io::SafetensorsFile file = io::read_safetensors(path);
  nlohmann::ordered_json json = {{"file", path}, {"kind", "safetensors"}};
  std::int64_t elements = 0;
  std::cout << printable(path) << ": safetensors\n";
  for (const auto& [key, text] : file.metadata) {
    const std::string shown = key == "vocabulary" ? plural(data::decode_utf8(text, path).size(), "character") : printable(text);
    std::cout << fmt::format("  {}: {}\n", printable(key), shown);
    json["metadata"][key] = text;
  }
  for (const auto& [name, tensor] : file.tensors) {
    std::cout << fmt::format("  {:40} {:5} {}\n", printable(name), to_string(tensor.dtype()), to_string(tensor.shape()));
    json["tensors"][name] = {{"dtype", to_string(tensor.dtype())}, {"shape", tensor.shape().to_vector()}};
    elements += tensor.numel();
  }
  std::cout << fmt::format("{}, {}\n", plural(file.tensors.size(), "tensor"), plural(elements, "element"));
  json["elements"] = elements;
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
    const std::string bytes = io::read_file(*path);
    write_json(*json, is_safetensors(*path, bytes) ? inspect_tensors(*path) : inspect_text(*path, bytes));
  });
}

}  // namespace gradus::tools
