#include "framework/testing/gradcheck.h"

#include <algorithm>
#include <cmath>

#include "framework/autograd/autograd.h"
#include "framework/kernels/cpu/copy.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"

namespace gradus::testing {
namespace {

double largest_magnitude(const std::vector<double>& values) {
  double largest = 0;
  for (double value : values) largest = !(std::fabs(value) <= largest) ? std::fabs(value) : largest;  // a NaN stays
  return largest;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// f64 copies that nobody else holds.
Tensors own_copies(const Tensors& tensors) {
  Tensors copies;
  for (const Tensor& tensor : tensors) copies.push_back(tensor.defined() ? cpu::clone(tensor) : Tensor());
  return copies;
}

std::vector<std::vector<double>> values_of(const Tensors& tensors) {
  std::vector<std::vector<double>> values;
  for (const Tensor& tensor : tensors) values.push_back(tensor.defined() ? tensor.to_vector<double>() : std::vector<double>{});
  return values;
}

class Checker {
 public:
  Checker(const Function& function, const Tensors& inputs, const std::vector<bool>& differentiable, const std::vector<std::string>& names,
          const GradcheckOptions& options)
      : function_(function), inputs_(own_copies(inputs)), differentiable_(differentiable), names_(names), options_(options), generator_(options.seed) {}

  GradcheckReport run() {
    GradcheckReport report;
    Tensors outputs;
    {
      const NoGradScope no_grad;
      outputs = function_(inputs_);
    }
    for (const Tensor& output : outputs) {
      const bool counts = output.defined() && output.dtype() == DType::f64;
      cotangents_.push_back(counts ? random_normal(output.shape(), generator_, DType::f64, 0, options_.cotangent_scale) : Tensor());
    }
    const Tensors gradients = analytic(cotangents_);
    // What is certainly noise: rounding of outputs of this size, times the cotangent. Very large outputs are constants
    // (masks), which cancel in the differences.
    double output_scale = 1;
    for (const auto& values : values_of(outputs)) output_scale = std::max(output_scale, largest_magnitude(values));
    noise_floor_ = 1e-7 * options_.cotangent_scale * std::min(output_scale, 1e3);
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      if (!differentiable_[i]) continue;
      if (gradients[i].defined() && gradients[i].spec() != inputs_[i].spec()) {
        report.complaint = fmt::format("the gradient of {} is {}, the input is {}", names_[i], gradients[i].describe(), inputs_[i].describe());
        return report;
      }
      report.inputs.push_back(check_input(i, gradients[i].defined() ? gradients[i].to_vector<double>() : std::vector<double>(inputs_[i].numel(), 0.0)));
    }
    report.complaint = check_linearity(gradients);
    return report;
  }

 private:
  Tensors analytic(const Tensors& cotangents) const {
    Tensors leaves = own_copies(inputs_), wanted;
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      if (!differentiable_[i]) continue;
      leaves[i].set_requires_grad();
      wanted.push_back(leaves[i]);
    }
    const GradModeScope recording(true);
    const Tensors outputs = function_(leaves);
    Tensors reached, upstream;
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      if (!outputs[k].defined() || !outputs[k].requires_grad() || !cotangents[k].defined()) continue;
      reached.push_back(outputs[k]);
      upstream.push_back(cotangents[k]);
    }
    Tensors gradients(inputs_.size());
    if (reached.empty()) return gradients;
    const Tensors found = grad(reached, wanted, upstream);
    for (std::size_t i = 0, next = 0; i < inputs_.size(); ++i) {
      if (differentiable_[i]) gradients[i] = found[next++];
    }
    return gradients;
  }

  std::vector<std::vector<double>> evaluate() const {
    const NoGradScope no_grad;
    return values_of(function_(inputs_));
  }

