// The program as its users meet it: what it prints, what it refuses, and the exit codes.
#include <doctest/doctest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "framework/base/instructions.h"
#include "framework/data/utf8.h"
#include "framework/io/safetensors.h"
#include "framework/optim/schedule.h"
#include "framework/tensor/creation.h"
#include "tests/workplace.h"

using namespace gradus;

TEST_CASE("misspelt commands and options are named, with what was meant") {
  check_refusals({
      {"pretrian", 2, "'gradus' has no subcommand 'pretrian' (did you mean pretrain?)"},
      {"data charcoruption corpus.txt", 2, "'data' has no subcommand 'charcoruption' (did you mean charcorruption?)"},
      {"xyzzy", 2, "'gradus' has no subcommand 'xyzzy'"},
      {"--sed 3", 2, "unknown option --sed"},
      {pretrain + " --sed 3", 2, "unknown option --sed (did you mean --seed?)"},
      {pretrain + " --max-epoch=3", 2, "unknown option --max_epoch (did you mean --max_epochs?)"},
      {"pretrain vanilla corpus.txt --writing_param_path new", 2,
       "unknown option --writing_param_path (did you mean --writing_params_path?)"},
      {"pretrain --qqqqqqqq", 2, "unknown option --qqqqqqqq"},
      {pretrain + " surplus", 2, "surplus"},
      {"gradcheck --op layernorm", 2, "layernorm"},
      {"gradcheck", 2,
       "exactly one of --op NAME, --all, --model NAME, --lib FILE, --new NAME, --list or --zoo is needed"},
  });
}

TEST_CASE("missing and contradictory arguments") {
  check_refusals({
      {"pretrain", 2, "VARIANT is required"},
      {"pretrain vanilla", 2, "CORPUS is required"},
      {"pretrain vanilla corpus.txt", 2, "--writing_params_path is needed"},
      {"pretrain vanilla corpus.txt --writing_params_path", 2, "--writing_params_path"},
      {"pretrain vanilla corpus.txt --writing_params_path --resume", 2,
       "--writing_params_path needs a value, and '--resume' after it is an option"},
      {pretrain + " --reading_params_path model", 2, "--reading_params_path: pretraining starts from new weights"},
      {pretrain + " --resume --force", 2, "--resume and --force contradict each other"},
      {"finetune vanilla corpus.txt --finetune_corpus_path train.tsv", 2, "--writing_params_path is needed"},
      {finetune, 2, "--finetune_corpus_path is needed"},
      {"evaluate vanilla corpus.txt --eval_corpus_path held_out.tsv --outputs_path new", 2,
       "--reading_params_path is needed"},
      {evaluate + " --reading_params_path model", 2, "--eval_corpus_path is needed"},
      {"evaluate vanilla corpus.txt --reading_params_path model --eval_corpus_path held_out.tsv", 2,
       "--outputs_path is needed"},
      {"inspect", 2, "FILE is required"},
      {"data", 2, "subcommand is required"},
      {"sample model", 2, "--prompt is required"},
      {"sample model --prompt ''", 2, "--prompt must not be empty"},
      {"pretrain-text", 2, "TEXT is required"},
      {"pretrain-text corpus.txt", 2, "--writing_params_path is needed"},
      {pretrain_text + " --resume --force", 2, "--resume and --force contradict each other"},
      {pretrain_text + " --edition 2024", 2, "unknown option --edition"},
  });
}

TEST_CASE("values that cannot be used") {
  check_refusals({
      {"pretrain vanila corpus.txt --writing_params_path new", 2, "unknown variant 'vanila' (did you mean vanilla?)"},
      {"pretrain perceiver corpus.txt --writing_params_path new --bottleneck_dim 129", 2,
       "bottleneck_dim must be between 1 and block_size 128, not 129"},
      {"evaluate ropes corpus.txt --reading_params_path model --eval_corpus_path held_out.tsv --outputs_path new", 2,
       "unknown variant 'ropes' (did you mean rope?); it must be one of vanilla, rope, synthesizer, perceiver, "
       "perceiver-ar"},
      {pretrain + " --max_epochs -1", 2, "--max_epochs must be at least 1, not -1"},
      {pretrain + " --micro_batches 0", 2, "--micro_batches must be at least 1, not 0"},
      {pretrain + " --batch_size -4", 2, "--batch_size must be at least 1, not -4"},
      {pretrain + " --batch_size 1.5", 2, "--batch_size: '1.5' is not a whole number"},
      {pretrain + " --batch_size many", 2, "--batch_size: 'many' is not a whole number"},
      {pretrain + " --width -8", 2, "width must be at least 1, not -8"},
      {pretrain + " --width 30", 2, "width 30 is not divisible by 8 heads"},
      {pretrain + " --layers -1", 2, "layers must be at least"},
      {pretrain + " --block_size -1", 2, "block_size must be at least"},
      {pretrain + " --block_size 4", 2, "block_size must be at least 8"},
      {pretrain + " --dropout 1.5", 2, "dropout must be in [0, 1), not 1.5"},
      {pretrain + " --seed -1", 2, "--seed: '-1' is not a whole number"},
      {pretrain + " --threads -2", 2, "--threads must be between 1 and 1024, or 0 for all, not -2"},
      {pretrain + " --threads 1000000", 2, "--threads must be between 1 and 1024"},
      {pretrain + " --max_epochs 99999999999999999999", 2, "--max_epochs: '99999999999999999999' is too large"},
      {pretrain + " --bottleneck_dim 64", 2, "--bottleneck_dim belongs to the perceivers; the variant is vanilla"},
      {"evaluate vanilla --reading_params_path model --eval_corpus_path held_out.tsv --outputs_path new --show_errors "
       "-3",
       2, "--show_errors must not be negative"},
      {pretrain + " --threads two", 2, "--threads"},
      {pretrain + " --dtype f16", 2, "unknown dtype 'f16'"},
      {pretrain + " --dtype i64", 2, "unknown dtype 'i64': expected f32, bf16, f64 or tf32"},
      {pretrain + " --device tpu", 2, "unknown device 'tpu'"},
      {pretrain + " --device cuda:99", 2, "device 'cuda:99'"},
      {pretrain + " --device cuda:x", 2,
       "unknown device 'cuda:x': a number from 0 on, of at most nine digits, must follow cuda:"},
      {pretrain + " --device cpu --dtype tf32", 2,
       "--dtype tf32: tensor cores of a CUDA device compute in it, the CPU does not"},
      {pretrain + " --progress loud", 2, "unknown progress mode 'loud'"},
      {pretrain + " --edition 1999", 2, "--edition must be 2021, 2022, 2023 or 2024, not 1999"},
      {pretrain + " --decay none", 2, "unknown decay rule 'none'"},
      {pretrain + " --pretrain_lr 0", 2, "a learning rate must be above 0 and below 1000"},
      {pretrain + " --pretrain_lr nan", 2, "a learning rate must be above 0 and below 1000"},
      {pretrain + " --pretrain_lr fast", 2, "--pretrain_lr"},
      {pretrain + " --checkpoint_every -5", 2, "--checkpoint_every must not be negative, not -5"},
      {pretrain + " --checkpoint_seconds 0", 2, "--checkpoint_seconds must be positive, not 0"},
      {"sample model --prompt A --temperature -1", 2, "--temperature must not be negative"},
      {"sample model --prompt A --max_new -1", 2, "--max_new must not be negative, not -1"},
      {"sample model --prompt A --top_k -1", 2, "--top_k must not be negative, not -1"},
      {"sample model --prompt A --top_p 0", 2, "--top_p must be above 0 and at most 1, not 0"},
      {"sample model --prompt A --top_p 1.5", 2, "--top_p must be above 0 and at most 1, not 1.5"},
      {"sample model --prompt A --top_p nan", 2, "--top_p must be above 0 and at most 1, not nan"},
      {"sample model --prompt A --num_samples 0", 2, "--num_samples must be at least 1, not 0"},
      {pretrain + " --max_steps -1", 2, "--max_steps must not be negative, not -1"},
      {pretrain_text + " --max_steps -1", 2, "--max_steps must not be negative, not -1"},
      {pretrain_text + " --max_epochs 0", 2, "--max_epochs must be at least 1, not 0"},
      {pretrain_text + " --batch_size 0", 2, "batch_size must be at least 1, not 0"},
      {pretrain_text + " --block_size 0", 2, "block_size must be at least 1, not 0"},
      {pretrain_text + " --learning_rate 0", 2, "a learning rate must be above 0 and below 1000, not 0"},
      {pretrain_text + " --width 30", 2, "width 30 is not divisible by 8 heads"},
      {"world new --train_people -1", 2, "-1"},
      {"world new --places 99", 2, "99"},
  });
}

