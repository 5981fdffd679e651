// Wrong backwards, made from right ones: a check that does not reject them is worth nothing.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "framework/ops/op_spec.h"

namespace gradus::testing {

struct Mutant {
  std::string name;
  /// Whether it changes anything for gradients of these shapes.
  std::function<bool(const Tensors& gradients)> applies;
  /// Damages the gradients in place of the right ones.
  std::function<void(Tensors& gradients)> damage;
};

const std::vector<Mutant>& all_mutants();

/// The record with its backward damaged, first order. The copy must outlive every tape it is used in.
OpSpec mutate(const OpSpec& spec, const Mutant& mutant);

/// One gradient damaged in the ways that every check at a point must see: zero, sign, scale, a lost row, order.
std::vector<std::pair<std::string, std::vector<double>>> damaged_gradients(const std::vector<double>& gradient,
                                                                           const Shape& shape);

}  // namespace gradus::testing
