// Grading: the forward beside a reference, many points, and reports, exit codes and limits that a teacher's script can
// rely on.
#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "framework/io/safetensors.h"
#include "tests/messages.h"
#include "tests/program.h"

using namespace gradus;

namespace {

const std::string students = GRADUS_FOREIGN_OPS "/student_ops.so", right = GRADUS_FOREIGN_OPS "/right_ops.so";

const TemporaryFolder& folder() {
  static TemporaryFolder folder;
  return folder;
}

Outcome gradcheck(const std::string& arguments) { return run_program(folder(), words("gradcheck " + arguments)); }
Outcome student(const std::string& arguments) { return gradcheck("--lib " + students + " --op " + arguments); }

nlohmann::json json_at(const std::string& name) { return nlohmann::json::parse(io::read_file(folder() / name)); }

std::string source_file(const std::string& path) { return io::read_file(GRADUS_SOURCE_DIR "/" + path); }

int count_of(const std::string& text, const std::string& part) {
  int count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return count;
}

}  // namespace

TEST_CASE("a forward that differs from the reference is named, also where the gradient is that of its own forward") {
  const Outcome wrong = student("doubled --like softmax");
  CHECK(wrong.status == 1);
  CHECK(has(wrong.out, "likely cause: forward differs from softmax at y["));
  CHECK(has(wrong.out, "; 12 of 12 elements differ\n"));
  CHECK(has(wrong.out, "the gradient is that of its own forward"));
  CHECK(student("doubled").status == 0);

  const Outcome nearly = student("nearly_tanh --like tanh");
  CHECK(nearly.status == 1);
  CHECK(has(nearly.out, ", by no more than rounding to f32 would explain"));

  const Outcome by_library = student("doubled --like " + students + ":softmax");
  CHECK(by_library.status == 1);
  CHECK(has(by_library.out, "forward differs from softmax at y["));
  CHECK(has(student("var --like sum").out, "forward differs from sum at y[]: yours "));
  CHECK(has(student("softmax --like sum").out, "forward gives y as (3,4) f64, sum as () f64"));
}

TEST_CASE("right forwards are not accused, however they are written") {
  for (const char* row :
       {"softmax --like softmax", "softmax --like softmax --input x=f64[4,6]:uniform(-60,60)",
        "softmax_f32 --like softmax", "softmax_f32 --like " GRADUS_FOREIGN_OPS "/student_ops.so:softmax",
        "var --like var", "var --like var --input x=f64[50,3]:uniform(100,101)",
        "var --like var --input x=f64[50,3]:uniform(1000,1001)", "matmul --like matmul",
        "matmul --like matmul --input a=f64[2,300] --input b=f64[300,2]", "where --like where",
        "sloped --like " GRADUS_FOREIGN_OPS "/student_ops.so:doubled --attr slope=3"}) {
    for (const char* draws : {" --points 6", " --repeat 6"}) {
      if (std::string(draws) == " --repeat 6" && has(row, "--input")) continue;
      const Outcome outcome = student(std::string(row) + draws + " --json points.json");
      CAPTURE(row);
      CAPTURE(outcome.out);
      CHECK(outcome.err == "");
      CHECK(json_at("points.json").at("ops").at(0).at("draws") == 6);
      CHECK_FALSE(has(outcome.out, "forward differs"));
    }
  }
}

TEST_CASE("attributes go to those that have them") {
  CHECK(student("softmax --like softmax --attr axis=-1").status == 0);
  CHECK(has(student("softmax --like softmax --attr axis=0").out, "forward differs from softmax"));
  const Outcome nobody = student("softmax --like softmax --attr axes=0");
  CHECK(nobody.status == 2);
  CHECK(has(nobody.err, "neither softmax nor softmax has an attribute 'axes'"));
}

