// Wrong ops whose cause was once named wrongly, or not at all. The summary begins with the causes that may be named,
// or `none` where nothing that the checker knows is one; then it says what is wrong.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "framework/testing/gradus_op.h"

namespace {

using Index = std::int64_t;

/// What an op works on: input i, output k, upstream gradient k, gradient i.
struct Data {
  explicit Data(const gradus_call* call) : of(*call), x(numbers(call->inputs, 0)) {}
  static double* numbers(const gradus_tensor* tensors, int number) {
    return tensors ? static_cast<double*>(tensors[number].data) : nullptr;
  }
  const double* input(int i) const { return numbers(of.inputs, i); }
  const Index* ids(int i) const { return static_cast<const Index*>(of.inputs[i].data); }
  double* y(int k = 0) const { return numbers(of.outputs, k); }
  const double* u(int k = 0) const { return numbers(of.cotangents, k); }
  double* gradient(int i = 0) const { return numbers(of.gradients, i); }
  Index count(int i = 0) const { return gradus_numel(&of.inputs[i]); }
  Index size(int i, int axis) const { return of.inputs[i].shape[axis]; }

  const gradus_call& of;
  const double* x;  ///< the first input
};

/// y = f(x) for each element.
template <auto f>
int each(const gradus_call* call) {
  const Data d(call);
  for (Index e = 0; e < d.count(); ++e) d.y()[e] = f(d.x[e]);
  return 0;
}

/// gradient = g(x, u, e, all) for each element e.
template <auto g>
int back(const gradus_call* call) {
  const Data d(call);
  for (Index e = 0; e < d.count(); ++e) d.gradient()[e] = g(d.x[e], d.u()[e], e, d);
  return 0;
}

gradus_input input(const char* name, std::initializer_list<Index> shape, double low = -2, double high = 2) {
  gradus_input in{};
  in.name = name;
  in.dtype = GRADUS_F64;
  in.differentiable = 1;
  for (const Index size : shape) in.shape[in.rank++] = size;
  in.low = low;
  in.high = high;
  return in;
}
gradus_input ids(const char* name, Index count, double highest) {
  gradus_input in = input(name, {count}, 0, highest);
  in.dtype = GRADUS_I64;
  in.differentiable = 0;
  return in;
}

double sine(double x) { return std::sin(x); }
double hyperbolic(double x) { return std::tanh(x); }
double exponential(double x) { return std::exp(x); }

/// Between 0 and 1, without a pattern.
double scrambled(std::uint64_t bits) {
  bits = (bits ^ bits >> 29) * 0xBF58476D1CE4E5B9u;
  return static_cast<double>((bits ^ bits >> 32) >> 11) * 0x1p-53;
}

// --- y[m] = table[ids[m]] ---
int lookup_shape(const gradus_call* call) {
  call->outputs[0].rank = 2;
  call->outputs[0].shape[0] = gradus_numel(&call->inputs[1]);
  call->outputs[0].shape[1] = call->inputs[0].shape[1];
  return 0;
}
int lookup(const gradus_call* call) {
  const Data d(call);
  const Index width = d.size(0, 1);
  for (Index m = 0; m < d.count(1); ++m) std::copy_n(d.x + d.ids(1)[m] * width, width, d.y() + m * width);
  return 0;
}
/// factor(row, uses of the row, position) of each use.
template <auto factor>
int lookup_back(const gradus_call* call) {
  const Data d(call);
  const Index width = d.size(0, 1), count = d.count(1);
  const Index* id = d.ids(1);
  std::fill_n(d.gradient(), d.count(), 0.0);
  for (Index m = 0; m < count; ++m) {
    const double f = factor(id[m], std::count(id, id + count, id[m]), m, count);
    for (Index c = 0; c < width; ++c) d.gradient()[id[m] * width + c] += f * d.u()[m * width + c];
  }
  return 0;
}

// --- sums over everything, of powers of x ---
int one_number(const gradus_call* call) {
  call->outputs[0].rank = 0;
  return 0;
}
template <int power>
int sum_of_powers(const gradus_call* call) {
  const Data d(call);
  d.y()[0] = 0;
  for (Index e = 0; e < d.count(); ++e) d.y()[0] += std::pow(d.x[e], power);
  return 0;
}
template <int power>
int sum_of_powers_back(const gradus_call* call) {  // without the factor `power`
  const Data d(call);
  for (Index e = 0; e < d.count(); ++e) d.gradient()[e] = d.u()[0] * std::pow(d.x[e], power - 1);
  return 0;
}
int sum_of_sines(const gradus_call* call) {
  const Data d(call);
  d.y()[0] = 0;
  for (Index e = 0; e < d.count(); ++e) d.y()[0] += std::sin(d.x[e]);
  return 0;
}
int mean_of_sines_back(const gradus_call* call) {
  const Data d(call);
  for (Index e = 0; e < d.count(); ++e) d.gradient()[e] = d.u()[0] * std::cos(d.x[e]) / static_cast<double>(d.count());
  return 0;
}

// --- scale * sin(x), an attribute ---
int scaled_sine(const gradus_call* call) {
  const Data d(call);
  for (Index e = 0; e < d.count(); ++e) d.y()[e] = call->attributes[0] * std::sin(d.x[e]);
  return 0;
}

// --- larger of two ---
int larger(const gradus_call* call) {
  const Data d(call);
  for (Index e = 0; e < d.count(); ++e) d.y()[e] = std::max(d.x[e], d.input(1)[e]);
  return 0;
}
int larger_back(const gradus_call* call) {
  const Data d(call);
  for (const int i : {0, 1}) std::copy_n(d.u(), d.count(), d.gradient(i));
  return 0;
}

// --- the length of x ---
int length(const gradus_call* call) {
  const Data d(call);
  double squares = 0;
  for (Index e = 0; e < d.count(); ++e) squares += d.x[e] * d.x[e];
  d.y()[0] = std::sqrt(squares);
  return 0;
}
int length_back(const gradus_call* call) {
  const Data d(call);
  double squares = 0;
  for (Index e = 0; e < d.count(); ++e) squares += d.x[e] * d.x[e];
  const float in_f32 = static_cast<float>(std::sqrt(squares));
  for (Index e = 0; e < d.count(); ++e) d.gradient()[e] = d.u()[0] * d.x[e] / in_f32;
  return 0;
}

struct Op {
  const char *name, *summary;
  std::vector<gradus_input> inputs;
  gradus_function shape, forward, backward;
  std::vector<gradus_attribute> attributes = {};
};

const gradus_input matrix = input("x", {3, 4});

#define SLOPE(...)                                                                        \
  back<[]([[maybe_unused]] double x, [[maybe_unused]] double u, [[maybe_unused]] Index e, \
          [[maybe_unused]] const Data& d) -> double { return (__VA_ARGS__); }>
#define USES(...)                                                                                          \
  lookup_back<[]([[maybe_unused]] Index row, [[maybe_unused]] Index uses, [[maybe_unused]] Index position, \
                 [[maybe_unused]] Index count) -> double { return (__VA_ARGS__); }>

const std::vector<Op> ops = {
    // By place
    {"one_element",
     "single-element: [1,3] is off by a millionth",
     {matrix},
     nullptr,
     each<hyperbolic>,
     SLOPE(u*(1 - std::tanh(x) * std::tanh(x)) * (e == 7 ? 1 + 1e-6 : 1))},
    {"loop_from_one",
     "single-element: [0,0] is what was there before, the upstream gradient",
     {matrix},
     nullptr,
     each<sine>,
     SLOPE(e == 0 ? u : u * std::cos(x))},
    {"last_column",
     "some-places: a ten-thousandth off in the last column",
     {matrix},
     nullptr,
     each<sine>,
     SLOPE(u* std::cos(x) * (e % 4 == 3 ? 1.0001 : 1))},
    {"first_row",
     "some-places: a sign in the first row",
     {matrix},
     nullptr,
     each<sine>,
     SLOPE(u* std::cos(x) * (e < 4 ? -1 : 1))},
    {"from_64",
     "boundary: twice from 64 on",
     {input("x", {100})},
     nullptr,
     each<sine>,
     SLOPE(u* std::cos(x) * (e >= 64 ? 2 : 1))},
    {"byte_index",
     "boundary: the index is kept in a byte",
     {input("x", {300})},
     nullptr,
     each<sine>,
     SLOPE(d.u()[e % 256] * std::cos(d.x[e % 256]))},
    {"lane",
     "some-places: every fourth element",
     {input("x", {32})},
     nullptr,
     each<sine>,
     SLOPE(u* std::cos(x) * (e % 4 == 3 ? 1.5 : 1))},
    {"row_factors",
     "missing-factor: row r has the factor r + 1",
     {matrix},
     nullptr,
     each<sine>,
     SLOPE(u* std::cos(x) * static_cast<double>(1 + e / 4))},
    {"ends",
     "some-parts|some-places: nothing arrives at both ends",
     {matrix},
     nullptr,
     each<sine>,
     SLOPE(e == 0 || e == 11 ? 0 : u * std::cos(x))},
    {"scattered_values",
     "none: wrong for a tenth of all values, without a pattern",
     {input("x", {60})},
     nullptr,
     each<sine>,
     SLOPE(u* std::cos(x) * (scrambled(std::bit_cast<std::uint64_t>(x)) < 0.1 ? 2 : 1))},
    // By value
    {"below_minus_20",
     "wrong-where: twice below -20, where the gradient is small",
     {input("x", {30}, -25, 4)},
     nullptr,
     each<exponential>,
     SLOPE(u* std::exp(x) * (x < -20 ? 2 : 1))},
    {"beyond_1_5",
     "wrong-where: a tenth too large above 1.5",
     {input("x", {4, 10})},
     nullptr,
     each<sine>,
     SLOPE(u* std::cos(x) * (x > 1.5 ? 1.1 : 1))},
    {"near_zero",
     "wrong-where: nothing arrives where |x| is below 0.2",
     {input("x", {40}, -1, 1)},
     nullptr,
     each<sine>,
     SLOPE(std::fabs(x) < 0.2 ? 0 : u * std::cos(x))},
    {"largest_element",
     "none: wrong at the largest element only, which is no threshold",
     {matrix},
     nullptr,
     each<sine>,
     SLOPE(u* std::cos(x) * (x == *std::max_element(d.x, d.x + d.count()) ? 3 : 1))},
    {"taylor",
     "none: a series of five terms, whose error grows with |x|",
     {input("x", {20}, -1, 1)},
     nullptr,
     each<sine>,
     SLOPE(u*(1 - x * x / 2 + std::pow(x, 4) / 24 - std::pow(x, 6) / 720 + std::pow(x, 8) / 40320))},
    {"larger_of_two",
     "wrong-where: both get the gradient",
     {input("a", {12}), input("b", {12})},
     nullptr,
     larger,
     larger_back},
    // Digits
    {"noise",
     "none: off by 1e-7, but in no format",
     {matrix},
     nullptr,
     each<sine>,
     SLOPE(u* std::cos(x) * (1 + 2e-7 * (scrambled(std::bit_cast<std::uint64_t>(x)) - 0.5)))},
    {"table",
     "none: the slope of the nearest of 1e6 places for each unit",
     {matrix},
     nullptr,
     each<sine>,
     SLOPE(u* std::cos(std::round(x * 1e6) / 1e6))},
    {"grid",
     "none: the saved output has seven decimals",
     {matrix},
     nullptr,
     each<hyperbolic>,
     SLOPE(u*(1 - std::pow(std::round(std::tanh(x) * 1e7) / 1e7, 2)))},
    {"cosf",
     "rounded: the slope in f32",
     {matrix},
     nullptr,
     each<sine>,
     SLOPE(u* static_cast<double>(std::cos(static_cast<float>(x))))},
    {"tanhf",
     "rounded: 1 - y^2 with y in f32",
     {matrix},
     nullptr,
     each<hyperbolic>,
     SLOPE(u*(1 - std::pow(static_cast<double>(std::tanh(static_cast<float>(x))), 2)))},
    {"float_upstream",
     "rounded: the upstream gradient in f32",
     {matrix},
     nullptr,
     each<sine>,
     SLOPE(static_cast<double>(static_cast<float>(u)) * std::cos(x))},
    {"float_length",
     "constant-factor: x / length, the length in f32",
     {input("x", {9})},
     one_number,
     length,
     length_back},
    {"hundred_millionth",
     "constant-factor: 1e-8 off everywhere",
     {matrix},
     nullptr,
     each<sine>,
     SLOPE(u* std::cos(x) * (1 + 1e-8))},
    // Factors and what they are not
    {"cube_third",
     "constant-factor: 3 is missing; an axis of 3 has nothing to do with it",
     {matrix},
     nullptr,
     each<[](double x) { return x * x * x; }>,
     SLOPE(u* x* x)},
    {"sum_of_fourths",
     "constant-factor: 4 is missing; an axis of 4 has nothing to do with it",
     {matrix},
     one_number,
     sum_of_powers<4>,
     sum_of_powers_back<4>},
    {"mean_for_sum",
     "mean-for-sum: divides by the number of elements",
     {input("x", {3, 5})},
     one_number,
     sum_of_sines,
     mean_of_sines_back},
    {"scale_twice",
     "constant-factor: the attribute is there twice",
     {matrix},
     nullptr,
     scaled_sine,
     SLOPE(u* std::cos(x) * d.of.attributes[0] * d.of.attributes[0]),
     {{"scale", 0.7}}},
    {"usual_scale",
     "attribute-ignored: 0.7 where the attribute belongs",
     {matrix},
     nullptr,
     scaled_sine,
     SLOPE(u* std::cos(x) * 0.7),
     {{"scale", 0.7}}},
    {"clipped",
     "clipped: no element beyond 1",
     {input("x", {3, 5}, -1, 1)},
     nullptr,
     each<sine>,
     SLOPE(std::clamp(u* std::cos(x), -1.0, 1.0))},
    // Ids
    {"last_id_lost",
     "upstream-partly-used|some-parts: the last position is left out",
     {input("table", {6, 3}), ids("ids", 8, 5)},
     lookup_shape,
     lookup,
     USES(position + 1 < count ? 1 : 0)},
    {"repeated_ids",
     "repeated-indices: a tenth too large where an id repeats",
     {input("table", {6, 3}), ids("ids", 8, 5)},
     lookup_shape,
     lookup,
     USES(uses > 1 ? 1.1 : 1)},
    {"mean_of_uses",
     "mean-for-sum|repeated-indices: divided by the number of uses",
     {input("table", {6, 3}), ids("ids", 8, 5)},
     lookup_shape,
     lookup,
     USES(1 / static_cast<double>(uses))},
    {"row_5_lost",
     "some-parts: the row 5 gets nothing",
     {input("table", {6, 3}), ids("ids", 20, 5)},
     lookup_shape,
     lookup,
     USES(row == 5 ? 0 : 1)},
};

}  // namespace

extern "C" const gradus_library* gradus_describe(void) {
  static const gradus_output output = {"y", GRADUS_F64};
  static std::vector<gradus_op> all;
  static gradus_library library{};
  if (all.empty()) {
    for (const Op& op : ops) {
      all.push_back({op.name, op.summary, static_cast<int>(op.inputs.size()), 1, static_cast<int>(op.attributes.size()),
                     op.inputs.data(), &output, op.attributes.empty() ? nullptr : op.attributes.data(), op.shape,
                     op.forward, op.backward, nullptr});
    }
    library = {GRADUS_OP_VERSION, static_cast<int>(all.size()), all.data()};
  }
  return &library;
}
