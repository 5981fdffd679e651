// Ops from shared libraries: right ones agree, and whatever the others do, this process survives it and says what it
// was.
#include "framework/testing/foreign_op.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "framework/tensor/creation.h"
#include "framework/testing/foreign_protocol.h"
#include "tests/messages.h"
#include "tests/program.h"

using namespace gradus;
using namespace gradus::testing;
using Kind = ForeignFailureKind;

namespace {

std::string library_path(const std::string& name) { return GRADUS_FOREIGN_OPS "/" + name + ".so"; }

/// Loaded once: every op has a process of its own all the same.
const ForeignLibrary& library(const std::string& name) {
  static std::map<std::string, ForeignLibrary> all;
  return all.try_emplace(name, library_path(name)).first->second;
}

CheckReport check_op(const std::string& file, const std::string& name, std::uint64_t seed = 1) {
  const ForeignOp op = library(file).op(name);
  return check(op, op.draw_inputs(seed));
}

std::string text_of(const CheckReport& report) { return to_text(report, true); }

struct Caught {
  std::string kind, sentence;
};
template <class Function>
Caught failure_of(Function&& function) {
  try {
    function();
  } catch (const ForeignFailure& failure) {
    return {std::string(to_string(failure.kind)), failure.what()};
  } catch (const DataError& error) {
    return {"data error", error.what()};
  } catch (const UsageError& error) {
    return {"usage error", error.what()};
  }
  return {"none", ""};
}

/// Does a process of this group still run? (One that ended may wait for its burial by init, which is not our doing.)
bool runs(int group) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "stat");
    std::string text;
    if (!std::getline(file, text)) continue;
    std::istringstream after_name(text.substr(text.rfind(')') + 1));
    char state = 0;
    int parent = 0, its_group = 0;
    if (after_name >> state >> parent >> its_group && its_group == group && state != 'Z' && state != 'X') return true;
  }
  return false;
}

bool has_children() { return ::waitpid(-1, nullptr, WNOHANG) >= 0; }

const TemporaryFolder& folder() {
  static TemporaryFolder folder;
  return folder;
}

}  // namespace

TEST_CASE("a right op in C agrees, also in single precision, around a kink, and with several outputs") {
  for (const char* name : {"distance", "summary"}) {
    for (const std::uint64_t seed : {1, 2, 3}) {
      const CheckReport report = check_op("right_ops", name, seed);
      CHECK_MESSAGE(report.passed(), text_of(report));
      CHECK(report.mutants_caught() == report.mutants());
    }
  }
  CHECK(library("right_ops").names() == std::vector<std::string>{"cube", "distance", "summary"});
}

TEST_CASE("a right op in C++ with two inputs, integers, an attribute and forward mode agrees") {
  const ForeignOp op = library("right_ops_cpp").op("lookup");
  const Tensors inputs = op.draw_inputs(1);
  const CheckReport report = check(op, inputs);
  CHECK_MESSAGE(report.passed(), text_of(report));
  REQUIRE(report.inputs.size() == 2);
  for (const InputReport& input : report.inputs) CHECK(input.oracle == "differences");

  const std::vector<double> twice = op.subject().forward(inputs)[0].to_vector<double>();
  const ForeignOp other = library("right_ops_cpp").op("lookup", {{"scale", 6}});
  const std::vector<double> six_times = other.subject().forward(inputs)[0].to_vector<double>();
  for (std::size_t i = 0; i < twice.size(); ++i) CHECK(six_times[i] == doctest::Approx(3 * twice[i]));
}

