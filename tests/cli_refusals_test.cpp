// What the program refuses: a sentence that says what is wrong and where, the exit code, and nothing half-written.
#include <doctest/doctest.h>

#include <map>

#include "framework/io/safetensors.h"
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
      {pretrain + " --resume --force", 2, "--resume and --force contradict each other"},
      {pretrain + " --extend", 2, "--extend goes with --resume"},
      {pretrain + " --extend --force", 2, "--extend goes with --resume"},
      {finetune + " --finetune_corpus_path train.tsv --extend --force --resume", 2, "contradict each other"},
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
      {pretrain + " --names ''", 2, "'' is not a number"},
      {pretrain + " --threads ''", 2, "'' is not a number"},
      {pretrain + " --seed 010", 2, "'010' begins with a zero"},
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
      {pretrain + " --max_epochs 99999999999999999999", 2,
       "--max_epochs: '99999999999999999999' is not a whole number, or too large"},
      {"pretrain perceiver corpus.txt --writing_params_path new --bottleneck_dim many", 2, "--bottleneck_dim: 'many'"},
      {evaluate + " --pretrain_lr fast --reading_params_path model --eval_corpus_path held_out.tsv", 2, "--pretrain_lr"},
      {evaluate + " --max_epochs 3", 2, "unknown option --max_epochs"},
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

TEST_CASE("a model is not overwritten by mistake") {
  const TemporaryFolder& folder = workplace();
  std::filesystem::copy_file(folder / "model", folder / "finished", std::filesystem::copy_options::overwrite_existing);
  io::write_file_atomically(folder / "notes.txt", "kept");
  const std::string kept = "finished is there already: pass --force to overwrite it, --resume to go on with its run, or "
                           "another --writing_params_path";
  const std::string scored = "evaluate vanilla --reading_params_path model --eval_corpus_path held_out.tsv ";
  check_refusals({
      {"pretrain vanilla corpus.txt --writing_params_path finished --max_epochs 1", 2, kept},
      {"finetune vanilla corpus.txt --writing_params_path finished --finetune_corpus_path train.tsv", 2, kept},
      {"pretrain-text corpus.txt --writing_params_path finished", 2, kept},
      {"pretrain vanilla corpus.txt --writing_params_path notes.txt", 2, "notes.txt is there already"},
      {scored + "--outputs_path finished", 2, "--outputs_path finished: a model or a checkpoint is there"},
      {scored + "--outputs_path new --people finished", 2, "--people finished: a model or a checkpoint is there"},
      {scored + "--outputs_path new --json finished", 2, "--json finished: a model or a checkpoint is there"},
      {pretrain + " --metrics finished", 2, "--metrics finished: a model or a checkpoint is there"},
      {"sample model --prompt A --json finished", 2, "--json finished: a model or a checkpoint is there"},
      {"inspect corpus.txt --json finished", 2, "--json finished: a model or a checkpoint is there"},
  });
  CHECK(io::read_file(folder / "finished") == io::read_file(folder / "model"));
  CHECK(io::read_file(folder / "notes.txt") == "kept");
  must_run(folder, "pretrain vanilla corpus.txt --writing_params_path finished --max_epochs 1 --seed 9 --force" + tiny);
  CHECK(io::read_file(folder / "finished") != io::read_file(folder / "model"));
  // An empty file, as mktemp makes, has nothing to lose; predictions may be written again, as the scripts do.
  io::write_file_atomically(folder / "reserved_name", "");
  must_run(folder, "pretrain vanilla corpus.txt --writing_params_path reserved_name --max_epochs 1" + tiny);
  for (int time = 0; time < 2; ++time) must_run(folder, scored + "--outputs_path predictions");
}

TEST_CASE("a text that is no list of questions is refused at its first line") {
  const TemporaryFolder& folder = workplace();
  const std::string corpus = io::read_file(folder / "corpus.txt");
  io::write_file_atomically(folder / "copy.txt", corpus);
  std::string long_question = corpus.substr(0, corpus.find('.'));
  while (long_question.size() < 100) long_question += long_question;
  io::write_file_atomically(folder / "long.txt", long_question + "?\n");
  const std::string with_corpus = evaluate + " --reading_params_path model --eval_corpus_path ",
                    without = "evaluate vanilla --outputs_path new --reading_params_path model --eval_corpus_path ";
  check_refusals({
      {with_corpus + "corpus.txt", 3,
       "corpus.txt: line 1: this is the corpus itself; --eval_corpus_path takes questions, one a line, with or without "
       "a tab and the place"},
      {with_corpus + "./corpus.txt", 3, "./corpus.txt: line 1: this is the corpus itself"},
      {with_corpus + "copy.txt", 3, "copy.txt: line 1: neither a tab nor a question mark"},
      {without + "copy.txt", 3, "copy.txt: line 1: neither a tab nor a question mark"},
      {without + "long.txt", 3, "characters with the mark behind them, and the model takes 96"},
  });
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