TEST_CASE("output paths are tried before the work begins") {
  check_refusals({
      {"pretrain vanilla corpus.txt --writing_params_path nowhere/new", 2,
       "nowhere/new: the folder nowhere does not exist"},
      {"pretrain vanilla corpus.txt --writing_params_path a_folder", 2, "a_folder: is a folder"},
      {pretrain + " --metrics nowhere/m", 2, "nowhere/m: the folder nowhere does not exist"},
      {pretrain + " --checkpoint nowhere/c", 2, "nowhere/c: the folder nowhere does not exist"},
      {pretrain + " --json nowhere/j", 2, "nowhere/j: the folder nowhere does not exist"},
      {"evaluate vanilla --reading_params_path model --eval_corpus_path held_out.tsv --outputs_path nowhere/p", 2,
       "the folder nowhere does not exist"},
      {evaluate + " --reading_params_path model --eval_corpus_path held_out.tsv --people nowhere/p", 2,
       "the folder nowhere does not exist"},
      {evaluate + " --reading_params_path model --eval_corpus_path held_out.tsv --json nowhere/j", 2,
       "the folder nowhere does not exist"},
      {"gradcheck --op add --json nowhere/j", 2, "the folder nowhere does not exist"},
  });
}

TEST_CASE("an output is never the same file as an input or another output") {
  const std::string scored =
      "evaluate vanilla corpus.txt --reading_params_path model --eval_corpus_path held_out.tsv --outputs_path ";
  check_refusals({
      {"pretrain vanilla corpus.txt --writing_params_path ./corpus.txt", 2,
       "--writing_params_path and CORPUS are the same file, corpus.txt: it would be overwritten"},
      {pretrain + " --metrics corpus.txt", 2, "--metrics and CORPUS are the same file"},
      {pretrain + " --json corpus.txt", 2, "--json and CORPUS are the same file"},
      {pretrain + " --checkpoint corpus.txt", 2, "--checkpoint and CORPUS are the same file"},
      {pretrain + " --metrics new", 2,
       "--writing_params_path and --metrics are the same file, new: one would overwrite the other"},
      {pretrain + " --json a_folder/../new", 2, "--writing_params_path and --json are the same file"},
      {pretrain + " --checkpoint new", 2, "--writing_params_path and --checkpoint are the same file"},
      {finetune + " --finetune_corpus_path train.tsv --metrics train.tsv", 2,
       "--metrics and --finetune_corpus_path are the same file"},
      {"finetune vanilla corpus.txt --writing_params_path model --finetune_corpus_path train.tsv --reading_params_path "
       "model",
       2, "--writing_params_path and --reading_params_path"},
      {scored + "held_out.tsv", 2, "--outputs_path and --eval_corpus_path are the same file"},
      {scored + "model", 2, "--outputs_path and --reading_params_path are the same file"},
      {scored + "new --json new", 2, "--outputs_path and --json are the same file"},
      {scored + "new --people new", 2, "--outputs_path and --people are the same file"},
      {scored + "new --people corpus.txt", 2, "--people and CORPUS are the same file"},
      {pretrain_text + " --json corpus.txt", 2,
       "--json and TEXT are the same file, corpus.txt: it would be overwritten"},
      {"inspect model --json model", 2, "--json and FILE are the same file"},
      {"sample model --prompt A --json model", 2, "--json and MODEL are the same file"},
      {pretrain + " --checkpoint train.tsv", 2,
       "train.tsv is there and is no checkpoint: name another file with --checkpoint"},
      {"world . --train_people 7", 1, "corpus.txt: is there already, with other content"},
  });
}