TEST_CASE("inputs are drawn where the op says, away from its kinks, and as the user wants them") {
  ForeignOp op = library("right_ops").op("distance");
  const std::vector<double> values = op.draw_inputs(5)[0].to_vector<double>();
  REQUIRE(values.size() == 40);
  for (const double value : values) CHECK((value >= 0 && value <= 2 && std::fabs(value - 1) >= 0.05));
  CHECK(op.draw_inputs(5)[0].to_vector<double>() == values);
  CHECK(op.draw_inputs(6)[0].to_vector<double>() != values);

  op.set_input({.name = "x", .shape = {2, 0, 3}, .low = 3, .high = 4});
  CHECK(check(op, op.draw_inputs(1)).verdict != Verdict::disagree);
  op.set_input({.name = "x", .shape = {}, .low = 3, .high = 4});
  CHECK(check(op, op.draw_inputs(1)).passed());
  const auto refused = [&](const ForeignInput& input) { return failure_of([&] { op.set_input(input); }).sentence; };
  CHECK(has(refused({.name = "z", .shape = {}}), "has no input 'z'; it has x"));
  CHECK(has(refused({.name = "x", .shape = {}, .dtype = DType::f32}), "takes x as f64, not f32"));
  CHECK(has(refused({.name = "x", .shape = {}, .low = 2, .high = 1}), "cannot be drawn from [2, 1]"));
  const auto unknown = [](const std::string& name, const std::map<std::string, double>& attributes) {
    return failure_of([&] { library("right_ops").op(name, attributes); }).sentence;
  };
  CHECK(has(unknown("distanse", {}), "has no op 'distanse'; it has cube, distance, summary"));
  CHECK(has(unknown("distance", {{"shfit", 1}}), "has no attribute 'shfit'; it has shift"));
}

TEST_CASE("a wrong gradient is found and its cause named") {
  const std::pair<const char*, Cause> table[] = {
      {"half", Cause::constant_factor},      {"ignores_upstream", Cause::upstream_ignored},
      {"only_first_row", Cause::some_parts}, {"counts_calls", Cause::not_deterministic},
      {"uses_saved", Cause::stale_state},    {"piles_up", Cause::stale_state}};
  for (const auto& [name, cause] : table) {
    const CheckReport report = check_op("wrong_ops", name);
    CAPTURE(text_of(report));
    CHECK(report.verdict == Verdict::disagree);
    REQUIRE(report.hint);
    CHECK(to_string(report.hint->cause) == to_string(cause));
  }
}

TEST_CASE("a wrong forward mode is wrong, and does not decide about the gradient") {
  const CheckReport report = check_op("wrong_ops", "wrong_jvp");
  CHECK_MESSAGE(report.verdict == Verdict::disagree, text_of(report));
  CHECK(report.inputs[0].verdict == Verdict::agree);
  CHECK(has(report.inputs[0].refuted, "forward mode says"));
  REQUIRE(report.hint);
  CHECK(has(report.hint->sentence, "jvp, for 'x': forward mode says"));
}

TEST_CASE("whatever an op does wrong becomes a sentence, and this process survives") {
  struct Row {
    const char *file, *op, *kind, *said;
  };
  const Row table[] = {
      {"wrong_ops", "follows_null", "crashed", "forward crashed: segmentation fault at address 0x10 (null pointer)"},
      {"wrong_ops", "divides_by_zero", "crashed", "forward crashed: integer division by zero"},
      {"wrong_ops", "recurses", "crashed", "forward crashed: segmentation fault at the end of the stack"},
      {"wrong_ops", "aborts", "crashed", "forward crashed: abort() was called"},
      {"wrong_ops", "exits", "crashed", "forward ended the process with exit code 0"},
      {"wrong_ops", "leaves", "crashed", "backward ended the process with exit code 42"},
      {"wrong_ops", "is_killed", "crashed", "backward crashed: it was killed"},
      {"throwing_ops", "throws_error", "crashed", "forward threw a C++ exception: the table is empty"},
      {"throwing_ops", "throws_number", "crashed", "shape threw a C++ exception: of a type that is not"},
      {"wrong_ops", "writes_past", "out of bounds", "forward wrote past the end of y: element 12 of 12"},
      {"wrong_ops", "writes_before", "out of bounds",
       "forward wrote before the start of y: 1 element before its first"},
      {"wrong_ops", "writes_far_before", "out of bounds", "before the start of y: 1000 elements before its first"},
      {"wrong_ops", "reads_past", "out of bounds", "forward read past the end of x: element 12 of 12"},
      {"wrong_ops", "reads_before", "out of bounds", "forward read before the start of x: 1 element before its first"},
      {"wrong_ops", "gradient_past", "out of bounds", "backward wrote past the end of grad_x: element 12 of 12"},
      {"wrong_ops", "gradient_before", "out of bounds", "before the start of grad_x: 2 elements before its first"},
      {"wrong_ops", "edits_input", "input modified",
       "forward wrote to element 5 of 12 of the input x, which it may only"},
      {"wrong_ops", "edits_cotangent", "input modified", "backward wrote to element 0 of 12 of grad_y, which"},
      {"wrong_ops", "edits_output", "input modified", "backward wrote to element 11 of 12 of the output y, which"},
      {"wrong_ops", "skips_last", "unwritten", "forward left element 11 of 12, counted from 0, of y unwritten"},
      {"wrong_ops", "skips_odd", "unwritten", "backward left 6 of 12 elements of grad_x unwritten"},
      {"wrong_ops", "adds", "unwritten", "backward left grad_x unwritten (or added to it without setting it first)"},
      {"wrong_ops", "skips_tangent", "unwritten", "jvp left tangent_y unwritten"},
      {"wrong_ops", "refuses", "refused", "forward refused: not on a Sunday"},
      {"wrong_ops", "shouts", "refused", "forward refused: not\\u001b[2J on \\u009b31m a Sunday\\xff"},
      {"wrong_ops", "refuses_silently", "refused", "forward returned 7 and no message"},
      {"wrong_ops", "rank_99", "bad description", "shape gave the output y rank 99; 0 to 8 are possible"},
      {"wrong_ops", "negative_size", "bad description", "shape gave the output y the negative size -3"},
      {"wrong_ops", "enormous", "bad description", "shape gave the output y 8e+18 bytes, too many to check"},
  };
  for (const Row& row : table) {
    CAPTURE(row.op);
    const Caught caught = failure_of([&] { check_op(row.file, row.op); });
    CHECK(caught.kind == row.kind);
    CHECK_MESSAGE(has(caught.sentence, row.said), "it said: ", caught.sentence);
    CHECK(caught.sentence.starts_with(std::string(row.file) + ".so: " + row.op + ": "));
    CHECK(caught.sentence.back() != '.');
  }
  CHECK_FALSE(has_children());
}

