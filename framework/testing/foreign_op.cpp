#include "framework/testing/foreign_op.h"

#include <algorithm>
#include <cfenv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>

#include "framework/random/generator.h"
#include "framework/tensor/creation.h"
#include "framework/testing/foreign_buffers.h"
#include "framework/testing/foreign_failure.h"
#include "framework/testing/foreign_process.h"
#include "framework/testing/numbers.h"

namespace gradus::testing {

using namespace foreign;
using Kind = ForeignFailureKind;

namespace {

constexpr double largest_output = 1e9;  ///< bytes
constexpr std::int64_t room_for_records = max_ops * static_cast<std::int64_t>(sizeof(OpRecord));

std::string list_of(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "none" : text;
}

/// Has a new process load the library; returns the records.
std::vector<OpRecord> load(Process& process, const std::string& library, double timeout) {
  const Answer answer = process.ask(Request::load, timeout);
  const Control& control = process.control();
  if (answer.kind != Answer::Kind::answered) explain_end(library, process, answer, timeout, nullptr);
  if (control.result != Result::done) explain_result(library, control);
  const auto count = static_cast<std::size_t>(std::clamp(control.record_count, 0, max_ops));
  std::vector<OpRecord> records(count);
  std::memcpy(records.data(), process.data(), count * sizeof(OpRecord));
  return records;
}

void describe(gradus_tensor& tensor, DType dtype, const Shape& shape, void* data) {
  tensor = {};
  tensor.data = data;
  tensor.dtype = code_of_dtype(dtype);
  tensor.rank = shape.rank();
  std::copy(shape.begin(), shape.end(), tensor.shape);
}

}  // namespace

/// What is asked of one op.
struct ForeignOp::Setting {
  std::string path, library, name, summary;
  std::shared_ptr<const std::vector<OpRecord>> records;
  int op = 0;
  double timeout = 0;
  Manner manner;
  std::map<std::string, double> attributes;
  std::vector<double> attribute_values;
  std::vector<ForeignAttribute> declared_attributes;
  std::vector<ForeignInput> inputs;
  Placing placing;
  int rounding = FE_TONEAREST;
};

/// One op and its process.
class ForeignOp::Session : public Setting {
 public:
  const OpRecord& record() const { return (*records)[static_cast<std::size_t>(op)]; }
  int input_count() const { return record().input_count; }
  int output_count() const { return record().output_count; }
  int process() const { return process_ ? process_->id() : 0; }

  void end_process() {
    process_.reset();
    has_layout_ = false;
  }

  void set_attribute(std::size_t index, double value) {
    attribute_values[index] = attributes[declared_attributes[index].name] = value;
    layout_.reset();
    remembered_inputs_.clear();
    remembered_outputs_.clear();
  }

  /// The same op with another value of one attribute, in a process of its own.
  std::shared_ptr<Session> with_attribute(std::size_t number, double value) const {
    auto other = std::make_shared<Session>();
    static_cast<Setting&>(*other) = *this;
    other->set_attribute(number, value);
    return other;
  }

  Tensors forward(const Tensors& tensors) {
    return run(Request::forward, Stage::forward, Role::output, output_count(), {{Role::input, tensors}});
  }

  Tensors backward(const Tensors& tensors, const Tensors& cotangents) {
    return backward(tensors, outputs_at(tensors), cotangents);
  }

  Tensors backward(const Tensors& tensors, const Tensors& outputs, const Tensors& cotangents) {
    return run(Request::backward, Stage::backward, Role::gradient, input_count(),
               {{Role::input, tensors}, {Role::output, outputs}, {Role::cotangent, cotangents}});
  }

  Tensors jvp(const Tensors& tensors, const Tensors& tangents) {
    const Tensors outputs = outputs_at(tensors);
    return run(Request::jvp, Stage::jvp, Role::output_tangent, output_count(),
               {{Role::input, tensors}, {Role::output, outputs}, {Role::tangent, tangents}});
  }

 private:
  struct Given {
    Role role;
    const Tensors& tensors;
  };

  std::string who() const { return library + ": " + name; }

  /// The outputs at one point are remembered, so that backward there is not always called right after forward: an op
  /// that keeps something between the two gives itself away.
  Tensors outputs_at(const Tensors& tensors) {
    const bool known = tensors.size() == remembered_inputs_.size() &&
                       std::equal(tensors.begin(), tensors.end(), remembered_inputs_.begin(), same_bits);
    if (known) return remembered_outputs_;
    const Tensors outputs = forward(tensors);
    if (!remembered_outputs_.empty() && remembered_inputs_[0].spec() == tensors[0].spec()) return outputs;
    remembered_inputs_.clear();
    for (const Tensor& tensor : tensors) remembered_inputs_.push_back(cpu::clone(tensor));
    return remembered_outputs_ = outputs;
  }