TEST_CASE("a full or closed standard output is an error, not silence") {
  const TemporaryFolder& folder = workplace();
  for (const std::string line : {"gradus inspect model", "gradus --help", "gradus gradcheck --list",
                                 "gradus inspect model --json -", "gradus sample model --prompt a --max_new 3"}) {
    for (const std::string sink : {" > /dev/full", " >&-"}) {
      CAPTURE(line + sink);
      const Outcome outcome = run_shell(folder, line + sink);
      CHECK(outcome.status == 1);
      CHECK(has(outcome.err, "standard output: cannot be written"));
    }
  }
  // The first file that is opened does not become standard output.
  REQUIRE(run_shell(folder, "gradus pretrain vanilla corpus.txt --writing_params_path unseen --max_epochs 1" + tiny +
                                " --metrics unseen.jsonl >&-")
              .status == 1);
  CHECK(io::read_file(folder / "unseen") == io::read_file(folder / "model"));
  CHECK(io::read_file(folder / "unseen.jsonl").starts_with("{\"step\":1,"));
}

TEST_CASE("the editions' schedules: 2024 stretches pretraining, not finetuning") {
  const TemporaryFolder& folder = workplace();
  const auto final_tokens = [&](const std::string& line) {
    must_run(folder, line + " --writing_params_path edition --max_epochs 1 --force" + tiny);
    return nlohmann::json::parse(io::read_safetensors(folder / "edition").metadata.at("settings"))
        .at("--final_tokens")
        .get<std::int64_t>();
  };
  const std::string corpus = io::read_file(folder / "corpus.txt");
  // As the assignment counts: what follows the last newline is a document too.
  const std::int64_t tokens = (line_count(corpus) + 1) * 96;
  CHECK(final_tokens("pretrain vanilla corpus.txt --edition 2021") == 200 * tokens);
  CHECK(final_tokens("pretrain vanilla corpus.txt --edition 2022") == 200 * tokens);
  CHECK(final_tokens("pretrain vanilla corpus.txt --edition 2023") == 200 * tokens);
  CHECK(final_tokens("pretrain vanilla corpus.txt --edition 2024") == 650 * tokens);
  CHECK(final_tokens("finetune vanilla corpus.txt --finetune_corpus_path train.tsv --edition 2024") == 200 * tokens);
  CHECK(final_tokens("pretrain vanilla corpus.txt --final_tokens 5k") == 5000);
  CHECK(final_tokens("pretrain vanilla corpus.txt --falling_epochs 3") == 3 * tokens);
}

TEST_CASE("corpora and questions that cannot be read") {
  const std::string with_questions = finetune + " --finetune_corpus_path ", answers = evaluate + " --reading_params_path model --eval_corpus_path ";
  check_refusals({
      {"pretrain vanilla missing --writing_params_path new", 3, "missing: cannot be read: No such file or directory"},
      {"pretrain-text missing --writing_params_path new", 3, "missing: cannot be read: No such file or directory"},
      {"pretrain-text empty --writing_params_path new", 3, "empty: the text is empty"},
      {"pretrain-text invalid --writing_params_path new", 3, "invalid: line 2: invalid UTF-8 at byte 7"},
      {"pretrain-text reserved --writing_params_path new", 3,
       "reserved: line 2: the text holds the reserved character '⁇'"},
      {"pretrain-text other.txt --writing_params_path new", 3,
       "other.txt: the text has 22 characters, an example needs 129: the block size and one to predict"},
      {"sample model --prompt ß", 3, "--prompt: line 1: the character 'ß' (U+00DF) is not in the vocabulary"},
      {"pretrain vanilla a_folder --writing_params_path new", 3, "a_folder: is a folder"},
      {"pretrain vanilla empty --writing_params_path new", 3, "empty: the corpus is empty"},
      {"pretrain vanilla invalid --writing_params_path new", 3, "invalid: line 2: invalid UTF-8 at byte 7"},
      {"pretrain vanilla reserved --writing_params_path new", 3,
       "reserved: line 2: the text holds the reserved character '⁇'"},
      {with_questions + "missing", 3, "missing: cannot be read"},
      {with_questions + "empty", 3, "empty: no questions"},
      {with_questions + "no_tabs.tsv", 3, "no_tabs.tsv: line 1: no tab between question and place"},
      {with_questions + "one_tab.tsv", 3, "one_tab.tsv: line 2: no tab between question and place"},
      {with_questions + "invalid", 3, "invalid: line 2: invalid UTF-8"},
      {with_questions + "long.tsv --block_size 96", 3, "long.tsv: line 1: question and place need"},
      {answers + "missing", 3, "missing: cannot be read"},
      {answers + "empty", 3, "empty: no questions"},
      {answers + "invalid", 3, "invalid: line 2: invalid UTF-8"},
      {answers + "unknown.tsv", 3, "unknown.tsv: line 2: the character 'ß' (U+00DF) is not in the vocabulary"},
      {"data namedata corpus.txt no_tabs.tsv", 3, "no_tabs.tsv: line 1: no tab"},
      {"data charcorruption empty", 3, "empty: the corpus is empty"},
      {"london_baseline no_tabs.tsv", 3, "no_tabs.tsv: line 1: no tab"},
      {"london_baseline missing", 3, "missing: cannot be read"},
      {"inspect missing", 3, "missing: cannot be read"},
      {"inspect invalid", 3, "invalid: line 2: invalid UTF-8"},
      {pretrain + " --config missing", 3, "missing: cannot be read"},
      {pretrain + " --config bad.json", 3, "bad.json: not valid JSON"},
      {pretrain + " --config bad.conf", 3, "bad.conf: line 2: expected key = value"},
      {pretrain + " --config foreign.conf", 2,
       "foreign.conf: 'sed' is not an option of 'pretrain' (did you mean --seed?)"},
  });
}

