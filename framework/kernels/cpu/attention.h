// Fused attention: one sequence under one head is one piece of work; its scores live in a tile that fits the cache and
// are never written to memory. bf16 is computed in f32 and rounded at the end. Shapes: q (B,H,Tq,D), k (B,H,Tk,D), v
// (B,H,Tk,E), out (B,H,Tq,E), log_sums (B,H,Tq).
#pragma once

#include "framework/base/dtype.h"
#include "framework/kernels/shared/attention_shape.h"

namespace gradus::cpu {

/// Also returns ln sum_j e^score for each row: backward gets the weights from it without a second maximum.
template <class T>
void attention_forward(const AttentionShape& shape, HeadView<T> q, HeadView<T> k, HeadView<T> v, MutableHeadView<T> out,
                       Arithmetic<T>* log_sums);

template <class T>
void attention_backward(const AttentionShape& shape, HeadView<T> q, HeadView<T> k, HeadView<T> v,
                        const Arithmetic<T>* log_sums, HeadView<T> g, MutableHeadView<T> dq, MutableHeadView<T> dk,
                        MutableHeadView<T> dv);

}  // namespace gradus::cpu