  /// The process, started anew if need be, with the library loaded and at least so much memory.
  Process& running(std::int64_t data_bytes) {
    if (process_ && process_->data_bytes() >= data_bytes) return *process_;
    end_process();
    auto started = std::make_unique<Process>(path, std::max({2 * data_bytes, room_for_records, std::int64_t{1} << 24}),
                                             manner);
    const std::vector<OpRecord> now = load(*started, library, timeout);
    const std::vector<OpRecord>& before = *records;
    if (now.size() != before.size() || std::memcmp(now.data(), before.data(), now.size() * sizeof(OpRecord)) != 0)
      throw ForeignFailure(Kind::bad_description, library + ": describes itself in another way than at first");
    process_ = std::move(started);
    return *process_;
  }

  void ask(Request request, const Layout* layout) {
    const Answer answer = process_->ask(request, timeout);
    if (answer.kind != Answer::Kind::answered) {
      const std::unique_ptr<Process> ended = std::move(process_);
      explain_end(who(), *ended, answer, timeout, layout);
    }
    if (process_->control().result == Result::done) return;
    if (process_->control().result == Result::refused) explain_result(who(), process_->control());
    // After an exception, nobody knows what state the library is in.
    const std::unique_ptr<Process> left = std::move(process_);
    explain_result(who(), left->control());
  }

  void require_inputs(const Tensors& tensors) const {
    if (static_cast<int>(tensors.size()) != input_count())
      fail("{} takes {} inputs, {} were given", who(), input_count(), tensors.size());
    for (int i = 0; i < input_count(); ++i) {
      if (tensors[i].defined() && tensors[i].dtype() == inputs[i].dtype) continue;
      fail("{} takes {} as {}, not {}", who(), inputs[i].name, to_string(inputs[i].dtype),
           tensors[i].defined() ? to_string(tensors[i].dtype()) : "nothing");
    }
  }

  std::vector<Shape> output_shapes(const std::vector<Shape>& shapes) {
    Control& control = running(0).control();
    control.op = op;
    std::copy(attribute_values.begin(), attribute_values.end(), control.attributes);
    for (int i = 0; i < input_count(); ++i) describe(control.inputs[i], inputs[i].dtype, shapes[i], nullptr);
    for (int k = 0; k < output_count(); ++k)
      describe(control.outputs[k], dtype_of_code(record().outputs[k].dtype), {}, nullptr);
    ask(Request::shape, nullptr);
    std::vector<Shape> outputs;
    for (int k = 0; k < output_count(); ++k) {
      const gradus_tensor tensor = control.outputs[k];
      const auto refuse = [&](const std::string& what) {
        fail_foreign(Kind::bad_description, who(), Stage::shape,
                     fmt::format("gave the output {} {}", record().outputs[k].name, what));
      };
      if (tensor.rank < 0 || tensor.rank > max_rank)
        refuse(fmt::format("rank {}; 0 to {} are possible", tensor.rank, max_rank));
      double bytes = 8;
      for (int axis = 0; axis < tensor.rank; ++axis) {
        if (tensor.shape[axis] < 0) refuse(fmt::format("the negative size {}", tensor.shape[axis]));
        bytes *= static_cast<double>(tensor.shape[axis]);
      }
      if (!(bytes <= largest_output)) refuse(fmt::format("{:.3g} bytes, too many to check", bytes));
      outputs.emplace_back(std::span(tensor.shape, static_cast<std::size_t>(tensor.rank)));
    }
    return outputs;
  }

  Layout& layout_for(const Tensors& tensors) {
    std::vector<Shape> shapes;
    for (const Tensor& tensor : tensors) shapes.push_back(tensor.shape());
    if (!layout_ || shapes != laid_out_) {
      layout_.emplace(record(), shapes, output_shapes(shapes));
      laid_out_ = shapes;
      has_layout_ = false;
    }
    layout_->place(placing);
    return *layout_;
  }

  static gradus_tensor* tensors_of(Control& control, Role role) {
    switch (role) {
      case Role::input: return control.inputs;
      case Role::output: return control.outputs;
      case Role::cotangent: return control.cotangents;
      case Role::gradient: return control.gradients;
      case Role::tangent: return control.tangents;
      case Role::output_tangent: return control.output_tangents;
    }
    return nullptr;
  }

