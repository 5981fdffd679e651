// The op record: everything Gradus knows of an op, in one object. Dispatch, the tape, the generated tests, the gradient
// checker and the documentation are programs over the set of these records (see docs/adding-an-op.md).
#pragma once

#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "framework/autograd/node.h"
#include "framework/ops/attributes.h"
#include "framework/random/generator.h"
#include "framework/tensor/tensor.h"

namespace gradus {

struct OpSpec;

struct InputSpec {
  std::string name;
  bool differentiable = true;
  bool optional = false;  ///< may be an undefined tensor
  bool variadic = false;  ///< stands for any number of tensors; only as the last input
};

struct AttributeSpec {
  std::string name;
  AttributeValue default_value;
  std::string meaning = {};
};

/// One call of an op, seen by all its functions.
class OpCall {
 public:
  OpCall(const OpSpec& spec, Tensors inputs, Attributes attributes, SourceLocation where);

  const OpSpec& spec() const { return *spec_; }
  const Tensors& inputs() const { return inputs_; }
  const Tensor& input(std::size_t i) const {
    if (i >= inputs_.size()) fail("input {} is asked for, the call has {}", i, inputs_.size());
    return inputs_[i];
  }
  bool has_input(std::size_t i) const { return i < inputs_.size() && inputs_[i].defined(); }
  const Attributes& attributes() const { return attributes_; }
  std::int64_t integer(const std::string& name) const { return attributes_.integer(name); }
  double number(const std::string& name) const { return attributes_.number(name); }
  bool flag(const std::string& name) const { return attributes_.flag(name); }
  SourceLocation where() const { return where_; }
  /// Of the inputs; the CPU where there are none.
  Device device() const;
  /// Name of input i: the record's, with an index where it is variadic.
  std::string input_name(std::size_t i) const;
  std::string output_name(std::size_t i) const;

  /// Throws `[op] what went wrong: a (3,4) f32 cpu, b (5,6) f32 cpu, axis=1 at file:line`.
  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    fail_with(fmt::format(format, std::forward<Args>(args)...));
  }

  // Conditions that many ops share; each throws through fail().
  void require_compute_dtype(std::size_t i) const;  ///< a floating one
  void require_same_dtype(std::size_t i, std::size_t j) const;
  /// Parameter j has the dtype of input i, or is f32 where that is bf16.
  void require_parameter_dtype(std::size_t i, std::size_t j) const;
  void require_dtype(std::size_t i, DType dtype) const;
  void require_rank(std::size_t i, int rank) const;
  int axis(const std::string& attribute, int rank) const;  ///< normalised to 0..rank-1

 private:
  [[noreturn]] void fail_with(const std::string& what) const;
  const OpSpec* spec_;
  Tensors inputs_;
  Attributes attributes_;
  SourceLocation where_;
};

/// A forward in progress: reads inputs, fills outputs.
class ForwardCall : public OpCall {
 public:
  ForwardCall(OpCall call, std::vector<TensorSpec> promised, bool will_run_backward);

  /// Output i, allocated (contiguous, uninitialised) on first use.
  const Tensor& output(std::size_t i);
  /// Replaces output i: an input or a view of one, or a layout of the kernel's own choice.
  void set_output(std::size_t i, Tensor tensor);
  const std::vector<TensorSpec>& promised() const { return promised_; }
  /// True where the call is recorded: only then is saving of use.
  bool will_run_backward() const { return will_run_backward_; }
  /// Keeps something that is neither input nor output for backward (statistics, indices).
  void save(Tensor tensor) { saved_.push_back(std::move(tensor)); }

  Tensors take_outputs();
  Tensors take_saved() { return std::move(saved_); }

 private:
  void check_output(std::size_t i) const;
  std::vector<TensorSpec> promised_;
  bool will_run_backward_;
  Tensors outputs_, saved_;
};

class OpNode;

/// A backward in progress: reads what was saved and the cotangents, sets gradients.
class BackwardCall {
 public:
  /// `in_f32`: what is bf16 is read as f32.
  BackwardCall(OpNode& node, const Tensors& cotangents, const std::vector<bool>& needs, bool in_f32)
      : node_(node),
        cotangents_(cotangents),
        needs_(needs),
        in_f32_(in_f32),
        given_(needs.size()),
        gradients_(needs.size()) {}