TEST_CASE("model files that are damaged, foreign or of another kind") {
  std::vector<Refusal> table;
  const std::map<std::string, std::string> said = {
      {"missing", "cannot be read"},
      {"a_folder", "is a folder"},
      {"empty", "not a safetensors file"},
      {"corpus.txt", "not a safetensors file"},
      {"model.header_only", "not a safetensors file, or truncated"},
      {"model.truncated", "truncated or damaged"},
      {"model.flipped", "the checksum does not match: the file is damaged"},
      {"foreign.safetensors", "not a file of this kind"},
      {"model.rope", "'rope'"},
      {"model.no_config", "its configuration is damaged"},
      {"model.huge", "its configuration is damaged: it describes"},
      {"model.smaller", "missing"},
      {"model.misshapen", "(1,2)"},
  };
  for (const auto& [file, sentence] : said) {
    table.push_back({evaluate + " --eval_corpus_path held_out.tsv --reading_params_path " + file, 3, file + ": " });
    table.push_back({finetune + " --finetune_corpus_path train.tsv --reading_params_path " + file, 3, sentence});
    table.push_back({"sample --prompt A " + file, 3, sentence});
  }
  table.push_back({"evaluate vanilla other.txt --outputs_path new --eval_corpus_path held_out.tsv --reading_params_path model", 3,
                   "other.txt: not the corpus that model was trained with: its vocabulary differs"});
  table.push_back({"finetune vanilla other.txt --writing_params_path new --finetune_corpus_path train.tsv --reading_params_path model", 3,
                   "other.txt: not the corpus that model was trained with"});
  table.push_back({finetune + " --finetune_corpus_path train.tsv --reading_params_path model --layers 7", 2, "--layers 7: the model in model has "});
  table.push_back({"inspect model.flipped", 3, "the checksum does not match"});
  table.push_back({"inspect foreign.checkpoint", 3, "cannot be read"});
  table.push_back({pretrain + " --resume --checkpoint damaged.checkpoint" + tiny, 3, "damaged.checkpoint: "});
  check_refusals(table);
}

TEST_CASE("what is there already is not touched by a run that fails") {
  const TemporaryFolder& folder = workplace();
  io::write_file_atomically(folder / "precious", "kept");
  for (const std::string line : {"pretrain vanilla empty --writing_params_path precious", "pretrain vanilla corpus.txt --writing_params_path new --json precious --seed -1",
                                 "evaluate vanilla --reading_params_path model.flipped --eval_corpus_path held_out.tsv --outputs_path precious",
                                 "evaluate vanilla --reading_params_path model --eval_corpus_path unknown.tsv --outputs_path precious"}) {
    CHECK(run_program(folder, words(line)).status != 0);
    CHECK(io::read_file(folder / "precious") == "kept");
  }
}

TEST_CASE("a loss that is not a number ends the run with status 4 and names the op") {
  const TemporaryFolder& folder = workplace();
  const Outcome outcome = run_program(folder, words("pretrain vanilla corpus.txt --writing_params_path exploded --max_epochs 1000 --pretrain_lr 900" + tiny));
  CHECK(outcome.status == 4);
  CHECK(has(outcome.err, "is not finite; first: ["));
  CHECK(!std::filesystem::exists(folder / "exploded"));
}

TEST_CASE("help, without arguments and everywhere, leads to examples that run") {
  const TemporaryFolder folder;
  const Outcome nothing = run_program(folder, {}), help = run_program(folder, {"--help"});
  CHECK(nothing.status == 0);
  CHECK(nothing.out == help.out);
  CHECK(nothing.err.empty());
  CHECK(has(help.out, "Exit codes: 0 done, 1 failed, 2 usage, 3 input file, 4 not a number, 129/130/143 interrupted."));
  CHECK(run_program(folder, {"--version"}).out == "gradus 0.1.0\ninstructions: " + describe_instructions() + "\n");

  must_run(folder, "world . --train_people 6 --held_out_people 6 --places 4");
  std::filesystem::copy_file(folder / "corpus.txt", folder / "wiki.txt");
  std::filesystem::copy_file(folder / "corpus.txt", folder / "input.txt");
  std::filesystem::copy_file(folder / "train.tsv", folder / "birth_places_train.tsv");
  std::filesystem::copy_file(folder / "held_out.tsv", folder / "birth_dev.tsv");
  // The same commands at a small size; the files that they expect come from the examples before.
  const std::vector<std::string> small = {"GRADUS_MAX_EPOCHS=1",      "GRADUS_LAYERS=1",    "GRADUS_WIDTH=16",
                                          "GRADUS_BATCH=1",           "GRADUS_LENGTH=16",   "GRADUS_STEPS=1",
                                          "GRADUS_WARMUP=0",          "GRADUS_MAX_NEW=3",   "GRADUS_SECONDS=0",
                                          "GRADUS_PLAIN_QUESTIONS=1", "GRADUS_CHARACTERS=2"};
  const std::string corpus = io::read_file(folder / "corpus.txt");
  int ran = 0;
  for (const std::string command :
       {"pretrain", "pretrain-text", "finetune", "evaluate", "data namedata", "data charcorruption", "london_baseline",
        "sample", "inspect", "world", "bench train", "bench op", "bench generate", "gradcheck", "demo"}) {
    CAPTURE(command);
    const Outcome page = run_program(folder, words(command + " --help"));
    REQUIRE(page.status == 0);
    CHECK(page.err.empty());
    const std::size_t begin = page.out.find("Examples:\n");
    REQUIRE(begin != std::string::npos);
    std::string examples = page.out.substr(begin + 10);
    for (std::size_t at; (at = examples.find("\\\n")) != std::string::npos;) examples.replace(at, 2, " ");
    while (!examples.empty()) {
      const std::size_t end = std::min(examples.find('\n'), examples.size());
      std::string line = examples.substr(0, end);
      examples.erase(0, end + 1);
      line.erase(0, line.find_first_not_of(' '));
      if (line.empty()) continue;
      CAPTURE(line);
      CHECK(line.starts_with("gradus " + command));
      // These have tests of their own and take minutes; a name that the invented world does not know is replaced.
      if (command == "demo" || has(line, "gradcheck --all")) continue;
      for (const std::string name : {"Khatchig Mouradian. ", "John", "O God, O God!"}) {
        if (const std::size_t at = line.find(name); at != std::string::npos) line.replace(at, name.size(), corpus.substr(0, 4));
      }
      if (command == "evaluate" && has(line, "--reading_params_path m ")) line.replace(line.find("path m "), 7, "path vanilla.finetune.params ");
      const Outcome outcome = run_shell(folder, line, small);
      CHECK_MESSAGE(outcome.status == 0, outcome.err);
      ++ran;
    }
  }
  CHECK(ran >= 24);
}

