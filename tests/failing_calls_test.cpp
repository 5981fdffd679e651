// The n-th allocation, or the n-th call of the system, of a run fails: n = 1, 2, ... until a run is through. Whatever n, the
// program ends with one sentence, or as if nothing had been; nothing is half-written, and --resume ends with the same bytes.
#include <doctest/doctest.h>

#include <functional>
#include <map>

#include "tests/messages.h"
#include "tests/program.h"

using namespace gradus;

namespace {

struct Failure {
  std::string call, how;
  std::int64_t at;  ///< 0: none; the calls are counted
};

/// A run of the program and what it leaves.
struct Task {
  std::string line;
  std::vector<std::string> outputs;
  std::vector<std::string> inputs;  ///< what a sentence may name besides
  std::int64_t allocations = 250;   ///< of its many thousands, about so many fail
};

/// Ends of a run inside a library, which does not let its caller know: an object on the way from the program to the call.
struct LibraryEnd {
  std::string where, why;
};
const std::vector<LibraryEnd> ending_objects = {
    {"libgomp", "GNU OpenMP ends the process where it gets no memory for a team of threads"},
    {"libopenblas", "OpenBLAS ends the process where it gets no memory for its buffers"},
    {"libdnnl", "oneDNN writes a kernel into memory that it did not get"},
};
/// Of libraries that are compiled into the program: a function.
const std::vector<LibraryEnd> ending_functions = {
    {"CLI::Option::check_", "CLI11 copies strings in App::get_option_no_throw, which is noexcept; the compiler may put it into its caller"},
    {"CLI::App::", "CLI11 copies strings in App::get_option_no_throw, which is noexcept"},
    {"nlohmann::", "nlohmann-json's destructor asks for memory"},
    {"__variant", "libstdc++ of GCC 12 destroys a std::variant whose copy failed as if it were whole"},
    {"std::variant", "the same, where the compiler has put more into one function"},
};

const TemporaryFolder& world() {
  static TemporaryFolder folder;
  static bool ready = false;
  if (ready) return folder;
  const std::string tiny = " --layers 1 --heads 2 --width 16 --block_size 96 --batch_size 4 --progress off";
  REQUIRE(run_program(folder, words("world . --train_people 6 --held_out_people 6 --places 4")).status == 0);
  REQUIRE(run_program(folder, words("pretrain vanilla corpus.txt --writing_params_path model --max_epochs 1" + tiny)).status == 0);
  ready = true;
  return folder;
}

const std::string pretrain =
    "pretrain vanilla corpus.txt --writing_params_path new --metrics new.jsonl --checkpoint_every 2 --max_epochs 2 "
    "--layers 1 --heads 2 --width 16 --block_size 96 --batch_size 16 --threads 1 --progress off";

const Task inspecting{"inspect model", {}, {"model"}, 100};
const Task making_world{"world new_world --train_people 6 --held_out_people 6 --places 4", {"new_world"}, {}};
const Task evaluating{"evaluate vanilla corpus.txt --reading_params_path model --eval_corpus_path held_out.tsv --outputs_path new.txt --threads 1 --progress off",
                      {"new.txt"}, {"corpus.txt", "model", "held_out.tsv"}};
const Task sampling{"sample model --prompt Where --max_new 5 --threads 1", {}, {"model"}};
const Task checking{"gradcheck --op add", {}, {}, 60};
const Task training{pretrain, {"new", "new.jsonl", "new.checkpoint"}, {"corpus.txt"}};

void remove_outputs(const Task& task) {
  for (const std::string& name : task.outputs) {
    for (const char* ending : {"", ".lock"}) std::filesystem::remove_all(world() / (name + ending));
  }
}

/// The bytes of every output that is there, folders by their files; of metrics only what does not tell the time.
std::map<std::string, std::string> outputs_of(const Task& task) {
  std::map<std::string, std::string> all;
  for (const std::string& name : task.outputs) {
    const std::filesystem::path path = world() / name;
    if (std::filesystem::is_directory(path)) {
      for (const auto& entry : std::filesystem::directory_iterator(path)) all[name + "/" + entry.path().filename().string()] = io::read_file(entry.path());
    } else if (std::filesystem::exists(path) && !name.ends_with(".jsonl")) {
      all[name] = io::read_file(path);
    }
  }
  return all;
}

Outcome run_failing(const std::string& line, const Failure& failure) {
  std::filesystem::remove(world() / ".report");
  return run_program(world(), words(line),
                     {std::string("LD_PRELOAD=") + GRADUS_FAILING_CALLS, "FAILING_CALL=" + failure.call, "FAILING_HOW=" + failure.how,
                      "FAILING_AT=" + std::to_string(failure.at), "FAILING_REPORT=" + (world() / ".report"),
                      "OMP_WAIT_POLICY=passive", "GOMP_SPINCOUNT=5000", "OPENBLAS_NUM_THREADS=1"});
}

bool has_happened() { return std::filesystem::exists(world() / ".report"); }

std::int64_t count_calls(const std::string& line, const std::string& call) {
  const Outcome outcome = run_failing(line, {call, "EIO", 0});
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  REQUIRE(has_happened());
  return std::stoll(io::read_file(world() / ".report"));
}

/// The functions of the program on the way to the call, innermost first.
std::string functions_in(const std::string& report) {
  const std::string program = std::filesystem::path(GRADUS_PROGRAM).filename().string() + " 0x";
  std::string addresses;
  for (std::size_t at = report.find(program); at != std::string::npos; at = report.find(program, at + 1)) {
    const std::size_t begin = at + program.size() - 2;
    addresses += " " + report.substr(begin, report.find(' ', begin) - begin);
  }
  return addresses.empty() ? "" : run_shell(world(), "addr2line -Cfe " GRADUS_PROGRAM + addresses).out;
}

/// Why a library ended the process, or nothing where no library did.
std::string end_in_library() {
  const std::string report = io::read_file(world() / ".report");
  for (const LibraryEnd& end : ending_objects) {
    const std::size_t at = report.find(end.where);
    if (at != std::string::npos && at < report.find("gradus")) return end.why;
  }
  // Up to the first function of ours: what a library's function calls, and what calls it, is no excuse.
  const std::string functions = functions_in(report);
  const std::string of_library = functions.substr(0, functions.find("\ngradus::"));
  for (const LibraryEnd& end : ending_functions) {
    if (has(of_library, end.where)) return end.why;
  }
  return "";
}

/// One line behind the notes; where a device's memory is full, with the table of who holds it below.
bool is_one_sentence(std::string text) {
  while (text.starts_with("note: ")) text.erase(0, text.find('\n') + 1);
  const bool has_table = text.starts_with("gradus: out of memory on ");
  return text.starts_with("gradus: ") && text.ends_with('\n') && (has_table || std::count(text.begin(), text.end(), '\n') == 1);
}

bool names_a_file(const std::string& text, const Task& task) {
  for (const auto* names : {&task.outputs, &task.inputs}) {
    for (const std::string& name : *names) {
      if (has(text, name)) return true;
    }
  }
  return has(text, "standard output") || has(text, "standard error");
}

/// Each n below `dense`, then each `step`-th.
std::vector<std::int64_t> sweep(std::int64_t count, std::int64_t dense, std::int64_t step) {
  std::vector<std::int64_t> all;
  for (std::int64_t n = 1; n <= count; n += n < dense ? 1 : step) all.push_back(n);
  return all;
}

/// A step that shares no factor with the loops of a run, so that so many runs cover it.
std::int64_t step_for(std::int64_t count, std::int64_t runs) {
  std::int64_t step = std::max<std::int64_t>(1, count / runs);
  const auto is_prime = [](std::int64_t number) {
    for (std::int64_t i = 2; i * i <= number; ++i) {
      if (number % i == 0) return false;
    }
    return true;
  };
  while (!is_prime(step)) ++step;
  return step;
}

/// What is left of `task`, and was there before.
struct Left {
  std::map<std::string, std::string> outputs;
  std::vector<std::string> names;
};

/// The promises that a run broke in which a call failed, which undisturbed leaves `expected`.
std::vector<std::string> broken_promises(const Task& task, const std::string& call, const Outcome& outcome, const Left& left, const Left& expected) {
  std::vector<std::string> broken;
  const auto require = [&](bool holds, const std::string& promise) {
    if (!holds) broken.push_back(promise);
  };
  if (outcome.status >= 128) {
    require(end_in_library() != "", "it ends by a signal");
    return broken;
  }
  if (outcome.status == 0) {
    require(left.outputs == expected.outputs, "it ends with 0 and other outputs");
  } else {
    const bool refused = call == "stat" && outcome.status == 2;  // an output's folder that cannot be looked at
    require(outcome.status == 1 || outcome.status == 3 || refused, "the exit code");
    require(is_one_sentence(outcome.err), "one sentence");
    if (call != "allocate" && call != "mmap") require(names_a_file(outcome.err, task), "the name of a file");
  }
  for (const auto& [name, bytes] : left.outputs) {
    const bool whole = expected.outputs.count(name) ? bytes == expected.outputs.at(name) : name == "new.checkpoint" && !bytes.empty();
    require(whole, name + " is half-written");
  }
  for (const std::string& name : left.names) {
    const auto known = [&](const std::vector<std::string>& names) { return std::count(names.begin(), names.end(), name) > 0; };
    // The next run takes it over. Whose file it is cannot be told where `stat` fails: it stays.
    const bool lock = name.ends_with(".lock") && (outcome.status != 0 || call == "stat");
    require(name.starts_with(".") || lock || known(expected.names) || known(task.outputs), "it left " + name);
  }
  return broken;
}

/// Runs `task` with each of these calls failing; `after` looks at what is left.
int sweep_over(const Task& task, const std::string& call, const std::string& how, std::int64_t runs, const std::function<void()>& before = {},
               const std::function<void(const Outcome&)>& after = {}) {
  remove_outputs(task);
  const std::vector<std::string> names = world().names();
  if (before) before();
  const std::int64_t count = count_calls(task.line, call);
  const Left expected{outputs_of(task), names};
  int happened = 0;
  for (const std::int64_t n : sweep(count, runs / 3, step_for(count, runs))) {
    remove_outputs(task);
    if (before) before();
    const Outcome outcome = run_failing(task.line, {call, how, n});
    happened += has_happened();
    for (const std::string& promise : broken_promises(task, call, outcome, {outputs_of(task), world().names()}, expected)) {
      FAIL_CHECK(task.line, "\ncall ", call, " number ", n, " fails with ", how, ": ", promise, "\nstatus ", outcome.status, ", it said: ", outcome.err, "\n",
                 has_happened() ? io::read_file(world() / ".report") : "");
    }
    if (after) after(outcome);
  }
  remove_outputs(task);
  if (count > 0) CHECK(happened > 0);
  MESSAGE(words(task.line)[0], ": ", happened, " of ", count, " calls ", call, " failed with ", how);
  return happened;
}

/// An error is a sentence; what the system may do at any time is not seen.
const std::vector<std::pair<std::string, std::string>> file_failures = {
    {"open", "EMFILE"}, {"open", "EACCES"}, {"read", "EIO"},     {"write", "ENOSPC"}, {"write", "EIO"},   {"fsync", "EIO"}, {"rename", "EIO"},
    {"close", "EIO"},   {"mmap", "ENOMEM"}, {"statvfs", "EIO"},  {"mkstemp", "EIO"},  {"getcwd", "EACCES"}, {"lseek", "EIO"}, {"ftruncate", "EIO"},
    {"stat", "EACCES"}};
const std::vector<std::pair<std::string, std::string>> invisible = {{"read", "short"}, {"read", "EINTR"}, {"write", "short"}, {"write", "EINTR"}, {"open", "EINTR"}};

}  // namespace