  /// One call, in which the buffers of one role are written and those of others are given; returns the former.
  Tensors run(Request request, Stage stage, Role written, int written_count, const std::vector<Given>& given) {
    require_inputs(given[0].tensors);
    const Layout& layout = layout_for(given[0].tensors);
    Process& process = running(layout.bytes);
    Control& control = process.control();
    control.op = op;
    control.rounding = rounding;
    std::copy(attribute_values.begin(), attribute_values.end(), control.attributes);
    for (const Role role :
         {Role::input, Role::output, Role::cotangent, Role::gradient, Role::tangent, Role::output_tangent}) {
      std::fill_n(tensors_of(control, role), GRADUS_MAX_COUNT, gradus_tensor{});
    }
    control.buffer_count = static_cast<std::int32_t>(layout.buffers.size());
    control.relayout = !has_layout_;
    for (std::size_t b = 0; b < layout.buffers.size(); ++b) {
      const Buffer& buffer = layout.buffers[b];
      control.buffers[b] = {buffer.pages, buffer.page_bytes, buffer.role == written};
      const auto source =
          std::find_if(given.begin(), given.end(), [&](const Given& one) { return one.role == buffer.role; });
      if (buffer.role != written && source == given.end()) continue;
      if (buffer.role == written) {
        clear(buffer, process.data());
      } else {
        const Tensor& content = source->tensors.at(static_cast<std::size_t>(buffer.index));
        if (content.defined() && content.spec() != TensorSpec{buffer.shape, buffer.dtype}) {
          fail("{}: {} must be {} {}, not {}", who(), buffer.name, to_string(buffer.shape), to_string(buffer.dtype),
               content.describe());
        }
        fill(buffer, process.data(), content);
      }
      describe(tensors_of(control, buffer.role)[buffer.index], buffer.dtype, buffer.shape,
               process.data() + buffer.begin);
    }
    ask(request, &layout);
    has_layout_ = true;
    return collect(layout, process, stage, written, written_count);
  }

  Tensors collect(const Layout& layout, const Process& process, Stage stage, Role written, int count) {
    Tensors results(static_cast<std::size_t>(count));
    for (const Buffer& buffer : layout.buffers) {
      if (buffer.role != written) continue;
      if (const auto stray = find_stray_write(buffer, process.data()))
        fail_foreign(Kind::out_of_bounds, who(), stage, *stray);
      if (const auto stray = find_stray_read(buffer, layout, process.data()))
        fail_foreign(Kind::out_of_bounds, who(), stage, *stray);
      if (const auto missing = find_unwritten(buffer, process.data()))
        fail_foreign(Kind::unwritten, who(), stage, *missing);
      results[static_cast<std::size_t>(buffer.index)] = read(buffer, process.data());
    }
    return results;
  }

