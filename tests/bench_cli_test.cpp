// What `gradus bench` reports: counts that must be exact, and what it refuses. How fast anything is, is no test's
// matter.
#include <doctest/doctest.h>

#include "framework/ops/op_spec.h"
#include "framework/ops/registry.h"
#include "tests/workplace.h"

namespace {

nlohmann::json bench(const std::string& arguments) {
  must_run(workplace(), "bench " + arguments + " --json bench.json");
  return nlohmann::json::parse(io::read_file(workplace() / "bench.json"));
}

const nlohmann::json* find_pass(const nlohmann::json& results, const std::string& op, const std::string& pass) {
  for (const nlohmann::json& result : results.at("ops")) {
    if (result.at("op") == op && result.value("pass", "") == pass) return &result;
  }
  return nullptr;
}

/// Which ceiling bounds a pass depends on the two that were measured on this machine.
void check_bound(const nlohmann::json& results, const nlohmann::json& pass) {
  const double arithmetic = pass.at("gflop_per_s").get<double>() / results.at("peak_gflop_per_s").get<double>();
  const double memory = pass.at("gb_per_s").get<double>() / results.at("copy_gb_per_s").get<double>();
  CHECK(pass.at("bound") == (arithmetic > memory ? "arithmetic" : "memory"));
  CHECK(pass.at("share_of_bound").get<double>() == doctest::Approx(std::max(arithmetic, memory)));
}

}  // namespace

TEST_CASE("bench: what cannot be measured") {
  check_refusals({
      {"bench", 2, "subcommand is required"},
      {"bench ops", 2, "'bench' has no subcommand 'ops' (did you mean op?)"},
      {"bench op", 2, "either NAME or --all is needed"},
      {"bench op mul --all", 2, "either NAME or --all is needed"},
      {"bench op layernorm", 2,
       "there is no op 'layernorm' (did you mean layer_norm?); gradus gradcheck --list shows them all"},
      {"bench op zzzzzzzzzz", 2, "there is no op 'zzzzzzzzzz'; gradus gradcheck --list shows them all"},
      {"bench op mul --seconds -1", 2, "--seconds must be between 0 and 3600, not -1"},
      {"bench op mul --batch 0", 2, "--batch must be between 1 and 4096, not 0"},
      {"bench op mul --length 1m", 2, "--length must be between 1 and 4096, not 1000000"},
      {"bench op mul --dtype f16", 2, "unknown dtype 'f16'"},
      {"bench train --batch 0", 2, "--batch must be between 1 and 65536, not 0"},
      {"bench train --length 129", 2, "--length must be between 1 and 128, not 129"},
      {"bench train --steps 0", 2, "--steps must be between 1 and"},
      {"bench train --padded", 2, "--padded goes with --corpus"},
      {"bench train --warmup -1", 2, "--warmup must be between 0 and"},
      {"bench train --corpus nowhere", 3, "nowhere: cannot be read"},
      {"bench train --corpus corpus.txt --length 7", 2, "block_size must be at least 8"},
      {"bench generate --questions 0", 2, "--questions must be between 1 and 1000000, not 0"},
      {"bench generate --questions 2 --plain_questions 3", 2, "--plain_questions must be between 1 and 2, not 3"},
      {"bench generate --characters 100", 2, "--characters must be between 1 and 64, not 100"},
      {"bench generate --json nowhere/file", 2, "nowhere/file: the folder nowhere does not exist"},
  });
}

TEST_CASE("a full memory: who holds it, and flags that there are") {
  const std::string line = "bench train --batch 8 --steps 1 --warmup 0";
  const Outcome outcome = run_program(workplace(), words(line), {"GRADUS_MEMORY_LIMIT=80"});
  CHECK(outcome.status == 1);
  INFO(outcome.err);
  CHECK(has(outcome.err, "gradus: out of memory on cpu: "));
  CHECK(has(outcome.err, ", the limit is 80 MiB, "));
  CHECK(has(outcome.err, "[zeros_like] at framework/optim/adamw.cpp:"));
  CHECK(has(outcome.err, "[random_normal] at framework/nn/layers.cpp:"));
  CHECK(has(outcome.err, "] at models/gpt/blocks.cpp:"));
  const std::string help = run_program(workplace(), words("pretrain --help")).out;
  for (const char* flag : {"--micro_batches", "--recompute", "--batch_size"}) {
    CHECK(has(outcome.err, flag));
    CHECK(has(help, flag));
  }
  const Outcome refused = run_program(workplace(), words(line), {"GRADUS_MEMORY_LIMIT=much"});
  CHECK(refused.status == 2);
  CHECK(refused.err == "from the environment: GRADUS_MEMORY_LIMIT=much\ngradus: GRADUS_MEMORY_LIMIT must be a number of MiB from 1 on, not 'much'\n");
}

