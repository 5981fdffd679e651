// Attention whose scores or mask are not those of scaled dot products with a causal mask: written out, with the scores
// in memory.
#pragma once

#include <functional>
#include <map>
#include <utility>

#include "framework/nn/layers.h"

namespace gradus::models {

/// Which keys a query sees: those up to a last one. Masks are kept for the sizes they were made for.
class Visibility {
 public:
  using LastVisible = std::function<std::int64_t(std::int64_t query)>;
  explicit Visibility(LastVisible last_visible) : last_visible_(std::move(last_visible)) {}

  /// (Tq,Tk), true where the query does not see the key.
  Tensor hidden(std::int64_t queries, std::int64_t keys, Device device) const;

 private:
  LastVisible last_visible_;
  mutable std::map<std::pair<std::int64_t, std::int64_t>, Tensor> masks_;
};

/// dropout(softmax(scores)) values, without the hidden keys: scores (B,H,Tq,Tk), hidden (Tq,Tk), values (B,H,Tk,E) ->
/// (B,H,Tq,E).
Tensor mix_values(const Tensor& scores, const Tensor& hidden, const Tensor& values, const DropoutDraw& draw);

}  // namespace gradus::models