  /// d<f(x + t d), u>/dt at 0, with d given on input i. The difference of outputs is taken before the product with u.
  double numeric(std::size_t i, const std::vector<double>& direction) {
    double* x = inputs_[i].mutable_data<double>();
    const std::vector<double> saved(x, x + inputs_[i].numel());
    const auto moved = [&](double t) {
      for (std::size_t e = 0; e < saved.size(); ++e) {
        if (direction[e] != 0) x[e] = saved[e] + t * direction[e];
      }
      auto values = evaluate();
      std::copy(saved.begin(), saved.end(), x);
      return values;
    };
    constexpr int levels = 5;
    double table[levels][levels], best = NAN, least_error = INFINITY, h = 0.016;
    for (int row = 0; row < levels; ++row, h /= 2) {
      const auto up = moved(h), down = moved(-h);
      double difference = 0;
      for (std::size_t k = 0; k < up.size(); ++k) {
        if (!cotangents_[k].defined()) continue;
        const std::vector<double> u = cotangents_[k].to_vector<double>();
        for (std::size_t e = 0; e < u.size(); ++e) difference += u[e] * (up[k][e] - down[k][e]);
      }
      table[row][0] = difference / (2 * h);
      double factor = 4;
      for (int column = 1; column <= row; ++column, factor *= 4) {
        table[row][column] = (factor * table[row][column - 1] - table[row - 1][column - 1]) / (factor - 1);
        const double error = std::max(std::fabs(table[row][column] - table[row][column - 1]), std::fabs(table[row][column] - table[row - 1][column - 1]));
        if (error < least_error) least_error = error, best = table[row][column];
      }
    }
    return best;
  }

  InputVerdict check_input(std::size_t i, const std::vector<double>& gradient) {
    InputVerdict verdict{.name = names_[i], .elements = inputs_[i].numel()};
    std::vector<double> yours, expected;
    if (verdict.elements <= options_.every_element_up_to) {
      for (std::int64_t e = 0; e < verdict.elements; ++e) {
        std::vector<double> unit(gradient.size(), 0.0);
        unit[e] = 1;
        yours.push_back(gradient[e]);
        expected.push_back(numeric(i, unit));
      }
    } else {
      verdict.by_direction = true;
      for (int k = 0; k < options_.directions; ++k) {
        std::vector<double> signs = random_integers({verdict.elements}, generator_, 0, 1).to_vector<double>();
        for (double& sign : signs) sign = sign == 0 ? -1 : 1;
        yours.push_back(dot(gradient, signs));
        expected.push_back(numeric(i, signs));
      }
    }
    const double scale = std::max({largest_magnitude(expected), verdict.by_direction ? std::sqrt(dot(gradient, gradient)) : 0.0, noise_floor_});
    verdict.passed = true;
    for (std::size_t e = 0; e < yours.size(); ++e) {
      const double error = std::fabs(yours[e] - expected[e]) / scale;
      const bool good = error <= options_.tolerance;
      if (e == 0 || !(error <= verdict.relative_error)) {
        verdict.worst = static_cast<std::int64_t>(e);
        verdict.analytic = yours[e];
        verdict.numeric = expected[e];
        verdict.relative_error = error;
      }
      if (!good) {
        verdict.passed = false;
        if (std::isnan(error)) break;
      }
    }
    return verdict;
  }

  /// Backward must be linear: of zero it is zero, of twice the cotangent it is twice the gradient.
  std::string check_linearity(const Tensors& gradients) const {
    for (double factor : {0.0, 2.0}) {
      Tensors scaled;
      for (const Tensor& cotangent : cotangents_) scaled.push_back(cotangent.defined() ? cotangent * factor : Tensor());
      const Tensors again = analytic(scaled);
      for (std::size_t i = 0; i < gradients.size(); ++i) {
        if (!gradients[i].defined() && !again[i].defined()) continue;
        if (!gradients[i].defined() || !again[i].defined()) return fmt::format("the gradient of {} comes and goes", names_[i]);
        const std::vector<double> one = gradients[i].to_vector<double>(), other = again[i].to_vector<double>();
        const double scale = std::max(largest_magnitude(one), noise_floor_);
        for (std::size_t e = 0; e < one.size(); ++e) {
          if (!(std::fabs(other[e] - factor * one[e]) <= 1e-12 * scale)) {
            return fmt::format("the gradient of {} is not linear in the cotangent: {} times the cotangent gives {} where {} is expected", names_[i],
                               factor, other[e], factor * one[e]);
          }
        }
      }
    }
    return "";
  }

  const Function& function_;
  Tensors inputs_, cotangents_;
  const std::vector<bool>& differentiable_;
  const std::vector<std::string>& names_;
  const GradcheckOptions& options_;
  Generator generator_;
  double noise_floor_ = 0;
};

