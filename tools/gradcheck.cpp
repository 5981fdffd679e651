#include "tools/gradcheck.h"

#include <algorithm>
#include <iostream>
#include <limits>
#include <map>

#include "framework/base/error.h"
#include "framework/base/plural.h"
#include "framework/io/files.h"
#include "framework/ops/registry.h"
#include "framework/testing/through_device.h"
#include "framework/testing/zoo_report.h"
#include "tools/built_in_op.h"
#include "tools/commands.h"
#include "tools/gradcheck_inputs.h"
#include "tools/gradcheck_point.h"
#include "tools/options.h"

namespace gradus::tools {

testing::CheckOptions GradcheckRequest::check_options() const {
  testing::CheckOptions options;
  options.seed = seed;
  options.explain = output.explain;
  if (mode == "full") options.every_element_up_to = std::numeric_limits<std::int64_t>::max();
  if (mode == "fast") options.every_element_up_to = 1;
  return options;
}

std::string GradcheckRequest::mode_flag() const { return mode == "auto" ? "" : " --mode " + mode; }

namespace {

/// The op as it runs on `device`.
const OpSpec& on(Device device, const OpSpec& spec) {
  static std::map<std::string, OpSpec> elsewhere;
  if (device == Device{}) return spec;
  return elsewhere.try_emplace(spec.name, testing::through_device(spec, device)).first->second;
}

void require_gradient(const OpSpec& spec) {
  if (!spec.is_differentiable()) fail<UsageError>("[{}] has no gradient to check", spec.name);
}

/// The gradient alone, on some samples or on inputs of the user's own.
void check_gradient(const GradcheckRequest& request, Device device, GradcheckSession& session) {
  const OpSpec& spec = built_in_op(request.op);
  require_gradient(spec);
  std::vector<Sample> samples;
  if (request.inputs.empty()) {
    SampleMaker make(request.seed);
    std::string labels;
    for (const Sample& sample : spec.samples(make)) {
      labels += (labels.empty() ? "" : ", ") + sample.label;
      if (request.sample.empty() || request.sample == sample.label) samples.push_back(sample);
    }
    if (samples.empty())
      fail<UsageError>("[{}] there is no sample '{}'; it has: {}", spec.name, request.sample, labels);
  } else {
    samples.push_back(requested_sample(spec, request.inputs, request.attributes, request.seed));
  }
  for (const Sample& sample : samples) {
    for (const int order : {1, 2}) {
      if (request.order != 0 && request.order != order) continue;
      if (!request.dump.empty() && order != std::max<std::int64_t>(request.order, 1)) continue;
      testing::CheckOptions options = request.check_options();
      options.keep_point = !request.dump.empty();
      options.watch = [&] { session.watch().tick(); };
      session.watch().begin(fmt::format("{}, {}", spec.name, sample.label));
      testing::CheckReport report;
      try {
        report = check(on(device, spec), sample, options, order);
      } catch (const OutOfTime&) {
        session.add_unchecked(spec.name, sample.label + (order == 2 ? ", second order" : ""));
        continue;
      }
      if (options.keep_point) write_point(request.dump, report);
      if (!request.inputs.empty()) {
        report.rerun =
            fmt::format("gradus gradcheck --op {} --order {} --seed {} --explain", spec.name, order, request.seed);
        for (const std::string& input : request.inputs) report.rerun += " --input " + quoted(input);
        for (const std::string& attribute : request.attributes) report.rerun += " --attr " + quoted(attribute);
      }
      report.rerun += request.mode_flag();
      if (device != Device{}) report.rerun += " --device " + to_string(device);
      session.add(report);
    }
  }
}

void check_records(const GradcheckRequest& request, Device device, GradcheckSession& session) {
  const std::vector<const OpSpec*> ops = request.all ? all_ops() : std::vector{&built_in_op(request.op)};
  std::size_t checked = 0, wrong = 0;
  double seconds = 0;
  for (const OpSpec* spec : ops) {
    session.watch().begin(spec->name);
    if (session.watch().is_over()) {
      session.add_unchecked(spec->name, "");
      continue;
    }
    const testing::RecordReport report = testing::check_record(on(device, *spec), request.check_options());
    session.add(report);
    ++checked;
    wrong += !report.passed();
    seconds += report.seconds;
  }
  std::cout << fmt::format("{} checked, {} wrong, {:.1f} s\n", plural(checked, "op"), wrong, seconds);
}

void sweep_ops(const GradcheckRequest& request, Device device, GradcheckSession& session) {
  if (!request.all) require_gradient(built_in_op(request.op));
  for (const OpSpec* spec : request.all ? all_ops() : std::vector{&built_in_op(request.op)}) {
    if (!spec->samples || !spec->is_differentiable()) continue;
    testing::CheckOptions options = request.check_options();
    options.watch = [&] { session.watch().tick(); };
    session.watch().begin(spec->name);
    try {
      session.add(testing::sweep(on(device, *spec), static_cast<int>(request.repeat), options));
    } catch (const OutOfTime&) {
      session.add_unchecked(spec->name, plural(request.repeat, "draw"));
    }
  }
}

void refuse_contradictions(const GradcheckRequest& request, const CLI::App& command) {
  const bool of_library = !request.shared_library.empty(), of_op = !request.op.empty() && !of_library;
  const int subjects = of_library + of_op + request.all + !request.model.empty() + !request.new_op.empty() +
                       request.zoo + (request.list && !of_library);
  if (subjects != 1)
    fail<UsageError>(
        "exactly one of --op NAME, --all, --model NAME, --lib FILE, --new NAME, --list or --zoo is needed");
  const auto only_with = [&](const char* flag, bool allowed, const char* subject) {
    if (command.count(flag) > 0 && !allowed) fail<UsageError>("{} goes with {}", flag, subject);
  };
  only_with("--attr", of_library || of_op, "--op or --lib");
  only_with("--input", of_library || of_op, "--op or --lib");
  only_with("--timeout", of_library, "--lib");
  only_with("--offset", of_library, "--lib");
  only_with("--threads", of_library, "--lib");
  only_with("--sandbox", of_library, "--lib");
  only_with("--sample", of_op, "a built-in --op");
  only_with("--order", of_op, "a built-in --op");
  only_with("--like", of_library, "--lib");
  only_with("--points", of_library, "--lib");
  only_with("--device", of_op || request.all, "a built-in --op or --all");
  only_with("--tiny", !request.model.empty(), "--model");
  only_with("--repeat", of_op || of_library || request.all, "--op, --all or --lib");
  only_with("--explain", of_op || of_library || !request.model.empty(), "--op, --model or --lib");
  const bool checks = !request.list && !request.zoo && request.new_op.empty();
  for (const char* flag : {"--json", "--junit", "--mutants", "--strict", "--mode", "--hide_seed", "--time_limit"})
    only_with(flag, checks, "a check");
  const bool one_point = of_library || (of_op && (!request.inputs.empty() || !request.sample.empty()));
  only_with("--dump", one_point, "--lib, or a built-in --op with --input or --sample");
  for (const auto& [flag, other] :
       {std::pair{"--dump", "--repeat"}, {"--dump", "--points"}, {"--points", "--repeat"}}) {
    if (command.count(flag) > 0 && command.count(other) > 0)
      fail<UsageError>("{} and {} contradict each other", flag, other);
  }
  for (const char* flag : {"--input", "--sample", "--order", "--explain"}) {
    if (command.count("--repeat") > 0 && command.count(flag) > 0)
      fail<UsageError>("--repeat and {} contradict each other", flag);
  }
  if (of_op && !request.attributes.empty() && request.inputs.empty())
    fail<UsageError>("--attr goes with --input: the samples have attributes of their own");
  if (!request.sample.empty() && !request.inputs.empty())
    fail<UsageError>("--sample and --input contradict each other");
  if (command.count("--repeat") > 0 && (request.repeat < 1 || request.repeat > 1000000))
    fail<UsageError>("--repeat must be between 1 and 1000000, not {}", request.repeat);
  if (command.count("--points") > 0 && (request.points < 1 || request.points > 1000000))
    fail<UsageError>("--points must be between 1 and 1000000, not {}", request.points);
  if (request.order < 0 || request.order > 2) fail<UsageError>("--order must be 1 or 2, not {}", request.order);
  if (request.mode != "auto" && request.mode != "full" && request.mode != "fast")
    fail<UsageError>("unknown mode '{}': expected auto, full or fast", request.mode);
}

void run_gradcheck(const GradcheckRequest& request, const CLI::App& command) {
  refuse_contradictions(request, command);
  const Device device = device_from_string(request.device);
  if (!request.new_op.empty()) return write_op_template(request.new_op);
  if (request.zoo) {
    std::cout << testing::to_markdown(testing::visit_zoo());
    return;
  }
  if (request.list && !request.shared_library.empty()) return list_library(request);
  if (request.list) {
    for (const OpSpec* spec : all_ops()) std::cout << fmt::format("{:30} {}\n", spec->name, spec->summary);
    return;
  }
  require_distinct({}, {{"--json", request.output.json}, {"--junit", request.output.junit}, {"--dump", request.dump}});
  if (!request.dump.empty()) io::require_writable(request.dump);
  GradcheckSession session(request.output);
  const bool gradient_only =
      !request.sample.empty() || request.order != 0 || !request.inputs.empty() || request.output.explain;
  try {
    if (!request.shared_library.empty()) check_library(request, session);
    else if (!request.model.empty()) check_model(request, session);
    else if (request.repeat > 0) sweep_ops(request, device, session);
    else if (!request.all && gradient_only) check_gradient(request, device, session);
    else check_records(request, device, session);
  } catch (const std::exception& error) {
    const GradcheckFailure failure{
        .shared_library = request.shared_library, .op = request.op, .kind = "error", .sentence = error.what()};
    const bool usage = dynamic_cast<const UsageError*>(&error), data = dynamic_cast<const DataError*>(&error);
    session.abandon(failure, usage ? 2 : data ? 3 : 1);
    throw;
  }
  session.finish();
}

}  // namespace

void add_gradcheck(CLI::App& program) {
  auto request = std::make_shared<GradcheckRequest>();
  CLI::App* command = program.add_subcommand(
      "gradcheck", "Is this gradient right? Of the built-in ops, of a whole model, or of ops of your own");
  command->add_option("--op", request->op, "One op, built-in or of --lib")->type_name("NAME")->group("What to check");
  command
      ->add_flag("--all", request->all,
                 "Every built-in op: against its definition, on strange layouts, on 1 and N threads, and its gradient")
      ->group("What to check");
  command
      ->add_option("--model", request->model,
                   "A whole model, a row for each parameter: vanilla, rope, synthesizer, perceiver or perceiver-ar")
      ->type_name("NAME")
      ->group("What to check");
  command->add_flag("--tiny", request->tiny, "The model at a small size, every element")->group("What to check");
  command->add_option("--lib", request->shared_library, "Ops of a shared library, run in a process of their own")
      ->type_name("FILE")
      ->group("What to check");
  command
      ->add_option("--new", request->new_op,
                   "Write NAME.c, an op in C to start from, and gradus_op.h; say how to build it")
      ->type_name("NAME")
      ->group("What to check");
  command->add_flag("--list", request->list, "Names and summaries of all ops, built-in or of --lib")
      ->group("What to check");
  command->add_flag("--zoo", request->zoo, "What the checker says about seeded bugs, as Markdown")
      ->group("What to check");

  const auto repeatable = [](CLI::Option* option) {
    return option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->group("How");
  };
  repeatable(
      command->add_option(
          "--input", request->inputs,
          "An input: x=f64[2,3], x=f64[2,3]:normal, x=f64[2,3]:uniform(0,1) or x=FILE.safetensors; may be repeated"))
      ->type_name("NAME=...");
  repeatable(command->add_option("--attr", request->attributes, "A value for an attribute; may be repeated"))
      ->type_name("NAME=VALUE");
  command->add_option("--sample", request->sample, "The gradient on one of the op's samples alone")
      ->type_name("LABEL")
      ->group("How");
  add_integer(*command, "--order", request->order,
              "The gradient alone: 1, or 2 for the gradient of the gradient; 0 for both")
      ->group("How");
  add_integer(*command, "--repeat", request->repeat, "The gradient alone, on N draws of values and sizes")
      ->group("How");
  add_integer(*command, "--points", request->points, "The ops of --lib on N draws of values, at the same sizes")
      ->group("How");
  command
      ->add_option("--like", request->like,
                   "What the forward of --lib is to compute: a built-in op, or REFERENCE.so:OP. It is compared first")
      ->type_name("OP")
      ->group("How");
  command
      ->add_option(
          "--mode", request->mode,
          "auto: every element of small inputs, directions through large ones; full: every element; fast: directions")
      ->capture_default_str()
      ->group("How");
  add_seed(*command, request->seed, "Other inputs, cotangents and directions")->group("How");
  command->add_option("--device", request->device, "Where built-in ops run: auto, cpu, cuda or cuda:N")
      ->capture_default_str()
      ->group("How");
  command->add_option("--timeout", request->timeout, "Seconds for each call into a library")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group("How");
  add_integer(*command, "--offset", request->offset,
              "Buffers lie this many bytes behind a multiple of 64, instead of before a page that cannot be read")
      ->group("How");
  add_integer(*command, "--threads", request->threads, "OpenMP threads of a library")->group("How");
  command
      ->add_option("--time_limit", request->output.time_limit,
                   "Seconds for everything; what was not checked by then is listed, and cannot be told")
      ->check(CLI::PositiveNumber)
      ->group("How");
  command
      ->add_flag("--sandbox", request->sandbox,
                 "The library may compute, read files and start threads; for the network, other processes or writing "
                 "to files it is stopped")
      ->group("How");

  command->add_flag("--explain", request->output.explain, "Every number that the verdict rests on")->group("Report");
  command->add_flag("--mutants", request->output.mutants, "How many damaged gradients this check would have rejected")
      ->group("Report");
  command
      ->add_flag("--strict", request->output.strict,
                 "\"Cannot tell\" counts as wrong. Exit codes: 0 agree, 1 disagree, 2 usage, 3 a library or file that "
                 "cannot be used, or an op that refuses, 5 cannot tell, 6 the op crashed, timed out or was stopped by "
                 "the sandbox")
      ->group("Report");
  command->add_option("--json", request->output.json, "Write the results as JSON to FILE, - for standard output")
      ->type_name("FILE")
      ->group("Report");
  command
      ->add_flag("--hide_seed", request->output.hide_seed,
                 "No report says the seed, nor how to repeat a check: for those who are not to know it")
      ->group("Report");
  command
      ->add_option("--dump", request->dump,
                   "Write the point (inputs, cotangents, your gradients and the expected ones) as safetensors")
      ->type_name("FILE")
      ->group("Report");
  command->add_option("--junit", request->output.junit, "Write the results as a JUnit file")
      ->type_name("FILE")
      ->group("Report");
  add_examples(*command,
               "  gradus gradcheck --op layer_norm\n"
               "  gradus gradcheck --op matmul --input 'a=f64[3,4]' --input 'b=f64[4,2]:uniform(-1,1)' --explain\n"
               "  gradus gradcheck --all --seed 7 --junit results.xml\n"
               "  gradus gradcheck --model vanilla --tiny\n"
               "  gradus gradcheck --new my_op");
  command->callback([request, command] { run_gradcheck(*request, *command); });
}

}  // namespace gradus::tools