TEST_CASE("each broken promise is noticed") {
  const Left before{{}, world().names()}, expected{{{"new.txt", "answers\n"}}, world().names()};
  const auto broken = [&](const Outcome& outcome, const Left& left) { return broken_promises(evaluating, "write", outcome, left, expected); };
  io::write_file_atomically(world() / ".report", "libfailing_calls.so write\ngradus\nlibgomp.so.1\n");
  CHECK(broken({0, "", ""}, expected).empty());
  CHECK(broken({1, "", "gradus: new.txt: cannot be written: No space left on device\n"}, before).empty());
  CHECK(broken({139, "", ""}, before) == std::vector<std::string>{"it ends by a signal"});
  CHECK(broken({0, "", ""}, before) == std::vector<std::string>{"it ends with 0 and other outputs"});
  CHECK(broken({5, "", "gradus: new.txt: full\n"}, before) == std::vector<std::string>{"the exit code"});
  CHECK(broken({1, "", "gradus: new.txt: full\nand more\n"}, before) == std::vector<std::string>{"one sentence"});
  CHECK(broken({1, "", "terminate called in new.txt\n"}, before) == std::vector<std::string>{"one sentence"});
  CHECK(broken({1, "", "gradus: Input/output error\n"}, before) == std::vector<std::string>{"the name of a file"});
  CHECK(broken({1, "", "gradus: new.txt: full\n"}, {{{"new.txt", "ans"}}, world().names()}) == std::vector<std::string>{"new.txt is half-written"});
  CHECK(broken({1, "", "gradus: new.txt: full\n"}, {{}, {"new.txt.7.partial"}}) == std::vector<std::string>{"it left new.txt.7.partial"});
  io::write_file_atomically(world() / ".report", "libfailing_calls.so malloc\nlibgomp.so.1\ngradus\n");
  CHECK(broken({134, "", "libgomp: out of memory\n"}, before).empty());
}

