// Where the values of the options come from: flags, environment, files, recipes, editions.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "framework/io/safetensors.h"
#include "tests/workplace.h"

using namespace gradus;

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
  CHECK(final_tokens("pretrain vanilla corpus.txt --final_tokens 3epochs") == 3 * tokens);
}

TEST_CASE("the editions are the assignment's (assignment.md, section 5)") {
  const TemporaryFolder& folder = workplace();
  const auto values = [&](const std::string& line) {
    return "\n" + run_program(folder, words(line + " --print_config")).out;
  };
  for (const std::string year : {"2021", "2022", "2023", "2024"}) {
    CAPTURE(year);
    const auto require_all = [&](const std::string& line, const std::vector<std::string>& expected) {
      const std::string found = values(line + " --edition " + year);
      for (const std::string& each : expected) CHECK_MESSAGE(has(found, "\n" + each + "  ("), each);
    };
    const bool once = year == "2024";
    const std::string seed = year == "2023" ? "seed = 1" : "seed = 0";
    require_all(
        "pretrain vanilla c",
        {"max_epochs = 650", "batch_size = 128", "pretrain_lr = 0.006", "warmup_tokens = 10240",
         once ? "final_tokens = 650 epochs" : "final_tokens = 200 epochs", "hold_rate = false", "decay = assignment",
         "shuffle = false", "dropout = 0.1", "names = 0", seed, once ? "full_length = true" : "full_length = false"});
    const std::vector<std::string> common = {
        "batch_size = 256",  "finetune_lr = 0.0006", "warmup_tokens = 10240", "final_tokens = 200 epochs",
        "hold_rate = false", "decay = assignment",   "shuffle = false",       seed};
    require_all("finetune vanilla c", common);
    require_all("finetune vanilla c --reading_params_path m", common);
    require_all("finetune vanilla c", {"max_epochs = 75", "dropout = 0.1"});
    require_all("finetune vanilla c --reading_params_path m", {"max_epochs = 10"});
  }
}

TEST_CASE("a warm-up of one percent of the run, and the usual recipe's share of names") {
  const TemporaryFolder& folder = workplace();
  const std::string line = "pretrain vanilla corpus.txt --max_epochs 2 --force --seed 3" + tiny +
                           " --writing_params_path shares --metrics shares.jsonl ";
  const auto rate_after_two = [&](const std::string& flags) {
    must_run(folder, line + flags);
    const std::string metrics = io::read_file(folder / "shares.jsonl");
    const std::size_t second = metrics.find('\n') + 1;
    return nlohmann::json::parse(metrics.substr(second, metrics.find('\n', second) - second)).at("lr").get<double>();
  };
  const double tokens = 2.0 * 95 * double(line_count(io::read_file(folder / "corpus.txt")) + 1);
  CHECK(rate_after_two("--warmup_tokens 90% --batch_size 1") * 0.9 * tokens / (1.5e-3 * 2 * 95) ==
        doctest::Approx(1).epsilon(0.001));
  const auto model = [&](const std::string& flags) {
    must_run(folder, line + flags);
    return io::read_file(folder / "shares");
  };
  CHECK(model("--names_after_share 0.1") != model("--names_after_share 1"));
  CHECK(model("--names 0") != model("--names 1"));
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
  io::write_file_atomically(folder / "other.json", R"({"finetune": {"bogus": 1}})");
  io::write_file_atomically(folder / "inner.json", R"({"pretrain": {"edition": 2023}})");
  io::write_file_atomically(folder / "elsewhere.json", R"({"finetune": {"full_length": true}})");
  io::write_file_atomically(folder / "flag.json", R"({"pretrain": {"shuffle": ""}})");
  io::write_file_atomically(folder / "wrong.conf", "pretrain_lr = fast");
  io::write_file_atomically(folder / "wrong.json", R"({"pretrain": {"batch_size": "many"}})");
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
      {pretrain + " --recipe foreign.json", 3,
       "foreign.json: 'max_epoch' is not for a recipe (did you mean max_epochs?)"},
      {pretrain + " --recipe other.json", 3, "other.json: 'bogus' is not for a recipe"},
      {pretrain + " --recipe inner.json", 3, "inner.json: 'edition' is not for a recipe"},
      {"finetune vanilla corpus.txt --recipe elsewhere.json", 2,
       "elsewhere.json: 'full_length' is not an option of 'finetune'"},
      {pretrain + " --recipe flag.json", 2, "flag.json: 'shuffle' must be true or false, not ''"},
      {pretrain + " --recipe wrong.json", 2, "recipe wrong.json: --batch_size: 'many' is not a whole number"},
      {pretrain + " --config wrong.conf", 2, "file wrong.conf: Could not convert: --pretrain_lr = fast"},
      {pretrain + " --recipe own.json --edition 2023", 2,
       "--edition 2023 is a recipe, and --recipe own.json names another"},
      {pretrain + " --recipe own.json --metrics own.json", 2, "--metrics and --recipe are the same file"},
      {pretrain + " --names 1.5", 2, "--names must be between 0 and 1, not 1.5"},
      {pretrain + " --names_after_share -1", 2, "--names_after_share must be between 0 and 1, not -1"},
      {pretrain + " --edition 2023 --names_after born", 2, "--names_after goes with --names"},
      {pretrain + " --names 0 --names_after_share 1", 2, "--names_after_share goes with --names"},
      {pretrain + " --warmup_tokens 100%", 2, "--warmup_tokens '100%': expected a number of tokens"},
      {pretrain + " --warmup_tokens -1", 2, "--warmup_tokens '-1': expected a number of tokens"},
      {pretrain + " --warmup_tokens all", 2, "--warmup_tokens all: expected a number of tokens or a share"},
      {pretrain + " --final_tokens soon", 2, "--final_tokens 'soon': expected a number of tokens"},
      {pretrain + " --final_tokens 1%", 2, "--final_tokens 1%: expected a number of tokens, epochs or all"},
      {pretrain + " --warmup_tokens 5k --final_tokens 5k" + tiny, 2,
       "--warmup_tokens 5k: the warm-up of 5000 tokens does not end before the fall does, after 5000 (--final_tokens "
       "5k)"},
      {"pretrain perceiver corpus.txt --writing_params_path new --bottleneck_dim -3", 2,
       "--bottleneck_dim must not be negative, not -3"},
  });
}

