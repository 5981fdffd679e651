#include "tools/gradcheck_point.h"

#include <algorithm>
#include <limits>

#include "framework/io/safetensors.h"
#include "framework/tensor/creation.h"
#include "framework/testing/numbers.h"
#include "framework/testing/report_formats.h"

namespace gradus::tools {
namespace {

void add_all(io::SafetensorsFile& file, const std::string& kind, const std::vector<std::string>& names,
             const Tensors& tensors) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (!tensors[i].defined()) continue;
    file.tensors.emplace_back(kind + "." + (i < names.size() ? names[i] : std::to_string(i)),
                              cpu::contiguous(tensors[i]));
  }
}

void add_expected(io::SafetensorsFile& file, const testing::InputReport& input) {
  const auto count = static_cast<std::size_t>(input.spec.shape.numel());
  testing::Numbers expected(count, std::numeric_limits<double>::quiet_NaN()), bar = expected;
  for (const testing::ElementVerdict& element : input.elements) {
    if (element.verdict == testing::Verdict::cannot_tell) continue;
    expected[static_cast<std::size_t>(element.element)] = element.expected;
    bar[static_cast<std::size_t>(element.element)] = element.bar;
  }
  file.tensors.emplace_back("expected." + input.name, from_values(input.spec.shape, expected, DType::f64));
  file.tensors.emplace_back("bar." + input.name, from_values(input.spec.shape, bar, DType::f64));
}

}  // namespace

void write_point(const std::string& path, const testing::CheckReport& report) {
  const testing::CheckedTensors& point = *report.point;
  io::SafetensorsFile file;
  file.metadata = {{"format", "gradus.point"},
                   {"version", "1"},
                   {"op", report.subject},
                   {"order", std::to_string(report.order)},
                   {"verdict", to_string(testing::outcome_of(report.verdict))},
                   {"cause", report.hint ? report.hint->sentence : ""}};
  add_all(file, "input", point.input_names, point.inputs);
  add_all(file, "output", point.output_names, point.outputs);
  add_all(file, "cotangent", point.output_names, point.cotangents);
  add_all(file, "gradient", point.input_names, point.gradients);
  for (const testing::InputReport& input : report.inputs) add_expected(file, input);
  io::write_safetensors(path, file);
}

void write_point(const std::string& path, const testing::Subject& subject, const Tensors& inputs,
                 const std::string& why) {
  io::SafetensorsFile file;
  file.metadata = {
      {"format", "gradus.point"}, {"version", "1"}, {"op", subject.name}, {"verdict", "none"}, {"cause", why}};
  add_all(file, "input", subject.inputs, inputs);
  io::write_safetensors(path, file);
}

}  // namespace gradus::tools
