// Is this gradient right? The claimed gradient of <f(x), u>, for a random upstream gradient u, against differences of f
// that choose their own steps and know their own error. Three verdicts; "cannot tell" is never turned into either of
// the others.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/testing/causes.h"
#include "framework/testing/derivative.h"
#include "framework/testing/subject.h"

namespace gradus::testing {

struct InputReport;

enum class Verdict { agree, disagree, cannot_tell };
std::string to_string(Verdict verdict);
/// disagree over cannot tell over agree.
Verdict worse(Verdict a, Verdict b);

struct CheckOptions {
  std::uint64_t seed = 1;                  ///< of cotangents, directions, nearby points
  double cotangent_scale = 1;              ///< the verdict must not depend on it
  std::int64_t every_element_up_to = 200;  ///< larger inputs are checked along random directions; failing ones
                                           ///< element by element where that is cheap, else they are bisected
  int directions = 4;
  int order = 2;          ///< of the derivatives of a record that are checked: 1 or 2
  double smallest_error = 0;  ///< relative to the largest gradient: what is less is not called wrong
  int most_culprits = 8;  ///< failing elements of a large input that are looked for
  bool contracts = true;  ///< linear, deterministic, inputs unmodified, ...
  bool hints = true;      ///< name the likely cause of a disagreement
  std::function<void(const InputReport&)> on_input = {};  ///< told of each input as it is done
  bool explain = false;   ///< keep the numbers that --explain prints
  std::function<void()> watch = {};  ///< called before each evaluation; what it throws ends the check
  bool keep_point = false;           ///< the report holds the tensors
};

struct ElementVerdict {
  std::int64_t element = 0;  ///< row-major
  double yours = 0, expected = 0, bar = 0;
  Verdict verdict = Verdict::agree;
  bool at_kink = false;      ///< between the slopes on both sides
  bool is_constant = false;  ///< forward does not move by a bit
  bool left_out = false;     ///< not a number, as what forward gives there: nothing to judge
  double allowed = 0;    ///< differences up to here are within the bars
};

struct InputReport {
  std::string name;
  TensorSpec spec;
  Verdict verdict = Verdict::agree;
  std::string oracle = {};               ///< `differences` or `forward mode`
  bool by_direction = false;             ///< `elements` are then those that bisection found
  std::int64_t checked = 0, failed = 0;  ///< elements (or directions)
  std::int64_t undecided = 0;
  std::int64_t left_out = 0;  ///< elements that are infinite or NaN, or reach outputs that are
  std::int64_t subgradients = 0;  ///< elements at a kink with a value between the slopes
  ElementVerdict worst = {};
  std::vector<ElementVerdict> elements = {};  ///< every one that was checked singly
  std::vector<ElementVerdict> directions = {};  ///< where they were checked first: derivatives along random signs
  double scale = 0;                           ///< largest gradient: what errors are relative to
  double detection_limit = 0;              ///< smallest error of any one element that this run sees, relative to scale
  int mutants = 0, mutants_caught = 0;     ///< damaged gradients that a check at this point must reject
  std::vector<std::string> blind_to = {};  ///< the mutants that passed
  std::string note = {};
  std::string refuted = {};  ///< what forward mode says against differences, which are believed
};

struct ContractReport {
  std::string name;  ///< `linear in the upstream gradient`, ...
  bool held = true;
  std::string finding = {};  ///< a sentence where it is broken, or the reason why it was left out
  Cause cause = Cause::unknown;
  bool skipped = false;
};

struct Hint {
  Cause cause = Cause::unknown;
  std::string input;
  std::string sentence;
  std::optional<double> share = {};  ///< of the residual that it explains, 0 to 1, where it predicts a gradient
};

/// What a check looked at: for replay elsewhere.
struct CheckedTensors {
  std::vector<std::string> input_names, output_names;  ///< the latter perhaps for none
  Tensors inputs, outputs, cotangents, gradients;  ///< the gradients as claimed
};

struct CheckReport {
  std::string subject, label;  ///< op and sample
  std::string call;            ///< inputs as `x (3,5) f64`
  std::uint64_t seed = 0;
  int order = 1;
  Verdict verdict = Verdict::agree;
  std::vector<InputReport> inputs;
  std::vector<ContractReport> contracts;
  std::optional<Hint> hint;
  std::string note;                    ///< a sentence about the whole point
  std::string rerun;                   ///< a command line; empty where there is none
  std::vector<StepError> step_errors;  ///< with `explain`: of the worst element
  std::int64_t evaluations = 0;
  double seconds = 0;
  std::shared_ptr<const CheckedTensors> point = {};  ///< with `keep_point`

  bool passed() const { return verdict == Verdict::agree; }
  int mutants() const;
  int mutants_caught() const;
  double detection_limit() const;
};

/// Checks the gradient with respect to every differentiable input.
CheckReport check(const Subject& subject, const Tensors& inputs, const CheckOptions& options = {});

/// An op on one of its samples; order 2 checks the gradient of the gradient, and the symmetry of the Hessian.
CheckReport check(const OpSpec& spec, const Sample& sample, const CheckOptions& options = {}, int order = 1);

/// First order, and second where the record has one and the first is not wrong.
std::vector<CheckReport> check_orders(const OpSpec& spec, const Sample& sample, const CheckOptions& options = {});

/// Every sample of an op, first order; then, unless that is wrong, second order where the record has a
/// backward_composite or a reference. The record needs `samples`.
std::vector<CheckReport> check_op(const OpSpec& spec, const CheckOptions& options = {});

/// The report for people: one line where all is well, a table, the likely cause and what else was checked where not.
std::string to_text(const CheckReport& report, bool explain = false);

}  // namespace gradus::testing