TEST_CASE("bench train: rows of one length have no padding, and the loss does not depend on the threads") {
  const nlohmann::json one = bench("train --batch 2 --length 16 --steps 3 --warmup 1 --threads 1");
  CHECK(one.at("tokens_per_s") == one.at("computed_tokens_per_s"));
  CHECK(one.at("padding_share") == 0);
  CHECK(one.at("tokens_per_s").get<double>() == doctest::Approx(32 / one.at("step_s_median").get<double>()));
  CHECK(one.at("tokens_per_s_min") <= one.at("tokens_per_s"));
  CHECK(one.at("tokens_per_s") <= one.at("tokens_per_s_max"));
  CHECK(one.at("peak_tensor_mib") > 3323392 * 4 * 4 / (1 << 20) - 1);  // weights, gradients, two moments
  CHECK(one.at("peak_rss_mib").get<int>() > 0);
  const nlohmann::json two = bench("train --batch 2 --length 16 --steps 3 --warmup 1 --threads 2");
  CHECK(two.at("threads") == 2);
  CHECK(two.at("loss_last").get<double>() == one.at("loss_last").get<double>());
}

TEST_CASE("bench train --corpus: padding is counted and not computed") {
  const nlohmann::json ragged = bench("train --corpus corpus.txt --batch 4 --length 96 --steps 1 --warmup 0");
  const double padding = ragged.at("padding_share").get<double>(), seconds = ragged.at("step_s_median").get<double>();
  CHECK(padding > 0.1);
  CHECK(padding < 0.9);
  CHECK(ragged.at("tokens_per_s").get<double>() * seconds == doctest::Approx(4 * 95));
  CHECK(ragged.at("computed_tokens_per_s").get<double>() * seconds == doctest::Approx(4 * 95 * (1 - padding)));
  const nlohmann::json padded = bench("train --corpus corpus.txt --batch 4 --length 96 --steps 1 --warmup 0 --padded");
  CHECK(padded.at("padding_share") == 0);
  CHECK(padded.at("padded") == true);
  CHECK(padded.at("graph") == false);  // on the CPU
}

TEST_CASE("bench op: operations and bytes of both directions") {
  const nlohmann::json results = bench("op linear --batch 2 --length 8 --seconds 0");
  const double rows = 16, in = 256, out = 1024;
  const nlohmann::json *forward = find_pass(results, "linear", "forward"),
                       *backward = find_pass(results, "linear", "backward");
  REQUIRE((forward && backward));
  CHECK(forward->at("flops") == 2 * rows * in * out + rows * out);
  CHECK(forward->at("bytes") == 4 * (rows * in + in * out + out + rows * out));
  CHECK(backward->at("flops") == 2 * forward->at("flops").get<double>());
  CHECK(backward->at("bytes") == 4 * (rows * out + 2 * (rows * in + in * out) + out));
  for (const nlohmann::json* pass : {forward, backward}) {
    const double seconds = pass->at("seconds_min").get<double>();
    CHECK(seconds > 0);
    CHECK(pass->at("gflop_per_s").get<double>() == doctest::Approx(pass->at("flops").get<double>() / seconds / 1e9));
    CHECK(pass->at("gb_per_s").get<double>() == doctest::Approx(pass->at("bytes").get<double>() / seconds / 1e9));
    CHECK(pass->at("repetitions").get<int>() >= 3);
    check_bound(results, *pass);
  }
  CHECK(forward->at("inputs") == "(16,256) f32 cpu, (1024,256) f32 cpu, (1024) f32 cpu");
}

TEST_CASE("bench op: a gradient that is only a look at the cotangent costs nothing; one gradient counts once") {
  const nlohmann::json add = bench("op add --batch 2 --length 8 --seconds 0"),
                       gelu = bench("op gelu --batch 2 --length 8 --seconds 0 --dtype f64");
  check_bound(add, *find_pass(add, "add", "forward"));
  CHECK(find_pass(add, "add", "backward")->at("bytes") == 0);
  CHECK(find_pass(add, "add", "backward")->at("bound") == "none");
  CHECK(find_pass(gelu, "gelu", "backward")->at("flops") == find_pass(gelu, "gelu", "forward")->at("flops"));
  CHECK(find_pass(gelu, "gelu", "backward")->at("bytes") ==
        8 * 3 * 16 * 1024);  // x and the cotangent read, one written
}

TEST_CASE("bench op --all: every record runs at a large size, and backward where it has a gradient") {
  for (const std::string dtype : {"f32", "f64"}) {
    const nlohmann::json results = bench("op --all --batch 2 --length 64 --seconds 0 --dtype " + dtype);
    for (const OpSpec* spec : all_ops()) {
      CAPTURE(spec->name);
      const nlohmann::json* forward = find_pass(results, spec->name, "forward");
      REQUIRE(forward);
      const double bytes = forward->at("bytes").get<double>();
      CHECK((bytes == 0 || bytes >= 64 * 256));
      CHECK((find_pass(results, spec->name, "backward") != nullptr) ==
            (spec->is_differentiable() && spec->mutates.empty()));
    }
  }
}

TEST_CASE("bench generate: both ways give the same answers") {
  const nlohmann::json result = bench("generate --questions 5 --plain_questions 3 --characters 4");
  CHECK(result.at("same_answers") == 3);
  CHECK(result.at("ratio").get<double>() == doctest::Approx(result.at("characters_per_s").get<double>() /
                                                            result.at("plain_characters_per_s").get<double>()));
}