TEST_CASE("the assignment's commands in the assignment's order") {
  const TemporaryFolder& folder = workplace();
  const std::string small = tiny + " --edition 2023 --max_epochs 2";
  const Outcome first = run_program(folder, words("pretrain vanilla corpus.txt --writing_params_path vanilla.pretrain.params --pretrain_lr 6e-3" + small));
  CHECK(first.status == 0);
  CHECK(has(first.out, "data has "));
  CHECK(has(first.out, " unique.\nnumber of parameters: "));
  const std::string pretrained = io::read_file(folder / "vanilla.pretrain.params");

  SUBCASE("the same seed gives the same bytes, on any number of threads, with dashes too") {
    must_run(folder, "pretrain vanilla corpus.txt --writing-params-path=again --pretrain-lr=6e-3 --threads 1" + small);
    CHECK(io::read_file(folder / "again") == pretrained);
    must_run(folder, "pretrain vanilla corpus.txt --writing_params_path recomputed --recompute" + small);
    CHECK(io::read_file(folder / "recomputed") == pretrained);
    must_run(folder, "pretrain vanilla corpus.txt --writing_params_path other --seed 5" + small);
    CHECK(io::read_file(folder / "other") != pretrained);
    CHECK(!std::filesystem::exists(folder / "vanilla.pretrain.params.checkpoint"));
  }
  SUBCASE("finetuning and evaluation") {
    must_run(folder, "finetune vanilla corpus.txt --reading_params_path vanilla.pretrain.params --writing_params_path vanilla.finetune.params "
                     "--finetune_corpus_path train.tsv --metrics metrics.jsonl --json run.json" + small);
    const std::string metrics = io::read_file(folder / "metrics.jsonl");
    const nlohmann::json summary = nlohmann::json::parse(io::read_file(folder / "run.json"));
    CHECK(line_count(metrics) == 2);
    CHECK(summary.at("steps") == 2);
    CHECK(nlohmann::json::parse(metrics.substr(0, metrics.find('\n'))).at("lr").get<double>() == doctest::Approx(6e-4).epsilon(0.1));

    const Outcome dev = run_program(folder, words("evaluate vanilla corpus.txt --reading_params_path vanilla.finetune.params --eval_corpus_path held_out.tsv "
                                                  "--outputs_path dev.predictions --json score.json"));
    CHECK(dev.status == 0);
    const nlohmann::json score = nlohmann::json::parse(io::read_file(folder / "score.json"));
    const int correct = score.at("correct");
    CHECK(score.at("total") == 6);
    CHECK(has(dev.out, "Correct: " + std::to_string(correct) + ".0 out of 6.0: "));
    CHECK(line_count(io::read_file(folder / "dev.predictions")) == 6);

    const std::string known = io::read_file(folder / "held_out.tsv");
    io::write_file_atomically(folder / "inputs.tsv", known.substr(0, known.find('\t')) + "\n");
    const Outcome test = run_program(folder, words("evaluate vanilla corpus.txt --reading_params_path vanilla.finetune.params --eval_corpus_path inputs.tsv "
                                                   "--outputs_path test.predictions"));
    CHECK(test.status == 0);
    CHECK(has(test.out, "No gold birth places provided; returning (0,0)\nPredictions written to test.predictions; no targets provided\n"));
    const std::string predictions = io::read_file(folder / "dev.predictions");
    CHECK(io::read_file(folder / "test.predictions") == predictions.substr(0, predictions.find('\n') + 1));
    // The vocabulary is in the model: the corpus is not needed.
    must_run(folder, "evaluate vanilla --reading_params_path vanilla.finetune.params --eval_corpus_path held_out.tsv --outputs_path again.predictions");
    CHECK(io::read_file(folder / "again.predictions") == predictions);
  }
}

TEST_CASE("a batch in parts gives the steps of the whole batch") {
  const TemporaryFolder& folder = workplace();
  const auto losses = [&](const std::string& parts) {
    must_run(folder,
             "pretrain vanilla corpus.txt --writing_params_path parts --metrics parts.jsonl --dropout 0 --max_epochs 3 "
             "--force --micro_batches " +
                 parts + tiny);
    std::vector<double> values;
    std::istringstream lines(io::read_file(folder / "parts.jsonl"));
    for (std::string line; std::getline(lines, line);) values.push_back(nlohmann::json::parse(line).at("loss"));
    return values;
  };
  const std::vector<double> whole = losses("1");
  REQUIRE(whole.size() > 10);
  for (const std::string parts : {"2", "3", "100"}) {
    const std::vector<double> in_parts = losses(parts);
    REQUIRE(in_parts.size() == whole.size());
    for (std::size_t step = 0; step < whole.size(); ++step)
      CHECK(in_parts[step] == doctest::Approx(whole[step]).epsilon(1e-4));
  }
}

TEST_CASE("progress: the assignment's line for every step, plain when piped") {
  const TemporaryFolder& folder = workplace();
  const std::string line = "pretrain vanilla corpus.txt --writing_params_path lines --layers 1 --heads 2 --width 16 --block_size 96 --batch_size 8 --max_epochs 2 --progress ";
  const Outcome lines = run_program(folder, words(line + "lines"));
  CHECK(has(lines.err, "epoch 1 iter 0: train loss "));
  CHECK(has(lines.err, "epoch 2 iter 0: train loss "));
  CHECK(has(lines.err, ". lr "));
  const Outcome piped = run_program(folder, words(line + "auto"), {"TERM=xterm"});
  CHECK(piped.status == 0);
  CHECK(!has(piped.err, "\r"));
  CHECK(!has(piped.err, "\033"));
}