TEST_CASE("what cannot be compared is a sentence, and no disagreement") {
  const std::pair<const char*, const char*> table[] = {
      {"softmax --like matmul", "softmax takes 1 input (x), matmul takes 2 (a, b)"},
      {"swapped --like matmul", "swapped takes b, a, matmul takes a, b: the inputs have to be in the same order"},
      {"where --like " GRADUS_FOREIGN_OPS
       "/student_ops.so:where --input flag=i64[3,4] --input a=f64[3,4] --input b=f64[2,2]",
       "does not take these inputs"},
      {"softmax --like softmax --attr axis=5", "softmax does not take these inputs: [softmax]"},
      {"softmax_empty --like softmax", "there is nothing to compare with softmax: no output has elements"},
  };
  for (const auto& [line, said] : table) {
    const Outcome outcome = student(line);
    CAPTURE(line);
    CAPTURE(outcome.err);
    if (!has(line, "empty") && !has(line, "where")) CHECK(outcome.status == 3);
    CHECK(outcome.status != 0);
    CHECK(outcome.status != 1);
    if (!has(line, "where")) CHECK_MESSAGE(has(outcome.out, said), outcome.out);
  }
  CHECK(has(student("softmax --like softmaxx").err, "there is no op 'softmaxx' (did you mean softmax?)"));
  CHECK(student("softmax --like softmaxx").status == 2);
  CHECK(student("softmax --like nowhere.so:softmax").status == 3);
  CHECK(has(student("softmax --like " + students).err, "it has several ops, name one"));
  CHECK(has(gradcheck("--lib " + students + " --like softmax").err, "are for one op: name it with --op"));
}

TEST_CASE("points are drawn anew at the same sizes, and a hidden seed is in no report") {
  const Outcome shown = student("softmax --like tanh --points 3 --seed 98765 --junit shown.xml");
  CHECK(shown.status == 1);
  CHECK(has(shown.out, "   3 points: 0 agree, 0 cannot tell, 3 disagree"));
  for (const char* seed : {"--seed 98765", "--seed 98766", "--seed 98767"}) CHECK(has(shown.out, seed));
  CHECK(has(io::read_file(folder() / "shown.xml"), "name=\"point 2, seed 98766: x(3,4) f64\""));

  const Outcome hidden =
      student("softmax --like tanh --points 3 --seed 98765 --hide_seed --junit hidden.xml --json hidden.json");
  for (const std::string& text :
       {hidden.out, hidden.err, io::read_file(folder() / "hidden.xml"), io::read_file(folder() / "hidden.json")}) {
    CHECK_FALSE(has(text, "9876"));
    CHECK_FALSE(has(text, "rerun: "));
  }
  const Outcome again = student("softmax --like tanh --seed 98766");  // the second of them
  const std::regex worst("differs from tanh at [^;]*;");
  std::smatch match;
  REQUIRE(std::regex_search(again.out, match, worst));
  CHECK(has(hidden.out, match.str()));
  // Crashes and refusals tell no seed either.
  const std::string wrong =
      " --hide_seed --seed 98765 --json hidden.json --lib " GRADUS_FOREIGN_OPS "/wrong_ops.so --op ";
  for (const char* op : {"aborts", "refuses", "half"}) {
    CHECK_FALSE(has(gradcheck(wrong + op).out, "98765"));
    CHECK_FALSE(has(io::read_file(folder() / "hidden.json"), "98765"));
  }
}

TEST_CASE("each draw is a test case with a name of its own, the message is one line and the report its body") {
  student("doubled --like tanh --repeat 4 --junit draws.xml");
  const std::string junit = io::read_file(folder() / "draws.xml");
  CHECK(has(junit, "tests=\"4\" failures=\"4\" skipped=\"0\" errors=\"0\""));
  const std::regex name("<testcase [^>]*name=\"([^\"]*)\""), message("<failure message=\"([^\"]*)\">([^<]*)</failure>");
  std::set<std::string> names;
  for (std::sregex_iterator match(junit.begin(), junit.end(), name), end; match != end; ++match)
    names.insert((*match)[1]);
  CHECK(names.size() == 4);
  int bodies = 0;
  for (std::sregex_iterator match(junit.begin(), junit.end(), message), end; match != end; ++match, ++bodies) {
    CHECK((*match)[1].str().starts_with("forward differs from tanh at y["));
    CHECK_FALSE(has((*match)[1].str(), "&#10;"));
    CHECK(has((*match)[2].str(), "\n  likely cause: "));
  }
  CHECK(bodies == 4);
  gradcheck("--op softmax --repeat 3 --junit built_in.xml");
  CHECK(count_of(io::read_file(folder() / "built_in.xml"), "<testcase ") == 6);
  CHECK(has(io::read_file(folder() / "built_in.xml"), "name=\"draw 3, seed 3, second order: "));
}