Function function_of(const OpSpec& spec, const Sample& sample) {
  return [&spec, attributes = sample.attributes](const Tensors& inputs) { return apply(spec, inputs, attributes); };
}

}  // namespace

bool GradcheckReport::passed() const {
  return complaint.empty() && std::all_of(inputs.begin(), inputs.end(), [](const InputVerdict& input) { return input.passed; });
}

std::string GradcheckReport::text() const {
  std::string text = complaint.empty() ? "" : "  " + complaint + "\n";
  for (const InputVerdict& input : inputs) {
    text += fmt::format("  {:14} {:7} elements  worst at {} {}: yours {:.9g}, expected {:.9g}, off by {:.2g} of the gradient's scale  {}\n", input.name,
                        input.elements, input.by_direction ? "direction" : "element", input.worst, input.analytic, input.numeric, input.relative_error,
                        input.passed ? "agree" : "DISAGREE");
  }
  return text;
}

GradcheckReport gradcheck(const Function& function, const Tensors& inputs, const std::vector<bool>& differentiable,
                          const std::vector<std::string>& names, const GradcheckOptions& options) {
  return Checker(function, inputs, differentiable, names, options).run();
}

GradcheckReport gradgradcheck(const Function& function, const Tensors& inputs, const std::vector<bool>& differentiable,
                              const std::vector<std::string>& names, const GradcheckOptions& options) {
  // (inputs, cotangents) -> gradients, a function like any other.
  Tensors outputs;
  {
    const NoGradScope no_grad;
    outputs = function(inputs);
  }
  Generator generator(options.seed + 1);
  Tensors arguments = inputs;
  std::vector<bool> varies = differentiable;
  std::vector<std::string> all_names = names;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    const bool counts = outputs[k].dtype() == DType::f64;
    arguments.push_back(counts ? random_normal(outputs[k].shape(), generator, DType::f64) : Tensor());
    varies.push_back(counts);
    all_names.push_back(fmt::format("cotangent {}", k));
  }
  const std::size_t count = inputs.size();
  const Function gradient = [&](const Tensors& values) {
    const bool graph = grad_enabled();
    const GradModeScope recording(true);
    Tensors leaves(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(count)), wanted;
    for (std::size_t i = 0; i < count; ++i) {
      if (!differentiable[i]) continue;
      if (!leaves[i].requires_grad()) leaves[i] = leaves[i].detach().set_requires_grad();
      wanted.push_back(leaves[i]);
    }
    const Tensors results = function(leaves);
    Tensors reached, upstream;
    for (std::size_t k = 0; k < results.size(); ++k) {
      if (!results[k].requires_grad() || !values[count + k].defined()) continue;
      reached.push_back(results[k]);
      upstream.push_back(values[count + k]);
    }
    return grad(reached, wanted, upstream, {.retain_graph = true, .create_graph = graph});
  };
  return gradcheck(gradient, arguments, varies, all_names, options);
}

std::vector<bool> differentiable_inputs(const OpSpec& spec, const Tensors& inputs) {
  std::vector<bool> differentiable;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const InputSpec& input = spec.inputs[std::min(i, spec.inputs.size() - 1)];
    differentiable.push_back(input.differentiable && inputs[i].defined() && is_floating(inputs[i].dtype()));
  }
  return differentiable;
}

std::vector<std::string> input_names(const OpSpec& spec, std::size_t count) {
  const OpCall call(spec, Tensors(count), {}, SourceLocation::current());
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) names.push_back(call.input_name(i));
  return names;
}

GradcheckReport gradcheck(const OpSpec& spec, const Sample& sample, const GradcheckOptions& options) {
  return gradcheck(function_of(spec, sample), sample.inputs, differentiable_inputs(spec, sample.inputs), input_names(spec, sample.inputs.size()), options);
}

GradcheckReport gradgradcheck(const OpSpec& spec, const Sample& sample, const GradcheckOptions& options) {
  return gradgradcheck(function_of(spec, sample), sample.inputs, differentiable_inputs(spec, sample.inputs), input_names(spec, sample.inputs.size()), options);
}

}  // namespace gradus::testing
