#include "framework/ops/define_op.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <mutex>
#include <set>

#include "framework/ops/registry.h"

namespace gradus {
namespace {

struct Defined {
  std::mutex mutex;
  std::deque<OpSpec> records;  // the end of a deque grows without moving what is there
};

Defined& defined() {
  static Defined* instance = new Defined;  // never destroyed: tapes in static storage may outlive it
  return *instance;
}

bool is_identifier(const std::string& text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !text.empty() && letter(text[0]) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

/// Throws `define_op: [name] field: what is wrong`.
template <class... Args>
[[noreturn]] void refuse(const OpSpec& record, const std::string& field, fmt::format_string<Args...> format,
                         Args&&... args) {
  fail<UsageError>("define_op: [{}] {}: {}", record.name, field, fmt::format(format, std::forward<Args>(args)...));
}

void check_names(const OpSpec& record, const std::string& field, const std::vector<std::string>& names) {
  std::set<std::string> seen;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!is_identifier(names[i]))
      refuse(record, field, "number {} is called '{}', which is not an identifier", i, names[i]);
    if (!seen.insert(names[i]).second) refuse(record, field, "'{}' is there twice", names[i]);
  }
}

template <class Entry>
std::vector<std::string> names_of(const std::vector<Entry>& entries) {
  std::vector<std::string> names;
  for (const Entry& entry : entries) names.push_back(entry.name);
  return names;
}

void check_indices(const OpSpec& record, const std::string& field, const std::vector<int>& indices, std::size_t count,
                   const std::string& of_what) {
  std::set<int> seen;
  for (int i : indices) {
    if (i < 0 || static_cast<std::size_t>(i) >= count)
      refuse(record, field, "there is no {} {}, the record has {}", of_what, i, count);
    if (!seen.insert(i).second) refuse(record, field, "{} {} is there twice", of_what, i);
  }
}

/// What an element-wise op promises.
std::vector<TensorSpec> infer_elementwise(const OpCall& call) {
  Shape shape = call.input(0).shape();
  for (std::size_t i = 0; i < call.inputs().size(); ++i) {
    call.require_compute_dtype(i);
    call.require_same_dtype(0, i);
    const Shape so_far = shape;
    if (!broadcast_shapes(so_far, call.input(i).shape(), shape)) {
      call.fail("shapes do not broadcast ({} and {})", to_string(so_far), to_string(call.input(i).shape()));
    }
  }
  return {{shape, call.input(0).dtype()}};
}

void check(const OpSpec& record) {
  if (!is_identifier(record.name))
    fail<UsageError>("define_op: name: '{}' is not an identifier (letters, digits and _)", record.name);
  if (record.inputs.empty()) refuse(record, "inputs", "an op needs at least one");
  check_names(record, "inputs", names_of(record.inputs));
  for (std::size_t i = 0; i + 1 < record.inputs.size(); ++i) {
    if (record.inputs[i].variadic)
      refuse(record, "inputs", "'{}' is variadic, which only the last may be", record.inputs[i].name);
  }
  if (record.outputs.empty()) refuse(record, "outputs", "an op needs at least one");
  check_names(record, "outputs", record.outputs);
  check_names(record, "attributes", names_of(record.attributes));
  check_indices(record, "saves.inputs", record.saves.inputs, record.inputs.size(), "input");
  check_indices(record, "saves.outputs", record.saves.outputs, record.outputs.size(), "output");
  check_indices(record, "mutates", record.mutates, record.inputs.size(), "input");
  const bool variadic = record.inputs.back().variadic;
  if (!variadic && record.mutates.size() > record.outputs.size()) {
    refuse(record, "mutates", "{} inputs are updated but the record has {} outputs; output i is input mutates[i]",
           record.mutates.size(), record.outputs.size());
  }
  if (!record.mutates.empty() && (record.cpu.backward || record.backward_composite)) {
    refuse(record, "mutates", "an op that updates its inputs is not recorded and can have no backward");
  }
  if (!record.cpu.forward) refuse(record, "cpu.forward", "is missing");
  if (!record.infer) {
    if (record.outputs.size() != 1)
      refuse(record, "infer", "is needed where there are {} outputs", record.outputs.size());
    for (const InputSpec& input : record.inputs) {
      if (input.optional || input.variadic) {
        refuse(record, "infer", "is needed where an input is {} ('{}')", input.optional ? "optional" : "variadic",
               input.name);
      }
    }
  }
  if (record.is_differentiable() && !record.cpu.backward && !record.backward_composite && !record.reference) {
    refuse(record, "cpu.backward",
           "is missing, and so is backward_composite; mark every input differentiable = false if there is no gradient");
  }
}

}  // namespace

const OpSpec& define_op(OpSpec record) {
  check(record);
  if (!record.infer) record.infer = infer_elementwise;
  if (record.is_differentiable() && !record.cpu.backward && !record.backward_composite) record.saves.all_inputs = true;
  for (const OpSpec* op : all_ops()) {
    if (op->name == record.name) refuse(record, "name", "Gradus has an op of this name");
  }
  std::lock_guard lock(defined().mutex);
  for (const OpSpec& other : defined().records) {
    if (other.name == record.name) refuse(record, "name", "an op of this name is defined already");
  }
  return defined().records.emplace_back(std::move(record));
}

std::vector<const OpSpec*> defined_ops() {
  std::lock_guard lock(defined().mutex);
  std::vector<const OpSpec*> ops;
  for (const OpSpec& record : defined().records) ops.push_back(&record);
  return ops;
}

namespace detail {

Shape common_shape(std::initializer_list<Tensor> tensors) {
  Shape shape;
  for (const Tensor& tensor : tensors) {
    const Shape so_far = shape;
    if (!broadcast_shapes(so_far, tensor.shape(), shape)) {
      fail("map_elements: shapes do not broadcast ({} and {})", to_string(so_far), to_string(tensor.shape()));
    }
  }
  return shape;
}

void require_elementwise(const Tensor& to, std::initializer_list<Tensor> from) {
  for (const Tensor& tensor : from) {
    Shape shape;
    if (!broadcast_shapes(to.shape(), tensor.shape(), shape) || !(shape == to.shape())) {
      fail("fill_elements: an operand {} does not broadcast to {}", tensor.describe(), to.describe());
    }
    if (tensor.dtype() != to.dtype())
      fail("fill_elements: an operand {} where {} is wanted", tensor.describe(), to_string(to.dtype()));
  }
}

}  // namespace detail
}  // namespace gradus
