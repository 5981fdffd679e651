#include "tools/gradcheck_inputs.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <regex>

#include "framework/autograd/modes.h"
#include "framework/base/error.h"
#include "framework/io/safetensors.h"
#include "framework/kernels/cpu/copy.h"
#include "framework/tensor/creation.h"
#include "tools/arguments.h"

namespace gradus::tools {
namespace {

constexpr double most_elements = 1e8;

Shape parse_shape(const std::string& text, const std::string& list) {
  std::vector<std::int64_t> sizes;
  double elements = 1;
  for (std::size_t at = 0; at < list.size();) {
    const std::size_t end = std::min(list.find(',', at), list.size());
    const std::optional<double> size = number_of(list.substr(at, end - at));
    if (!size || *size > most_elements) fail<UsageError>("--input {}: '{}' is no list of sizes", text, list);
    sizes.push_back(static_cast<std::int64_t>(*size));
    elements *= *size;
    at = end + 1;
  }
  if (sizes.size() > max_rank)
    fail<UsageError>("--input {}: {} axes, at most {} are possible", text, sizes.size(), max_rank);
  if (elements > most_elements) fail<UsageError>("--input {}: {:.3g} elements are too many to check", text, elements);
  return Shape(sizes);
}

Tensor draw(const InputRequest& request, SampleMaker& make) {
  using Values = InputRequest::Values;
  if (request.values == Values::from_file) return read_tensor(request);
  const auto integers = [&] {
    const bool ranged = request.values == Values::uniform || request.values == Values::whole;
    return make.integers(request.shape, static_cast<std::int64_t>(ranged ? request.low : 0),
                         static_cast<std::int64_t>(ranged ? request.high : 1));
  };
  if (request.dtype == DType::i64) return integers();
  if (request.dtype == DType::boolean) return make.booleans(request.shape);
  const Tensor values = request.values == Values::whole
                            ? from_values(request.shape, integers().to_vector<double>(), DType::f64)
                        : request.values == Values::uniform ? make.uniform(request.shape, request.low, request.high)
                                                            : make.normal(request.shape);
  if (request.dtype == DType::f64) return values;
  const Tensor narrow = Tensor::empty(request.shape, request.dtype);
  cpu::copy(narrow, values);
  return narrow;
}

AttributeValue parse_value(const std::string& name, const AttributeValue& of_type, const std::string& text) {
  const auto refuse = [&](const char* wanted) {
    fail<UsageError>("--attr {}={}: {} is wanted, like {}", name, text, wanted, to_string(of_type));
  };
  const std::optional<double> number = number_of(text);
  const bool whole = number && *number == std::floor(*number) && std::fabs(*number) < 9e15;
  if (std::holds_alternative<bool>(of_type)) {
    if (text != "true" && text != "false") refuse("true or false");
    return text == "true";
  }
  if (std::holds_alternative<std::int64_t>(of_type)) {
    if (!whole) refuse("a whole number");
    return static_cast<std::int64_t>(*number);
  }
  if (std::holds_alternative<double>(of_type)) {
    if (!number) refuse("a number");
    return *number;
  }
  if (std::holds_alternative<std::string>(of_type)) return text;
  std::vector<std::int64_t> list;
  const std::string inside = text.starts_with("[") && text.ends_with("]") ? text.substr(1, text.size() - 2) : text;
  for (std::size_t at = 0; at < inside.size();) {
    const std::size_t end = std::min(inside.find(',', at), inside.size());
    const std::optional<double> entry = number_of(inside.substr(at, end - at));
    if (!entry || *entry != std::floor(*entry) || std::fabs(*entry) > 9e15) refuse("a list of whole numbers");
    list.push_back(static_cast<std::int64_t>(*entry));
    at = end + 1;
  }
  return list;
}

}  // namespace

Tensor read_tensor(const InputRequest& request) {
  const io::SafetensorsFile file = io::read_safetensors(request.path);
  std::string names;
  for (const auto& [name, tensor] : file.tensors) {
    if (name == request.name) return tensor;
    names += (names.empty() ? "" : ", ") + name;
  }
  fail<DataError>("{}: there is no tensor '{}'; it has: {}", request.path, request.name, names);
}

std::optional<double> number_of(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  const bool complete =
      !text.empty() && !std::isspace(static_cast<unsigned char>(text[0])) && end == text.c_str() + text.size();
  return complete && std::isfinite(value) ? std::optional(value) : std::nullopt;
}

std::pair<std::string, std::string> parse_attribute(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) fail<UsageError>("--attr takes NAME=VALUE, not '{}'", text);
  return {text.substr(0, equals), text.substr(equals + 1)};
}