TEST_CASE("writes before a buffer are found where no unreadable page stops them") {
  for (const char* name : {"writes_before", "gradient_before"}) {
    const ForeignOp op = library("wrong_ops").op(name);
    const Tensors inputs = op.draw_inputs(1);
    const Caught caught = failure_of([&] { op.subject().backward(inputs, {ones_like(inputs[0])}); });
    CHECK(caught.kind == "out of bounds");
    CHECK(has(caught.sentence, "before its first"));
  }
}

TEST_CASE("an endless loop ends at the time limit, with everything that it had started") {
  const ForeignLibrary impatient(library_path("wrong_ops"), 0.3);
  for (const char* name : {"loops", "starts_another"}) {
    const ForeignOp op = impatient.op(name);
    const Tensors inputs = op.draw_inputs(1);
    op.subject().forward(inputs);
    const int process = op.process();
    REQUIRE(process > 0);
    CHECK(runs(process));
    const Caught caught = failure_of([&] { check(op, inputs); });
    CHECK(caught.kind == "timed out");
    CHECK(has(caught.sentence, "backward did not return within 0.3 s"));
    CHECK(op.process() == 0);
    for (int i = 0; i < 100 && runs(process); ++i) ::usleep(10000);
    CHECK_FALSE(runs(process));
  }
  CHECK_FALSE(has_children());
}

TEST_CASE("after a crash the op can be called again, and processes end with their op") {
  int process = 0;
  {
    const ForeignOp op = library("wrong_ops").op("leaves");
    const Tensors inputs = op.draw_inputs(1);
    for (int i = 0; i < 3; ++i) {
      CHECK(op.subject().forward(inputs)[0].numel() == 12);
      CHECK(failure_of([&] { op.subject().backward(inputs, {ones_like(inputs[0])}); }).kind == "crashed");
      CHECK(op.process() == 0);
    }
    op.subject().forward(inputs);
    process = op.process();
    CHECK(::kill(process, 0) == 0);
  }
  CHECK(::kill(process, 0) != 0);
  CHECK_FALSE(has_children());
}

