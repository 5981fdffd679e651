// Foreign ops beside their declared point: what is tried, that wrong ones are found there, and that right ones are not
// accused of shapes, values and attributes that they are not made for.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>

#include "framework/tensor/creation.h"
#include "framework/testing/foreign_sweep.h"
#include "tests/messages.h"
#include "tests/program.h"

using namespace gradus;
using namespace gradus::testing;

namespace {

std::string library_path(const std::string& name) { return GRADUS_FOREIGN_OPS "/" + name + ".so"; }

const ForeignLibrary& narrow_ops() {
  static const ForeignLibrary library(library_path("narrow_ops"));
  return library;
}

ForeignInput input(const Shape& shape, double low, double high, DType dtype = DType::f64) {
  return {.name = "x", .shape = shape, .dtype = dtype, .low = low, .high = high, .normal = low == 0 && high == 0};
}

/// The shapes of one input that the choices for it name.
std::vector<Shape> shapes_tried(const Shape& declared) {
  std::vector<Shape> shapes;
  for (const ShapeChoice& choice : shape_choices({input(declared, 0, 0)})) {
    for (const Shapes& way : choice.ways) shapes.push_back(way[0]);
  }
  return shapes;
}

bool holds(const std::vector<Shape>& shapes, const Shape& shape) {
  return std::find(shapes.begin(), shapes.end(), shape) != shapes.end();
}

std::vector<ForeignPoint> points_of(const std::string& op, int count) {
  ForeignPoints points(narrow_ops().op(op), 1, {}, false, false);
  std::vector<ForeignPoint> found;
  for (int i = 0; i < count; ++i) {
    const std::optional<ForeignPoint> point = points.next(1, 20);
    REQUIRE(point);
    found.push_back(*point);
  }
  return found;
}

template <class Condition>
bool any(const std::vector<ForeignPoint>& points, Condition&& condition) {
  return std::any_of(points.begin(), points.end(), [&](const ForeignPoint& point) { return condition(point); });
}

}  // namespace

TEST_CASE("other shapes: ranks, sizes around powers of two, a size of 1 on every axis, unequal axes") {
  const std::vector<Shape> shapes = shapes_tried({3, 4});
  for (const std::int64_t size : {1, 2, 3, 63, 64, 65, 127, 128, 129}) CHECK(holds(shapes, {3, size}));
  for (const Shape& shape : {Shape{3, 3, 4}, Shape{4}, Shape{1, 4}, Shape{65, 4}, Shape{4, 5}})
    CHECK(holds(shapes, shape));
  CHECK(holds(shapes_tried({4, 4}), {4, 7}));
  CHECK(holds(shapes_tried({2, 4}), {3, 4}));
  CHECK(holds(shapes_tried({1, 4}), {3, 4}));  // a third item in the batch, even where one is declared
  CHECK(holds(shapes_tried({}), {3}));
  CHECK_FALSE(holds(shapes_tried({2000, 2000}), {2000, 65}));  // it costs too much

  // Axes that are equal stay equal unless that is the wish.
  for (const ShapeChoice& choice : shape_choices({input({4, 6}, 0, 0), input({6}, 0, 0)})) {
    if (choice.wish == "sizes" && choice.ways[0][0].rank() == 2) CHECK(choice.ways[0][0][1] == choice.ways[0][1][0]);
  }
}

TEST_CASE("shapes are odd where an op may be right without them") {
  const Shapes declared = {{3, 4}, {4}};
  CHECK_FALSE(odd({{3, 4}, {4}}, declared));
  CHECK_FALSE(odd({{5, 65}, {65}}, declared));
  CHECK(odd({{2, 4}, {4}}, declared));
  CHECK(odd({{3, 65}, {66}}, declared));
  CHECK(odd({{2, 3, 4}, {4}}, declared));
  CHECK(odd({{3}}, {{1}}));
}

TEST_CASE("other values stay in the declared range, and have both signs and three sizes") {
  for (const ForeignInput& declared : {input({3}, -2, 2), input({3}, 0.5, 2), input({3}, -7, -1), input({3}, 0, 0)}) {
    const double low = declared.normal ? -4 : declared.low, high = declared.normal ? 4 : declared.high;
    const std::vector<ForeignInput> others = other_values(declared);
    CHECK(others.size() >= 2);
    for (const ForeignInput& other : others) CHECK((low <= other.low && other.low < other.high && other.high <= high));
  }
  const std::vector<ForeignInput> others = other_values(input({3}, -2, 2));
  const auto some = [&](auto&& condition) { return std::any_of(others.begin(), others.end(), condition); };
  CHECK(some([](const ForeignInput& other) { return other.low >= 0; }));
  CHECK(some([](const ForeignInput& other) { return other.high <= 0; }));
  CHECK(some([](const ForeignInput& other) { return std::max(-other.low, other.high) <= 0.01; }));
  CHECK(some([](const ForeignInput& other) { return other.low >= 1.5; }));
  CHECK(some([](const ForeignInput& other) { return other.whole; }));
  CHECK(other_values(input({3}, 0, 5, DType::i64)).empty());
  CHECK(other_values(input({3}, 1, 1)).empty());
}

