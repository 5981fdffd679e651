// The graphs of attention that cuDNN is told, without a device: cuDNN takes a description of one in their place, looks
// for engines and compiles kernels for it. With the toolkit's driver stub only their loading fails.
#include <dlfcn.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>

#include "framework/base/error.h"
#include "framework/kernels/cpu/attention.h"
#include "framework/kernels/cuda/cudnn_attention_graph.h"
#include "tests/cuda/cudnn_graph_values.h"
#include "tests/cuda/kernel_values.h"

using namespace gradus;
using namespace gradus::cuda::cudnn;

namespace {

[[noreturn]] void skip(const std::string& why) {
  std::printf("skipped: %s\n", why.c_str());
  std::exit(77);
}

const Cudnn& library() {
  static const Cudnn loaded = load_cudnn(cudnn_files());
  return loaded;
}

[[maybe_unused]] const bool all_there = [] {
  try {
    library();
  } catch (const Error& error) {
    skip(error.what());
  }
  if (!dlopen("libcuda.so.1", RTLD_NOW)) skip(dlerror());
  return true;
}();

const Descriptor& h200() {
  static const Descriptor device = [] {
    std::ifstream file(GRADUS_SOURCE_DIR "/tests/cuda/h200.json");
    const std::vector<char> text{std::istreambuf_iterator<char>(file), {}};
    return Descriptor(library(), CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, "a device")
        .set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, text)
        .finalize();
  }();
  return device;
}

constexpr std::int64_t batches = 3, heads = 2;

/// (B,H,T,D) whose memory runs (B,T,H,D).
AttentionLayout layout_of(std::int64_t queries, std::int64_t keys, std::int64_t width, std::int64_t value_width,
                          bool causal) {
  const auto strides = [](std::int64_t rows, std::int64_t width_of) {
    return Sizes{rows * heads * width_of, width_of, heads * width_of, 1};
  };
  const Sizes of_q = strides(queries, width), of_k = strides(keys, width), of_v = strides(keys, value_width),
              of_out = strides(queries, value_width);
  return {.batches = batches,
          .heads = heads,
          .queries = queries,
          .keys = keys,
          .width = width,
          .value_width = value_width,
          .causal = causal,
          .q = of_q,
          .k = of_k,
          .v = of_v,
          .out = of_out,
          .g = of_out,
          .dq = of_q,
          .dk = of_k,
          .dv = of_v};
}

using BuildGraph = Graph (*)(const Cudnn&, const AttentionLayout&);

std::vector<Descriptor> engines(BuildGraph build, const AttentionLayout& layout) {
  return propose_engines(library(), build(library(), layout).finalized(), h200());
}

std::string sentence_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

bool are_close(const std::vector<double>& found, const std::vector<double>& expected) {
  return std::ranges::equal(found, expected,
                            [](double x, double y) { return std::fabs(x - y) <= 1e-12 * (1 + std::fabs(y)); });
}

/// That the first engine's kernels compile. The driver stub loads none of them.
void check_compiles(BuildGraph build, const AttentionLayout& layout) {
  CAPTURE(layout.queries);
  CAPTURE(layout.width);
  const std::vector<Descriptor> found = engines(build, layout);
  REQUIRE_FALSE(found.empty());
  const std::string end = sentence_of([&] { make_plan(library(), found.front(), h200()); });
  CAPTURE(end);
  CHECK((end == "none" || end.find("cuLibraryLoadData") != std::string::npos));
}

}  // namespace

