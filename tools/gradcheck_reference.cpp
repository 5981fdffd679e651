#include "tools/gradcheck_reference.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <set>

#include "framework/base/plural.h"
#include "framework/kernels/cpu/copy.h"
#include "framework/ops/op_spec.h"
#include "tools/built_in_op.h"
#include "tools/gradcheck.h"
#include "tools/gradcheck_inputs.h"

namespace gradus::tools {

using testing::ForeignInput;
using testing::ForeignOp;
using testing::ForwardComparison;

namespace {

/// The requested attributes for which `has` is true.
template <class Has>
std::vector<std::string> attributes_where(const std::vector<std::string>& requested, Has&& has) {
  std::vector<std::string> own;
  std::copy_if(requested.begin(), requested.end(), std::back_inserter(own),
               [&](const std::string& text) { return has(parse_attribute(text).first); });
  return own;
}

std::vector<std::string> names_of(const std::vector<ForeignInput>& inputs) {
  std::vector<std::string> names;
  for (const ForeignInput& input : inputs) names.push_back(input.name);
  return names;
}

/// The same names in another order are no accident: then inputs cannot be matched by it.
void require_order(const ForeignOp& op, const std::string& reference, const std::vector<std::string>& expected) {
  const std::vector<std::string> names = names_of(op.inputs());
  if (names == expected || std::set(names.begin(), names.end()) != std::set(expected.begin(), expected.end())) return;
  fail<NotComparable>("{} takes {}, {} takes {}: the inputs have to be in the same order", op.name(),
                      fmt::join(names, ", "), reference, fmt::join(expected, ", "));
}

void require_count(const ForeignOp& op, const std::string& reference, std::size_t least, std::size_t most,
                   const std::vector<std::string>& expected) {
  const std::size_t count = op.inputs().size();
  if (count >= least && count <= most) return;
  fail<NotComparable>("{} takes {} ({}), {} takes {} ({})", op.name(), plural(count, "input"),
                      fmt::join(names_of(op.inputs()), ", "), reference,
                      least == most                                     ? fmt::format("{}", least)
                      : most == std::numeric_limits<std::size_t>::max() ? fmt::format("{} or more", least)
                                                                        : fmt::format("{} to {}", least, most),
                      fmt::join(expected, ", "));
}

template <class Compare>
ForwardComparison comparable(Compare&& compare) {
  try {
    return compare();
  } catch (const testing::ReferenceError& error) {
    throw NotComparable(error.what());
  }
}

/// Integers that are 0 or 1 alone: an op in a library has no other way to take booleans.
bool is_flags(const Tensor& tensor) {
  if (!tensor.defined() || tensor.dtype() != DType::i64) return false;
  const std::vector<std::int64_t> values = tensor.to_vector<std::int64_t>();
  return std::all_of(values.begin(), values.end(), [](std::int64_t value) { return value == 0 || value == 1; });
}
bool has_flags(const Tensors& tensors) { return std::any_of(tensors.begin(), tensors.end(), is_flags); }

Tensors as_booleans(Tensors tensors) {
  for (Tensor& tensor : tensors) {
    if (!is_flags(tensor)) continue;
    const Tensor flags = Tensor::empty(tensor.shape(), DType::boolean);
    cpu::copy(flags, tensor);
    tensor = flags;
  }
  return tensors;
}

class BuiltInReference : public Reference {
 public:
  explicit BuiltInReference(const GradcheckRequest& request) : spec_(built_in_op(request.like)) {
    attributes_ = requested_attributes(
        spec_, attributes_where(request.attributes, [&](const std::string& name) { return has_attribute(name); }));
  }

  std::string name() const override { return spec_.name; }
  bool has_attribute(const std::string& attribute) const override {
    return std::any_of(spec_.attributes.begin(), spec_.attributes.end(),
                       [&](const AttributeSpec& own) { return own.name == attribute; });
  }

