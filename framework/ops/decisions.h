// Which branch did the ops take? On during gradient checks only: two evaluations with different hashes lie on different
// sides of a kink, where differences mean nothing.
#pragma once

#include <cstdint>
#include <vector>

namespace gradus {

/// Collects the decisions of all ops applied on this thread while it lives. Scopes nest; the inner one collects.
class DecisionScope {
 public:
  DecisionScope();
  ~DecisionScope();
  DecisionScope(const DecisionScope&) = delete;
  DecisionScope& operator=(const DecisionScope&) = delete;
  std::uint64_t hash() const { return hash_; }

 private:
  friend void note_decisions(std::uint64_t hash);
  DecisionScope* outer_;
  std::uint64_t hash_ = 0;
};

/// Whether anyone collects decisions on this thread.
bool decisions_wanted();
/// Mixes an op's decisions into the innermost scope.
void note_decisions(std::uint64_t hash);

/// A hash of small integers, one for each decision.
template <class Decide>
std::uint64_t hash_decisions(std::int64_t count, Decide&& decide) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (std::int64_t i = 0; i < count; ++i) hash = (hash ^ static_cast<std::uint64_t>(decide(i))) * 0x100000001b3u;
  return hash;
}

}  // namespace gradus
