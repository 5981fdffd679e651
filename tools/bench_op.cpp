#include <algorithm>
#include <iostream>
#include <optional>

#include "framework/autograd/autograd.h"
#include "framework/base/error.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/ops/ops.h"
#include "framework/ops/registry.h"
#include "framework/tensor/creation.h"
#include "tools/bench.h"
#include "tools/bench_ceilings.h"
#include "tools/bench_samples.h"
#include "tools/built_in_op.h"

namespace gradus::tools {
namespace {

struct BenchOpOptions {
  CommonOptions common;
  std::string name;
  bool all = false;
  double seconds = 0.2;
  ModelSizes sizes;
};

/// One direction of one op.
struct Measurement {
  std::string pass;
  Spread seconds;
  std::size_t repetitions = 0;
  Cost cost;
};

/// Calls timed() and waits for the device, each time after untimed(), for about `seconds` seconds in all and at least
/// three times; the first call is not counted.
template <class Untimed, class Timed>
Measurement measure(const std::string& pass, double seconds, Device device, const Untimed& untimed,
                    const Timed& timed) {
  untimed();
  timed();
  std::vector<double> times;
  for (const Stopwatch all; times.size() < 3 || all.seconds() < seconds;) {
    untimed();
    synchronize(device);
    const Stopwatch watch;
    timed();
    synchronize(device);
    times.push_back(watch.seconds());
  }
  return {pass, spread_of(times), times.size(), {}};
}

Device device_of(const Tensors& tensors) {
  for (const Tensor& tensor : tensors) {
    if (tensor.defined()) return tensor.device();
  }
  return {};
}

double size_of(const Tensor& tensor) {
  return tensor.defined() ? double(tensor.numel()) * double(size_in_bytes(tensor.dtype())) : 0;
}

double size_of(const Tensors& tensors) {
  double bytes = 0;
  for (const Tensor& tensor : tensors) bytes += size_of(tensor);
  return bytes;
}

Measurement measure_forward(const OpSpec& spec, const Sample& sample, double seconds) {
  const NoGradScope no_grad;
  // An op that updates its inputs gets the same ones every time.
  Tensors inputs = sample.inputs, outputs;
  const auto renew = [&] {
    outputs.clear();
    if (spec.mutates.empty()) return;
    std::transform(sample.inputs.begin(), sample.inputs.end(), inputs.begin(),
                   [](const Tensor& x) { return x.defined() ? clone(x) : x; });
  };
  Measurement forward =
      measure("forward", seconds, device_of(inputs), renew, [&] { outputs = apply(spec, inputs, sample.attributes); });
  forward.cost = spec.cost(make_call(spec, inputs, sample.attributes, SourceLocation::current()));
  return forward;
}

/// An op recorded on the tape, ready to go backward.
struct Recorded {
  Tensors outputs, cotangents;
};

Recorded record(const OpSpec& spec, const Tensors& inputs, const Attributes& attributes, std::uint64_t seed) {
  Recorded recorded;
  Generator generator(seed);
  for (const Tensor& output : apply(spec, inputs, attributes)) {
    if (!output.requires_grad()) continue;
    recorded.outputs.push_back(output);
    recorded.cotangents.push_back(on_device(random_normal(output.shape(), generator, output.dtype()), output.device()));
  }
  return recorded;
}

/// Whether elements of it were computed and stored: not where it shows a cotangent, or one number many times.
bool is_written(const Tensor& gradient, const Tensors& cotangents) {
  if (!gradient.defined()) return false;
  for (int axis = 0; axis < gradient.rank(); ++axis) {
    if (gradient.shape()[axis] > 1 && gradient.strides()[axis] == 0) return false;
  }
  return std::none_of(cotangents.begin(), cotangents.end(),
                      [&](const Tensor& cotangent) { return gradient.shares_storage_with(cotangent); });
}

/// What a backward has to do: as many operations as the forward for one gradient, twice as many for two or more (exact
/// for products of matrices). It reads the cotangents and what the record saves, and writes the gradients.
Cost backward_cost(const OpSpec& spec, const Cost& forward, const Tensors& inputs, const Recorded& recorded,
                   const Tensors& gradients) {
  Tensors written;
  std::copy_if(gradients.begin(), gradients.end(), std::back_inserter(written),
               [&](const Tensor& gradient) { return is_written(gradient, recorded.cotangents); });
  if (written.empty()) return {};
  double saved = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const auto& kept = spec.saves.inputs;
    if (spec.saves.all_inputs || std::find(kept.begin(), kept.end(), static_cast<int>(i)) != kept.end())
      saved += size_of(inputs[i]);
  }
  for (const int i : spec.saves.outputs) saved += size_of(recorded.outputs.at(static_cast<std::size_t>(i)));
  return {forward.flops * double(std::min<std::size_t>(2, written.size())),
          size_of(recorded.cotangents) + saved + size_of(written)};
}

std::optional<Measurement> measure_backward(const OpSpec& spec, const Sample& sample, const Cost& forward,
                                            double seconds, std::uint64_t seed) {
  if (!spec.is_differentiable() || !spec.mutates.empty()) return std::nullopt;
  Tensors inputs, wanted;
  for (std::size_t i = 0; i < sample.inputs.size(); ++i) {
    const Tensor& input = sample.inputs[i];
    const bool differentiable = spec.inputs[std::min(i, spec.inputs.size() - 1)].differentiable;
    inputs.push_back(input.defined() ? input.alias() : input);
    if (!input.defined() || !differentiable || !is_floating(input.dtype())) continue;
    wanted.push_back(inputs.back().set_requires_grad());
  }
  Recorded recorded = record(spec, inputs, sample.attributes, seed);
  if (recorded.outputs.empty()) return std::nullopt;
  const Tensors cotangents = recorded.cotangents;
  Tensors gradients;
  Measurement backward = measure(
      "backward", seconds, device_of(inputs),
      [&] {
        gradients.clear();
        recorded.outputs.clear();
        for (const Tensor& output : apply(spec, inputs, sample.attributes)) {
          if (output.requires_grad()) recorded.outputs.push_back(output);
        }
      },
      [&] { gradients = grad(recorded.outputs, wanted, cotangents); });
  backward.cost = backward_cost(spec, forward, inputs, recorded, gradients);
  return backward;
}

/// A measurement under the roofline. Of the calls the fastest one counts, as for the ceilings: other programs can only
/// have slowed the rest.
struct Position {
  double flops = 0, bytes = 0;  ///< a second
  std::string bound;            ///< the ceiling that is reached first: arithmetic or memory; none: nothing is computed
  double share = 0;             ///< of that ceiling
};

Position position_of(const Measurement& measured, const Ceilings& ceilings) {
  const Cost& cost = measured.cost;
  Position position{cost.flops / measured.seconds.least, cost.bytes / measured.seconds.least, "none", 0};
  const double arithmetic = position.flops / ceilings.flops, memory = position.bytes / ceilings.bytes;
  if (arithmetic > 0 || memory > 0) position.bound = arithmetic > memory ? "arithmetic" : "memory";
  position.share = std::max(arithmetic, memory);
  return position;
}

std::string in_units(double seconds) {
  return seconds < 1e-3 ? fmt::format("{:.1f} us", seconds * 1e6) : fmt::format("{:.2f} ms", seconds * 1e3);
}

std::string with_share(double rate, double ceiling) {
  return rate > 0 ? fmt::format("{:7.1f} ({:3.0f} %)", rate / 1e9, 100 * rate / ceiling) : fmt::format("{:>15}", "-");
}

void print_line(const OpSpec& spec, const Measurement& measured, const Ceilings& ceilings) {
  const Position position = position_of(measured, ceilings);
  std::cout << fmt::format("{:28} {:8} {:>11} {} {}  {}\n", spec.name, measured.pass, in_units(measured.seconds.least),
                           with_share(position.flops, ceilings.flops), with_share(position.bytes, ceilings.bytes),
                           position.bound)
            << std::flush;
}

nlohmann::ordered_json to_json(const OpSpec& spec, const Sample& sample, const Measurement& measured,
                               const Ceilings& ceilings) {
  const Position position = position_of(measured, ceilings);
  std::string inputs;
  for (const Tensor& input : sample.inputs) {
    if (input.defined()) inputs += (inputs.empty() ? "" : ", ") + input.describe();
  }
  return {{"op", spec.name},
          {"pass", measured.pass},
          {"sample", sample.label},
          {"inputs", inputs},
          {"attributes", to_string(sample.attributes)},
          {"seconds_median", measured.seconds.median},
          {"seconds_min", measured.seconds.least},
          {"seconds_max", measured.seconds.most},
          {"repetitions", measured.repetitions},
          {"flops", measured.cost.flops},
          {"bytes", measured.cost.bytes},
          {"gflop_per_s", position.flops / 1e9},
          {"gb_per_s", position.bytes / 1e9},
          {"bound", position.bound},
          {"share_of_bound", position.share}};
}

/// Times an op both ways, prints a line for each, and adds them to `results`.
void bench_one(const OpSpec& spec, const BenchOpOptions& options, const Compute& compute, const Ceilings& ceilings,
               nlohmann::ordered_json& results) {
  const std::uint64_t seed = options.common.seed;
  Sample sample = large_sample(spec, options.sizes, compute.dtype, seed);
  for (Tensor& input : sample.inputs) input = on_device(input, compute.device);
  const auto report = [&](const Measurement& measured) {
    print_line(spec, measured, ceilings);
    results.push_back(to_json(spec, sample, measured, ceilings));
  };
  const Measurement forward = measure_forward(spec, sample, options.seconds);
  report(forward);
  if (const auto backward = measure_backward(spec, sample, forward.cost, options.seconds, seed)) report(*backward);
}

void print_heading(const Ceilings& ceilings, const BenchOpOptions& options, Device device) {
  std::cout << fmt::format(
      "{}, {}, {}: {:.0f} GFLOP/s in multiply-adds, {:.1f} GB/s in a copy\n"
      "{:28} {:8} {:>11} {:>15} {:>15}  nearer ceiling\n",
      processor_name(), runs_on(device), options.common.dtype, ceilings.flops / 1e9, ceilings.bytes / 1e9, "op", "pass",
      "time", "GFLOP/s", "GB/s");
}

void check_options(const BenchOpOptions& options) {
  if (options.all == !options.name.empty()) fail<UsageError>("either NAME or --all is needed");
  if (!(options.seconds >= 0 && options.seconds <= 3600))
    fail<UsageError>("--seconds must be between 0 and 3600, not {}", options.seconds);
  require_between("--batch", options.sizes.batch, 1, 1 << 12);
  require_between("--length", options.sizes.length, 1, 1 << 12);
}

void bench_op(const BenchOpOptions& options) {
  const Compute compute = options.common.apply();
  check_options(options);
  const std::vector<const OpSpec*> ops = options.all ? all_ops() : std::vector{&built_in_op(options.name)};
  const Ceilings ceilings = measure_ceilings(compute.dtype, compute.device);
  print_heading(ceilings, options, compute.device);
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  for (const OpSpec* spec : ops) {
    try {
      bench_one(*spec, options, compute, ceilings, results);
    } catch (const ContractError& error) {
      // Not every op computes in every dtype: of all, those that do are wanted.
      if (!options.all) throw;
      std::cout << fmt::format("{:28} {}\n", spec->name, error.what());
      results.push_back({{"op", spec->name}, {"error", error.what()}});
    }
  }
  write_json(options.common.json, {{"what", "gradus_op"},
                                   {"dtype", options.common.dtype},
                                   {"threads", cpu::thread_count()},
                                   {"device", describe(compute.device)},
                                   {"processor", processor_name()},
                                   {"peak_gflop_per_s", ceilings.flops / 1e9},
                                   {"copy_gb_per_s", ceilings.bytes / 1e9},
                                   {"ops", results}});
}

}  // namespace