TEST_CASE("exit code, JSON and JUnit say the same, whatever happens") {
  struct Row {
    std::string line;
    int status;
    std::string verdict, element;
  };
  const std::string wrong = "--lib " GRADUS_FOREIGN_OPS "/wrong_ops.so --op ";
  io::write_file_atomically(folder() / "text.so", "not a library");
  const Row table[] = {
      {"--lib " + right, 0, "agree", ""},
      {wrong + "half", 1, "disagree", "failure"},
      {wrong + "writes_past", 1, "disagree", "failure"},
      {wrong + "skips_odd", 1, "disagree", "failure"},
      {wrong + "aborts", 6, "crash", "error"},
      {wrong + "refuses", 3, "error", "error"},
      {wrong + "nothing", 2, "error", "error"},
      {"--lib " GRADUS_FOREIGN_OPS "/other_version.so", 3, "error", "error"},
      {"--lib " GRADUS_FOREIGN_OPS "/points_nowhere.so", 3, "error", "error"},
      {"--lib " GRADUS_FOREIGN_OPS "/no_description.so", 3, "error", "error"},
      {"--lib " GRADUS_FOREIGN_OPS "/crashes_when_loaded.so", 6, "crash", "error"},
      {"--lib missing.so", 3, "error", "error"},
      {"--lib text.so", 3, "error", "error"},
      {"--lib " + students + " --op argmax", 2, "error", "error"},
      {"--lib " + students + " --op misnamed", 3, "error", "error"},
      {"--lib " + students + " --op softmax --like matmul", 3, "error", "error"},
      {"--lib " + right + " --op distance --input x=f64[2]:uniform(1e-300,2e-300) --attr shift=1e300", 5, "cannot tell",
       "skipped"},
      {"--lib " + right + " --op distance --input x=f64[2]:uniform(1e-300,2e-300) --attr shift=1e300 --strict", 1,
       "cannot tell", "failure"},
      {"--op softmaxx", 2, "error", "error"},
      {"--op exp --input x=absent.safetensors", 3, "error", "error"},
  };
  for (const Row& row : table) {
    CAPTURE(row.line);
    io::write_file_atomically(folder() / "old.json", "{\"old\": 1}");
    io::write_file_atomically(folder() / "old.xml", "<old/>");
    const Outcome outcome = gradcheck(row.line + " --json old.json --junit old.xml");
    CAPTURE(outcome.out);
    CAPTURE(outcome.err);
    CHECK(outcome.status == row.status);
    const nlohmann::json json = json_at("old.json");
    CHECK(json.at("schema") == "gradus.gradcheck");
    CHECK(json.at("version") == 2);
    CHECK(json.at("verdict") == row.verdict);
    CHECK(json.at("exit_code") == row.status);
    const std::string junit = io::read_file(folder() / "old.xml");
    for (const std::string element : {"failure", "error", "skipped"})
      CHECK((count_of(junit, "<" + element + " ") > 0) == (element == row.element));
  }
}

TEST_CASE("a report that is read too early says that the check has not come to its end") {
  io::write_file_atomically(folder() / "early.json", "{\"verdict\": \"agree\"}");
  Program program(folder(), gradus_command(words(
                                "gradcheck --json early.json --junit early.xml --timeout 60 --lib " GRADUS_FOREIGN_OPS
                                "/wrong_ops.so --op loops")));
  const auto unfinished = [&] {
    const nlohmann::json json = nlohmann::json::parse(io::read_file(folder() / "early.json"), nullptr, false);
    return json.is_object() && json.contains("failures") && json["failures"][0]["kind"] == "not finished";
  };
  for (int i = 0; i < 1000 && !unfinished(); ++i) ::usleep(10000);
  CHECK(unfinished());
  CHECK(json_at("early.json").at("verdict") == "error");
  for (int i = 0; i < 1000 && !std::filesystem::exists(folder() / "early.xml"); ++i) ::usleep(10000);
  CHECK(has(io::read_file(folder() / "early.xml"), "errors=\"1\""));
}

