// `gradus gradcheck` as its users meet it: what it takes, what it refuses, what it writes.
#include <doctest/doctest.h>

#include "tests/workplace.h"

TEST_CASE("gradcheck: contradictions and values that cannot be used") {
  io::write_safetensors(workplace() / "numbers.safetensors", {{}, {{"x", zeros({2, 3}, DType::f64)}}});
  check_refusals({
      {"gradcheck --op add --all", 2, "exactly one of --op NAME, --all"},
      {"gradcheck --all --zoo", 2, "exactly one of --op NAME, --all"},
      {"gradcheck --op layernorm", 2, "there is no op 'layernorm' (did you mean layer_norm?)"},
      {"gradcheck --model bert", 2,
       "unknown variant 'bert'; it must be one of vanilla, rope, synthesizer, perceiver, perceiver-ar"},
      {"gradcheck --op add --tiny", 2, "--tiny goes with --model"},
      {"gradcheck --model vanilla --device cpu", 2, "--device goes with a built-in --op or --all"},
      {"gradcheck --op add --timeout 3", 2, "--timeout goes with --lib"},
      {"gradcheck --all --sample rows", 2, "--sample goes with a built-in --op"},
      {"gradcheck --op sum --sample nowhere", 2, "[sum] there is no sample 'nowhere'; it has: all, "},
      {"gradcheck --op argmax --order 1", 2, "[argmax] has no gradient to check"},
      {"gradcheck --op add --order 3", 2, "--order must be 1 or 2, not 3"},
      {"gradcheck --op argmax --repeat 3", 2, "[argmax] has no gradient to check"},
      {"gradcheck --op matmul --repeat 1 --input a=f64[2,3]", 2, "--repeat and --input contradict each other"},
      {"gradcheck --list --json new", 2, "--json goes with a check"},
      {"gradcheck --all --explain", 2, "--explain goes with --op, --model or --lib"},
      {"gradcheck --op embedding --input weight=f64[3,2] --input ids=i64[4]:uniform(0.4,0.6)", 2,
       "there is no integer between 0.4 and 0.6"},
      {"gradcheck --op add --repeat 0", 2, "--repeat must be between 1 and 1000000, not 0"},
      {"gradcheck --op add --repeat -1", 2, "--repeat must be between 1 and 1000000, not -1"},
      {"gradcheck --op add --mode slow", 2, "unknown mode 'slow': expected auto, full or fast"},
      {"gradcheck --op sum --attr axes=0", 2, "--attr goes with --input"},
      {"gradcheck --op matmul --input a=f64[2,3]", 2, "[matmul] --input b=... is missing"},
      {"gradcheck --op tanh --input y=f64[2] --input x=f64[2]", 2, "[tanh] there is no input 'y'; it has: x"},
      {"gradcheck --op tanh --input x=f64[2] --input x=f64[2]", 2, "[tanh] --input x is given 2 times"},
      {"gradcheck --op tanh --input x=f16[2]", 2, "--input takes NAME=DTYPE[SIZES]"},
      {"gradcheck --op tanh --input x=f64[2]:uniform(3,1)", 2, "uniform takes two numbers, the smaller one first"},
      {"gradcheck --op tanh --input x=f64[100000,100000]", 2, "1e+10 elements are too many to check"},
      {"gradcheck --op matmul --input a=f64[2,3] --input b=f64[2,3]", 2, "[matmul] "},
      {"gradcheck --op add --seed 99999999999999999999", 2, "--seed: '99999999999999999999' is too large"},
      {"gradcheck --op softmax --input x=f64[2,3] --attr axes=1", 2,
       "[softmax] there is no attribute 'axes' (did you mean axis?)"},
      {"gradcheck --op softmax --input x=f64[2,3] --attr axis=last", 2, "--attr axis=last: a whole number is wanted"},
      {"gradcheck --op tanh --input y=f64[2] --input x=numbers.safetensors", 2, "there is no input 'y'"},
      {"gradcheck --op exp --input x=absent.safetensors", 3, "absent.safetensors: cannot be read"},
      {"gradcheck --op add --input a=numbers.safetensors --input b=f64[3]", 3,
       "numbers.safetensors: there is no tensor 'a'; it has: x"},
      {"gradcheck --op add --like softmax", 2, "--like goes with --lib"},
      {"gradcheck --op add --points 3", 2, "--points goes with --lib"},
      {"gradcheck --lib x.so --points 0", 2, "--points must be between 1 and 1000000, not 0"},
      {"gradcheck --lib x.so --points 3 --repeat 2", 2, "--points and --repeat contradict each other"},
      {"gradcheck --lib x.so --points 3 --dump new", 2, "--dump and --points contradict each other"},
      {"gradcheck --op add --dump new", 2, "--dump goes with --lib, or a built-in --op with --input or --sample"},
      {"gradcheck --op tanh --input x=f64[2] --dump new --json new", 2, "--json and --dump are the same file"},
      {"gradcheck --op add --time_limit 0", 2, "--time_limit"},
      {"gradcheck --list --hide_seed", 2, "--hide_seed goes with a check"},
      {"gradcheck --op add --json new --junit new", 2, "--json and --junit are the same file"},
      {"gradcheck --op add --junit nowhere/j", 2, "the folder nowhere does not exist"},
  });
}

TEST_CASE("gradcheck: inputs of the user's own, draws, a model, and reports for programs") {
  const TemporaryFolder& folder = workplace();
  io::write_safetensors(folder / "point.safetensors",
                        {{}, {{"x", from_values({2, 3}, std::vector<double>{-1, 0, 1, 2, 3, -4}, DType::f64)}}});
  const auto run = [&](const std::string& arguments, int status = 0) {
    const Outcome outcome = run_program(folder, words("gradcheck " + arguments));
    CHECK_MESSAGE(outcome.status == status, arguments, "\n", outcome.out, outcome.err);
    return outcome.out;
  };
  CHECK(
      has(run("--op matmul --input a=f64[3,4] --input b=f64[4,2]:uniform(-1,1) --order 1"), "a(3,4) f64  b(4,2) f64"));
  CHECK(has(run("--op softmax --input x=f64[2,3] --attr axis=0 --order 2 --mutants"), "damaged gradients rejected"));
  CHECK(has(run("--op relu --input x=point.safetensors --order 1 --explain"), "1 element(s) lie on a kink"));
  CHECK(has(run("--op tanh --input x=f64[30,40] --order 1 --mode full --explain"), "x: judged by forward mode"));
  CHECK(has(run("--op embedding --input ids=i64[4]:uniform(0,2) --input weight=f64[3,2] --order 1"), "agree"));
  CHECK(has(run("--op layer_norm --repeat 4 --seed 9 --json sweep.json"), "4 draws, "));
  CHECK(nlohmann::json::parse(io::read_file(folder / "sweep.json")).at("ops").at(0).at("agree") == 8);
  CHECK(has(run("--model vanilla --tiny --mode fast --junit model.xml"), "vanilla (tiny): agree, 37 parameters"));
  CHECK(has(io::read_file(folder / "model.xml"), "<testsuite name=\"gradus.gradcheck\" tests=\"1\" failures=\"0\""));
  const nlohmann::json json = nlohmann::json::parse(run("--op sum --sample rows --json -"));
  CHECK(json.at("schema") == "gradus.gradcheck");
  CHECK(json.at("verdict") == "agree");
  CHECK(json.at("checks").size() == 2);  // both orders
}
