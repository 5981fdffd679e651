// What the gradient checker checks: a function and the gradient that its author claims for it. Built-in ops, whole
// models, ops of a user's own and functions from shared libraries all come in this one form.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "framework/base/error.h"
#include "framework/nn/module.h"
#include "framework/ops/op_spec.h"

namespace gradus::testing {

struct Subject;

/// A number that the user of an op may set.
struct SubjectAttribute {
  std::string name;
  double value = 0, usual = 0;               ///< `usual`: where nobody sets it
  std::function<Subject(double value)> at;  ///< the same op with another value
};

/// Of the values that a function takes; none where low is not below high.
struct Range {
  double low = 0, high = 0;

  bool is_declared() const { return low < high; }
  bool holds(double value) const { return !is_declared() || (low <= value && value <= high); }
};

struct Subject {
  std::string name;
  std::vector<std::string> inputs, outputs;  ///< their names
  std::vector<bool> differentiable;          ///< by input
  std::vector<Range> ranges = {};            ///< by input, as far as they are declared; empty: none is
  std::vector<double> accuracy = {};  ///< of forward, by output, relative to its largest element; 0, or empty: the dtype's

  /// The outputs, for inputs that it may not modify. Whatever the function throws reaches the caller.
  std::function<Tensors(const Tensors& inputs)> forward = {};
  /// The claimed gradients of sum_k <outputs[k], cotangents[k]>, one for each input; undefined: none arrives there
  /// (zero). An undefined cotangent means that nothing depends on that output.
  std::function<Tensors(const Tensors& inputs, const Tensors& cotangents)> backward = {};
  /// Optional: whether what `forward` threw only says that it does not take these values.
  std::function<bool(const Error& error)> is_refusal = {};
  /// Optional: backward with outputs of forward's that are given, where it uses them. What it makes of outputs that are
  /// off by a rounding error is no fault of its own.
  std::function<Tensors(const Tensors& inputs, const Tensors& outputs, const Tensors& cotangents)> backward_with = {};
  /// f32: backward rounds inputs and cotangents to it and computes in it, while forward is the same function in f64, so
  /// that a gradient in single precision is judged by what differences know in double.
  DType backward_dtype = DType::f64;
  /// Optional: the exact derivative of the outputs along `tangents` (one for each input, undefined: zero), found
  /// without the backward that is checked.
  std::function<Tensors(const Tensors& inputs, const Tensors& tangents)> tangent_of = {};
  std::vector<SubjectAttribute> attributes = {};
  /// Optional: has later calls round to FE_UPWARD, FE_DOWNWARD, ... where they do not run on this thread.
  std::function<void(int mode)> set_rounding = {};
  /// Runs elsewhere, on contiguous copies: memory layouts and thread counts of this process do not reach it.
  bool own_process = false;
};

/// The same subject, which calls `watch` before each of its functions.
Subject watched(const Subject& subject, std::function<void()> watch);

/// What `call` returns; nothing where the subject refuses the values that it is called with.
template <class Call>
std::optional<Tensors> unless_refused(const Subject& subject, Call call) {
  try {
    return call();
  } catch (const Error& error) {
    if (!subject.is_refusal || !subject.is_refusal(error)) throw;
    return std::nullopt;
  }
}

/// A function whose gradient comes from the tape.
Subject subject_from_function(const std::string& name, std::function<Tensors(const Tensors&)> function,
                              const std::vector<std::string>& input_names, const std::vector<bool>& differentiable);

/// A module as a function of its parameters, which are the inputs, by their names: `function` runs it on data of its
/// own. The parameters hold the inputs of the last call from then on. Module and function must outlive the subject.
Subject subject_of_module(const std::string& name, const nn::Module& module, std::function<Tensors()> function);

/// An op on the attributes of one sample. The record must outlive the subject. Inputs that are f32 in the sample make
/// it one of `backward_dtype` f32, which takes f64 inputs as the others do.
Subject subject_of(const OpSpec& spec, const Sample& sample);
/// Floating tensors in another dtype; the others, and undefined ones, as they are.
Tensors in_dtype(const Tensors& tensors, DType dtype);

/// The gradient as a function of inputs and cotangents (create_graph): checking it is checking the second derivative.
/// Takes the inputs of the first order, then one cotangent for each output.
Subject gradient_subject(const Subject& subject, std::function<Tensors(const Tensors&)> function,
                         const Tensors& inputs);
Subject gradient_subject_of(const OpSpec& spec, const Sample& sample);

/// Which inputs of a call with these tensors have gradients, and all their names.
std::vector<bool> differentiable_inputs(const OpSpec& spec, const Tensors& inputs);
std::vector<std::string> input_names(const OpSpec& spec, std::size_t count);

}  // namespace gradus::testing