  /// An input or output named in the record's `saves`; anything else throws.
  Tensor input(std::size_t i) const;
  Tensor output(std::size_t i) const;
  /// The i-th tensor that forward handed to save().
  Tensor saved(std::size_t i) const;
  bool has_input(std::size_t i) const;
  TensorSpec input_spec(std::size_t i) const;
  std::size_t input_count() const { return needs_.size(); }
  const Attributes& attributes() const;
  std::int64_t integer(const std::string& name) const { return attributes().integer(name); }
  double number(const std::string& name) const { return attributes().number(name); }
  bool flag(const std::string& name) const { return attributes().flag(name); }

  /// Cotangent of output i, as zeros where none arrived.
  Tensor cotangent(std::size_t i = 0) const;
  /// Whether anyone wants the gradient of input i.
  bool needs(std::size_t i) const { return check_input(i), needs_[i]; }
  /// The gradient of input i, of its shape or of the broadcast one; an undefined tensor stands for zero. Needed for
  /// every input i with needs(i). Between f32 and bf16 it is converted to what the input is.
  void set_gradient(std::size_t i, Tensor gradient);
  /// Throws unless every gradient that is needed was set.
  Tensors take_gradients();

 private:
  void check_input(std::size_t i) const;
  OpNode& node_;
  const Tensors& cotangents_;
  const std::vector<bool>& needs_;
  bool in_f32_;
  std::vector<bool> given_;
  Tensors gradients_;
};

/// Which inputs and outputs (by index) backward reads.
struct Saves {
  std::vector<int> inputs = {};
  std::vector<int> outputs = {};
  bool all_inputs = false;
};

struct Sample {
  std::string label;
  Tensors inputs;
  Attributes attributes = {};
};

struct ErrorSample {
  std::string label;
  Tensors inputs;
  Attributes attributes = {};
  std::string expected = {};  ///< a part of the message
};

/// Each size n > 1 becomes one of n to n + 3, drawn for (seed, n): equal sizes stay equal.
Shape varied_sizes(const Shape& written, std::uint64_t seed);

/// Makes the inputs of samples, the same ones every time.
class SampleMaker {
 public:
  enum class Sizes {
    as_written,
    varied,  ///< by varied_sizes; explicit values keep theirs
  };
  explicit SampleMaker(std::uint64_t seed = 0, Sizes sizes = Sizes::as_written) : generator_(seed), sizes_(sizes) {}
  Tensor normal(const Shape& shape);
  Tensor uniform(const Shape& shape, double low, double high);
  /// Uniform in the range but never closer than `margin` to a multiple of `spacing` (kinks live there).
  Tensor away_from_multiples(const Shape& shape, double low, double high, double spacing, double margin = 0.05);
  /// A shuffled range of distinct numbers `gap` apart, centred at 0: no ties for max and argmax.
  Tensor distinct(const Shape& shape, double gap = 0.25);
  Tensor integers(const Shape& shape, std::int64_t low, std::int64_t high);
  Tensor booleans(const Shape& shape, double probability_of_true = 0.5);
  Tensor values(const Shape& shape, const std::vector<double>& values);
  Generator& generator() { return generator_; }

 private:
  Shape sized(const Shape& written) const;  // as written, or varied

  Generator generator_;
  Sizes sizes_;
};

/// Bounds the rounding error of a result against the f64 reference: |error| <= roundings * u * magnitude, with u the
/// unit roundoff (2^-24 for f32) and magnitude >= the sum of the absolute terms that make up an element.
struct ErrorModel {
  /// Roundings on the longest way from an input to an element of the result.
  std::function<double(const OpCall&)> roundings = [](const OpCall&) { return 4.0; };
  /// Largest magnitude of an element's terms; by default the largest |element| of the reference.
  std::function<double(const OpCall&, const Tensors& reference_outputs)> magnitude = {};
};

/// What a call has to do at least.
struct Cost {
  double flops = 0;  ///< floating-point operations
  double bytes = 0;  ///< read or written in memory: an element counts once however often it is used
};