TEST_CASE("the n-th allocation fails") {
  for (const Task& task : {inspecting, making_world, evaluating, sampling, checking, training}) sweep_over(task, "allocate", "ENOMEM", task.allocations);
}

TEST_CASE("the n-th call of the system fails") {
  for (const Task& task : {inspecting, making_world, evaluating}) {
    for (const auto& [call, how] : file_failures) sweep_over(task, call, how, 60);
  }
}

TEST_CASE("interrupted calls and those that do half of it are not seen") {
  for (const Task& task : {inspecting, making_world, evaluating, training}) {
    for (const auto& [call, how] : invisible)
      sweep_over(task, call, how, 40, {}, [&](const Outcome& outcome) { CHECK_MESSAGE(outcome.status == 0, call, " ", how, ": ", outcome.err); });
  }
}

TEST_CASE("training in which a call fails goes on to the same bytes") {
  remove_outputs(training);
  REQUIRE(run_program(world(), words(training.line)).status == 0);
  const std::string undisturbed = io::read_file(world() / "new");
  std::string checkpoint;
  const auto resume = [&](const Outcome& outcome) {
    if (outcome.status == 0) return;
    if (checkpoint.empty() && std::filesystem::exists(world() / "new.checkpoint")) checkpoint = io::read_file(world() / "new.checkpoint");
    const Outcome again = run_program(world(), words(training.line + " --resume"));
    CHECK_MESSAGE(again.status == 0, again.err);
    CHECK(io::read_file(world() / "new") == undisturbed);
  };
  for (const auto& [call, how] : file_failures) sweep_over(training, call, how, 60, {}, resume);
  REQUIRE(!checkpoint.empty());
  const Task resuming{training.line + " --resume", training.outputs, training.inputs};
  const auto restore = [&] { io::write_file_atomically(world() / "new.checkpoint", checkpoint); };
  for (const auto& [call, how] : file_failures) sweep_over(resuming, call, how, 60, restore, resume);
}
