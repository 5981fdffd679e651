// Ops from a shared library of the user's own (the contract: gradus_op.h), as subjects of the gradient checker. The
// library is loaded and run in a child process only: whatever it does there reaches this process as an exception at
// worst.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/testing/gradcheck.h"

namespace gradus::testing {

namespace foreign {
struct OpRecord;
}

enum class ForeignFailureKind {
  crash,            ///< a signal, a C++ exception, or the end of the process
  timeout,          ///< no answer within the time limit
  forbidden,        ///< asked for what the sandbox does not allow
  out_of_bounds,    ///< reached outside a buffer
  unwritten,        ///< an element that should have been set was not
  input_modified,   ///< wrote to what it may only read
  refused,          ///< the op itself returned an error
  bad_description,  ///< what it says of itself cannot be
  nothing_to_check,  ///< it has no gradient: all its outputs are integers
};

std::string_view to_string(ForeignFailureKind kind);

/// What a foreign op did wrong: one sentence that names library, op, function and tensor.
struct ForeignFailure : Error {
  ForeignFailure(ForeignFailureKind kind, const std::string& message) : Error(message), kind(kind) {}
  ForeignFailureKind kind;
};

/// An input to be drawn: uniform in [low, high] (integers: both included), standard normal, or whole numbers in
/// [low, high], so that many are equal and some are 0.
struct ForeignInput {
  std::string name;
  Shape shape;
  DType dtype = DType::f64;  ///< as the op declares it
  double low = 0, high = 0;
  bool normal = false, whole = false;
  std::vector<double> kinks = {};  ///< values keep a distance from these
};

/// An attribute and what the op declares that it may be, low == high where it declares nothing.
struct ForeignAttribute {
  std::string name;
  double value = 0, low = 0, high = 0;
};

/// One op with its attribute values. Copies share one child process, which starts with the first call, and anew with
/// the first call after its end. Not for use from two threads at a time; the process ends with the thread that started
/// it.
class ForeignOp {
 public:
  const std::string& name() const;
  const std::string& summary() const;
  const std::map<std::string, double>& attributes() const;
  const std::vector<ForeignAttribute>& declared_attributes() const;
  /// What draw_inputs draws.
  const std::vector<ForeignInput>& inputs() const;
  /// Replaces the input of that name. Throws UsageError where there is none, or the dtype is not the op's.
  void set_input(const ForeignInput& input);
  /// Throws UsageError for an unknown name, with the known ones.
  void set_attribute(const std::string& name, double value);
  /// Buffers lie this many bytes behind a boundary of 64, as long as it is not negative; else they end at a page that
  /// cannot be read, which is how they lie at first.
  void set_offset(std::int64_t offset);
  /// Threads of OpenMP and OpenBLAS in its process, 1 at first. Another number ends the process.
  void set_threads(int threads);
  /// What it prints is dropped from now on, and `timeout` seconds are its limit. Ends the process.
  void set_aside(double timeout);
  /// Ends the process: the next call starts one that has seen nothing.
  void restart();
  /// The same op with the same inputs, attributes and settings, in a process of its own.
  ForeignOp twin() const;

  Tensors draw_inputs(std::uint64_t seed) const;
  /// Throws ForeignFailure (nothing_to_check) where no output has a gradient.
  void require_gradient() const;
  /// Its functions throw ForeignFailure for whatever the op does wrong. Its ranges are the declared ones.
  Subject subject() const;
  /// Calls every function once with buffers that begin, rather than end, at an unreadable page.
  void look_for_reads_before_buffers(const Tensors& inputs) const;

  /// The id of the child process; 0: none runs.
  int process() const;

 private:
  friend class ForeignLibrary;
  std::vector<Range> declared_ranges() const;
  struct Setting;
  class Session;
  explicit ForeignOp(std::shared_ptr<Session> session) : session_(std::move(session)) {}
  std::shared_ptr<Session> session_;
};

class ForeignLibrary {
 public:
  /// Loads the library in a child process and asks what is in it. `timeout`: seconds for each call into it. `sandbox`: it
  /// may compute, read files and start threads, nothing else. Throws DataError where it is missing or no library;
  /// ForeignFailure where it crashes, hangs or describes itself wrongly; Error where the kernel has no sandbox.
  explicit ForeignLibrary(const std::string& path, double timeout = 10, bool sandbox = false);

  const std::vector<std::string>& names() const { return names_; }
  /// Throws UsageError for an unknown op or attribute, naming the known ones; ForeignFailure for an op that describes
  /// itself wrongly.
  ForeignOp op(const std::string& name, const std::map<std::string, double>& attributes = {}) const;

 private:
  std::string path_;
  double timeout_;
  bool sandbox_;
  std::vector<std::string> names_;
  std::shared_ptr<const std::vector<foreign::OpRecord>> records_;
};

/// The op as a subject whose ranges hold these inputs: the declared one, else the one that the op's user draws from.
Subject subject_at(const ForeignOp& op, const Tensors& inputs);

/// Checks the gradient with respect to every differentiable input. Throws ForeignFailure.
CheckReport check(const ForeignOp& op, const Tensors& inputs, const CheckOptions& options = {});

/// A complete C source file of an example op called `name`. Throws UsageError where that is no C identifier.
std::string foreign_op_template(const std::string& name);
/// The text of gradus_op.h.
const std::string& foreign_op_header();

}  // namespace gradus::testing