TEST_CASE("one bad op does not discard the others, and an op without a gradient counts for nothing") {
  const Outcome outcome = gradcheck("--json all.json --lib " + students);
  CHECK(has(outcome.out, "character 2 of the name of input 1 of 'misnamed'"));
  std::map<std::string, std::string> verdicts;
  const nlohmann::json report = json_at("all.json");
  for (const nlohmann::json& check : report.at("checks")) verdicts[check.at("op")] = check.at("verdict");
  for (const nlohmann::json& failure : report.at("failures")) verdicts[failure.at("op")] = failure.at("verdict");
  CHECK(verdicts.size() == 18);
  CHECK(verdicts["softmax"] == "agree");
  CHECK(verdicts["misnamed"] == "error");
  CHECK(verdicts["refuses"] == "error");
  CHECK(verdicts["argmax"] == "none");
  CHECK(verdicts["average_next"] == "disagree");
  CHECK(has(student("argmax").err, "argmax has no gradient to check: it gives integers alone"));
  CHECK(has(gradcheck("--list --lib " + students).out, "misnamed "));
}

TEST_CASE("reads beyond a buffer are named by what they read") {
  const std::pair<const char*, const char*> table[] = {
      {"average_next", "forward read past the end of x: element 12 of 12, counted from 0"},
      {"difference_before", "forward read before the start of x: 1 element before its first"},
      {"through_f32", "forward read past the end of x: element 12 of 12, counted from 0"},
      {"running_sum", "forward read before the start of y: 1 element before its first"},
      {"backward_looks_ahead", "backward read past the end of y: element 12 of 12, counted from 0"},
  };
  for (const auto& [name, said] : table) {
    const Outcome outcome = student(name);
    CAPTURE(name);
    CHECK(outcome.status == 1);
    CHECK_MESSAGE(has(outcome.out, said), outcome.out);
  }
}

TEST_CASE("inputs without elements are reported like others") {
  for (const char* line : {"mean --input x=f64[0]", "mean --input x=f64[2,0]", "var --input x=f64[0]",
                           "cross_entropy --input logits=f64[0,3] --input targets=i64[0]"}) {
    const Outcome outcome = gradcheck("--explain --mutants --op " + std::string(line));
    CHECK_MESSAGE(outcome.status == 5, line, "\n", outcome.out, outcome.err);
    CHECK(has(outcome.out, "forward gives NaN for the output"));
  }
  CHECK(gradcheck("--op sum --input x=f64[0]").status == 0);
  CHECK(gradcheck("--op softmax --input x=f64[2,0] --mode fast").status == 0);
  CHECK(gradcheck("--op matmul --input a=f64[2,0] --input b=f64[0,3]").status == 0);
}

TEST_CASE("a limit for the whole time: what is left is listed, and cannot be told") {
  const auto start = std::chrono::steady_clock::now();
  const Outcome sweep = student("softmax --repeat 1000000 --time_limit 0.5 --junit limit.xml --json limit.json");
  CHECK(sweep.status == 5);
  CHECK(has(sweep.out, "not checked: the time limit of 0.5 s was reached"));
  CHECK(has(sweep.out, " to 1000000)"));
  CHECK(json_at("limit.json").at("verdict") == "cannot tell");
  CHECK(has(io::read_file(folder() / "limit.xml"), "<skipped message=\"not checked: the time limit"));
  CHECK(gradcheck("--all --time_limit 0.2").status == 5);
  CHECK(gradcheck("--model vanilla --time_limit 0.2").status == 5);
  const Outcome library = gradcheck("--time_limit 0.001 --lib " + right);
  CHECK(library.status == 5);
  CHECK(count_of(library.out, "not checked: ") == 3);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(30));
}

