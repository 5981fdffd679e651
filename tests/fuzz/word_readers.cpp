#include <CLI/CLI.hpp>

#include "framework/base/error.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/registry.h"
#include "tests/fuzz/reader.h"
#include "tools/arguments.h"
#include "tools/commands.h"
#include "tools/gradcheck_inputs.h"
#include "tools/token_amounts.h"

namespace gradus::fuzz {
namespace {

/// Thrown where all is parsed and the command would begin.
struct Parsed {};

/// The whole program, whose commands do not begin.
CLI::App& program_that_parses() {
  static CLI::App program("", "gradus");
  static const bool ready = [] {
    program.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    program.require_subcommand(1);
    for (const auto add : {tools::add_demo, tools::add_pretrain, tools::add_pretrain_text, tools::add_finetune, tools::add_evaluate,
                           tools::add_data, tools::add_london_baseline, tools::add_sample, tools::add_inspect, tools::add_world,
                           tools::add_bench, tools::add_gradcheck})
      add(program);
    program.parse_complete_callback([] { throw Parsed{}; });
    return true;
  }();
  static_cast<void>(ready);
  return program;
}

/// A word on each line.
void read_command_line(std::string_view bytes) {
  std::vector<std::string> words = {"gradus"};
  for (std::size_t at = 0; at <= bytes.size();) {
    const std::size_t end = std::min(bytes.find_first_of(std::string_view("\n\0", 2), at), bytes.size());
    words.emplace_back(bytes.substr(at, end - at));
    at = end + 1;
  }
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  CLI::App& program = program_that_parses();
  tools::MergedArguments merged;
  try {
    merged = tools::merge_arguments(program, static_cast<int>(words.size()), pointers.data());
    std::vector<std::string> reversed(merged.arguments.rbegin(), merged.arguments.rend());
    program.parse(reversed);
  } catch (const Parsed&) {
  } catch (const CLI::CallForHelp&) {
    require(!program.help().empty(), "help without a word");
  } catch (const CLI::ParseError& error) {
    throw UsageError(tools::explain_parse_error(program, error, merged));
  }
}

std::vector<std::string> command_lines() {
  return {"pretrain\nvanilla\nwiki.txt\n--writing_params_path\nmodel\n--max-epochs=10\n--shuffle\n--pretrain_lr\n6e-3\n--edition\n2023",
          "finetune\nrope\nwiki.txt\n--reading_params_path=a\n--writing_params_path=b\n--finetune_corpus_path\ntrain.tsv\n--warmup_tokens\n1%",
          "evaluate\nvanilla\nwiki.txt\n--eval_corpus_path\ndev.tsv\n--outputs_path=\n--seed\n4k\n--threads=1",
          "gradcheck\n--op\nadd\n--input\nx=f64[2,3]\n--attr\naxis=1\n--json\n-",
          "sample\nmodel\n--prompt\nWhere\n--temperature\n0.5\n--top_k\n3",
          "data\ncharcorruption\nwiki.txt",
          "bench\ntrain\n--batch\n8\n--steps=1",
          "inspect\nmodel",
          "--help"};
}

/// `--input`, and the op's own call of it where that is small.
void read_input(std::string_view bytes) {
  const tools::InputRequest request = tools::parse_input(std::string(bytes));
  if (!request.path.empty() || request.shape.numel() > 1000) return;
  const std::string text = "a" + std::string(bytes.substr(request.name.size()));
  try {
    tools::requested_sample(find_op("add"), {text, "b=f64[]"}, {}, 1);
  } catch (const UsageError&) {  // of [add]: what it does not take
  }
}

void read_attribute(std::string_view bytes) {
  const auto [name, value] = tools::parse_attribute(std::string(bytes));
  require(name + "=" + value == bytes, "another attribute than was given");
  for (const char* op : {"sum", "permute", "softmax", "dropout", "cast", "scaled_dot_product_attention"}) {
    const OpSpec& spec = find_op(op);
    std::vector<std::string> inputs;
    for (const InputSpec& input : spec.inputs) {
      if (!input.optional) inputs.push_back(input.name + "=f64[2,3]");
    }
    for (const AttributeSpec& attribute : spec.attributes) {
      try {
        tools::requested_sample(spec, inputs, {attribute.name + "=" + value}, 1);
      } catch (const UsageError&) {
      }
    }
  }
}

void read_token_amount(std::string_view bytes) {
  const std::string text(bytes);
  if (const auto size = tools::parse_size(text)) {
    require(tools::parse_size(std::to_string(*size)) == size, "another size after it was written and read again");
  }
  const tools::TokenAmount amount = tools::parse_token_amount("--final_tokens", text);
  require(amount.number >= 0 && amount.number < 1e16, "an amount that is none");
}

}  // namespace

std::vector<Reader> word_readers() {
  return {{"command_line", Form::words, read_command_line, "", command_lines},
          {"input", Form::words, read_input, "--input",
           [] { return std::vector<std::string>{"x=f64[2,3]", "y.1=i64[4,1]:uniform(-1,1)", "q=f32[]:normal", "m=bool[7]", "z=FILE.safetensors"}; }},
          {"attribute", Form::words, read_attribute, "--attr",
           [] { return std::vector<std::string>{"axes=[0,1]", "keep=true", "p=0.5", "axis=-1", "axes=", "mode=causal"}; }},
          {"token_amount", Form::words, read_token_amount, "--final_tokens",
           [] { return std::vector<std::string>{"10240", "10k", "1%", "200 epochs", "all", "1e3", "-5", "2G"}; }}};
}

}  // namespace gradus::fuzz
