// Runs that are interrupted, killed and resumed end with the same bytes as runs that are left alone.
#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>
#include <tuple>

#include "framework/random/generator.h"
#include "tests/program.h"

using namespace gradus;

namespace {

const std::string pretrain =
    "pretrain vanilla corpus.txt --layers 2 --heads 2 --width 32 --block_size 96 --batch_size 4 --max_epochs 8 "
    "--edition 2023 --seed 3 ";
const std::string finetune =
    "finetune vanilla corpus.txt --finetune_corpus_path train.tsv --layers 2 --heads 2 --width 32 --block_size 96 "
    "--batch_size 4 --max_epochs 20 --edition 2023 ";
const std::string pretrain_text =
    "pretrain-text corpus.txt --layers 2 --heads 2 --width 32 --block_size 48 --batch_size 16 --max_steps 100 ";

void sleep_milliseconds(std::int64_t count) { std::this_thread::sleep_for(std::chrono::milliseconds(count)); }

/// The built-in world at a small size, and the models of runs that nobody disturbed.
const TemporaryFolder& world() {
  static TemporaryFolder folder;
  static bool ready = false;
  if (!ready) {
    REQUIRE(run_program(folder, words("world . --train_people 12 --held_out_people 12 --places 4")).status == 0);
    REQUIRE(run_program(folder, words(pretrain + "--writing_params_path pretrained --metrics pretrained.jsonl")).status == 0);
    REQUIRE(run_program(folder, words(finetune + "--writing_params_path finetuned --metrics finetuned.jsonl")).status == 0);
    REQUIRE(run_program(folder, words(pretrain_text + "--writing_params_path texted --metrics texted.jsonl")).status == 0);
    ready = true;
  }
  return folder;
}

std::string read(const std::string& name) { return io::read_file(world() / name); }

bool exists(const std::string& name) { return std::filesystem::exists(world() / name); }

void remove_all_of(const std::string& name) {
  for (const char* ending : {"", ".checkpoint", ".jsonl"}) std::filesystem::remove(world() / (name + ending));
}

std::int64_t steps_logged(const std::string& name) {
  if (!exists(name)) return 0;
  const std::string text = read(name);
  return std::count(text.begin(), text.end(), '\n');
}

/// Waits until a run has logged so many steps. False where it ended first.
bool reaches_step(Program& program, const std::string& metrics, std::int64_t step) {
  while (steps_logged(metrics) < step) {
    if (program.has_ended()) return false;
    sleep_milliseconds(1);
  }
  return true;
}

/// The metrics without what depends on the clock.
std::vector<nlohmann::json> timeless_metrics(const std::string& name) {
  std::vector<nlohmann::json> lines;
  std::istringstream text(read(name));
  for (std::string line; std::getline(text, line);) {
    nlohmann::json json = nlohmann::json::parse(line);
    json.erase("seconds");
    json.erase("tokens_per_second");
    lines.push_back(json);
  }
  return lines;
}

/// Interrupts `command` by `signal` after a third of its steps, resumes it, and compares with `undisturbed`.
void interrupt_and_resume(const std::string& command, const std::string& undisturbed, int signal) {
  remove_all_of("stopped");
  const std::string line = command + "--writing_params_path stopped --metrics stopped.jsonl ";
  const std::int64_t total = steps_logged(undisturbed + ".jsonl");
  Program program(world(), gradus_command(words(line + "--threads 1")));
  REQUIRE(reaches_step(program, "stopped.jsonl", total / 3));
  program.send(signal);
  if (signal == SIGHUP) sleep_milliseconds(1), program.send(signal);  // as a closing terminal does
  const Outcome outcome = program.wait();
  CHECK(outcome.status == 128 + signal);
  CHECK(outcome.err.find("stopping: the step is finished and saved first") != std::string::npos);
  CHECK(outcome.err.find("go on with --resume") != std::string::npos);
  CHECK(!exists("stopped"));
  REQUIRE(exists("stopped.checkpoint"));
  CHECK(steps_logged("stopped.jsonl") < total);

  const Outcome resumed = run_program(world(), words(line + "--resume --threads 2"));
  REQUIRE_MESSAGE(resumed.status == 0, resumed.err);
  CHECK(resumed.err.find("resumed from stopped.checkpoint") != std::string::npos);
  CHECK(read("stopped") == read(undisturbed));
  CHECK(timeless_metrics("stopped.jsonl") == timeless_metrics(undisturbed + ".jsonl"));
  CHECK(!exists("stopped.checkpoint"));
}

}  // namespace