TEST_CASE("the point of a check as safetensors") {
  const Outcome outcome = gradcheck("--dump point.safetensors --lib " GRADUS_FOREIGN_OPS "/wrong_ops.so --op half");
  CHECK(outcome.status == 1);
  const io::SafetensorsFile file = io::read_safetensors(folder() / "point.safetensors");
  CHECK(file.require("op", "") == "half");
  CHECK(file.require("verdict", "") == "disagree");
  for (const char* name : {"input.x", "output.y", "cotangent.y", "gradient.x", "expected.x", "bar.x"}) {
    CAPTURE(name);
    REQUIRE(file.find(name).defined());
    CHECK(file.find(name).numel() == 12);
  }
  const std::vector<double> yours = file.find("gradient.x").to_vector<double>(),
                            expected = file.find("expected.x").to_vector<double>();
  for (std::size_t e = 0; e < yours.size(); ++e) CHECK(yours[e] == doctest::Approx(0.5 * expected[e]));

  CHECK(gradcheck("--dump read.safetensors --lib " + students + " --op average_next").status == 1);
  const io::SafetensorsFile read = io::read_safetensors(folder() / "read.safetensors");
  CHECK(has(read.require("cause", ""), "read past the end of x"));
  CHECK(read.tensors.size() == 1);
  CHECK(gradcheck("--op tanh --input x=f64[20,30] --dump large.safetensors").status == 0);
  const std::vector<double> unjudged =
      io::read_safetensors(folder() / "large.safetensors").find("bar.x").to_vector<double>();
  CHECK(std::isnan(unjudged[0]));
  CHECK(gradcheck("--op tanh --input x=f64[20,30] --dump large.safetensors --mode full").status == 0);
  CHECK(std::isfinite(io::read_safetensors(folder() / "large.safetensors").find("bar.x").to_vector<double>()[599]));
  CHECK(has(gradcheck("--all --dump all.safetensors").err, "--dump goes with"));

  const Outcome python = run_shell(folder(), "command -v python3 >/dev/null || exit 77; python3 " GRADUS_SOURCE_DIR
                                             "/docs/examples/grading/read_point.py point.safetensors");
  if (python.status == 77) return;
  CHECK_MESSAGE(python.status == 0, python.err);
  CHECK(has(python.out, "half disagree\nx: 12 elements judged, the worst is "));
}

TEST_CASE("a library with AddressSanitizer is explained, and works as it says") {
  const TemporaryFolder place;
  const Outcome built = run_shell(place,
                                  "gradus gradcheck --new op >/dev/null && "
                                  "cc -shared -fPIC -g -fsanitize=address -o op.so op.c -lm");
  const Outcome outcome = run_shell(place, "gradus gradcheck --lib ./op.so");
  if (built.status != 0 || outcome.status == 0) return;  // no sanitizer, or this program has it as well
  CHECK(outcome.status == 3);
  const std::string advice = "LD_PRELOAD=$(gcc -print-file-name=libasan.so) gradus gradcheck --lib ./op.so";
  CHECK(has(outcome.err, "./op.so: it is built with AddressSanitizer"));
  if (!has(outcome.err, advice)) return;  // another compiler's
  const Outcome preloaded = run_shell(place, advice);
  CHECK_MESSAGE(preloaded.status == 0, preloaded.out, preloaded.err);
}

TEST_CASE("the autograder of the chapter for teachers") {
  const std::string script = source_file("docs/examples/grading/grade.sh"), chapter = source_file("docs/grading.md");
  CHECK(has(chapter, script));
  CHECK(has(chapter, source_file("docs/examples/grading/read_point.py")));
  const TemporaryFolder place;
  const Outcome outcome = run_shell(
      place,
      "gradus gradcheck --new my_op >/dev/null && cc -shared -fPIC -O2 -o my_op.so my_op.c -lm && mkdir s && cp "
      "my_op.c s/ada.c &&"
      "sed 's/ scale \\* (1.0/ (1.0/' my_op.c >s/ben.c && sed 's/return 0;/return/' my_op.c >s/dee.c &&"
      "sed 's/= call->attributes.0./= *(double*)0/' my_op.c >s/eli.c && sed 's/OP_VERSION/OP_VERSION + 7/' my_op.c "
      ">s/fay.c &&"
      "sed 's/tanh(scale \\* x\\[i\\])/2 * x[i]/; s/scale \\* (1.0 - y\\[i\\] \\* y\\[i\\])/2/' my_op.c >s/cho.c &&"
      "sh " GRADUS_SOURCE_DIR "/docs/examples/grading/grade.sh s ./my_op.so 4711 --input 'x=f64[5,7]:uniform(-3,3)'");
  CHECK_MESSAGE(
      outcome.out == "ada: right\nben: wrong\ncho: wrong\ndee: does not compile\neli: crashed\nfay: not judged\n",
      outcome.out, outcome.err);
  CHECK(has(io::read_file(place / "s/cho.log"), "forward differs from my_op at y["));
  for (const char* report : {"s/ben.log", "s/ben.xml", "s/cho.xml", "s/eli.xml"})
    CHECK_FALSE(has(io::read_file(place / report), "4711"));
}
