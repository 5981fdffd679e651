// What a library says of itself, checked as far as it can be without running its ops.
#include <elf.h>
#include <string.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <type_traits>

#include "framework/base/error.h"
#include "framework/testing/foreign_protocol.h"

namespace gradus::testing::foreign {

static_assert(std::is_trivially_copyable_v<OpRecord>);

namespace {

/// The structs of version 1 that have grown since.
struct OutputOfVersion1 {
  const char* name;
  std::int32_t dtype;
};
struct AttributeOfVersion1 {
  const char* name;
  double value;
};

gradus_output output_of(const gradus_op& op, int index, std::int32_t layout) {
  if (layout > 1) return op.outputs[index];
  const auto& old = reinterpret_cast<const OutputOfVersion1*>(op.outputs)[index];
  return {.name = old.name, .dtype = old.dtype, .accuracy = 0};
}

gradus_attribute attribute_of(const gradus_op& op, int index, std::int32_t layout) {
  if (layout > 1) return op.attributes[index];
  const auto& old = reinterpret_cast<const AttributeOfVersion1*>(op.attributes)[index];
  return {.name = old.name, .value = old.value, .low = 0, .high = 0};
}

void copy_name(const char* name, const std::string& what, char* to) {
  if (!name) fail<ContractError>("{} has no name", what);
  const std::size_t size = ::strnlen(name, name_size);
  if (size == 0) fail<ContractError>("{} has an empty name", what);
  if (size == name_size) fail<ContractError>("the name of {} is longer than {} characters", what, name_size - 1);
  for (std::size_t i = 0; i < size; ++i) {
    const char c = name[i];
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!letter && !(c >= '0' && c <= '9') && c != '_' && c != '-' && c != '.') {
      fail<ContractError>("character {} of the name of {} is none of: letter, digit, _ - .", i + 1, what);
    }
  }
  std::memcpy(to, name, size);
}

/// Copies one name, which none of `taken` may be.
void copy_new_name(const char* name, const std::string& what, char* to, std::set<std::string>& taken) {
  copy_name(name, what, to);
  if (!taken.insert(to).second) fail<ContractError>("{} has a name that is taken: '{}'", what, to);
}

void require_count(std::int32_t count, int least, const void* array, const std::string& op, const char* what) {
  if (count < least || count > GRADUS_MAX_COUNT) {
    fail<ContractError>("{} announces {} {}; {} to {} are possible", op, count, what, least, GRADUS_MAX_COUNT);
  }
  if (count > 0 && !array) fail<ContractError>("{} announces {} {}, but '{}' is NULL", op, count, what, what);
}

void require_dtype(std::int32_t dtype, const std::string& what) {
  if (dtype < GRADUS_F64 || dtype > GRADUS_I64) fail<ContractError>("{} has the unknown dtype {}", what, dtype);
}

void read_range(const gradus_input& input, const std::string& what, InputRecord& record) {
  if (!std::isfinite(input.low) || !std::isfinite(input.high) || input.low > input.high) {
    fail<ContractError>("{} is drawn from [{:g}, {:g}], which is no range", what, input.low, input.high);
  }
  constexpr double largest_integer = 9007199254740992;
  for (const double bound : {input.low, input.high}) {
    if (input.dtype == GRADUS_I64 && (bound != std::floor(bound) || std::fabs(bound) > largest_integer)) {
      fail<ContractError>("{} holds integers, but [{:g}, {:g}] is no range of integers", what, input.low, input.high);
    }
  }
  if (input.kink_count < 0 || input.kink_count > GRADUS_MAX_KINKS) {
    fail<ContractError>("{} announces {} kinks; 0 to {} are possible", what, input.kink_count, GRADUS_MAX_KINKS);
  }
  for (int i = 0; i < input.kink_count; ++i) {
    if (!std::isfinite(input.kinks[i])) fail<ContractError>("{} has a kink at {:g}", what, input.kinks[i]);
    record.kinks[i] = input.kinks[i];
  }
  record.low = input.low;
  record.high = input.high;
  record.kink_count = input.kink_count;
}

void read_input(const gradus_input& input, const std::string& what, InputRecord& record) {
  require_dtype(input.dtype, what);
  if (input.differentiable != 0 && input.differentiable != 1) {
    fail<ContractError>("{}: 'differentiable' is {}, neither 0 nor 1", what, input.differentiable);
  }
  if (input.dtype == GRADUS_I64 && input.differentiable) {
    fail<ContractError>("{} holds integers and is marked as differentiable", what);
  }
  if (input.rank < 0 || input.rank > GRADUS_MAX_RANK) {
    fail<ContractError>("{} has rank {}; 0 to {} are possible", what, input.rank, GRADUS_MAX_RANK);
  }
  double elements = 1;
  for (int axis = 0; axis < input.rank; ++axis) {
    if (input.shape[axis] < 0) fail<ContractError>("{} has the negative size {}", what, input.shape[axis]);
    record.shape[axis] = input.shape[axis];
    elements *= static_cast<double>(input.shape[axis]);
  }
  if (elements > 1e8)
    fail<ContractError>("{} has {:.3g} elements by default; that is too much to check", what, elements);
  record.dtype = input.dtype;
  record.differentiable = input.differentiable;
  record.rank = input.rank;
  read_range(input, what, record);
}

void read_output(const gradus_output& output, const std::string& what, OutputRecord& record) {
  require_dtype(output.dtype, what);
  if (!(output.accuracy >= 0 && output.accuracy < 1)) {
    fail<ContractError>("{} has the accuracy {:g}; 0 to below 1 are possible", what, output.accuracy);
  }
  record.dtype = output.dtype;
  record.accuracy = output.accuracy;
}

void read_attribute(const gradus_attribute& attribute, const std::string& what, AttributeRecord& record) {
  const bool none = attribute.low == 0 && attribute.high == 0;
  if (!none && !(std::isfinite(attribute.low) && std::isfinite(attribute.high) && attribute.low <= attribute.value &&
                 attribute.value <= attribute.high)) {
    fail<ContractError>("{} is {:g} and may be tried in [{:g}, {:g}], which does not hold it", what, attribute.value,
                        attribute.low, attribute.high);
  }
  record.value = attribute.value;
  record.low = attribute.low;
  record.high = attribute.high;
}

void read_op(const gradus_op& op, std::int32_t layout, OpRecord& record) {
  const std::string what = fmt::format("'{}'", record.name);
  for (int i = 0; op.summary && i < summary_size - 1 && static_cast<unsigned char>(op.summary[i]) >= ' '; ++i)
    record.summary[i] = op.summary[i];
  require_count(op.input_count, 1, op.inputs, what, "inputs");
  require_count(op.output_count, 1, op.outputs, what, "outputs");
  require_count(op.attribute_count, 0, op.attributes, what, "attributes");
  if (!op.forward) fail<ContractError>("{} has no forward", what);
  if (!op.backward) fail<ContractError>("{} has no backward", what);
  record.input_count = op.input_count;
  record.output_count = op.output_count;
  record.attribute_count = op.attribute_count;
  record.has_jvp = op.jvp != nullptr;

  std::set<std::string> tensors, attributes;
  bool differentiable = false;
  for (int i = 0; i < op.input_count; ++i) {
    const std::string input = fmt::format("input {} of {}", i + 1, what);
    copy_new_name(op.inputs[i].name, input, record.inputs[i].name, tensors);
    read_input(op.inputs[i], fmt::format("{} ({})", input, record.inputs[i].name), record.inputs[i]);
    differentiable |= op.inputs[i].differentiable == 1;
  }
  if (!differentiable) fail<ContractError>("{} has no differentiable input, and so no gradient to check", what);
  for (int i = 0; i < op.output_count; ++i) {
    const std::string output = fmt::format("output {} of {}", i + 1, what);
    const gradus_output declared = output_of(op, i, layout);
    copy_new_name(declared.name, output, record.outputs[i].name, tensors);
    read_output(declared, fmt::format("{} ({})", output, record.outputs[i].name), record.outputs[i]);
  }
  for (int i = 0; i < op.attribute_count; ++i) {
    const std::string attribute = fmt::format("attribute {} of {}", i + 1, what);
    const gradus_attribute declared = attribute_of(op, i, layout);
    copy_new_name(declared.name, attribute, record.attributes[i].name, attributes);
    read_attribute(declared, fmt::format("{} ({})", attribute, record.attributes[i].name), record.attributes[i]);
  }
}

OpRecord unusable(const std::string& name, const std::string& problem) {
  OpRecord record;
  std::memset(static_cast<void*>(&record), 0, sizeof record);
  std::snprintf(record.name, sizeof record.name, "%s", name.c_str());
  std::snprintf(record.problem, sizeof record.problem, "%s", problem.c_str());
  return record;
}

}  // namespace