TEST_CASE("Ctrl-C saves, and the resumed run ends with the same bytes") {
  interrupt_and_resume(pretrain, "pretrained", SIGINT);
  interrupt_and_resume(finetune, "finetuned", SIGINT);
}

TEST_CASE("so do runs of the usual recipe, and rows padded to different lengths") {
  const std::string sizes = " --layers 2 --heads 2 --width 32 --block_size 96 --batch_size 4 --seed 3 ";
  const std::string named = "pretrain rope corpus.txt --max_epochs 8" + sizes,
                    padded = "pretrain perceiver corpus.txt --edition 2023 --bottleneck_dim 16 --max_epochs 4" + sizes;
  for (const std::string& command : {named, padded}) {
    remove_all_of("undisturbed");
    REQUIRE(
        run_program(world(), words(command + "--writing_params_path undisturbed --metrics undisturbed.jsonl")).status ==
        0);
    interrupt_and_resume(command, "undisturbed", SIGINT);
  }
}

TEST_CASE("SIGTERM does the same with status 143") { interrupt_and_resume(pretrain, "pretrained", SIGTERM); }

TEST_CASE("so does a closed terminal, with status 129, unless nohup was asked for") {
  interrupt_and_resume(pretrain, "pretrained", SIGHUP);
  remove_all_of("stopped");
  std::signal(SIGHUP, SIG_IGN);
  Program program(world(), gradus_command(words(pretrain + "--writing_params_path stopped --metrics stopped.jsonl")));
  std::signal(SIGHUP, SIG_DFL);
  REQUIRE(reaches_step(program, "stopped.jsonl", 5));
  program.send(SIGHUP);
  CHECK(program.wait().status == 0);
  CHECK(read("stopped") == read("pretrained"));
}

TEST_CASE("a second Ctrl-C leaves at once and damages nothing") {
  remove_all_of("twice");
  const std::string line = pretrain + "--writing_params_path twice --metrics twice.jsonl --checkpoint_every 5 ";
  Program program(world(), gradus_command(words(line)));
  REQUIRE(reaches_step(program, "twice.jsonl", 12));
  program.send(SIGINT);
  sleep_milliseconds(1);
  program.send(SIGINT);
  CHECK(program.wait().status == 130);
  REQUIRE(exists("twice.checkpoint"));
  REQUIRE(run_program(world(), words(line + "--resume")).status == 0);
  CHECK(read("twice") == read("pretrained"));
}

TEST_CASE("SIGUSR1 saves and goes on") {
  remove_all_of("saved");
  Program program(world(), gradus_command(words(pretrain + "--writing_params_path saved --metrics saved.jsonl")));
  REQUIRE(reaches_step(program, "saved.jsonl", 5));
  CHECK(!exists("saved.checkpoint"));
  program.send(SIGUSR1);
  while (!exists("saved.checkpoint") && !program.has_ended()) sleep_milliseconds(1);
  CHECK(steps_logged("saved.jsonl") < steps_logged("pretrained.jsonl"));
  CHECK(program.wait().status == 0);
  CHECK(read("saved") == read("pretrained"));
}

