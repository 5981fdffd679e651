// The schedule's printed values, AdamW against plain loops, and the two decay rules.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>

#include "framework/optim/adamw.h"
#include "framework/optim/schedule.h"
#include "framework/tensor/creation.h"
#include "models/gpt/gpt.h"

using namespace gradus;
using optim::TokenSchedule;

namespace {

/// The rate that the course's trainer prints at the end of an epoch, in its own format.
std::string printed(const TokenSchedule& schedule, std::int64_t epoch, std::int64_t tokens_per_epoch) {
  return fmt::format("{:e}", schedule.rate(epoch * tokens_per_epoch));
}

}  // namespace

TEST_CASE("finetuning prints the course's learning rates") {
  TokenSchedule schedule{.peak = 6e-4, .warmup_tokens = 10240, .final_tokens = 200 * 2938 * 128};
  const std::int64_t tokens = 2000 * 127;
  const std::pair<int, const char*> expected[] = {{1, "5.999844e-04"}, {2, "5.999351e-04"}, {5, "5.995847e-04"}, {10, "5.983263e-04"},
                                                  {48, "5.619852e-04"}, {49, "5.604195e-04"}, {52, "5.555474e-04"}, {75, "5.100024e-04"}};
  for (const auto& [epoch, rate] : expected) CHECK(printed(schedule, epoch, tokens) == rate);
  schedule.final_tokens = 200 * 2937 * 128;
  CHECK(printed(schedule, 75, tokens) == "5.099444e-04");
}

TEST_CASE("pretraining prints the course's learning rates, the second cycle included") {
  ::setenv("LC_ALL", "C.UTF-8", 1);
  TokenSchedule schedule{.peak = 6e-3, .warmup_tokens = 10240, .final_tokens = 200 * 2938 * 128};
  const std::int64_t tokens = 2938 * 127;
  const std::pair<int, const char*> expected[] = {{1, "5.999655e-03"}, {50, "5.134975e-03"}, {100, "3.037461e-03"}, {150, "9.183220e-04"},
                                                  {200, "6.000000e-04"}, {250, "8.148181e-04"}, {300, "2.890205e-03"}, {400, "5.996448e-03"},
                                                  {500, "3.182066e-03"}, {600, "6.000000e-04"}, {634, "6.000000e-04"}, {650, "7.182453e-04"}};
  for (const auto& [epoch, rate] : expected) CHECK(printed(schedule, epoch, tokens) == rate);
  CHECK(printed(schedule, 50, 2938 * 128) == "5.122001e-03");
  CHECK(printed(schedule, 650, 2938 * 128) == "8.807224e-04");
  const auto from = schedule.climbs_again(650 * tokens);
  REQUIRE(from);
  CHECK(schedule.rate(*from) / 6e-4 == doctest::Approx(1));
  CHECK(schedule.rate(*from - tokens) / 6e-4 == doctest::Approx(1));
  CHECK(schedule.rate(*from + tokens) > 6.1e-4);
  CHECK_FALSE(schedule.climbs_again(*from));
  CHECK_FALSE(schedule.climbs_again(150 * tokens));
  CHECK(schedule.drawing(650 * tokens, 13) == "█▆▃▁▁▂▅██▆▃▁▁");
  schedule.final_tokens = 650LL * 2937 * 128;
  CHECK(printed(schedule, 50, 2937 * 128) == "5.912913e-03");
  CHECK_FALSE(schedule.climbs_again(650LL * 2937 * 128));
}

TEST_CASE("warm-up rises in a line, and the rate can be held at the end") {
  ::setenv("LC_ALL", "C.UTF-8", 1);
  TokenSchedule schedule{.peak = 1, .warmup_tokens = 100, .final_tokens = 200};
  CHECK(schedule.rate(0) == 0);
  CHECK(schedule.rate(50) == 0.5);
  CHECK(schedule.rate(100) == 1);
  CHECK(schedule.rate(150) == doctest::Approx(0.5));
  CHECK(schedule.rate(200) == doctest::Approx(0.1));
  CHECK(schedule.rate(300) == doctest::Approx(1));
  CHECK(schedule.drawing(200, 4) == "▂▆▇▁");
  ::setenv("LC_ALL", "C", 1);
  CHECK(schedule.drawing(200, 4) == ":*#.");
  schedule.hold_at_end = true;
  CHECK_FALSE(schedule.climbs_again(1000));
  CHECK(schedule.rate(300) == doctest::Approx(0.1));
}

