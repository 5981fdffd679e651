#include "framework/testing/sweep.h"

#include "framework/autograd/modes.h"

namespace gradus::testing {
namespace {

Sample draw_sample(const OpSpec& spec, std::uint64_t seed, SampleMaker::Sizes sizes) {
  SampleMaker make(seed, sizes);
  const std::vector<Sample> samples = spec.samples(make);
  if (samples.empty()) fail<UsageError>("[{}] the record has no samples: nothing to check it on", spec.name);
  return samples[seed % samples.size()];
}

/// Runs the op once. Sizes that were varied may no longer fit its attributes, or each other.
bool takes(const OpSpec& spec, const Sample& sample) {
  try {
    const NoGradScope no_grad;
    apply(spec, sample.inputs, sample.attributes);
    return true;
  } catch (const ContractError&) {
    return false;
  }
}

}  // namespace

void SweepReport::count(CheckReport report) {
  agree += report.verdict == Verdict::agree;
  disagree += report.verdict == Verdict::disagree;
  cannot_tell += report.verdict == Verdict::cannot_tell;
  each.push_back({draws, report.seed, report.order, report.call, report.verdict, report.seconds,
                  report.passed() ? -1 : static_cast<int>(doubtful.size())});
  if (!report.passed()) doubtful.push_back(std::move(report));
}

SweepReport sweep(const OpSpec& spec, int draws, const CheckOptions& options) {
  if (!spec.samples) fail<UsageError>("[{}] the record has no samples: nothing to check it on", spec.name);
  SweepReport report{.op = spec.name};
  if (!spec.is_differentiable()) return report;
  for (int draw = 0; draw < draws; ++draw) {
    CheckOptions own = options;
    own.seed = options.seed + static_cast<std::uint64_t>(draw);
    Sample sample = draw_sample(spec, own.seed, SampleMaker::Sizes::varied);
    ++report.draws;
    if (!takes(spec, sample)) {
      ++report.sizes_kept;
      sample = draw_sample(spec, own.seed, SampleMaker::Sizes::as_written);
    }
    for (CheckReport& check_report : check_orders(spec, sample, own)) {
      check_report.rerun = fmt::format("gradus gradcheck --op {} --repeat 1 --seed {}", spec.name, own.seed);
      report.count(std::move(check_report));
    }
  }
  return report;
}

}  // namespace gradus::testing
