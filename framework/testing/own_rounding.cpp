#include "framework/testing/own_rounding.h"

#include <algorithm>
#include <cfenv>
#include <cmath>

#include "framework/autograd/modes.h"
#include "framework/random/generator.h"
#include "framework/tensor/creation.h"

namespace gradus::testing {
namespace {

/// Share of the largest gradient by which differences of a forward in f32 may be off although their bars deny it: its
/// roundings are too few and too large to be all seen as noise.
constexpr double trust_in_f32 = 2e-3;
/// How much larger the changes are that tell conditioning from the rounding of the backward itself.
constexpr double larger = 0x1p14;
constexpr double allowance = 8;

/// Directed rounding shows what an algorithm loses on data that last-bit changes of its inputs leave as they are.
class RoundingScope {
 public:
  RoundingScope(const Subject& subject, int mode) : subject_(subject) { set(mode); }
  RoundingScope(const RoundingScope&) = delete;
  ~RoundingScope() { set(FE_TONEAREST); }

 private:
  void set(int mode) const {
    if (subject_.set_rounding) subject_.set_rounding(mode);
    else std::fesetround(mode);
  }
  const Subject& subject_;
};

class OwnRounding {
 public:
  OwnRounding(const Subject& subject, Line& line, const Tensors& cotangents, const Tensors& gradients,
              std::uint64_t seed)
      : subject_(subject), line_(line), inputs_(line.inputs()), cotangents_(cotangents), seed_(seed) {
    claimed_ = values_of(gradients);
    for (const Tensor& cotangent : cotangents) has_cotangent_.push_back(cotangent.defined());
  }

  std::vector<Numbers> run() {
    const Values last_bits = changes(2, 3), more_bits = changes(2 * larger, 2), by_outputs = changes_by_outputs(2, 2),
                 more_by_outputs = changes_by_outputs(2 * larger, 1), directed = changes_by_rounding(), again = difference(values_of(subject_.backward(clones(inputs_), clones(cotangents_))));
    const double of_forward = std::max(change_of_forward(2), change_of_forward_by_rounding());
    Values result = claimed_;
    for (std::size_t i = 0; i < result.size(); ++i) {
      if (result[i].empty()) continue;
      const double unit = unit_of_gradient(subject_, inputs_[i]), scale = largest_magnitude(claimed_[i]);
      // Where terms cancel to nothing, their rounding is all that is left, and has a size of its own.
      const double of_terms = 64 * unit * line_.output_size() / std::min(1.0, line_.typical_size(i));
      const double of_algorithm = std::max({4096 * unit * scale, of_terms, 16 * of_forward * scale});
      // What does not grow with the change is a jump, or rounding to a coarser format.
      const auto explained = [&](double change, double by_more) {
        return by_more >= 64 * change ? change : std::min(change, of_algorithm);
      };
      double least = 64 * unit * scale;
      if (inputs_[i].dtype() != DType::f64) least = std::max(least, trust_in_f32 * scale);
      const double of_any = std::min(largest_magnitude(last_bits[i]), of_terms);
      for (std::size_t e = 0; e < result[i].size(); ++e) {
        const double seen = std::max(explained(last_bits[i][e], more_bits[i][e]), of_any),
                     from_outputs = explained(by_outputs[i][e], more_by_outputs[i][e]),
                     by_rounding = std::min(directed[i][e], of_algorithm),
                     not_repeated = std::min(again[i][e], 1024 * unit * scale);
        result[i][e] = std::max({least, allowance * std::max({seen, from_outputs, by_rounding, not_repeated}),
                                 line_.unresolved_gradient(i, static_cast<std::int64_t>(e))});
      }
    }
    return result;
  }

 private:
  using Values = std::vector<Numbers>;

  /// `ranges`: what stays inside them, by tensor.
  Tensors moved_by(const Tensors& tensors, const std::vector<bool>& which, double units, StreamReader& reader,
                   const std::vector<Range>& ranges = {}) const {
    Tensors moved = tensors;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (!which[i] || !tensors[i].defined()) continue;
      Numbers values = tensors[i].to_vector<double>();
      const double step = units * unit_of_gradient(subject_, tensors[i]);
      const Range range = i < ranges.size() ? ranges[i] : Range{};
      for (double& value : values) {
        const double next = value * (reader.next_integer(0, 1) ? 1 + step : 1 - step);
        if (!range.holds(value) || range.holds(next)) value = next;
      }
      moved[i] = from_values(tensors[i].shape(), values, tensors[i].dtype());
    }
    return moved;
  }

  Values values_of(const Tensors& gradients) const {
    Values values;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      values.push_back(subject_.differentiable[i] && i < gradients.size() ? numbers_of(gradients[i], inputs_[i].numel())
                                                                          : Numbers{});
    }
    return values;
  }