  ForwardComparison compare(const ForeignOp& op, const Tensors& inputs, std::uint64_t seed) const override {
    require_inputs(op);
    Tensors own = testing::in_dtype(inputs, DType::f64);
    const bool variadic = !spec_.inputs.empty() && spec_.inputs.back().variadic;
    if (!variadic) own.resize(spec_.inputs.size());
    const auto compare_with = [&](const Tensors& given) {
      const testing::Subject reference =
          testing::subject_of(spec_, {.label = "as asked", .inputs = given, .attributes = attributes_});
      return testing::compare_forwards(op.subject(), inputs, reference, given, seed);
    };
    return comparable([&] {
      try {
        return compare_with(own);
      } catch (const testing::ReferenceError&) {
        if (!has_flags(own)) throw;
        return compare_with(as_booleans(own));
      }
    });
  }

 private:
  void require_inputs(const ForeignOp& op) const {
    std::vector<std::string> names;
    std::size_t least = 0, most = spec_.inputs.size();
    for (const InputSpec& input : spec_.inputs) {
      names.push_back(input.name);
      least += !input.optional;
      if (input.variadic) most = std::numeric_limits<std::size_t>::max();
    }
    require_count(op, spec_.name, least, most, names);
    require_order(op, spec_.name, names);
  }

  const OpSpec& spec_;
  Attributes attributes_;
};

class LibraryReference : public Reference {
 public:
  LibraryReference(const GradcheckRequest& request, const std::string& path, const std::string& name)
      : library_(path, request.timeout, request.sandbox), op_(named(path, name)) {
    const auto has = [&](const std::string& attribute) { return has_attribute(attribute); };
    op_ = library_.op(op_.name(), attribute_numbers(attributes_where(request.attributes, has)));
  }

  std::string name() const override { return op_.name(); }
  bool has_attribute(const std::string& attribute) const override { return op_.attributes().contains(attribute); }

  ForwardComparison compare(const ForeignOp& op, const Tensors& inputs, std::uint64_t seed) const override {
    const std::vector<ForeignInput>& wanted = op_.inputs();
    const std::string reference = op_.subject().name;
    require_count(op, reference, wanted.size(), wanted.size(), names_of(wanted));
    require_order(op, reference, names_of(wanted));
    Tensors own = inputs;
    for (std::size_t i = 0; i < own.size(); ++i) {
      if (is_floating(own[i].dtype()) != is_floating(wanted[i].dtype)) {
        fail<NotComparable>("input {} of {}, {}, is {}; that of {}, {}, is {}", i + 1, op.name(), op.inputs()[i].name,
                            to_string(own[i].dtype()), reference, wanted[i].name, to_string(wanted[i].dtype));
      }
      own[i] = testing::in_dtype({own[i]}, wanted[i].dtype)[0];
    }
    return comparable([&] { return testing::compare_forwards(op.subject(), inputs, op_.subject(), own, seed); });
  }

 private:
  ForeignOp named(const std::string& path, const std::string& name) const {
    if (!name.empty()) return library_.op(name);
    if (library_.names().size() == 1) return library_.op(library_.names()[0]);
    fail<UsageError>("--like {}: it has several ops, name one: {}:{}", path, path,
                     fmt::join(library_.names(), fmt::format(", {}:", path)));
  }

  testing::ForeignLibrary library_;
  ForeignOp op_;
};

}  // namespace

std::unique_ptr<Reference> make_reference(const GradcheckRequest& request) {
  const std::string& like = request.like;
  const std::size_t colon = like.rfind(':');
  const std::string path = like.substr(0, colon);
  const bool is_library = path.find('/') != std::string::npos || path.ends_with(".so") || colon != std::string::npos;
  if (!is_library) return std::make_unique<BuiltInReference>(request);
  try {
    return std::make_unique<LibraryReference>(request, path, colon == std::string::npos ? "" : like.substr(colon + 1));
  } catch (const testing::ForeignFailure& failure) {
    throw DataError(fmt::format("--like {}: {}", like, failure.what()));
  }
}

}  // namespace gradus::tools
