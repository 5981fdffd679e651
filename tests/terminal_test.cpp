// The program at a terminal and in a pipe: Ctrl-C, a terminal that closes, readers that leave, limits of the shell.
#include <doctest/doctest.h>
#include <poll.h>
#include <pty.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>
#include <utility>

#include "framework/random/generator.h"
#include "tests/messages.h"
#include "tests/program.h"

using namespace gradus;

namespace {

using namespace std::chrono_literals;

const std::string sizes = " --layers 1 --heads 2 --width 16 --block_size 96 --batch_size 4 --threads 1 --edition 2023 ";
const std::string pretrain = "pretrain vanilla corpus.txt --writing_params_path model" + sizes;
const std::string endless = pretrain + "--max_epochs 100000 ", short_run = pretrain + "--max_epochs 1 ";

void must_run(const TemporaryFolder& folder, const std::string& line) {
  const Outcome outcome = run_program(folder, words(line));
  REQUIRE_MESSAGE(outcome.status == 0, line, "\n", outcome.err);
}

/// The built-in world at a small size.
const TemporaryFolder& world() {
  static TemporaryFolder folder;
  static bool ready = false;
  if (!std::exchange(ready, true)) must_run(folder, "world . --train_people 12 --held_out_people 40 --places 4");
  return folder;
}

bool exists(const std::string& name) { return std::filesystem::exists(world() / name); }

void remove(std::initializer_list<const char*> names) {
  for (const char* name : names) std::filesystem::remove(world() / name);
}

std::vector<std::string> unfinished_files() {
  std::vector<std::string> names = world().names();
  std::erase_if(names, [](const std::string& name) { return !name.ends_with(".partial"); });
  return names;
}

template <class Condition>
bool becomes(const Condition& condition, std::chrono::milliseconds limit = 20s) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

std::string text_of(const std::string& name) { return exists(name) ? io::read_file(world() / name) : ""; }

/// The model that nobody disturbed.
const std::string& model_of_short_run() {
  static std::string model;
  if (model.empty()) {
    must_run(world(), short_run);
    model = text_of("model");
    remove({"model"});
  }
  return model;
}

/// A shell at a terminal of its own. It outlives Ctrl-C, which its commands get.
class Terminal {
 public:
  explicit Terminal(const std::string& line) {
    const std::string script = "PATH=" + std::string(std::filesystem::path(GRADUS_PROGRAM).parent_path()) +
                               ":/usr/bin:/bin; export PATH; trap : INT; cd " + world().path.string() + "; " + line;
    shell_ = ::forkpty(&terminal_, nullptr, nullptr, nullptr);
    if (shell_ < 0) throw std::runtime_error("no terminal can be made");
    if (shell_ > 0) {
      reader_ = std::thread([this] { read(); });
      return;
    }
    ::setenv("TERM", "xterm", 1);
    ::execl("/bin/sh", "sh", "-c", script.c_str(), nullptr);
    ::_exit(127);
  }
  ~Terminal() {
    close();
    ::kill(-shell_, SIGKILL);
    ::waitpid(shell_, nullptr, 0);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(char key) const { CHECK(::write(terminal_, &key, 1) == 1); }
  void close() {
    if (!reader_.joinable()) return;
    closing_ = true;
    reader_.join();
    ::close(terminal_);
  }

 private:
  void read() const {
    char bytes[4096];
    while (!closing_) {
      pollfd file{terminal_, POLLIN, 0};
      if (::poll(&file, 1, 5) == 1 && ::read(terminal_, bytes, sizeof bytes) <= 0) std::this_thread::sleep_for(5ms);
    }
  }

  pid_t shell_;
  int terminal_ = -1;
  std::atomic<bool> closing_ = false;
  std::thread reader_;
};

/// A command line for a Terminal that leaves gradus's status in the file `status`, whatever becomes of its readers.
std::string noting_status(const std::string& arguments, const std::string& redirection) {
  return "( trap : INT HUP; gradus " + arguments + " --metrics metrics; echo $? > status ) " + redirection + "; sleep 5";
}

bool has_steps(int count) {
  const std::string text = text_of("metrics");
  return std::count(text.begin(), text.end(), '\n') >= count;
}

/// The status that is noted in the end.
std::string noted_status() {
  CHECK(becomes([] { return text_of("status").ends_with("\n"); }));
  return text_of("status");
}

}  // namespace

TEST_CASE("Ctrl-C saves, whoever reads what is printed") {
  for (const std::string redirection : {"", "2>&1 | tee log", "2>&1 | head -n 3", "2>&1 | head -n 1", "> log 2>&1", "2>&-"}) {
    INFO(redirection);
    remove({"model.checkpoint", "metrics", "status", "log"});
    Terminal terminal(noting_status(endless, redirection));
    REQUIRE(becomes([] { return has_steps(20); }));
    terminal.type('\003');
    CHECK(noted_status() == "130\n");
    CHECK(exists("model.checkpoint"));
    CHECK(!exists("model"));
  }
  remove({"model.checkpoint"});
}

TEST_CASE("so does a terminal that closes") {
  for (const std::string redirection : {"", "2>&1 | tee log", "2>&1 | head -n 1", "> log 2>&1"}) {
    INFO(redirection);
    remove({"model.checkpoint", "metrics", "status", "log"});
    Terminal terminal(noting_status(endless, redirection));
    REQUIRE(becomes([] { return has_steps(20); }));
    terminal.close();
    CHECK(noted_status() == "129\n");
    CHECK(exists("model.checkpoint"));
  }
  remove({"model.checkpoint"});
}

TEST_CASE("a terminal halted by Ctrl-S does not keep Ctrl-C from saving, nor a second one from ending") {
  remove({"model.checkpoint", "metrics", "status"});
  Terminal terminal(noting_status(endless + "--progress lines", ""));
  REQUIRE(becomes([] { return has_steps(20); }));
  terminal.type('\023');
  std::this_thread::sleep_for(300ms);
  terminal.type('\003');  // lets the output go on, too
  CHECK(noted_status() == "130\n");
  CHECK(exists("model.checkpoint"));
  remove({"model.checkpoint"});
}

TEST_CASE("a run goes on to its end when those who read it leave") {
  const std::string& model = model_of_short_run();
  for (const std::string line : {"--progress lines 2>&1 | head -n 1", "--progress lines 2>&1 | true", "2>&1 | sleep 0"}) {
    INFO(line);
    remove({"model", "status"});
    run_shell(world(), "{ gradus " + short_run + line.substr(0, line.find(" |")) + "; echo $? > status; }" + line.substr(line.find(" |")));
    CHECK(noted_status() == "0\n");
    CHECK(text_of("model") == model);
    CHECK(!exists("model.checkpoint"));
  }
  remove({"model", "status"});
}

TEST_CASE("other commands end quietly and at once when their reader leaves") {
  must_run(world(), short_run);
  const std::string evaluate =
      "evaluate vanilla --reading_params_path model --eval_corpus_path held_out.tsv --outputs_path predictions";
  for (const std::string& arguments :
       {std::string("bench op --all"), std::string("gradcheck --list"), evaluate + " --show_errors 40",
        std::string("sample model --prompt b --max_new 2000000"), std::string("pretrain --help")}) {
    INFO(arguments);
    const auto start = std::chrono::steady_clock::now();
    const Outcome outcome = run_shell(world(), "{ gradus " + arguments + " 2> errors; echo $? > status; } | head -n 1");
    CHECK(std::chrono::steady_clock::now() - start < 20s);
    CHECK((text_of("status") == "141\n" || text_of("status") == "0\n"));
    CHECK(!has(text_of("errors"), "gradus:"));
  }
  remove({"model", "predictions", "status", "errors"});
}

TEST_CASE("timeout, which sends its signal twice, lets the run save") {
  for (const auto& [signal, status] : {std::pair("INT", 130), {"TERM", 143}, {"HUP", 129}}) {
    remove({"model.checkpoint"});
    const Outcome outcome =
        run_shell(world(), "timeout --preserve-status -s " + std::string(signal) + " 4 gradus " + endless);
    CHECK(outcome.status == status);
    CHECK(exists("model.checkpoint"));
    CHECK(has(outcome.err, "go on with --resume"));
  }
  remove({"model.checkpoint"});
}

TEST_CASE("what cannot be written under ulimit -f is a sentence, the run goes on, and nothing unfinished stays") {
  const std::string& model = model_of_short_run();
  const auto run_below = [](std::size_t bytes, const std::string& line) {
    remove({"model", "model.checkpoint"});
    return run_shell(world(), "ulimit -f " + std::to_string(bytes / 512) + "; exec gradus " + line + " --checkpoint_every 3");
  };
  // Enough for the model, not for the checkpoint, in which the optimizer's state is too.
  const Outcome without_checkpoints = run_below(model.size() + model.size() / 2, short_run);
  CHECK(without_checkpoints.status == 0);
  CHECK(has(without_checkpoints.err, "warning: no checkpoint after step 3: model.checkpoint: cannot be written: File too large"));
  CHECK(text_of("model") == model);
  CHECK(unfinished_files().empty());
  // For neither.
  const Outcome without_model = run_below(model.size() / 2, short_run);
  CHECK(without_model.status == 1);
  CHECK(has(without_model.err, "gradus: model: cannot be written: File too large"));
  CHECK(!exists("model"));
  CHECK(unfinished_files().empty());
  // The last checkpoint that could be written stands.
  remove({"model", "model.checkpoint"});
  CHECK(run_program(world(), words(short_run + "--max_steps 4 --checkpoint kept --writing_params_path folder/missing")).status == 2);
  Program begun(world(), gradus_command(words(endless + "--checkpoint kept --metrics metrics --checkpoint_every 2")));
  REQUIRE(becomes([] { return exists("kept"); }));
  begun.send(SIGINT);
  CHECK(begun.wait().status == 130);
  const std::string kept = text_of("kept");
  const Outcome resumed = run_shell(world(), "ulimit -f 20; timeout -s INT 4 gradus " + endless + "--checkpoint kept --resume --checkpoint_every 2");
  CHECK(has(resumed.err, "warning: no checkpoint after step"));
  CHECK(text_of("kept") == kept);
  CHECK(unfinished_files().empty());
  remove({"kept", "metrics"});
}

TEST_CASE("SIGUSR1 kills no command and no moment of a run") {
  StreamReader random(5, 0);
  const std::string& model = model_of_short_run();
  for (int i = 0; i < 10; ++i) {
    remove({"model"});
    Program program(world(), gradus_command(words(short_run)));
    REQUIRE(becomes([&] { return program.blocks(SIGUSR1) || program.has_ended(); }));
    for (std::int64_t more = random.next_integer(1, 4); more > 0; --more) {
      std::this_thread::sleep_for(std::chrono::microseconds(random.next_integer(0, 20000)));
      program.send(SIGUSR1);
    }
    const Outcome outcome = program.wait();
    CHECK_MESSAGE(outcome.status == 0, outcome.err);
    CHECK(text_of("model") == model);
  }
  for (const std::string arguments : {"sample model --prompt b --max_new 300", "gradcheck --op layer_norm", "london_baseline held_out.tsv"}) {
    INFO(arguments);
    Program program(world(), gradus_command(words(arguments)));
    REQUIRE(becomes([&] { return program.blocks(SIGUSR1) || program.has_ended(); }));
    program.send(SIGUSR1);
    CHECK(program.wait().status == 0);
  }
  remove({"model"});
}

TEST_CASE("a signal while the model is written lets it be written") {
  const std::string wide = "pretrain vanilla corpus.txt --writing_params_path wide --layers 2 --heads 2 --width 384 "
                           "--block_size 96 --batch_size 10000 --max_epochs 1 ";
  for (const int signal : {SIGUSR1, SIGINT, SIGTERM}) {
    remove({"wide"});
    Program program(world(), gradus_command(words(wide)));
    const auto being_written = [] {
      const std::vector<std::string> names = unfinished_files();
      return std::any_of(names.begin(), names.end(), [](const std::string& name) { return !has(name, "checkpoint"); });
    };
    while (!being_written() && !program.has_ended()) std::this_thread::sleep_for(std::chrono::microseconds(200));
    program.send(signal);
    const Outcome outcome = program.wait();
    CHECK(outcome.status == (signal == SIGUSR1 ? 0 : 128 + signal));
    CHECK(has(outcome.err, "wrote wide after 1 step,"));
    CHECK(!exists("wide.checkpoint"));
    CHECK(unfinished_files().empty());
    must_run(world(), "inspect wide");
  }
  remove({"wide"});
}

TEST_CASE("commands that do not train end at once, with nothing half-written") {
  must_run(world(), short_run);
  std::string questions = text_of("held_out.tsv");
  for (int i = 0; i < 8; ++i) questions += questions;
  world().write("many.tsv", questions);
  const std::string evaluate =
      "evaluate vanilla --reading_params_path model --eval_corpus_path many.tsv --outputs_path predictions --progress lines";
  const auto interrupt = [](const std::string& arguments, int signal, std::chrono::milliseconds after) {
    INFO(arguments);
    Program program(world(), gradus_command(words(arguments)));
    REQUIRE(becomes([&] { return program.blocks(SIGINT) || program.has_ended(); }));
    std::this_thread::sleep_for(after);
    REQUIRE_FALSE(program.has_ended());
    const auto start = std::chrono::steady_clock::now();
    program.send(signal);
    CHECK(program.wait().status == 128 + signal);
    CHECK(std::chrono::steady_clock::now() - start < 2s);
    CHECK(unfinished_files().empty());
  };
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    interrupt(evaluate, signal, 100ms);
    CHECK(!exists("predictions"));
    interrupt("sample model --prompt b --max_new 2000000", signal, 100ms);
  }
  interrupt("bench op --all", SIGINT, 200ms);
  interrupt("gradcheck --all --mode full", SIGINT, 100ms);
  // Training in parts, without a checkpoint: the step is finished first.
  interrupt("demo --progress off", SIGINT, 500ms);
  // Ignored as by nohup, or by a shell for what it runs with `&`.
  const Outcome ignored = run_shell(world(), "trap '' INT; gradus " + short_run + "--force & sleep 0.05; kill -INT $!; wait $!");
  CHECK_MESSAGE(ignored.status == 0, ignored.err);
  remove({"model", "many.tsv"});
}

TEST_CASE("little memory or few threads are a sentence, in good time") {
  const auto run_below = [](int kilobytes, const std::string& arguments) {
    return run_shell(world(), "ulimit -v " + std::to_string(kilobytes) + "; timeout -k 1 20 gradus " + arguments);
  };
  for (const std::string& arguments :
       {std::string("--version"), std::string("gradcheck --op add"), short_run + "--force --threads 2"}) {
    int refused = 0;
    for (int kilobytes = 60000; kilobytes <= 400000; kilobytes += kilobytes < 150000 ? 5000 : 50000) {
      const Outcome outcome = run_below(kilobytes, arguments);
      INFO(arguments, ", ", kilobytes, " kB: ", outcome.status, " ", outcome.err);
      if (outcome.status == 127) continue;  // the libraries could not be loaded
      CHECK((outcome.status == 0 || outcome.status == 1));
      if (outcome.status == 1) CHECK((has(outcome.err, "gradus: ") || has(outcome.err, "libgomp: ")));
      refused += outcome.status == 1;
    }
    MESSAGE(arguments, ": refused ", refused, " times");
  }
}