TEST_CASE("files that hold no ops are refused with the reason") {
  const std::string bytes = io::read_file(library_path("right_ops"));
  io::write_file_atomically(folder() / "empty.so", "");
  io::write_file_atomically(folder() / "text.so", "int main() { return 0; }\n" + std::string(100, ' '));
  io::write_file_atomically(folder() / "truncated.so", bytes.substr(0, bytes.size() / 2));
  io::write_file_atomically(folder() / "header.so", bytes.substr(0, 64));
  std::string other_machine = bytes;
  other_machine[18] ^= 0x55;
  io::write_file_atomically(folder() / "other_machine.so", other_machine);
  const auto opened = [](const std::string& path, double timeout = 10) {
    return failure_of([&] { ForeignLibrary(path, timeout); });
  };
  const std::pair<const char*, const char*> table[] = {
      {"missing.so", "no such file"},
      {"empty.so", "not a shared library"},
      {"text.so", "not a shared library"},
      {"truncated.so", "cut off"},
      {"header.so", "cut off"},
      {"other_machine.so", "another kind of machine"},
      {".", "not a file"},
  };
  for (const auto& [name, said] : table) {
    const Caught caught = opened(folder() / name);
    CAPTURE(name);
    CHECK(caught.kind == "data error");
    CHECK_MESSAGE(has(caught.sentence, said), "it said: ", caught.sentence);
  }
  const Caught without = opened(library_path("no_description"));
  CHECK(without.kind == "data error");
  CHECK(has(without.sentence, "no function gradus_describe"));
  CHECK(opened(library_path("right_ops"), 0).kind == "usage error");
  CHECK_FALSE(has_children());
}

TEST_CASE("libraries that go wrong before there is an op are described as well") {
  const auto opened = [](const std::string& name) {
    return failure_of([&] { ForeignLibrary(library_path(name), 0.3); });
  };
  const std::pair<const char*, Caught> table[] = {
      {"crashes_when_loaded", {"crashed", "being loaded, it crashed: abort() was called"}},
      {"crashes_when_asked", {"crashed", "gradus_describe crashed: abort() was called"}},
      {"hangs_when_asked", {"timed out", "gradus_describe did not return within 0.3 s"}},
      {"points_nowhere", {"bad description", "its description holds a pointer that leads nowhere"}},
      {"other_version", {"bad description", "built for version 99 of gradus_op.h"}},
  };
  for (const auto& [name, expected] : table) {
    const Caught caught = opened(name);
    CAPTURE(name);
    CHECK(caught.kind == expected.kind);
    CHECK_MESSAGE(has(caught.sentence, expected.sentence), "it said: ", caught.sentence);
  }
  CHECK_FALSE(has_children());
}

