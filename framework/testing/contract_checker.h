// The contracts of a gradient, one by one: those about calls in contracts_calls.cpp, linearity in contracts_linear.cpp.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "framework/random/generator.h"
#include "framework/testing/contracts.h"
#include "framework/testing/judge.h"
#include "framework/testing/numbers.h"

namespace gradus::testing {

class ContractChecker {
 public:
  ContractChecker(const CheckedPoint& point, const Tensors& gradients, const std::vector<Numbers>& own_rounding);
  /// As far as the first that is broken.
  std::vector<ContractReport> run();

 private:
  using Values = std::vector<Numbers>;

  void inputs_unmodified();
  void same_for_any_thread_count();
  void missing_cotangent();
  void strided_inputs();
  // contracts_calls.cpp
  void same_again();
  void nothing_left_over();
  // contracts_linear.cpp
  void linear();
  double rounding_of_terms(std::size_t input) const;
  std::optional<double> wrong_size_of_upstream(std::size_t input, double slack) const;

  bool broken() const { return !reports_.empty() && !reports_.back().held; }
  void held(const char* name, const std::string& remark = {}) { reports_.push_back({.name = name, .finding = remark}); }
  void left_out(const char* name, const std::string& why) {
    reports_.push_back({.name = name, .finding = why, .skipped = true});
  }
  void broken_by(const char* name, Cause cause, const std::string& finding) {
    reports_.push_back({.name = name, .held = false, .finding = finding, .cause = cause});
  }

  Values values_of(const Tensors& gradients) const;
  Values gradients_at(const Tensors& inputs, const Tensors& cotangents) const {
    return values_of(subject_.backward(inputs, cotangents));
  }
  Tensors forward_at(const Tensors& inputs) const;
  double rounding(std::size_t input) const;
  double rounding() const;
  /// The first input whose two gradients differ by more than `relative` of their scale and their own rounding.
  int differing_input(const Values& a, const Values& b, double relative) const;
  /// Largest difference beyond what the gradients' own rounding explains.
  double unexplained(std::size_t input, const Numbers& a, const Numbers& b) const;

  /// Which elements `elsewhere` moves.
  struct Moving {
    int only_input = -1;       ///< -1: all
    bool first_stays = false;  ///< the first element of each
    std::string text;          ///< of the sentence that names it
  };
  /// Another point of the domain: every element goes a little way towards another one's value, so that no range is
  /// left. Nothing where forward has no finite value at any that was tried.
  std::optional<Tensors> elsewhere(const Moving& moving);
  bool is_in_domain(const Tensors& inputs) const;
  bool right_here_wrong_there(const Tensors& there, const Moving& moving);

  const CheckedPoint& point_;
  const Subject& subject_;
  Line& line_;
  const Tensors& inputs_;
  const Tensors& cotangents_;
  const CheckOptions& options_;
  const std::vector<Numbers>& own_rounding_;
  Generator generator_;
  Values yours_;
  std::vector<ContractReport> reports_;
};

}  // namespace gradus::testing