TEST_CASE("recipes: those of the program, one of the user's, and files that are none") {
  const TemporaryFolder& folder = workplace();
  const auto values = [&](const std::string& line) {
    const Outcome outcome = run_program(folder, words(line + " --print_config"));
    CHECK_MESSAGE(outcome.status == 0, outcome.err);
    return "\n" + outcome.out;
  };
  for (const std::string recipe : {"edition-2021", "edition-2023", "edition-2024", "recall"}) {
    CAPTURE(recipe);
    const std::string from = "  (recipe " + recipe + ")\n", flag = " --recipe " + recipe;
    const std::string pretraining = values("pretrain vanilla corpus.txt" + flag);
    CHECK(has(pretraining, "\nhold_rate = "));
    if (recipe != "recall")
      CHECK_FALSE(has(pretraining, "(recipe recall)"));  // each names all that another one changes
    const std::string scratch = values("finetune vanilla corpus.txt" + flag);
    CHECK(has(scratch, "\nmax_epochs = 75" + from));
    CHECK(has(scratch, "\ndropout = 0.1" + from));
    const std::string pretrained = values("finetune vanilla corpus.txt --reading_params_path m" + flag);
    CHECK_FALSE(has(pretrained, "\nmax_epochs = 75" + from));
    CHECK(has(pretrained, (recipe == "recall" ? "\nfinetune_lr = 0.0002" : "\nfinetune_lr = 0.0006") + from));
    if (recipe != "recall") CHECK_FALSE(has(pretrained, "(recipe recall)"));
  }
  io::write_file_atomically(folder / "own.json",
                            R"({"about": "mine", "pretrain": {"max-epochs": "2k", "shuffle": true}})");
  const std::string own = values("pretrain vanilla corpus.txt --recipe own.json");
  CHECK(has(own, "\nmax_epochs = 2000  (recipe own.json)\n"));
  CHECK(has(own, "\nshuffle = true  (recipe own.json)\n"));
  CHECK(has(own, "\nbatch_size = 32  (recipe recall)\n"));

  io::write_file_atomically(folder / "list.json", "[]");
  io::write_file_atomically(folder / "cut.json", R"({"pretrain": {)");
  io::write_file_atomically(folder / "part.json", R"({"pretain": {}})");
  io::write_file_atomically(folder / "flat.json", R"({"pretrain": 3})");
  io::write_file_atomically(folder / "nested.json", R"({"finetune": {"seed": [1]}})");
  io::write_file_atomically(folder / "foreign.json", R"({"pretrain": {"max_epoch": 1}})");
  io::write_file_atomically(folder / "wrong.json", R"({"pretrain": {"max_epochs": "many"}})");
  check_refusals({
      {pretrain + " --recipe recal", 2,
       "--recipe recal: neither a file nor one of edition-2021, edition-2023, edition-2024, recall (did you mean "
       "recall?)"},
      {pretrain + " --recipe list.json", 3, "list.json: a recipe is a JSON object"},
      {pretrain + " --recipe cut.json", 3, "cut.json: not valid JSON"},
      {pretrain + " --recipe part.json", 3, "part.json: 'pretain' is no part of a recipe (did you mean pretrain?)"},
      {pretrain + " --recipe flat.json", 3, "flat.json: 'pretrain' must be an object"},
      {pretrain + " --recipe nested.json", 3,
       "nested.json: the value of 'seed' must be a number, a string or a boolean"},
      {pretrain + " --recipe foreign.json", 2,
       "foreign.json: 'max_epoch' is not an option of 'pretrain' (did you mean --max_epochs?)"},
      {pretrain + " --recipe wrong.json", 2, "'many' is not a whole number"},
      {pretrain + " --recipe own.json --edition 2023", 2,
       "--edition 2023 is a recipe, and --recipe own.json names another"},
      {pretrain + " --names 1.5", 2, "--names must be between 0 and 1, not 1.5"},
      {pretrain + " --names_after_share -1", 2, "--names_after_share must be between 0 and 1, not -1"},
      {pretrain + " --edition 2023 --names_after born", 2, "--names_after goes with --names"},
      {pretrain + " --warmup_share 1", 2, "--warmup_share must be at least 0 and below 1, not 1"},
      {"pretrain perceiver corpus.txt --writing_params_path new --bottleneck_dim -3", 2,
       "--bottleneck_dim must not be negative, not -3"},
  });
}

TEST_CASE("flag before environment before file before default, and where each came from") {
  const TemporaryFolder& folder = workplace();
  io::write_file_atomically(folder / "run.conf", "# a comment\nmax-epochs = 3\nseed = 4   # another\nresume = true\npretrain_lr = \"1e-3\"\n");
  io::write_file_atomically(folder / "run.json", R"({"max_epochs": "4k", "seed": 8, "shuffle": true})");
  const auto config = [&](const std::string& flags, const std::vector<std::string>& environment = {}) {
    const Outcome outcome = run_program(folder, words("pretrain vanilla corpus.txt --print-config " + flags), environment);
    CHECK(outcome.status == 0);
    return "\n" + outcome.out;
  };
  const std::string none = config("");
  CHECK(has(none, "\nrecipe = recall  (default)\n"));
  CHECK(has(none, "\nnames = 1  (recipe recall)\n"));
  CHECK(has(none, "\nwarmup_tokens = 0  (default)\n"));
  CHECK(has(none, "\ntb_expt_name = run  (default)\n"));
  CHECK(has(none, "\nresume = false  (default)\n"));
  const std::string file = config("--config run.conf");
  CHECK(has(file, "\nmax_epochs = 3  (file run.conf)\n"));
  CHECK(has(file, "\nresume = true  (file run.conf)\n"));
  CHECK(has(file, "\npretrain_lr = 1e-3  (file run.conf)\n"));
  const std::string json = config("--config=run.json --batch_size 2k");
  CHECK(has(json, "\nmax_epochs = 4000  (file run.json)\n"));
  CHECK(has(json, "\nshuffle = true  (file run.json)\n"));
  CHECK(has(json, "\nbatch_size = 2000  (command line)\n"));
  const std::string environment = config("--config run.conf", {"GRADUS_SEED=9"});
  CHECK(has(environment, "\nseed = 9  (environment GRADUS_SEED)\n"));
  CHECK(has(environment, "\nmax_epochs = 3  (file run.conf)\n"));
  const std::string edition = config("--edition 2023 --config run.conf --dropout 0.2");
  CHECK(has(edition, "\nmax_epochs = 3  (file run.conf)\n"));
  CHECK(has(edition, "\npretrain_lr = 1e-3  (file run.conf)\n"));
  CHECK(has(edition, "\nseed = 4  (file run.conf)\n"));
  CHECK(has(edition, "\nbatch_size = 128  (recipe edition-2023)\n"));
  CHECK(has(edition, "\ndropout = 0.2  (command line)\n"));
  CHECK(has(edition, "\nnames = 0  (recipe edition-2023)\n"));
  CHECK(has(config("", {"GRADUS_EDITION=2024"}), "\nfull_length = true  (recipe edition-2024)\n"));
  CHECK(has(config("--seed 11 --config run.conf", {"GRADUS_SEED=9"}), "\nseed = 11  (command line)\n"));
  CHECK(has(config("", {"GRADUS_CONFIG=run.conf"}), "\nseed = 4  (file run.conf)\n"));
  CHECK(run_program(folder, words(pretrain), {"GRADUS_SEED=soon"}).status == 2);
}