namespace {

/// Kills `command` at moments that are drawn and resumes it, until it has been killed `kills` times and has ended.
/// The number of times it has ended.
int kill_and_resume(const std::string& command, const std::string& undisturbed, int kills, StreamReader& random) {
  const std::string line = command + "--writing_params_path killed --metrics killed.jsonl --checkpoint_every 2 --resume ";
  const std::int64_t stride = 2 * steps_logged(undisturbed + ".jsonl") / kills;
  int ends = 0;
  bool ended = false;
  for (int killed = 0; killed < kills || !ended;) {
    Program program(world(), gradus_command(words(line)));
    if (killed < kills) {
      // Some steps further on, then anywhere in a step: at times before the program has begun, at times in a save.
      reaches_step(program, "killed.jsonl", steps_logged("killed.jsonl") + random.next_integer(0, stride));
      std::this_thread::sleep_for(std::chrono::microseconds(random.next_integer(0, 10000)));
      if (!program.has_ended()) program.send(SIGKILL);
    }
    const Outcome outcome = program.wait();
    ended = outcome.status != 128 + SIGKILL;
    if (!ended) {
      ++killed;
      continue;
    }
    REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
    ++ends;
    REQUIRE(read("killed") == read(undisturbed));
    CHECK(timeless_metrics("killed.jsonl") == timeless_metrics(undisturbed + ".jsonl"));
    CHECK(exists("killed.checkpoint") == (line.find("--max_steps") != std::string::npos));
    remove_all_of("killed");
  }
  return ends;
}

}  // namespace

TEST_CASE("killed 200 times at any moment, runs still end with the same bytes") {
  StreamReader random(1, 0);
  remove_all_of("killed");
  for (const auto& [command, undisturbed, kills] :
       {std::tuple{pretrain, "pretrained", 67}, {finetune, "finetuned", 67}, {pretrain_text, "texted", 66}}) {
    MESSAGE(undisturbed, ": killed ", kills, " times, ended ", kill_and_resume(command, undisturbed, kills, random), " times");
    for (const std::string& name : world().names()) CHECK_FALSE(name.ends_with(".partial"));
  }
}

TEST_CASE("what a checkpoint does not allow is refused by name") {
  remove_all_of("refused");
  const std::string line = pretrain + "--writing_params_path refused --metrics refused.jsonl ";
  Program program(world(), gradus_command(words(line)));
  REQUIRE(reaches_step(program, "refused.jsonl", 3));
  program.send(SIGINT);
  REQUIRE(program.wait().status == 130);
  const std::string checkpoint = read("refused.checkpoint");
  const auto refusal = [&](const std::string& flags) {
    const Outcome outcome = run_program(world(), words(line + flags));
    CHECK(outcome.status == 2);
    CHECK(!exists("refused"));
    CHECK(read("refused.checkpoint") == checkpoint);
    return outcome.err;
  };
  const auto names = [](const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; };
  CHECK(names(refusal(""), "pass --resume to go on, or --force to start anew"));
  CHECK(names(refusal("--resume --seed 4"), "cannot resume with another --seed: it was 3, now it is 4"));
  CHECK(names(refusal("--resume --batch_size 5"), "cannot resume with another --batch_size: it was "));
  CHECK(names(refusal("--resume --pretrain_lr 1e-3"),
              "cannot resume with another --pretrain_lr: it was 0.006, now it is 0.001"));
  {
    std::string other = line + "--resume";
    other.replace(other.find("vanilla"), 7, "rope");
    const Outcome outcome = run_program(world(), words(other));
    CHECK(outcome.status == 2);
    CHECK(names(outcome.err, "cannot resume with another VARIANT: it was \"vanilla\", now it is \"rope\""));
  }
  CHECK(names(refusal("--resume --width 16"), "cannot resume with another --width: it was 32, now it is 16"));
  CHECK(names(refusal("--resume --max_epochs 9"), "the run was to have 8 epochs, not 9: pass --extend too"));
  CHECK(names(refusal("--resume --max_epochs 9 --seed 4"), "cannot resume with another --seed: it was 3, now it is 4"));
  CHECK(names(refusal("--resume --extend --max_epochs 9 --width 16"), "cannot resume with another --width"));
  CHECK(names(refusal("--resume --extend --max_epochs 7"), "cannot resume with another --max_epochs"));
  CHECK(names(refusal("--resume --shuffle"), "cannot resume with another --shuffle"));
  CHECK(names(refusal("--resume --dtype f64"), "cannot resume with another --dtype"));
  {
    io::write_file_atomically(world() / "kept", read("corpus.txt"));
    std::string other = read("corpus.txt");
    std::swap(other[other.find('a')], other[other.find('e')]);
    io::write_file_atomically(world() / "corpus.txt", other);
    CHECK(names(refusal("--resume"), "cannot resume with another training data"));
    std::filesystem::rename(world() / "kept", world() / "corpus.txt");
  }
  REQUIRE(run_program(world(), words(line + "--force")).status == 0);
  CHECK(read("refused") == read("pretrained"));
  // A finished run has nothing to resume, and stays as it is.
  const Outcome complete = run_program(world(), words(line + "--resume"));
  CHECK(complete.status == 0);
  CHECK(names(complete.err, "nothing to resume"));
  CHECK(read("refused") == read("pretrained"));
  // Where it is the result of other settings, or no result at all, that is said.
  const Outcome other = run_program(world(), words(line + "--resume --seed 4"));
  CHECK(other.status == 2);
  CHECK(names(other.err, "refused: cannot resume with another --seed: it was 3, now it is 4"));
  io::write_file_atomically(world() / "refused", "no model");
  CHECK(run_program(world(), words(line + "--resume")).status == 3);
  CHECK(read("refused") == "no model");
}

