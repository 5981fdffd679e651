// --eval_every: held-out data looked at while a model trains; and the progress line of the program at a terminal.
#include <doctest/doctest.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>

#include <cmath>
#include <csignal>
#include <sstream>
#include <thread>
#include <utility>

#include "tests/screen.h"
#include "tests/workplace.h"

namespace {

using namespace std::chrono_literals;

std::vector<nlohmann::json> metrics_of(const std::string& name) {
  std::vector<nlohmann::json> lines;
  std::istringstream text(io::read_file(workplace() / name));
  for (std::string line; std::getline(text, line);) {
    lines.push_back(nlohmann::json::parse(line));
    for (const char* timing : {"seconds", "tokens_per_second"}) lines.back().erase(timing);
  }
  return lines;
}

std::vector<nlohmann::json> without_looks(std::vector<nlohmann::json> lines) {
  for (nlohmann::json& line : lines) line.erase("eval_loss"), line.erase("eval_score");
  return lines;
}

/// Steps whose line has a held-out loss.
std::vector<std::int64_t> looks_in(const std::vector<nlohmann::json>& lines) {
  std::vector<std::int64_t> steps;
  for (const nlohmann::json& line : lines) {
    if (line.contains("eval_loss")) steps.push_back(line.at("step"));
  }
  return steps;
}

Outcome runs(const std::string& line) {
  const Outcome outcome = run_program(workplace(), words(line));
  REQUIRE_MESSAGE(outcome.status == 0, line, "\n", outcome.err);
  return outcome;
}

void remove(std::initializer_list<const char*> names) {
  for (const char* name : names) std::filesystem::remove(workplace() / name);
}

const std::string sizes = " --layers 2 --heads 2 --width 16 --block_size 96 --batch_size 4 --threads 1 ";

}  // namespace

TEST_CASE("what --eval_every does not take is refused") {
  workplace().write("held_out.txt", "Aloha: ß\n");
  check_refusals({
      {pretrain + " --eval_every 2", 2, "--eval_every 2: add --eval_corpus_path FILE"},
      {finetune + " --finetune_corpus_path train.tsv --eval_every epoch", 2, "--eval_every epoch: add --eval_corpus_path FILE"},
      {pretrain_text + " --eval_every 1k", 2, "--eval_every 1k: add --eval_corpus_path FILE"},
      {pretrain + " --eval_corpus_path corpus.txt --eval_every often", 2, "--eval_every 'often': expected a number of steps"},
      {pretrain + " --eval_corpus_path corpus.txt --eval_every -1", 2, "--eval_every '-1': expected"},
      {pretrain + " --eval_corpus_path corpus.txt --eval_every 1.5", 2, "--eval_every '1.5': expected"},
      {pretrain + " --eval_corpus_path nowhere --eval_every 2", 3, "nowhere: cannot be read"},
      {pretrain + " --eval_corpus_path held_out.txt --eval_every 2", 3, "held_out.txt: line 1: the character"},
      {pretrain_text + " --eval_corpus_path held_out.txt --eval_every 2", 3, "held_out.txt: line 1: the character"},
      {finetune + " --finetune_corpus_path train.tsv --eval_corpus_path no_tabs.tsv --eval_every 2", 3, "no_tabs.tsv: line 1"},
      {pretrain + " --metrics corpus2.txt --eval_corpus_path corpus2.txt --eval_every 2", 2, "same file"},
  });
}

TEST_CASE("pretraining is the same bits with and without, and each look is at the same corrupted documents") {
  const std::string line = "pretrain rope corpus.txt --max_epochs 2 --progress plain" + sizes;
  runs(line + "--writing_params_path plain.params --metrics plain.jsonl");
  const Outcome looked = runs(line + "--writing_params_path looked.params --metrics looked.jsonl --eval_every epoch --eval_corpus_path corpus.txt");
  CHECK(io::read_file(workplace() / "plain.params") == io::read_file(workplace() / "looked.params"));
  const auto metrics = metrics_of("looked.jsonl");
  CHECK(without_looks(metrics) == metrics_of("plain.jsonl"));
  const auto steps = static_cast<std::int64_t>(metrics.size());
  CHECK(looks_in(metrics) == std::vector<std::int64_t>{steps / 2, steps});
  CHECK(has(looked.err, fmt::format("step {}: held-out loss ", steps)));
  CHECK(has(looked.err, "best: held-out loss "));
  CHECK(metrics.back()["eval_loss"] < metrics[steps / 2 - 1]["eval_loss"]);

  runs(line + "--writing_params_path still.params --metrics still.jsonl --eval_every 3 --eval_corpus_path corpus.txt --pretrain_lr 1e-30 --decay standard");
  const auto still = metrics_of("still.jsonl");
  CHECK(looks_in(still).size() > 2);
  for (const std::int64_t step : looks_in(still)) CHECK(still[step - 1]["eval_loss"] == still.back()["eval_loss"]);
  remove({"plain.params", "looked.params", "still.params"});
}