  std::unique_ptr<Process> process_;
  std::optional<Layout> layout_;
  std::vector<Shape> laid_out_;
  bool has_layout_ = false;  ///< the process knows the layout
  Tensors remembered_inputs_, remembered_outputs_;
};

const std::string& ForeignOp::name() const { return session_->name; }
const std::string& ForeignOp::summary() const { return session_->summary; }
const std::map<std::string, double>& ForeignOp::attributes() const { return session_->attributes; }
const std::vector<ForeignInput>& ForeignOp::inputs() const { return session_->inputs; }
const std::vector<ForeignAttribute>& ForeignOp::declared_attributes() const { return session_->declared_attributes; }
int ForeignOp::process() const { return session_->process(); }
void ForeignOp::restart() { session_->end_process(); }

ForeignOp ForeignOp::twin() const {
  auto session = std::make_shared<Session>();
  static_cast<Setting&>(*session) = *session_;
  return ForeignOp(std::move(session));
}

void ForeignOp::set_attribute(const std::string& name, double value) {
  std::vector<std::string> known;
  for (std::size_t a = 0; a < declared_attributes().size(); ++a) {
    known.push_back(declared_attributes()[a].name);
    if (known.back() == name) return session_->set_attribute(a, value);
  }
  fail<UsageError>("{} has no attribute '{}'; it has {}", this->name(), name, list_of(known));
}

void ForeignOp::set_offset(std::int64_t offset) {
  if (offset >= 64) fail<UsageError>("an offset of {} bytes from a boundary of 64 is none: 0 to 63", offset);
  for (const ForeignInput& input : inputs()) {
    if (offset > 0 && offset % size_in_bytes(input.dtype) != 0)
      fail<UsageError>("an offset of {} bytes tears the elements of {} apart", offset, input.name);
  }
  using Where = Placing::Where;
  session_->placing = offset < 0 ? Placing{} : Placing{.where = Where::behind_boundary, .offset = offset};
}

void ForeignOp::set_threads(int threads) {
  if (threads == session_->manner.threads) return;
  session_->manner.threads = threads;
  restart();
}

void ForeignOp::set_aside(double timeout) {
  session_->timeout = timeout;
  session_->manner.quiet = 1;
  restart();
}

void ForeignOp::set_input(const ForeignInput& input) {
  std::vector<std::string> known;
  for (ForeignInput& own : session_->inputs) {
    known.push_back(own.name);
    if (own.name != input.name) continue;
    if (input.dtype != own.dtype)
      fail<UsageError>("{} takes {} as {}, not {}", name(), own.name, to_string(own.dtype), to_string(input.dtype));
    if (!(input.low <= input.high) || !std::isfinite(input.low) || !std::isfinite(input.high))
      fail<UsageError>("{}: {} cannot be drawn from [{:g}, {:g}]", name(), own.name, input.low, input.high);
    if (input.normal && !is_floating(own.dtype))
      fail<UsageError>("{}: {} holds integers, which have no normal distribution", name(), own.name);
    own = input;
    return;
  }
  fail<UsageError>("{} has no input '{}'; it has {}", name(), input.name, list_of(known));
}

Tensors ForeignOp::draw_inputs(std::uint64_t seed) const {
  Tensors tensors;
  for (std::size_t i = 0; i < inputs().size(); ++i) {
    const ForeignInput& input = inputs()[i];
    StreamReader reader(seed, i);
    const double distance = input.whole ? 0 : input.normal ? 0.05 : 0.025 * (input.high - input.low);
    const auto draw = [&] {
      if (!is_floating(input.dtype) || input.whole)
        return static_cast<double>(reader.next_integer(std::llround(input.low), std::llround(input.high)));
      return input.normal ? reader.next_normal() : input.low + (input.high - input.low) * reader.next_uniform();
    };
    Numbers values(static_cast<std::size_t>(input.shape.numel()));
    for (double& value : values) {
      const auto at_kink = [&](double kink) { return std::fabs(value - kink) < distance; };
      value = draw();
      for (int retry = 0; retry < 1000 && std::any_of(input.kinks.begin(), input.kinks.end(), at_kink); ++retry)
        value = draw();
    }
    tensors.push_back(from_values(input.shape, values, input.dtype));
  }
  return tensors;
}

Subject ForeignOp::subject() const {
  Subject subject;
  const std::shared_ptr<Session> session = session_;
  subject.name = name();
  subject.own_process = true;
  for (int i = 0; i < session->input_count(); ++i) {
    subject.inputs.push_back(session->record().inputs[i].name);
    subject.differentiable.push_back(session->record().inputs[i].differentiable);
  }
  for (int k = 0; k < session->output_count(); ++k) {
    subject.outputs.push_back(session->record().outputs[k].name);
    subject.accuracy.push_back(session->record().outputs[k].accuracy);
  }
  subject.ranges = declared_ranges();
  for (int a = 0; a < session->record().attribute_count; ++a) {
    const AttributeRecord& attribute = session->record().attributes[a];
    subject.attributes.push_back(
        {.name = attribute.name,
         .value = session->attribute_values[static_cast<std::size_t>(a)],
         .usual = attribute.value,
         .at = [session, a](double value) { return ForeignOp(session->with_attribute(static_cast<std::size_t>(a), value)).subject(); }});
  }
  subject.forward = [session](const Tensors& inputs) { return session->forward(inputs); };
  subject.backward = [session](const Tensors& inputs, const Tensors& cotangents) {
    return session->backward(inputs, cotangents);
  };
  subject.backward_with = [session](const Tensors& inputs, const Tensors& outputs, const Tensors& cotangents) {
    return session->backward(inputs, outputs, cotangents);
  };
  subject.set_rounding = [session](int mode) { session->rounding = mode; };
  subject.is_refusal = [](const Error& error) {
    const auto* failure = dynamic_cast<const ForeignFailure*>(&error);
    return failure && failure->kind == Kind::refused;
  };
  if (session->record().has_jvp) {
    subject.tangent_of = [session](const Tensors& inputs, const Tensors& tangents) {
      return session->jvp(inputs, tangents);
    };
  }
  return subject;
}

void ForeignOp::require_gradient() const {
  const OpRecord& record = session_->record();
  const bool any = std::any_of(record.outputs, record.outputs + record.output_count, [](const OutputRecord& output) {
    return is_floating(dtype_of_code(output.dtype));
  });
  if (!any) {
    throw ForeignFailure(Kind::nothing_to_check, fmt::format("{}: {} has no gradient to check: it gives integers alone",
                                                             session_->library, name()));
  }
}

void ForeignOp::look_for_reads_before_buffers(const Tensors& inputs) const {
  struct AtStart {
    explicit AtStart(Placing& placing) : placing(placing), usual(placing) { placing.where = Placing::Where::at_start; }
    ~AtStart() { placing = usual; }
    Placing &placing, usual;
  } const at_start(session_->placing);
  const Tensors outputs = session_->forward(inputs);
  Tensors cotangents;
  for (const Tensor& output : outputs) cotangents.push_back(is_floating(output.dtype()) ? ones_like(output) : Tensor());
  session_->backward(inputs, cotangents);
  if (session_->record().has_jvp) session_->jvp(inputs, Tensors(inputs.size()));
}

ForeignLibrary::ForeignLibrary(const std::string& path, double timeout, bool sandbox)
    : timeout_(timeout), sandbox_(sandbox) {
  if (!(timeout > 0)) fail<UsageError>("a time limit of {:g} s is none", timeout);
  require_shared_library(path);
  path_ = std::filesystem::absolute(path);
  Process process(path_, room_for_records, Manner{.sandbox = sandbox});
  try {
    records_ = std::make_shared<std::vector<OpRecord>>(load(process, std::filesystem::path(path).filename(), timeout));
  } catch (const Error&) {
    explain_sanitizer(path);
    throw;
  }
  for (const OpRecord& op : *records_) names_.push_back(op.name);
}

ForeignOp ForeignLibrary::op(const std::string& name, const std::map<std::string, double>& attributes) const {
  const auto found = std::find(names_.begin(), names_.end(), name);
  const std::string library = std::filesystem::path(path_).filename();
  if (found == names_.end()) fail<UsageError>("{} has no op '{}'; it has {}", library, name, list_of(names_));
  auto session = std::make_shared<ForeignOp::Session>();
  session->path = path_;
  session->library = library;
  session->name = name;
  session->records = records_;
  session->op = static_cast<int>(found - names_.begin());
  session->timeout = timeout_;
  session->manner.sandbox = sandbox_;
  const OpRecord& record = session->record();
  if (record.problem[0]) throw ForeignFailure(Kind::bad_description, fmt::format("{}: {}", library, record.problem));
  session->summary = record.summary;
  for (int a = 0; a < record.attribute_count; ++a) {
    const AttributeRecord& attribute = record.attributes[a];
    session->declared_attributes.push_back({attribute.name, attribute.value, attribute.low, attribute.high});
    session->attributes[attribute.name] = attribute.value;
    session->attribute_values.push_back(attribute.value);
  }
  for (int i = 0; i < record.input_count; ++i) {
    const InputRecord& input = record.inputs[i];
    const DType dtype = dtype_of_code(input.dtype);
    session->inputs.push_back({input.name, Shape(std::span(input.shape, static_cast<std::size_t>(input.rank))), dtype,
                               input.low, input.high, is_floating(dtype) && input.low == 0 && input.high == 0, false,
                               std::vector<double>(input.kinks, input.kinks + input.kink_count)});
  }
  ForeignOp result(std::move(session));
  for (const auto& [attribute, value] : attributes) result.set_attribute(attribute, value);
  return result;
}

std::vector<Range> ForeignOp::declared_ranges() const {
  std::vector<Range> ranges;
  for (int i = 0; i < session_->input_count(); ++i) {
    const InputRecord& input = session_->record().inputs[i];
    ranges.push_back(input.dtype == GRADUS_I64 ? Range{} : Range{input.low, input.high});
  }
  return ranges;
}

Subject subject_at(const ForeignOp& op, const Tensors& inputs) {
  Subject subject = op.subject();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const ForeignInput& drawn = op.inputs()[i];
    if (!is_floating(drawn.dtype)) continue;
    const Numbers values = inputs[i].to_vector<double>();
    const auto holds_all = [&](const Range& range) {
      return range.is_declared() && std::all_of(values.begin(), values.end(), [&](double v) { return range.holds(v); });
    };
    const Range declared = subject.ranges[i], asked = drawn.normal ? Range{} : Range{drawn.low, drawn.high};
    subject.ranges[i] = holds_all(declared) ? declared : holds_all(asked) ? asked : Range{};
  }
  return subject;
}

CheckReport check(const ForeignOp& op, const Tensors& inputs, const CheckOptions& options) {
  op.require_gradient();
  CheckReport report = check(subject_at(op, inputs), inputs, options);  // first: the first calls of all are judged too
  op.look_for_reads_before_buffers(inputs);
  report.contracts.push_back({.name = "within its buffers, every element written"});
  return report;
}

}  // namespace gradus::testing
