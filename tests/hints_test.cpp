// What is said of a wrong gradient is true: by ops of other kinds than those of the zoo, whose causes were once named
// wrongly.
#include <doctest/doctest.h>

#include <cmath>

#include "framework/tensor/creation.h"
#include "framework/testing/foreign_op.h"
#include "framework/testing/gradcheck.h"
#include "framework/testing/numbers.h"
#include "tests/messages.h"

using namespace gradus;
using namespace gradus::testing;

namespace {

/// sin(x), with wrong(element) times its gradient.
template <class Factor>
CheckReport check_sine(std::int64_t count, Factor wrong) {
  Subject subject;
  subject.name = "sine";
  subject.inputs = {"x"};
  subject.outputs = {"y"};
  subject.differentiable = {true};
  subject.forward = [](const Tensors& inputs) {
    Numbers y = inputs[0].to_vector<double>();
    for (double& value : y) value = std::sin(value);
    return Tensors{from_values(inputs[0].shape(), y, DType::f64)};
  };
  subject.backward = [wrong](const Tensors& inputs, const Tensors& cotangents) {
    const Numbers x = inputs[0].to_vector<double>();
    Numbers gradient = cotangents[0].to_vector<double>();
    for (std::size_t e = 0; e < x.size(); ++e) gradient[e] *= std::cos(x[e]) * wrong(static_cast<std::int64_t>(e));
    return Tensors{from_values(inputs[0].shape(), gradient, DType::f64)};
  };
  Generator generator(3, 1);
  return check(subject, {random_uniform({count}, generator, DType::f64, -2, 2)});
}

std::string cause_of(const CheckReport& report) { return report.hint ? to_string(report.hint->cause) : "none"; }

}  // namespace

TEST_CASE("a cause is the right one, or none is named") {
  const ForeignLibrary library(GRADUS_FOREIGN_OPS "/caused_ops.so");
  REQUIRE(library.names().size() > 30);
  for (const std::string& name : library.names()) {
    const std::string summary = library.op(name).summary(), causes = "|" + summary.substr(0, summary.find(':')) + "|";
    std::map<std::string, double> attributes;
    if (has(causes, "attribute-ignored")) attributes["scale"] = 0.3;
    const ForeignOp op = library.op(name, attributes);
    int named = 0;
    for (const std::uint64_t seed : {1, 2, 3, 4, 5}) {
      const CheckReport report = check(op, op.draw_inputs(seed), {.seed = seed});
      if (report.verdict == Verdict::agree) continue;  // no id was drawn twice, no value lay beyond
      const bool right = has(causes, "|" + cause_of(report) + "|");
      CHECK_MESSAGE((right || !report.hint), name, " with the seed ", seed, " is ", summary, "\n", to_text(report));
      if (report.hint && report.hint->share) CHECK(*report.hint->share >= 0.9);
      named += right;
    }
    CHECK_MESSAGE(named >= 3, name, " is ", summary);
  }
}

TEST_CASE("of a large input, single wrong elements are named only if they explain every direction") {
  const CheckReport one = check_sine(50000, [](std::int64_t e) { return e == 33333 ? 2 : 1; });
  REQUIRE(one.hint);
  CHECK(one.hint->cause == Cause::single_element);
  CHECK(one.hint->sentence == "[33333] alone is wrong, all others together are right");
  const CheckReport three = check_sine(50000, [](std::int64_t e) { return e % 20000 == 7 ? 0.5 : 1; });
  REQUIRE(three.hint);
  CHECK(three.hint->sentence == "[7] and [20007] and [40007] alone are wrong, all others together are right");
  CHECK_FALSE(check_sine(50000, [](std::int64_t e) { return e >= 32768 ? 0.5 : 1; }).hint);
  const CheckReport all = check_sine(50000, [](std::int64_t) { return 1 + 1e-7; });
  REQUIRE(all.hint);
  CHECK(all.hint->sentence == "it is the expected one times 1 + 1e-07, everywhere");
}

TEST_CASE("where the printed digits are equal, the table says how far off they are") {
  const std::string text = to_text(check_sine(12, [](std::int64_t e) { return e == 5 ? 1 + 1e-8 : 1; }));
  CHECK_MESSAGE(has(text, "1e-08 of it   FAIL 1/12"), text);
  CHECK_MESSAGE(has(text,
                    "gradient of 'x': it is wrong only in element 5, where it is off "
                    "by 1e-08 relative"),
                text);
}