InputRequest parse_input(const std::string& text) {
  static const std::regex drawn(
      R"(([A-Za-z0-9_.-]+)=(f64|f32|i64|bool)\[([0-9,]*)\](:normal|:(uniform|whole)\(([^,]+),([^,]+)\))?)");
  static const std::regex from_file(R"(([A-Za-z0-9_.-]+)=(.+\.safetensors))");
  std::smatch match;
  if (std::regex_match(text, match, from_file))
    return {.name = match[1], .shape = {}, .values = InputRequest::Values::from_file, .path = match[2]};
  if (!std::regex_match(text, match, drawn)) {
    fail<UsageError>(
        "--input takes NAME=DTYPE[SIZES], then perhaps :normal, :uniform(LOW,HIGH) or :whole(LOW,HIGH), as in "
        "x=f64[2,3]:uniform(-1,1), "
        "or "
        "NAME=FILE.safetensors, not '{}'",
        text);
  }
  InputRequest request{
      .name = match[1], .dtype = dtype_from_string(match[2].str()), .shape = parse_shape(text, match[3]), .path = {}};
  if (match[5].matched) {
    const std::optional<double> low = number_of(match[6]), high = number_of(match[7]);
    if (!low || !high || *low > *high)
      fail<UsageError>("--input {}: {} takes two numbers, the smaller one first", text, match[5].str());
    request.values = match[5] == "whole" ? InputRequest::Values::whole : InputRequest::Values::uniform;
    const bool whole = !is_floating(request.dtype) || request.values == InputRequest::Values::whole;
    request.low = whole ? std::ceil(*low) : *low;
    request.high = whole ? std::floor(*high) : *high;
    if (whole && (!(request.low <= request.high) || std::fabs(request.low) > 9e15 || std::fabs(request.high) > 9e15)) {
      fail<UsageError>("--input {}: there is no integer between {} and {} to draw", text, match[6].str(),
                       match[7].str());
    }
  } else if (match[4].matched) {
    request.values = InputRequest::Values::normal;
  }
  return request;
}

std::map<std::string, double> attribute_numbers(const std::vector<std::string>& texts) {
  std::map<std::string, double> attributes;
  for (const std::string& text : texts) {
    const auto [name, value] = parse_attribute(text);
    const std::optional<double> number = number_of(value);
    if (!number) fail<UsageError>("--attr takes NAME=NUMBER, not '{}'", text);
    attributes[name] = *number;
  }
  return attributes;
}

Attributes requested_attributes(const OpSpec& spec, const std::vector<std::string>& attributes) {
  Attributes requested;
  for (const std::string& text : attributes) {
    const auto [name, value] = parse_attribute(text);
    const auto known = std::find_if(spec.attributes.begin(), spec.attributes.end(),
                                    [&name = name](const AttributeSpec& attribute) { return attribute.name == name; });
    if (known == spec.attributes.end()) {
      std::vector<std::string> all;
      for (const AttributeSpec& attribute : spec.attributes) all.push_back(attribute.name);
      fail<UsageError>("[{}] there is no attribute '{}'{}", spec.name, name, did_you_mean(name, all));
    }
    requested.set(name, parse_value(name, known->default_value, value));
  }
  return requested;
}

Sample requested_sample(const OpSpec& spec, const std::vector<std::string>& inputs,
                        const std::vector<std::string>& attributes, std::uint64_t seed) {
  SampleMaker make(seed);
  Sample sample{.label = "as asked", .inputs = {}};
  std::vector<InputRequest> requests;
  for (const std::string& text : inputs) requests.push_back(parse_input(text));
  std::string names;
  for (const InputSpec& input : spec.inputs) {
    names += (names.empty() ? "" : ", ") + input.name;
    Tensors found;
    for (const InputRequest& request : requests) {
      if (request.name == input.name) found.push_back(draw(request, make));
    }
    if (found.empty() && !input.optional)
      fail<UsageError>("[{}] --input {}=... is missing: every input has to be given", spec.name, input.name);
    if (found.size() > 1 && !input.variadic)
      fail<UsageError>("[{}] --input {} is given {} times", spec.name, input.name, found.size());
    if (found.empty()) found.push_back(Tensor());
    sample.inputs.insert(sample.inputs.end(), found.begin(), found.end());
  }
  for (const InputRequest& request : requests) {
    const bool known = std::any_of(spec.inputs.begin(), spec.inputs.end(),
                                   [&](const InputSpec& input) { return input.name == request.name; });
    if (!known) fail<UsageError>("[{}] there is no input '{}'; it has: {}", spec.name, request.name, names);
  }
  sample.attributes = requested_attributes(spec, attributes);
  try {
    const NoGradScope no_grad;
    apply(spec, sample.inputs, sample.attributes);
  } catch (const ContractError& error) {  // what the op does not take is the user's choice
    throw UsageError(error.what());
  }
  return sample;
}

}  // namespace gradus::tools