TEST_CASE("samples are text alone, and functions of the seed") {
  const TemporaryFolder& folder = workplace();
  const std::string prompt = io::read_file(folder / "corpus.txt").substr(0, 4);
  const auto sample = [&](const std::string& flags) {
    std::vector<std::string> arguments = {"sample", "model", "--prompt", prompt};
    for (const std::string& word : words(flags)) arguments.push_back(word);
    const Outcome outcome = run_program(folder, arguments);
    CHECK(outcome.status == 0);
    CHECK(outcome.err.empty());
    return outcome.out;
  };
  const std::string greedy = sample("--temperature 0 --max-new 20");
  CHECK(greedy.starts_with(prompt));
  CHECK(data::decode_utf8(greedy, "sample").size() == 4 + 20 + 1);
  CHECK(sample("--top-k 1 --max-new 20 --seed 3") == greedy);
  CHECK(sample("--top_p 1e-9 --max_new 20 --seed 3") == greedy);
  CHECK(sample("--top_p 0.5 --seed 3") != sample("--seed 3"));
  CHECK(sample("--seed 3") == sample("--seed 3"));
  CHECK(sample("--seed 3") != sample("--seed 4"));
  // Longer than the model's block, and from standard input.
  CHECK(data::decode_utf8(sample("--max_new 120"), "sample").size() == 4 + 120 + 1);
  const std::string twice_the_block = "--max_new 192 --seed 5 --num_samples 2";
  CHECK(sample(twice_the_block) == sample(twice_the_block + " --no_cache"));
  const nlohmann::json json = nlohmann::json::parse(
      run_shell(folder, "gradus sample model --prompt '" + prompt + "' --temperature 0 --max_new 20 --json -").out);
  CHECK(json.at("prompt").get<std::string>() + json.at("samples").at(0).get<std::string>() + "\n" == greedy);
  CHECK(run_shell(folder, "printf '" + prompt + "' | gradus sample model --prompt - --temperature 0 --max_new 20").out == greedy);
}

TEST_CASE("a character model of any text: trained, resumed, continued") {
  const TemporaryFolder& folder = workplace();
  const std::string sizes = " --layers 1 --heads 2 --width 16 --block_size 20 --batch_size 32 --progress off";
  const std::string line = "pretrain-text corpus.txt --writing_params_path ";
  const Outcome first =
      run_program(folder, words(line + "text.params --max_steps 7 --metrics text.jsonl --json text.json" + sizes));
  REQUIRE_MESSAGE(first.status == 0, first.err);
  const std::string corpus = io::read_file(folder / "corpus.txt");
  CHECK(has(first.out, "data has " + std::to_string(data::decode_utf8(corpus, "corpus").size()) + " characters, "));
  CHECK(line_count(io::read_file(folder / "text.jsonl")) == 7);
  CHECK(nlohmann::json::parse(io::read_file(folder / "text.json")).at("tokens") == 7 * 32 * 20);
  const io::SafetensorsFile file = io::read_safetensors(folder / "text.params");
  CHECK(file.metadata.at("variant") == "vanilla");
  CHECK(file.metadata.at("function") == "pretrain-text");
  const nlohmann::json settings = nlohmann::json::parse(file.metadata.at("settings"));
  CHECK(settings.at("--learning_rate") == 6e-4);
  CHECK(settings.at("--max_steps") == 7);
  CHECK(settings.at("--decay") == "standard");
  CHECK(settings.at("--seed") == 42);
  CHECK(!settings.contains("--edition"));
  // The cosine is that of two epochs of every place of the text, however early the run ends.
  const auto characters = static_cast<std::int64_t>(data::decode_utf8(corpus, "corpus").size());
  must_run(folder, line + "cosine.params --max_steps 7 --warmup_tokens 0 --metrics cosine.jsonl" + sizes);
  const optim::TokenSchedule schedule{
      .peak = 6e-4, .warmup_tokens = 0, .final_tokens = 2 * (characters - 20) * 20, .hold_at_end = false};
  const std::string metrics = io::read_file(folder / "cosine.jsonl");
  const std::string last = metrics.substr(metrics.rfind('\n', metrics.size() - 2) + 1);
  CHECK(nlohmann::json::parse(last).at("lr").get<double>() ==
        doctest::Approx(schedule.rate(7 * 32 * 20)).epsilon(1e-12));

  must_run(folder, line + "again.params --max_steps 7 --threads 1" + sizes);
  CHECK(io::read_file(folder / "again.params") == io::read_file(folder / "text.params"));
  must_run(folder, line + "seeded.params --max_steps 7 --seed 1" + sizes);
  CHECK(io::read_file(folder / "seeded.params") != io::read_file(folder / "text.params"));
  const Outcome complete = run_program(folder, words(line + "text.params --resume --max_steps 7" + sizes));
  CHECK(complete.status == 0);
  CHECK(has(complete.err, "text.params is complete"));
  check_refusals(
      {{line + "text.params --resume --max_steps 8" + sizes, 2, "cannot resume with another --max_steps: it was 7"},
       {line + "text.params --resume" + sizes, 2, "cannot resume without --max_steps"}});

  const Outcome sample = run_program(folder, words("sample text.params --prompt Bo --max_new 45"));
  CHECK(sample.status == 0);
  CHECK(data::decode_utf8(sample.out, "sample").size() == 2 + 45 + 1);
  CHECK(run_program(folder, words("sample text.params --prompt Bo --max_new 45 --no_cache")).out == sample.out);
  CHECK(has(run_program(folder, words("inspect text.params")).out, "variant: vanilla"));
}