void add_bench_op(CLI::App& bench) {
  auto options = std::make_shared<BenchOpOptions>();
  CLI::App* command = bench.add_subcommand(
      "op",
      "Ops forward and backward, at the vanilla model's sizes, beside what this processor can do at best: arithmetic "
      "by "
      "fused multiply-adds, memory by a copy, both measured first. Times are those of the fastest calls. Operations "
      "and bytes are those of the op's record; "
      "a "
      "backward counts the forward's operations once for one gradient and twice for more, and the bytes that it has to "
      "touch. What is in a cache may pass the memory's ceiling");
  command->add_option("NAME", options->name, "The op; gradus gradcheck --list shows them all");
  command->add_flag("--all", options->all, "Every built-in op");
  command->add_option("--seconds", options->seconds, "For each direction of an op; at least three calls")
      ->capture_default_str();
  add_integer(*command, "--batch", options->sizes.batch, "Sequences");
  add_integer(*command, "--length", options->sizes.length, "Tokens in a sequence");
  add_common_options(*command, options->common);
  add_examples(*command,
               "  gradus bench op layer_norm\n"
               "  gradus bench op scaled_dot_product_attention --threads 1 --seconds 1\n"
               "  gradus bench op --all --json ops.json");
  command->callback([options, command] {
    if (options->common.print_config) return print_config(*command);
    bench_op(*options);
  });
}

}  // namespace gradus::tools