int read_description(const gradus_library* library, std::int32_t layout, OpRecord* records) {
  if (!library) fail<ContractError>("gradus_describe returned NULL");
  for (const std::int32_t version : {library->version, std::max(layout, library->version)}) {
    if (version >= 1 && version <= GRADUS_OP_VERSION) continue;
    fail<ContractError>("it was built for version {} of gradus_op.h, this program has version {}", version,
                        GRADUS_OP_VERSION);
  }
  layout = std::max(layout, library->version);
  if (library->op_count < 1 || library->op_count > max_ops) {
    fail<ContractError>("it announces {} ops; 1 to {} are possible", library->op_count, max_ops);
  }
  if (!library->ops) fail<ContractError>("it announces {} ops, but 'ops' is NULL", library->op_count);
  std::set<std::string> names;
  for (int i = 0; i < library->op_count; ++i) {
    std::memset(static_cast<void*>(&records[i]), 0, sizeof(OpRecord));
    std::string name = fmt::format("op-{}", i + 1);  // where its own cannot be used
    try {
      copy_new_name(library->ops[i].name, fmt::format("op {}", i + 1), records[i].name, names);
      name = records[i].name;
      read_op(library->ops[i], layout, records[i]);
    } catch (const ContractError& error) {
      records[i] = unusable(name, error.what());
    }
  }
  return library->op_count;
}

