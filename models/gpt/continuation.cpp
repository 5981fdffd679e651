#include "models/gpt/continuation.h"

#include <algorithm>
#include <cmath>

#include "framework/autograd/modes.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"

namespace gradus::models {

Continuation::Continuation(const Gpt& model, std::vector<Ids> sequences, bool cached)
    : model_(&model), sequences_(std::move(sequences)) {
  for (const Ids& sequence : sequences_) {
    if (sequence.empty()) fail("an empty prompt cannot be continued");
    if (sequence.size() != sequences_[0].size())
      fail("sequences of {} and of {} ids cannot be continued together", sequences_[0].size(), sequence.size());
  }
  if (sequences_.empty()) fail("there is no sequence to continue");
  if (cached) cache_.emplace();
}

Tensor Continuation::next_logits() {
  const NoGradScope no_grad;
  const auto length = static_cast<std::int64_t>(sequences_[0].size());
  if (length > model_->longest()) cache_.reset();
  const std::int64_t fresh = cache_ ? length - seen_ : std::min(length, model_->longest());
  Ids ids;
  for (const Ids& sequence : sequences_) ids.insert(ids.end(), sequence.end() - fresh, sequence.end());
  const auto rows = static_cast<std::int64_t>(sequences_.size());
  const Tensor given = on_device(from_values({rows, fresh}, ids), model_->device());
  const Tensor logits = cache_ ? model_->decode(given, *cache_) : model_->forward(given);
  seen_ = length;
  const Tensor last = on_device(reshape(slice(logits, 1, fresh - 1, fresh), {rows, logits.size(2)}), {});
  if (!std::ranges::all_of(last.to_vector<double>(), [](double logit) { return std::isfinite(logit); }))
    fail<NumericError>("the logits after {} characters are not finite: the model's numbers grow beyond what its dtype holds", length);
  return last;
}

void Continuation::append(const Ids& next) {
  if (next.size() != sequences_.size()) fail("{} ids for {} sequences", next.size(), sequences_.size());
  for (std::size_t row = 0; row < next.size(); ++row) sequences_[row].push_back(next[row]);
}

}  // namespace gradus::models