TEST_CASE("attributes move within what is declared, whole ones among whole numbers") {
  const std::vector<double> whole = attribute_values({"p", 2, 1, 4}), part = attribute_values({"a", 0.5, 0, 1});
  CHECK(whole.size() >= 2);
  for (const double value : whole) CHECK((value == std::floor(value) && value >= 1 && value <= 4 && value != 2));
  CHECK(part.size() >= 3);
  for (const double value : part) CHECK((value >= 0 && value <= 1 && value != 0.5));
  CHECK(attribute_values({"n", 3, 0, 0}).empty());
  REQUIRE(attribute_values({"slope", 0.1, 0, 0}).size() == 1);
  CHECK(attribute_values({"slope", 0.1, 0, 0})[0] == doctest::Approx(0.098));
}

TEST_CASE("whole numbers are drawn as such, many of them equal") {
  ForeignOp op = narrow_ops().op("first_block");
  ForeignInput wanted = op.inputs()[0];
  wanted.whole = true;
  op.set_input(wanted);
  const std::vector<double> values = op.draw_inputs(3)[0].to_vector<double>();
  for (const double value : values) CHECK((value == std::round(value) && std::fabs(value) <= 2));
  CHECK(std::count(values.begin(), values.end(), 0.0) > 0);
}

TEST_CASE("twenty points see everything that varies") {
  const std::vector<ForeignPoint> points = points_of("first_block", 20);
  const auto shape = [](const ForeignPoint& point) { return point.inputs[0].shape; };
  for (const std::int64_t size : {1, 63, 64, 65, 127, 128, 129})
    CHECK(any(points, [&](const ForeignPoint& point) { return shape(point).rank() == 2 && shape(point)[1] == size; }));
  CHECK(any(points, [&](const ForeignPoint& point) { return shape(point).rank() == 3; }));
  CHECK(any(points, [&](const ForeignPoint& point) { return shape(point).rank() == 1; }));
  CHECK(any(points, [&](const ForeignPoint& point) { return shape(point)[0] == 1; }));
  for (const std::int64_t offset : {-1, 8, 24, 40})
    CHECK(any(points, [&](const ForeignPoint& point) { return point.offset == offset; }));
  for (const int threads : {1, 4})
    CHECK(any(points, [&](const ForeignPoint& point) { return point.threads == threads; }));
  for (const ForeignInput& other : other_values(points[0].inputs[0].normal ? points[0].inputs[0] : input({3}, -2, 2)))
    CHECK(any(points, [&](const ForeignPoint& point) { return same_values(point.inputs[0], other); }));

  const std::vector<ForeignPoint> powers = points_of("power_of_two", 20);
  for (const double p : {1, 3, 4})
    CHECK(any(powers, [&](const ForeignPoint& point) { return point.attributes[0].value == p; }));
  const std::vector<ForeignPoint> indexed = points_of("last_use", 20);
  CHECK(any(indexed, [](const ForeignPoint& point) { return point.inputs[1].low == point.inputs[1].high; }));
  const std::vector<ForeignPoint> products = points_of("square_matmul", 20);
  CHECK(any(products, [](const ForeignPoint& point) {
    return point.inputs[0].shape[0] != point.inputs[0].shape[1] && point.inputs[1].shape[0] != point.inputs[1].shape[1];
  }));
}

TEST_CASE("an op that is wrong where its declared point does not look is found by a few others") {
  const std::pair<const char*, const char*> table[] = {{"first_block", "a last axis of 65"},
                                                       {"two_items", ""},
                                                       {"first_rows", "one axis more"},
                                                       {"at_other_addresses", ""},
                                                       {"beyond_five", "x in ["},
                                                       {"power_of_two", "p="},
                                                       {"divided_product", "x whole in [-2, 2]"},
                                                       {"last_use", "i"},
                                                       {"square_matmul", "unequal axes"}};
  for (const auto& [name, words] : table) {
    CAPTURE(name);
    const ForeignOp op = narrow_ops().op(name);
    if (std::string(name) != "beyond_five") CHECK(check(op, op.draw_inputs(1)).passed());
    const FurtherPoints further = check_further_points(op, {}, 20);
    REQUIRE(further.wrong);
    REQUIRE(further.wrong->report);
    CHECK(further.wrong->report->verdict == Verdict::disagree);
    CHECK_MESSAGE(has(words_of(further.wrong->point, op), words), words_of(further.wrong->point, op));
  }
}

