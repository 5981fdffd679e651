#include "framework/ops/decisions.h"

namespace gradus {
namespace {

thread_local DecisionScope* innermost = nullptr;

}  // namespace

DecisionScope::DecisionScope() : outer_(innermost) { innermost = this; }
DecisionScope::~DecisionScope() { innermost = outer_; }

bool decisions_wanted() { return innermost != nullptr; }

void note_decisions(std::uint64_t hash) { innermost->hash_ = (innermost->hash_ * 31 ^ hash) * 0x9e3779b97f4a7c15u; }

}  // namespace gradus