TEST_CASE("the graphs of attention mean what the CPU's kernels compute") {
  static const Cudnn recording = GraphRecord::recording(library());
  for (const bool causal : {false, true}) {
    const AttentionLayout x = layout_of(5, 7, 8, 16, causal);
    const double scale = 0.3;
    const auto values = [](std::int64_t rows, std::int64_t width, std::uint64_t stream) {
      return normal_values<double>(batches * heads * rows * width, stream);
    };
    const auto zeros = [](const std::vector<double>& like) { return std::vector<double>(like.size()); };
    const auto q = values(5, 8, 1), k = values(7, 8, 2), v = values(7, 16, 3), g = values(5, 16, 4);
    std::vector<double> out = zeros(g), log_sums(batches * heads * 5), dq = zeros(q), dk = zeros(k), dv = zeros(v);
    const AttentionShape shape = {.batches = batches,
                                  .heads = heads,
                                  .queries = 5,
                                  .keys = 7,
                                  .width = 8,
                                  .value_width = 16,
                                  .causal = causal,
                                  .scale = scale,
                                  .dropout = 0,
                                  .seed = 0,
                                  .stream = 0,
                                  .segments = {{0, 5, 0, 7}}};
    const auto view = [](auto& data, const Sizes& strides) {
      return HeadView<double>{data.data(), strides[0], strides[1], strides[2]};
    };
    const auto mutable_view = [](std::vector<double>& data, const Sizes& strides) {
      return MutableHeadView<double>{data.data(), strides[0], strides[1], strides[2]};
    };
    cpu::attention_forward<double>(shape, view(q, x.q), view(k, x.k), view(v, x.v), mutable_view(out, x.out),
                                   log_sums.data());
    cpu::attention_backward<double>(shape, view(q, x.q), view(k, x.k), view(v, x.v), log_sums.data(), view(g, x.g),
                                    mutable_view(dq, x.dq), mutable_view(dk, x.dk), mutable_view(dv, x.dv));

    GraphMemory forward = {{id_q, q},
                           {id_k, k},
                           {id_v, v},
                           {id_scale, {scale}},
                           {id_hidden, {-INFINITY}},
                           {id_out, zeros(out)},
                           {id_log_sums, zeros(log_sums)}};
    GraphEvaluation(forward).run(attention_forward_graph(recording, x));
    CHECK(are_close(forward[id_out], out));
    CHECK(are_close(forward[id_log_sums], log_sums));
    GraphMemory backward = {{id_q, q},
                            {id_k, k},
                            {id_v, v},
                            {id_out, out},
                            {id_log_sums, log_sums},
                            {id_g, g},
                            {id_scale, {scale}},
                            {id_hidden, {-INFINITY}},
                            {id_one, {1}},
                            {id_dots, zeros(log_sums)},
                            {id_dq, zeros(dq)},
                            {id_dk, zeros(dk)},
                            {id_dv, zeros(dv)}};
    GraphEvaluation(backward).run(attention_backward_graph(recording, x));
    CHECK(are_close(backward[id_dq], dq));
    CHECK(are_close(backward[id_dk], dk));
    CHECK(are_close(backward[id_dv], dv));
  }
}

TEST_CASE("attention has an engine of cuDNN for an H200, forward and backward") {
  for (const std::int64_t rows : {127, 128}) {
    check_compiles(attention_forward_graph, layout_of(rows, rows, 32, 32, true));
    check_compiles(attention_backward_graph, layout_of(rows, rows, 32, 32, true));
  }
  check_compiles(attention_forward_graph, layout_of(50, 127, 40, 48, false));
  check_compiles(attention_backward_graph, layout_of(50, 127, 40, 48, false));
}

TEST_CASE("cuDNN has no engine for what the contract excludes") {
  AttentionLayout x = layout_of(128, 128, 33, 33, true);
  CHECK(engines(attention_forward_graph, x).empty());
  CHECK(engines(attention_backward_graph, x).empty());
  x = layout_of(128, 128, 32, 32, true);
  x.type = CUDNN_DATA_FLOAT;
  CHECK(engines(attention_backward_graph, x).empty());
}

TEST_CASE("what cuDNN refuses is said with the call, the descriptor and the reason") {
  CHECK(sentence_of([] {
          Descriptor(library(), CUDNN_BACKEND_TENSOR_DESCRIPTOR, "a tensor").finalize();
        }).starts_with("[cuda] cudnnBackendFinalize of a tensor: CUDNN_STATUS_BAD_PARAM: "));
  CHECK(sentence_of([] {
          Descriptor(library(), CUDNN_BACKEND_TENSOR_DESCRIPTOR, "a tensor")
              .set(CUDNN_ATTR_TENSOR_DATA_TYPE, std::int64_t{1});
        })
            .starts_with(
                "[cuda] cudnnBackendSetAttribute of attribute 901 of a tensor: CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE"));
  CHECK(sentence_of([] {
          Graph graph(library());
          const Node a = graph.stored(1, CUDNN_DATA_BFLOAT16, {2, 1, 4, 8}, {32, 32, 8, 1});
          const Node b = graph.stored(2, CUDNN_DATA_BFLOAT16, {2, 1, 16, 4}, {64, 64, 4, 1});
          graph.matmul(a, b);
        }).starts_with("[cuda] cudnnBackendFinalize of a matmul: CUDNN_STATUS_BAD_PARAM: "));
}

TEST_CASE("a library that is missing, foreign, too old or too new is a sentence") {
  CHECK(sentence_of([] {
          load_cudnn({"libno_such.so.1", "/nowhere/libno_such.so.1"});
        }).find("/nowhere/libno_such.so.1") != std::string::npos);
  CHECK(sentence_of([] { load_cudnn({"libm.so.6"}); }) == "cuDNN has no function cudnnGetVersion");
  const std::string expected = ", expected is " + std::to_string(CUDNN_MAJOR) + ".x, 9.16.0 or newer";
  CHECK(sentence_of([] { require_version(91600); }) == "none");
  CHECK(sentence_of([] { require_version(91599); }) == "cuDNN is of version 9.15.99" + expected);
  CHECK(sentence_of([] { require_version((CUDNN_MAJOR + 1) * 10000); }) ==
        "cuDNN is of version " + std::to_string(CUDNN_MAJOR + 1) + ".0.0" + expected);
}