void require_shared_library(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) fail<DataError>("{}: no such file", path);
  if (!std::filesystem::is_regular_file(path, ignored)) fail<DataError>("{}: not a file", path);
  const auto header_of = [](const std::string& file) {
    Elf64_Ehdr header{};
    std::ifstream stream(file, std::ios::binary);
    stream.read(reinterpret_cast<char*>(&header), sizeof header);
    return stream.gcount() == static_cast<std::streamsize>(sizeof header) ? header : Elf64_Ehdr{};
  };
  const Elf64_Ehdr found = header_of(path), own = header_of("/proc/self/exe");
  if (std::memcmp(found.e_ident, ELFMAG, SELFMAG) != 0) fail<DataError>("{}: not a shared library", path);
  const bool same_machine = found.e_machine == own.e_machine && found.e_ident[EI_CLASS] == own.e_ident[EI_CLASS] &&
                            found.e_ident[EI_DATA] == own.e_ident[EI_DATA];
  if (own.e_machine != 0 && !same_machine) {
    fail<DataError>("{}: a library for another kind of machine (ELF machine {}, this is {})", path, found.e_machine,
                    own.e_machine);
  }
  if (found.e_type != ET_DYN) fail<DataError>("{}: not a shared library (build it with -shared -fPIC)", path);
  // The table of sections is the last part of the file.
  const std::uint64_t needed = found.e_shoff + std::uint64_t{found.e_shnum} * found.e_shentsize;
  const std::uint64_t size = std::filesystem::file_size(path);
  if (size < needed) fail<DataError>("{}: cut off: {} bytes of {}", path, size, needed);
}

}  // namespace gradus::testing::foreign