TEST_CASE("AdamW follows a plain loop for ten steps, decayed and not") {
  Generator generator(3);
  const Tensor weight = random_normal({4, 3}, generator, DType::f64).set_requires_grad(), bias = random_normal({4}, generator, DType::f64).set_requires_grad();
  optim::AdamW optimizer({{"layer.weight", weight}, {"layer.bias", bias}}, {.weight_decay = 0.1});
  struct Plain {
    std::vector<double> w, m, v;
    double decay;
  };
  std::vector<Plain> plain = {{weight.to_vector<double>(), std::vector<double>(12), std::vector<double>(12), 0.1},
                              {bias.to_vector<double>(), std::vector<double>(4), std::vector<double>(4), 0}};
  const Tensor parameters[] = {weight, bias};
  for (int t = 1; t <= 10; ++t) {
    const double rate = 0.01 * t;
    for (int k : {0, 1}) {
      parameters[k].set_gradient(random_normal(parameters[k].shape(), generator, DType::f64));
      const std::vector<double> g = parameters[k].gradient().to_vector<double>();
      for (std::size_t i = 0; i < g.size(); ++i) {
        Plain& p = plain[k];
        p.m[i] = 0.9 * p.m[i] + 0.1 * g[i];
        p.v[i] = 0.95 * p.v[i] + 0.05 * g[i] * g[i];
        p.w[i] -= rate * p.decay * p.w[i];
        p.w[i] -= rate * (p.m[i] / (1 - std::pow(0.9, t))) / (std::sqrt(p.v[i] / (1 - std::pow(0.95, t))) + 1e-8);
      }
    }
    optimizer.step(rate);
  }
  for (int k : {0, 1}) {
    const std::vector<double> w = parameters[k].to_vector<double>();
    for (std::size_t i = 0; i < w.size(); ++i) CHECK(std::fabs(w[i] - plain[k].w[i]) < 1e-13);
  }
  CHECK(optimizer.step_count() == 10);
  CHECK(optimizer.describe() == "decayed by 0.1: 1 tensor, 12 elements; not decayed: 1 tensor, 4 elements");
}

TEST_CASE("the assignment decays all but biases, the standard rule linear weights alone") {
  using optim::DecayRule;
  const models::Gpt model({}, 0);
  std::int64_t assignment = 0, standard = 0;
  for (const auto& [name, tensor] : model.named_parameters()) {
    if (optim::is_decayed(DecayRule::assignment, name, tensor.rank())) assignment += tensor.numel();
    if (optim::is_decayed(DecayRule::standard, name, tensor.rank())) standard += tensor.numel();
  }
  const std::int64_t biases = 4 * (2 * 256 + 4 * 256 + 1024 + 256) + 256, gains = 4 * 2 * 256 + 256;
  CHECK(assignment == 3323392 - biases);
  CHECK(standard == 3323392 - biases - gains - 256 * 256 - 128 * 256);
  CHECK_THROWS_AS(optim::decay_rule_from_string("all"), UsageError);
}

TEST_CASE("the optimizer's state goes out and comes back") {
  const Tensor w = ones({3}, DType::f64).set_requires_grad();
  optim::AdamW first({{"w", w}}, {});
  w.set_gradient(full({3}, 2, DType::f64));
  first.step(0.1);
  optim::AdamW second({{"w", w}}, {});
  second.load_state(first.state(), first.step_count(), "file");
  CHECK(second.step_count() == 1);
  CHECK(second.state()[0].second.to_vector<double>() == first.state()[0].second.to_vector<double>());
  try {
    second.load_state({}, 1, "file");
    FAIL("no error");
  } catch (const DataError& error) {
    CHECK(std::string(error.what()) == "file: the optimizer state 'first_moment.w' is missing");
  }
}