TEST_CASE("a run that is to end early may be resumed to another end") {
  remove_all_of("early");
  const std::string line = pretrain + "--writing_params_path early --metrics early.jsonl ";
  REQUIRE(run_program(world(), words(pretrain + "--writing_params_path later --max_steps 60")).status == 0);
  Program program(world(), gradus_command(words(line + "--max_steps 55")));
  REQUIRE(reaches_step(program, "early.jsonl", 3));
  program.send(SIGINT);
  REQUIRE(program.wait().status == 130);
  const Outcome past = run_program(world(), words(line + "--resume --max_steps 2"));
  CHECK(past.status == 2);
  CHECK(past.err.find(" steps are done, more than the run is to have (max_steps 2)") != std::string::npos);
  CHECK(run_program(world(), words(line + "--resume --max_steps 60")).status == 0);
  CHECK(read("early") == read("later"));
}

TEST_CASE("resuming does not ask where the model to start from lies, but whether it is the same") {
  remove_all_of("further");
  std::filesystem::copy_file(world() / "pretrained", world() / "start");
  const std::string line = finetune + "--writing_params_path further --metrics further.jsonl --reading_params_path ";
  Program program(world(), gradus_command(words(line + "start")));
  REQUIRE(reaches_step(program, "further.jsonl", 3));
  program.send(SIGINT);
  REQUIRE(program.wait().status == 130);
  const Outcome other = run_program(world(), words(line + "finetuned --resume"));
  CHECK(other.status == 2);
  CHECK(other.err.find("cannot resume with another --reading_params_path") != std::string::npos);
  CHECK(run_program(world(), words(line + "./start --resume")).status == 0);
}

TEST_CASE("a model that cannot be written costs nothing: the end of the run is in the checkpoint") {
  remove_all_of("unwritten");
  const std::string line =
      pretrain + "--writing_params_path unwritten --metrics unwritten.jsonl --checkpoint elsewhere ";
  Program program(world(), gradus_command(words(line)));
  REQUIRE(reaches_step(program, "unwritten.jsonl", 3));
  std::filesystem::create_directory(world() / "unwritten");  // where the model was to go
  const Outcome outcome = program.wait();
  CHECK(outcome.status == 1);
  CHECK(outcome.err.find("gradus: unwritten: is a folder") != std::string::npos);
  std::filesystem::remove(world() / "unwritten");
  const Outcome resumed = run_program(world(), words(line + "--resume"));
  CHECK(resumed.status == 0);
  CHECK(read("unwritten") == read("pretrained"));
  CHECK(timeless_metrics("unwritten.jsonl") == timeless_metrics("pretrained.jsonl"));
}