TEST_CASE("descriptions are read with suspicion") {
  const gradus_function function = [](const gradus_call*) { return 0; };
  const auto finding =
      [&](const std::function<void(gradus_input&, gradus_output&, gradus_op&, gradus_library&)>& spoil) {
        gradus_input input = {"x", GRADUS_F64, 1, 1, {3}, 0, 1, 0, {}};
        gradus_output output = {"y", GRADUS_F64, 0};
        gradus_op op = {"op", nullptr, 1, 1, 0, &input, &output, nullptr, nullptr, function, function, nullptr};
        gradus_library library = {GRADUS_OP_VERSION, 1, &op};
        spoil(input, output, op, library);
        std::vector<foreign::OpRecord> records(foreign::max_ops);
        try {
          foreign::read_description(&library, GRADUS_OP_VERSION, records.data());
        } catch (const ContractError& error) {
          return std::string(error.what());
        }
        return std::string(records[0].problem[0] ? records[0].problem : "accepted");
      };
#define SPOILT(statement)                                           \
  finding([&](auto& input, auto& output, auto& op, auto& library) { \
    (void)input, (void)output, (void)op, (void)library;             \
    statement;                                                      \
  })
  CHECK(SPOILT() == "accepted");
  CHECK(has(SPOILT(library.op_count = 0), "announces 0 ops"));
  CHECK(has(SPOILT(library.op_count = 2000), "announces 2000 ops; 1 to 1024 are possible"));
  CHECK(has(SPOILT(library.ops = nullptr), "'ops' is NULL"));
  CHECK(has(SPOILT(op.name = nullptr), "op 1 has no name"));
  CHECK(has(SPOILT(op.name = ""), "an empty name"));
  CHECK(has(SPOILT(op.name = "a b"), "character 2 of the name of op 1"));
  CHECK(has(SPOILT(input.name = "y"), "a name that is taken: 'y'"));
  const std::string endless(1000, 'a');
  CHECK(has(SPOILT(output.name = endless.c_str()), "longer than 63 characters"));
  CHECK(has(SPOILT(op.forward = nullptr), "'op' has no forward"));
  CHECK(has(SPOILT(op.backward = nullptr), "'op' has no backward"));
  CHECK(has(SPOILT(op.input_count = 33), "announces 33 inputs"));
  CHECK(has(SPOILT(op.output_count = -1), "announces -1 outputs"));
  CHECK(has(SPOILT(op.attribute_count = 1), "announces 1 attributes, but 'attributes' is NULL"));
  CHECK(has(SPOILT(input.dtype = 7), "the unknown dtype 7"));
  CHECK(has(SPOILT(output.dtype = -1), "the unknown dtype -1"));
  CHECK(has(SPOILT(input.dtype = GRADUS_I64), "holds integers and is marked as differentiable"));
  CHECK(has(SPOILT(input.differentiable = 2), "neither 0 nor 1"));
  CHECK(has(SPOILT(input.differentiable = 0), "no differentiable input"));
  CHECK(has(SPOILT(input.rank = 9), "rank 9"));
  CHECK(has(SPOILT(input.shape[0] = -1), "the negative size -1"));
  CHECK(has(SPOILT(input.shape[0] = 1000000000), "too much to check"));
  CHECK(has(SPOILT(input.low = 2), "no range"));
  CHECK(has(SPOILT(input.high = NAN), "no range"));
  CHECK(has(SPOILT(input.kink_count = 9), "announces 9 kinks"));
  CHECK(has(SPOILT(output.accuracy = -1), "has the accuracy -1"));
  CHECK(has(SPOILT(output.accuracy = NAN), "has the accuracy nan"));
  CHECK(has(SPOILT(library.version = 0), "built for version 0"));
  CHECK(has(SPOILT(library.version = 3), "built for version 3"));
  CHECK(SPOILT(library.version = 1) == "accepted");  // its structs are this header's
  gradus_attribute attribute = {"a", 2, 1, 4};
  const auto declared = [&](double value, double low, double high) {
    attribute = {"a", value, low, high};
    return SPOILT(op.attributes = &attribute; op.attribute_count = 1);
  };
  CHECK(declared(2, 1, 4) == "accepted");
  CHECK(declared(2, 0, 0) == "accepted");
  CHECK(has(declared(5, 1, 4), "attribute 1 of 'op' (a) is 5 and may be tried in [1, 4], which does not hold it"));
  CHECK(has(declared(2, 4, 1), "which does not hold it"));
  CHECK(has(declared(2, NAN, 4), "which does not hold it"));
#undef SPOILT
}