/// The kernels of one device. `backward` may be missing: then backward_composite, else the gradient of the reference.
struct DeviceKernels {
  std::function<void(ForwardCall&)> forward = {};
  std::function<void(BackwardCall&)> backward = {};
  /// They read and write bf16 themselves, computing in f32. Without it, a call with bf16 inputs runs on f32 copies of
  /// them and its results are rounded: the same values, more slowly.
  bool bf16 = false;
};

struct OpSpec {
  // What it is, in words.
  std::string name = {};
  std::string summary = {};      ///< one sentence
  std::string math = {};         ///< the formula
  std::string derivation = {};   ///< how the backward follows from it
  std::string source = {};       ///< paper, equation; empty for textbook ops
  std::string pitfalls = {};     ///< what people get wrong
  std::string subgradient = {};  ///< the choice made at kinks; empty for smooth ops

  // Its interface.
  std::vector<InputSpec> inputs = {};
  std::vector<std::string> outputs = {"out"};
  std::vector<AttributeSpec> attributes = {};
  /// Shapes and dtypes of the outputs, or an error through call.fail().
  std::function<std::vector<TensorSpec>(const OpCall&)> infer = {};
  /// Inputs updated in place: output i is input mutates[i] (a variadic input stands for all its tensors). Such ops are
  /// not recorded.
  std::vector<int> mutates = {};
  /// The outputs are windows on the first input's storage.
  bool is_view = false;
  /// Optional: the exact derivative of the outputs along `tangents` (one for each input, undefined: zero), found without the
  /// backward: an oracle for the gradient checker.
  std::function<Tensors(const OpCall&, const Tensors& tangents)> tangent = {};
  /// Ops with branches: a hash of which branch each element took (see ops/decisions.h).
  std::function<std::uint64_t(const OpCall&)> decisions = {};

  // What it computes.
  /// The definition: a composite of simpler ops (then it gives second derivatives too), or plain loops in f64.
  std::function<Tensors(const OpCall&)> reference = {};
  Saves saves = {};
  DeviceKernels cpu = {};
  /// `cpu` moves elements by kernels/elements.h alone, and so serves all devices. Views do anyway.
  bool serves_every_device = false;
  /// The backward as a composite of differentiable ops: serves every device and every order of derivative. An op
  /// without it needs a `reference` made of ops, and `saves.all_inputs`.
  std::function<void(BackwardCall&)> backward_composite = {};

  // What the generated tests try it on.
  /// Inside the smooth domain.
  std::function<std::vector<Sample>(SampleMaker&)> samples = {};
  /// 0, -0, tiny, huge, Inf, NaN, ties, empty, ...
  std::function<std::vector<Sample>(SampleMaker&)> edge_samples = {};
  std::function<std::vector<ErrorSample>(SampleMaker&)> error_samples = {};
  ErrorModel error_model = {};
  std::function<Cost(const OpCall&)> cost = {};

  bool is_differentiable() const;
};

/// Runs the op: checks, infers, computes, and records itself where gradients are wanted.
Tensors apply(const OpSpec& spec, Tensors inputs, Attributes attributes = {},
              SourceLocation where = SourceLocation::current());

/// The reference, on inputs of any floating dtype; recorded like any composite.
Tensors apply_reference(const OpSpec& spec, Tensors inputs, Attributes attributes = {},
                        SourceLocation where = SourceLocation::current());

/// Checks and completes a call (defaults of attributes, unknown names, input count, devices) without running it.
OpCall make_call(const OpSpec& spec, Tensors inputs, Attributes attributes, SourceLocation where);

/// The tape's node of an op.
class OpNode final : public Node {
 public:
  OpNode(const OpCall& call, const Tensors& outputs, Tensors saved);
  Tensors backward(const Tensors& cotangents, const std::vector<bool>& needs) override;
  void release_saved() override;
  std::string input_name(std::size_t i) const override;

 private:
  friend class BackwardCall;
  bool has_bf16_input() const;
  /// d<reference(inputs), cotangents>/d inputs, as a graph that can be differentiated again.
  Tensors differentiate_reference(const Tensors& cotangents, const std::vector<bool>& needs);
  Tensor unpack_input(std::size_t i);

  const OpSpec& spec_;
  Attributes attributes_;
  Device device_;
  std::vector<TensorSpec> outputs_;
  std::vector<SavedTensor> saved_inputs_, saved_outputs_, saved_;
  std::vector<bool> input_defined_;
};

}  // namespace gradus
