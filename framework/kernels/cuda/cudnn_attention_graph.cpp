#include "framework/kernels/cuda/cudnn_attention_graph.h"

#include <utility>

namespace gradus::cuda::cudnn {
namespace {

Sizes transposed(Sizes s) {
  std::swap(s[2], s[3]);
  return s;
}

Node number_of_rows(Graph& graph, std::int64_t id, const AttentionLayout& x) {
  return graph.stored(id, CUDNN_DATA_FLOAT, {x.batches, x.heads, x.queries, 1}, {x.heads * x.queries, x.queries, 1, 1});
}

Node scaled_scores(Graph& graph, const Node& q, const Node& transposed_k, const Node& scale) {
  return graph.pointwise(CUDNN_POINTWISE_MUL, graph.matmul(q, transposed_k), scale);
}

/// A causal mask: `hidden` where the column is greater than the row.
Node with_hidden_keys(Graph& graph, const Node& scores, std::int64_t id) {
  const Node row = graph.index(scores, 2), column = graph.index(scores, 3);
  const Node seen = graph.pointwise(CUDNN_POINTWISE_CMP_GE, row, column, CUDNN_DATA_BOOLEAN);
  return graph.select(seen, scores, graph.number(id));
}

}  // namespace

Graph attention_forward_graph(const Cudnn& library, const AttentionLayout& x) {
  Graph graph(library);
  const Node q = graph.stored(id_q, x.type, {x.batches, x.heads, x.queries, x.width}, x.q);
  const Node kt = graph.stored(id_k, x.type, {x.batches, x.heads, x.width, x.keys}, transposed(x.k));
  const Node v = graph.stored(id_v, x.type, {x.batches, x.heads, x.keys, x.value_width}, x.v);
  const Node out = graph.stored(id_out, x.type, {x.batches, x.heads, x.queries, x.value_width}, x.out);
  const Node log_sums = number_of_rows(graph, id_log_sums, x);

  Node scores = scaled_scores(graph, q, kt, graph.number(id_scale));
  if (x.causal) scores = with_hidden_keys(graph, scores, id_hidden);
  const Node largest = graph.reduce(CUDNN_REDUCE_TENSOR_MAX, scores);
  const Node exponentials = graph.pointwise(CUDNN_POINTWISE_EXP, graph.pointwise(CUDNN_POINTWISE_SUB, scores, largest));
  const Node sum = graph.reduce(CUDNN_REDUCE_TENSOR_ADD, exponentials);
  graph.pointwise_into(CUDNN_POINTWISE_ADD, largest, graph.pointwise(CUDNN_POINTWISE_LOG, sum), log_sums);
  graph.matmul_into(graph.pointwise(CUDNN_POINTWISE_DIV, exponentials, sum, x.type), v, out);
  return graph;
}

Graph attention_backward_graph(const Cudnn& library, const AttentionLayout& x) {
  Graph graph(library);
  const Node q = graph.stored(id_q, x.type, {x.batches, x.heads, x.queries, x.width}, x.q);
  const Node kt = graph.stored(id_k, x.type, {x.batches, x.heads, x.width, x.keys}, transposed(x.k));
  const Node vt = graph.stored(id_v, x.type, {x.batches, x.heads, x.value_width, x.keys}, transposed(x.v));
  const Node out = graph.stored(id_out, x.type, {x.batches, x.heads, x.queries, x.value_width}, x.out);
  const Node g = graph.stored(id_g, x.type, {x.batches, x.heads, x.queries, x.value_width}, x.g);
  const Node dq = graph.stored(id_dq, x.type, {x.batches, x.heads, x.queries, x.width}, x.dq);
  const Node dk = graph.stored(id_dk, x.type, {x.batches, x.heads, x.keys, x.width}, x.dk);
  const Node dv = graph.stored(id_dv, x.type, {x.batches, x.heads, x.keys, x.value_width}, x.dv);
  const Node log_sums = number_of_rows(graph, id_log_sums, x), dots = number_of_rows(graph, id_dots, x);
  const Node scale = graph.number(id_scale);

  // dots = g out, summed over the features. As in NVIDIA's own graphs a factor follows, which is 1 without dropout.
  graph.pointwise_into(CUDNN_POINTWISE_MUL,
                       graph.reduce(CUDNN_REDUCE_TENSOR_ADD, graph.pointwise(CUDNN_POINTWISE_MUL, g, out)),
                       graph.number(id_one), dots);

  // weights = e^(scores - log_sums); dv = weights^T g
  Node scores = graph.pointwise(CUDNN_POINTWISE_SUB, scaled_scores(graph, q, kt, scale), log_sums);
  if (x.causal) scores = with_hidden_keys(graph, scores, id_hidden);
  const Node weights = graph.pointwise(CUDNN_POINTWISE_EXP, scores);
  graph.matmul_into(graph.transpose(weights, x.type), g, dv);

  // ds = scale weights (g v^T - dots); dk = ds^T q; dq = ds k. dq is written as bf16 at once: asked for sums in f32
  // that are converted afterwards, cuDNN lets blocks add to them in any order.
  const Node dp = graph.pointwise(CUDNN_POINTWISE_SUB, graph.matmul(g, vt), dots);
  const Node ds = graph.pointwise(CUDNN_POINTWISE_MUL, graph.pointwise(CUDNN_POINTWISE_MUL, dp, weights), scale);
  graph.matmul_into(graph.transpose(ds, x.type), q, dk);
  graph.matmul_into(ds, graph.transpose(kt, x.type), dq);
  return graph;
}

}  // namespace gradus::cuda::cudnn