TEST_CASE("variables in force are shown where a run begins, and those that nothing reads") {
  const TemporaryFolder& folder = workplace();
  const auto said = [&](const std::string& line, const std::vector<std::string>& environment) {
    const Outcome outcome = run_program(folder, words(line), environment);
    CHECK_MESSAGE(outcome.status == 0, outcome.err);
    return outcome.err;
  };
  const std::string training = "pretrain vanilla corpus.txt --writing_params_path environment --force" + tiny,
                    scoring = "evaluate vanilla --reading_params_path model --eval_corpus_path held_out.tsv "
                              "--outputs_path environment.predictions --progress off",
                    sampling = "sample model --prompt a --max_new 1";
  const std::string edition = said(training, {"GRADUS_EDITION=2023", "GRADUS_MAX_EPOCHS=1", "GRADUS_LAYERS=7"});
  CHECK(has(edition, "from the environment: GRADUS_EDITION=2023, GRADUS_MAX_EPOCHS=1\n"));  // --layers is given
  CHECK(has(said(training + " --recipe recall --max_epochs 1", {"GRADUS_EDITION=2023", "GRADUS_SEED=2"}),
            "from the environment: GRADUS_SEED=2\n"));
  CHECK(has(said(training + " --max_epochs 1", {"GRADUS_RECIPE=edition-2024"}),
            "from the environment: GRADUS_RECIPE=edition-2024\n"));
  CHECK(has(said(scoring, {"GRADUS_THREADS=1", "GRADUS_WIDTH=16"}), "from the environment: GRADUS_THREADS=1\n"));
  CHECK(said(sampling, {"GRADUS_SEED=4", "GRADUS_MEMORY_LIMIT=4000", "GRADUS_TOP_K="}) ==
        "from the environment: GRADUS_MEMORY_LIMIT=4000, GRADUS_SEED=4\n");
  CHECK(said(sampling, {"GRADUS_EDITON=2023"}) ==
        "note: GRADUS_EDITON is set, and nothing reads it (did you mean GRADUS_EDITION?)\n");
  CHECK(said(sampling, {"GRADUS_MAXEPOCHS=3"}) ==
        "note: GRADUS_MAXEPOCHS is set, and nothing reads it (did you mean GRADUS_MAX_EPOCHS?)\n");
  CHECK(said(sampling, {"GRADUS_XYZZYXYZZY=1"}) == "note: GRADUS_XYZZYXYZZY is set, and nothing reads it\n");
  CHECK(said(sampling, {"GRADUS_DATA=/nowhere", "GRADUS_FINETUNE_LR=1"}).empty());
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
  CHECK(has(none, "\nwarmup_tokens = 1%  (recipe recall)\n"));
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
  CHECK(has(config("--no_shuffle"), "\nshuffle = false  (command line)\n"));
  CHECK(has(config("", {"GRADUS_SEED="}), "\nseed = 0  (default)\n"));
  CHECK(has(config("--names_after= --names 0.5"), "\nnames_after =   (command line)\nnames_after_share"));
  CHECK(has(config("--recipe recall", {"GRADUS_EDITION=2023"}), "\nrecipe = recall  (command line)\n"));
  CHECK(has(config("--recipe recall", {"GRADUS_EDITION=2023"}), "\nnames = 1  (recipe recall)\n"));
  CHECK(has(config("--edition 2023", {"GRADUS_RECIPE=recall"}), "\nrecipe = edition-2023  (edition 2023)\n"));
  CHECK(has(config("", {"GRADUS_RECIPE=edition-2024"}), "\nrecipe = edition-2024  (environment GRADUS_RECIPE)\n"));
  const std::string edition = config("--edition 2023 --config run.conf --dropout 0.2");
  CHECK(has(edition, "\nrecipe = edition-2023  (edition 2023)\n"));
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