TEST_CASE("what is kept from one size to the next is found, and called that") {
  const ForeignOp op = narrow_ops().op("table_of_first_size");
  const FurtherPoints further = check_further_points(op, {}, 20);
  REQUIRE(further.wrong);
  CHECK(further.wrong->in_company);
  REQUIRE(further.wrong->report);
  REQUIRE(further.wrong->report->hint);
  CHECK(has(further.wrong->report->hint->sentence, "after a call at x(3,4), the gradient of 'x' at "));
}

TEST_CASE("right ops are not accused of what they are not made for") {
  for (const char* name :
       {"right_rows", "right_lengths", "right_determinant", "right_pairs", "right_largest", "right_angle"}) {
    CAPTURE(name);
    const ForeignOp op = narrow_ops().op(name);
    for (const std::uint64_t seed : {1, 2, 3, 4, 5}) {
      CheckOptions options;
      options.seed = seed;
      const FurtherPoints further = check_further_points(op, options, 20);
      CHECK_MESSAGE(!further.wrong, words_of(further.wrong->point, op));
      CHECK(further.agree > 0);
    }
  }
  const FurtherPoints further = check_further_points(narrow_ops().op("right_rows"), {}, 20);
  CHECK(std::find(further.not_varied.begin(), further.not_varied.end(), "one axis more (not taken)") !=
        further.not_varied.end());
}

TEST_CASE("addresses are as asked for") {
  ForeignOp op = narrow_ops().op("at_other_addresses");
  const Tensors inputs = op.draw_inputs(1);
  const auto first = [&] {
    const Tensors outputs = op.subject().forward(inputs);
    return op.subject().backward(inputs, {ones_like(outputs[0])})[0].to_vector<double>()[0];
  };
  for (const std::int64_t offset : {0, 16, 24, 32, 56}) {
    op.set_offset(offset);
    CHECK(first() != 0);
  }
  for (const std::int64_t offset : {8, 40}) {
    op.set_offset(offset);
    CHECK(first() == 0);
  }
  op.set_offset(-1);
  CHECK(first() != 0);
  CHECK_THROWS_AS(op.set_offset(64), UsageError);
  CHECK_THROWS_AS(op.set_offset(12), UsageError);
}

TEST_CASE("a library of version 1 of the contract loads as it did") {
  const ForeignLibrary library(library_path("version_1"));
  const ForeignOp op = library.op("old");
  CHECK(op.attributes() == std::map<std::string, double>{{"a", 2}, {"b", 0.5}});
  CHECK(op.subject().outputs == std::vector<std::string>{"y", "z"});
  CHECK(op.subject().accuracy == std::vector<double>{0, 0});
  CHECK(check(op, op.draw_inputs(1)).passed());
}

TEST_CASE("what an op declares reaches the checker") {
  const ForeignOp op = narrow_ops().op("power_of_two");
  const Subject subject = op.subject();
  CHECK(subject.accuracy == std::vector<double>{1e-9});
  REQUIRE(subject.ranges.size() == 1);
  CHECK(subject.ranges[0].low == 0.5);
  CHECK(subject.ranges[0].high == 2);
  CHECK(op.declared_attributes()[0].low == 1);
  CHECK(op.declared_attributes()[0].high == 4);
  CHECK_FALSE(narrow_ops().op("square_matmul").subject().ranges[0].is_declared());
  CHECK(subject_at(op, op.draw_inputs(1)).ranges[0].is_declared());
  CHECK_FALSE(subject_at(op, {full({3, 4}, 2.5, DType::f64)}).ranges[0].is_declared());
}

TEST_CASE("an accusation is repeated by the line that comes with it") {
  const TemporaryFolder folder;
  const std::string library = "--lib " + library_path("narrow_ops");
  for (const char* op : {"first_block", "power_of_two", "divided_product", "last_use", "square_matmul"}) {
    const Outcome outcome = run_shell(folder, fmt::format("gradus gradcheck {} --op {}", library, op));
    CAPTURE(outcome.out);
    CHECK(outcome.status == 1);
    CHECK(has(outcome.out, "beside the declared point: "));
    std::smatch rerun;
    REQUIRE(std::regex_search(outcome.out, rerun, std::regex("rerun: (.*)\n")));
    const Outcome again = run_shell(folder, rerun[1]);
    CHECK_MESSAGE(again.status == 1, again.out, again.err);
    CHECK(has(again.out, "DISAGREE"));
  }
  const Outcome right = run_shell(folder, fmt::format("gradus gradcheck {} --op right_rows --explain", library));
  CHECK(right.status == 0);
  CHECK(has(right.out, "further points: "));
  CHECK(has(right.out, "not varied: one axis less (not taken), one axis more (not taken)"));
  const Outcome swept = run_shell(folder, fmt::format("gradus gradcheck {} --op right_rows --repeat 6", library));
  CHECK(swept.status == 0);
  CHECK(has(swept.out, "6 draws, 5 with their own sizes: 6 agree"));
}