TEST_CASE("finetuning's score is that of evaluate, and a killed run looks at the same") {
  const std::string line = "finetune perceiver corpus.txt --finetune_corpus_path train.tsv --max_epochs 30 --progress off --edition 2023" +
                           sizes + "--eval_every 20 --eval_corpus_path train.tsv --checkpoint_every 7 ";
  runs(line + "--writing_params_path whole.params --metrics whole.jsonl");
  const auto whole = metrics_of("whole.jsonl");
  runs("evaluate perceiver --reading_params_path whole.params --eval_corpus_path train.tsv --outputs_path answers --json score.json");
  const nlohmann::json score = nlohmann::json::parse(io::read_file(workplace() / "score.json"));
  CHECK(whole.back()["eval_score"] == score.at("accuracy"));

  const std::string killed = line + "--writing_params_path killed.params --metrics killed.jsonl ";
  Program program(workplace(), gradus_command(words(killed)));
  while (!program.has_ended()) {
    if (std::filesystem::exists(workplace() / "killed.jsonl") && line_count(io::read_file(workplace() / "killed.jsonl")) >= 25) break;
    std::this_thread::sleep_for(1ms);
  }
  program.send(SIGKILL);
  program.wait();
  runs(killed + "--resume");
  CHECK(metrics_of("killed.jsonl") == whole);
  CHECK(io::read_file(workplace() / "killed.params") == io::read_file(workplace() / "whole.params"));
  remove({"whole.params", "killed.params", "answers", "score.json"});
}

TEST_CASE("a held-out text is predicted once, in blocks") {
  workplace().write("long.txt", "to be or not to be, that is the question: to be, to be, to be, or not to be. so it is\n");
  workplace().write("short.txt", "to be, or not so\n");
  runs("pretrain-text long.txt --writing_params_path text.params --metrics text.jsonl --max_epochs 30 --batch_size 64 --layers 1 --heads 2 "
       "--width 16 --block_size 6 --threads 1 --progress off --dropout 0 --learning_rate 1e-2 --eval_every 10 --eval_corpus_path short.txt");
  const auto metrics = metrics_of("text.jsonl");
  CHECK(looks_in(metrics).back() == static_cast<std::int64_t>(metrics.size()));
  const double first = metrics[9]["eval_loss"], last = metrics.back()["eval_loss"];
  CHECK(first < std::log(25.0));
  CHECK(last < 0.8 * first);
  remove({"text.params"});
}

TEST_CASE("the program at a terminal that changes its width: one line, and it fits") {
  workplace();
  int terminal = -1;
  winsize size{24, 80, 0, 0};
  const std::string shell = "cd " + workplace().path.string() + " && exec " + GRADUS_PROGRAM +
                            " pretrain vanilla corpus.txt --writing_params_path wide.params --max_epochs 1000000" + sizes +
                            "--eval_every 300 --eval_corpus_path corpus.txt > wide.out";
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, &size);
  if (child == 0) {
    for (const char* name : {"XTERM_VERSION", "STY", "LC_ALL", "LC_CTYPE"}) ::unsetenv(name);
    ::setenv("TERM", "tmux", 1);
    ::setenv("LANG", "C.UTF-8", 1);
    ::execl("/bin/sh", "sh", "-c", shell.c_str(), nullptr);
    ::_exit(127);
  }
  Screen screen(size.ws_col);
  std::vector<unsigned short> widths = {40, 20, 60, 33};
  std::size_t overflows = 0, updates = 0;
  bool stopped = false;
  auto changed = std::chrono::steady_clock::now();
  const auto end = changed + 60s;
  char bytes[4096];
  for (;;) {
    REQUIRE(std::chrono::steady_clock::now() < end);
    pollfd file{terminal, POLLIN, 0};
    if (::poll(&file, 1, 20) == 0) continue;
    const ssize_t count = ::read(terminal, bytes, sizeof bytes);
    if (count <= 0) break;
    const std::string text(bytes, count);
    updates += std::count(text.begin(), text.end(), '%');
    screen.write(text);
    // What was on its way when the width changed does not count.
    const bool settled = std::chrono::steady_clock::now() - changed > 150ms;
    if (const std::size_t now = screen.take_overflows(); settled && !stopped) overflows += now;
    if (!settled || updates <= 5) continue;
    if (widths.empty()) {
      if (!std::exchange(stopped, true)) ::kill(child, SIGINT);
    } else {
      size.ws_col = widths.front();
      widths.erase(widths.begin());
      ::ioctl(terminal, TIOCSWINSZ, &size);
      screen.resize(size.ws_col);
      changed = std::chrono::steady_clock::now();
      updates = 0;
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ::close(terminal);
  CHECK(WEXITSTATUS(status) == 130);
  CHECK(overflows == 0);
  // Nothing of the bar remains but where Ctrl-C was said behind it.
  const std::vector<std::string> lines = screen.lines();
  CHECK_MESSAGE(std::ranges::count_if(lines, [](const std::string& line) { return has(line, "%  loss"); }) <= 1, screen.text());
  CHECK(has(screen.text(), "loss over "));
  CHECK(has(screen.text(), "saved wide.params.checkpoint"));
  remove({"wide.params.checkpoint"});
}