  /// |values - claimed|; 0 where that is no number.
  Values difference(Values values) const {
    for (std::size_t i = 0; i < values.size(); ++i) {
      for (std::size_t e = 0; e < values[i].size(); ++e) {
        const double change = std::fabs(values[i][e] - claimed_[i][e]);
        values[i][e] = std::isfinite(change) ? change : 0;
      }
    }
    return values;
  }

  template <class Call>
  Values largest_change(int trials, Call call) const {
    Values largest = claimed_;
    for (Numbers& numbers : largest) std::fill(numbers.begin(), numbers.end(), 0.0);
    for (int trial = 0; trial < trials; ++trial) {
      StreamReader reader(seed_, 5000 + static_cast<std::uint64_t>(trial));
      const std::optional<Tensors> gradients = unless_refused(subject_, [&] { return call(reader); });
      if (!gradients) continue;
      const Values change = difference(values_of(*gradients));
      for (std::size_t i = 0; i < change.size(); ++i) {
        for (std::size_t e = 0; e < change[i].size(); ++e) largest[i][e] = std::max(largest[i][e], change[i][e]);
      }
    }
    return largest;
  }

  Values changes(double units, int trials) const {
    return largest_change(trials, [&](StreamReader& reader) {
      const Tensors inputs = moved_by(inputs_, subject_.differentiable, units, reader, subject_.ranges);
      return subject_.backward(inputs, moved_by(cotangents_, has_cotangent_, units, reader));
    });
  }

  Values changes_by_rounding() const {
    int mode = FE_TONEAREST;
    return largest_change(2, [&](StreamReader&) {
      mode = mode == FE_UPWARD ? FE_DOWNWARD : FE_UPWARD;
      const RoundingScope scope(subject_, mode);
      return subject_.backward(clones(inputs_), clones(cotangents_));
    });
  }

  /// Of the outputs from those at the point, relative to the largest element.
  double relative_change(const Tensors& outputs) const {
    double largest = 0;
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      if (!has_cotangent_[k]) continue;
      const Numbers before = line_.outputs()[k].to_vector<double>(), now = outputs[k].to_vector<double>();
      const double change = largest_difference(before, now), size = largest_magnitude(before);
      if (size > 0 && std::isfinite(change)) largest = std::max(largest, change / size);
    }
    return largest;
  }

  /// An algorithm that loses digits on the way forward does so on the way back.
  double change_of_forward(double units) const {
    const NoGradScope no_grad;
    double largest = 0;
    for (int trial = 0; trial < 2; ++trial) {
      StreamReader reader(seed_, 5100 + static_cast<std::uint64_t>(trial));
      const std::optional<Tensors> outputs =
          unless_refused(subject_, [&] { return subject_.forward(moved_by(inputs_, subject_.differentiable, units, reader, subject_.ranges)); });
      if (outputs) largest = std::max(largest, relative_change(*outputs));
    }
    return largest;
  }

  double change_of_forward_by_rounding() const {
    const NoGradScope no_grad;
    double largest = 0;
    for (const int mode : {FE_UPWARD, FE_DOWNWARD}) {
      const RoundingScope scope(subject_, mode);
      largest = std::max(largest, relative_change(subject_.forward(clones(inputs_))));
    }
    return largest;
  }

  Values changes_by_outputs(double units, int trials) const {
    return largest_change(subject_.backward_with ? trials : 0, [&](StreamReader& reader) {
      Tensors outputs = line_.outputs();
      for (std::size_t k = 0; k < outputs.size(); ++k) {
        const double accuracy = k < subject_.accuracy.size() ? subject_.accuracy[k] : 0;
        if (!has_cotangent_[k]) continue;
        const double unit = unit_of_gradient(subject_, outputs[k]);
        std::vector<bool> this_one(outputs.size(), false);
        this_one[k] = true;
        outputs = moved_by(outputs, this_one, units * std::max(1.0, accuracy / unit / 2), reader);
      }
      return subject_.backward_with(inputs_, outputs, clones(cotangents_));
    });
  }

  const Subject& subject_;
  Line& line_;
  const Tensors& inputs_;
  const Tensors& cotangents_;
  const std::uint64_t seed_;
  Values claimed_;
  std::vector<bool> has_cotangent_;
};

}  // namespace

double unit_of_gradient(const Subject& subject, const Tensor& input) {
  return input.dtype() == DType::f64 && subject.backward_dtype == DType::f64 ? 0x1p-53 : 0x1p-24;
}

std::vector<Numbers> own_rounding(const Subject& subject, Line& line, const Tensors& cotangents,
                                  const Tensors& gradients, std::uint64_t seed) {
  return OwnRounding(subject, line, cotangents, gradients, seed).run();
}

}  // namespace gradus::testing