TEST_CASE("the program: verdicts, sentences and exit codes") {
  struct Row {
    std::string line;
    int status;
    std::string said;
  };
  const std::string wrong = "--lib " + library_path("wrong_ops"), right = "--lib " + library_path("right_ops");
  const std::string lookup = "--lib " + library_path("right_ops_cpp");
  const Row table[] = {
      {right, 0, "agree"},
      {lookup + " --seed 4 --attr scale=3 --input index=i64[9]:uniform(1,2)", 0, "index(9) i64"},
      {lookup + " --input table=f64[5,2]:normal --input weight=f64[2]", 0, "table(5,2) f64"},
      {right + " --list", 0, "shift=1"},
      {wrong + " --op half", 1, "it is exactly half of the expected one"},
      {wrong + " --op half", 1, "wrong_ops.so:half:x[0,0]: it is exactly half of the expected one (yours"},
      {wrong + " --op half", 1, "rerun: gradus gradcheck " + wrong + " --op half --seed 1 --explain"},
      {wrong + " --op edits_input", 1, "INPUT MODIFIED\n  wrong_ops.so: edits_input: forward wrote to element 5"},
      {wrong + " --op writes_past", 1, "OUT OF BOUNDS"},
      {wrong + " --op skips_odd", 1, "UNWRITTEN"},
      {wrong + " --op refuses", 3, "REFUSED"},
      {"--lib " + library_path("points_nowhere"), 3, "holds a pointer that leads nowhere"},
      {right + " --op summary --input x=f64[0]", 2, "shape refused: x has no elements"},
      {right + " --op summary --input x=f64[0", 2, "--input takes NAME=DTYPE[SIZES]"},
      {right + " --op distance --attr shift", 2, "--attr takes NAME=VALUE, not 'shift'"},
      {right + " --op nothing", 2, "has no op 'nothing'"},
      {right + " --timeout 0", 2, "--timeout"},
      {"--attr shift=1 --op relu", 2, "--attr goes with --input"},
      {"--lib missing.so", 3, "missing.so: no such file"},
      {"--lib " + library_path("no_description"), 3, "gradus_describe"},
      {right + " --op distance --input x=f64[2]:uniform(1e-300,2e-300) --attr shift=1e300", 5, "cannot tell"},
      {right + " --op distance --input x=f64[2]:uniform(1e-300,2e-300) --attr shift=1e300 --strict", 1, "cannot tell"},
      {wrong + " --op aborts", 6, "CRASHED\n  wrong_ops.so: aborts: forward crashed: abort() was called"},
      {wrong + " --op loops --timeout 0.3", 6, "TIMED OUT"},
      {wrong + " --op hangs_up", 6, "hangs_up: backward closed its connection to the checker and did not return"},
      {"--lib " + library_path("crashes_when_loaded"), 6, "being loaded, it crashed"},
  };
  for (const Row& row : table) {
    CAPTURE(row.line);
    const Outcome outcome = run_program(folder(), words("gradcheck " + row.line));
    CAPTURE(outcome.out);
    CAPTURE(outcome.err);
    CHECK(outcome.status == row.status);
    CHECK(has(outcome.out + outcome.err, row.said));
    CHECK_FALSE(has(outcome.out, "cube is running"));
  }
}

TEST_CASE("the program checks all ops of a library, whatever becomes of the first, and writes JSON") {
  const Outcome outcome =
      run_program(folder(), words("gradcheck --json - --timeout 0.3 --lib " + library_path("wrong_ops")));
  CHECK(outcome.status == 6);
  const nlohmann::json report = nlohmann::json::parse(outcome.out);
  CHECK(report.at("schema") == "gradus.gradcheck");
  CHECK(report.at("verdict") == "crash");
  CHECK(report.at("exit_code") == 6);
  std::map<std::string, std::string> verdicts;
  for (const nlohmann::json& check : report.at("checks")) verdicts[check.at("op")] = check.at("verdict");
  for (const nlohmann::json& failure : report.at("failures")) verdicts[failure.at("op")] = failure.at("kind");
  CHECK(verdicts.size() == 37);
  CHECK(verdicts["loops"] == "timed out");
  CHECK(verdicts["half"] == "disagree");
  CHECK(verdicts["wrong_jvp"] == "disagree");
}

TEST_CASE("the template compiles as it is, agrees, and is not written over anything") {
  const TemporaryFolder place;
  for (const char* compiler : {"cc -std=c99 -Wall -Wextra -Werror -pedantic", "c++ -x c++ -std=c++20"}) {
    const Outcome outcome = run_shell(
        place,
        fmt::format("rm -f swish.c; gradus gradcheck --new swish && {} -shared -fPIC -O2 -o swish.so swish.c -lm && "
                    "gradus gradcheck --lib ./swish.so",
                    compiler));
    CHECK_MESSAGE(outcome.status == 0, outcome.err);
    CHECK(has(outcome.out, "swish  "));
    CHECK(has(outcome.out, "agree\n"));
  }
  const std::string broken =
      "sed 's/ scale \\* (1/ (1/' swish.c >b.c && cc -shared -fPIC -o b.so b.c -lm && gradus gradcheck --lib b.so";
  const Outcome found = run_shell(place, broken);
  CHECK(found.status == 1);
  CHECK(has(found.out, "it is exactly twice the expected one"));

  CHECK(run_shell(place, "gradus gradcheck --new swish").status == 2);
  CHECK(run_shell(place, "gradus gradcheck --new 2fast").status == 2);
  CHECK(run_shell(place, "echo >gradus_op.h; gradus gradcheck --new other").status == 2);
  CHECK_FALSE(std::filesystem::exists(place / "other.c"));
}
