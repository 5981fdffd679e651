// The program as its users meet it: what it does, what it prints, and the exit codes.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "framework/base/instructions.h"
#include "framework/data/utf8.h"
#include "framework/io/safetensors.h"
#include "framework/optim/schedule.h"
#include "framework/tensor/creation.h"
#include "tests/workplace.h"

using namespace gradus;

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

TEST_CASE("help, without arguments and everywhere, leads to examples that run") {
  const TemporaryFolder folder;
  const Outcome nothing = run_program(folder, {}), help = run_program(folder, {"--help"});
  CHECK(nothing.status == 0);
  CHECK(nothing.out == help.out);
  CHECK(nothing.err.empty());
  CHECK(has(help.out, "Exit codes: 0 done, 1 failed, 2 usage, 3 input file, 4 not a number,\n129/130/143 interrupted."));
  CHECK(run_program(folder, {"--version"}).out == "gradus 0.1.0\ninstructions: " + describe_instructions() + "\n");

  must_run(folder, "world . --train_people 6 --held_out_people 6 --places 4");
  std::filesystem::copy_file(folder / "corpus.txt", folder / "wiki.txt");
  std::filesystem::copy_file(folder / "corpus.txt", folder / "input.txt");
  std::filesystem::copy_file(folder / "train.tsv", folder / "birth_places_train.tsv");
  std::filesystem::copy_file(folder / "held_out.tsv", folder / "birth_dev.tsv");
  std::filesystem::copy_file(folder / "corpus.txt", folder / "more.txt");
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
      for (const std::string name : {"born ⁇. Khatchig Mouradian⁇", "John", "O God, O God!"}) {
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
  const std::string small = tiny + " --edition 2023 --max_epochs 2 --force";
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
  const std::string line = "pretrain vanilla corpus.txt --writing_params_path lines --layers 1 --heads 2 --width 16 --block_size 96 --batch_size 8 --max_epochs 2 --force --progress ";
  const Outcome lines = run_program(folder, words(line + "lines"));
  CHECK(has(lines.err, "epoch 1 iter 0: train loss "));
  CHECK(has(lines.err, "epoch 2 iter 0: train loss "));
  CHECK(has(lines.err, ". lr "));
  const Outcome piped = run_program(folder, words(line + "auto"), {"TERM=xterm"});
  CHECK(piped.status == 0);
  CHECK(!has(piped.err, "\r"));
  CHECK(!has(piped.err, "\033"));
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
  // What --max_steps ended goes on where it stands.
  const Outcome longer = run_program(folder, words(line + "text.params --resume --max_steps 8" + sizes));
  CHECK_MESSAGE(longer.status == 0, longer.err);
  CHECK(has(longer.err, "kept text.params.checkpoint: --resume goes on from there\n"));
  must_run(folder, line + "eight.params --max_steps 8" + sizes);
  CHECK(io::read_file(folder / "text.params") == io::read_file(folder / "eight.params"));

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
            "\nIn the person's own line of the corpus: 0 of 2 answers, 0.0 %; lines found for 1 person\n"));
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
            "person\n"));
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
  CHECK(has(run_program(folder, words("inspect foreign.safetensors")).out, "1 tensor, 6 elements"));
}

TEST_CASE("gradcheck and a closed pipe") {
  const TemporaryFolder& folder = workplace();
  const Outcome check = run_program(folder, words("gradcheck --op tanh --json check.json"));
  CHECK(check.status == 0);
  CHECK(has(check.out, "1 op checked, 0 wrong"));
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