TEST_CASE("evaluation beside London, and by what stands in a person's own line") {
  const TemporaryFolder& folder = workplace();
  const std::string corpus = io::read_file(folder / "corpus.txt");
  const std::string name = corpus.substr(0, corpus.find('.'));
  // Both questions have the characters of the corpus alone, in which no line is about somebody called Where.
  io::write_file_atomically(folder / "two.tsv",
                            "Where was " + name + " born?\tNowhere\nWhere was Where born?\tLondon\n");
  const std::string line = " --reading_params_path model --eval_corpus_path two.tsv --outputs_path two.predictions ";
  const Outcome with_corpus =
      run_program(folder, words("evaluate vanilla corpus.txt" + line + "--people people.tsv --json two.json"));
  REQUIRE_MESSAGE(with_corpus.status == 0, with_corpus.err);
  CHECK(has(with_corpus.out, "\nCorrect: 0.0 out of 2.0: 0.0%\n"));
  CHECK(has(with_corpus.out, "\nLondon for every question: 1 of 2, 50.0 %\n"));
  CHECK(has(with_corpus.out,
            "\nIn the person's own line of the corpus: 0 of 2 answers, 0.0 %; lines found for 1 people\n"));
  const nlohmann::json json = nlohmann::json::parse(io::read_file(folder / "two.json"));
  CHECK(json.at("london_baseline").at("correct") == 1);
  CHECK(json.at("london_baseline").at("accuracy") == 50);
  CHECK(json.at("silver").at("people_found") == 1);
  CHECK(json.at("silver").at("in_own_line") == 0);
  const std::string people = io::read_file(folder / "people.tsv");
  CHECK(line_count(people) == 3);
  CHECK(has(people, "line\tquestion\tplace\tanswer\tverdict\tin_own_line\n1\tWhere was " + name + " born?\tNowhere\t"));
  CHECK(has(people, "\twrong\tno\n2\tWhere was Where born?\tLondon\t"));
  CHECK(people.ends_with("\twrong\t-\n"));

  const Outcome without_corpus = run_program(folder, words("evaluate vanilla" + line + "--json -"));
  CHECK(nlohmann::json::parse(without_corpus.out).at("silver").is_null());
  CHECK(!has(without_corpus.err, "own line"));
  io::write_file_atomically(folder / "two.tsv", "Where was " + name + " born?\n");
  const Outcome unlabelled = run_program(folder, words("evaluate vanilla corpus.txt" + line + "--json two.json"));
  CHECK(has(unlabelled.out,
            "; no targets provided\nIn the person's own line of the corpus: 0 of 1 answers, 0.0 %; lines found for 1 "
            "people\n"));
  CHECK(!has(unlabelled.out, "London"));
  CHECK(nlohmann::json::parse(io::read_file(folder / "two.json")).at("silver").at("people_found") == 1);
}

TEST_CASE("inspect shows models, text and question files") {
  const TemporaryFolder& folder = workplace();
  const Outcome model = run_program(folder, words("inspect model --json model.json"));
  CHECK(model.status == 0);
  CHECK(has(model.out, "variant: vanilla"));
  CHECK(has(model.out, "blocks.0.attn.key.weight"));
  const nlohmann::json json = nlohmann::json::parse(io::read_file(folder / "model.json"));
  CHECK(nlohmann::json::parse(run_program(folder, words("inspect model --json -")).out) == json);
  CHECK(json.at("tensors").at("pos_emb").at("shape") == nlohmann::json{1, 96, 16});
  CHECK(nlohmann::json::parse(json.at("metadata").at("config").get<std::string>()).at("width") == 16);
  const Outcome text = run_program(folder, words("inspect corpus.txt"));
  CHECK(has(text.out, "data has "));
  CHECK(has(text.out, " lines, the longest of "));
  CHECK(run_program(folder, words("inspect train.tsv")).status == 0);
  CHECK(has(run_program(folder, words("inspect foreign.safetensors")).out, "1 tensors, 6 elements"));
}

TEST_CASE("gradcheck and a closed pipe") {
  const TemporaryFolder& folder = workplace();
  const Outcome check = run_program(folder, words("gradcheck --op tanh --json check.json"));
  CHECK(check.status == 0);
  CHECK(has(check.out, "1 ops checked, 0 wrong"));
  CHECK(nlohmann::json::parse(io::read_file(folder / "check.json")).at("ops").at(0).at("passed") == true);
  // The reader leaves after one byte: the writer ends, quietly, long before its 20000 characters.
  const Outcome pipe = run_shell(folder, "{ gradus sample model --prompt a --max_new 20000; echo $? >&2; } | head -c 1");
  CHECK(pipe.out == "a");
  CHECK(pipe.err == "141\n");
}

TEST_CASE("--json - leaves nothing but JSON on standard output") {
  const Outcome outcome = run_program(workplace(), words("pretrain vanilla corpus.txt --writing_params_path json_only --max_epochs 1 --layers 1 --heads 1 --width 8 --json -"));
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(nlohmann::json::parse(outcome.out, nullptr, false).contains("last_loss"));
  CHECK(has(outcome.err, "number of parameters: "));
}
