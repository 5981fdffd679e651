#include "framework/testing/foreign_buffers.h"

#include <algorithm>
#include <cstring>

#include "framework/kernels/cpu/copy.h"

namespace gradus::testing::foreign {

static_assert(GRADUS_MAX_RANK == max_rank);

namespace {

constexpr std::int64_t unreadable_pages = 16;  ///< on each side
constexpr std::int64_t boundary = 64;          ///< a cache line, and the widest vector

/// What elements hold before they are written, as bits: NaNs that no arithmetic starts with, and an unlikely integer.
std::uint64_t pattern_of(DType dtype) {
  if (dtype == DType::f64) return 0x7ffadbadc0def00d;
  return dtype == DType::f32 ? 0x7ffadbad : 0x8badf00ddeadbeef;
}

/// Calls function.operator()<Word>() with the unsigned integer of an element's size.
template <class Function>
auto with_word(const Buffer& buffer, Function&& function) {
  if (buffer.element_bytes == 8) return function.template operator()<std::uint64_t>();
  return function.template operator()<std::uint32_t>();
}

void fill_with_pattern(const Buffer& buffer, std::byte* data_area, std::int64_t begin, std::int64_t end) {
  with_word(buffer, [&]<class Word>() {
    std::fill(reinterpret_cast<Word*>(data_area + begin), reinterpret_cast<Word*>(data_area + end),
              static_cast<Word>(pattern_of(buffer.dtype)));
  });
}

/// Positions in [begin, end) whose element is the pattern (or is not): how many, the first and the last.
struct Found {
  std::int64_t count = 0, first = 0, last = 0;
};
Found find_pattern(const Buffer& buffer, const std::byte* data_area, std::int64_t begin, std::int64_t end,
                   bool is_pattern) {
  return with_word(buffer, [&]<class Word>() {
    Found found;
    const Word pattern = static_cast<Word>(pattern_of(buffer.dtype));
    for (std::int64_t at = begin; at < end; at += buffer.element_bytes) {
      if ((*reinterpret_cast<const Word*>(data_area + at) == pattern) != is_pattern) continue;
      if (found.count++ == 0) found.first = at;
      found.last = at;
    }
    return found;
  });
}

}  // namespace

DType dtype_of_code(std::int64_t code) {
  return code == GRADUS_F64 ? DType::f64 : code == GRADUS_F32 ? DType::f32 : DType::i64;
}

std::int32_t code_of_dtype(DType dtype) {
  return dtype == DType::f64 ? GRADUS_F64 : dtype == DType::f32 ? GRADUS_F32 : GRADUS_I64;
}

Layout::Layout(const OpRecord& op, const std::vector<Shape>& inputs, const std::vector<Shape>& outputs) {
  bytes = unreadable_pages * page_size();
  for (int i = 0; i < op.input_count; ++i) {
    const std::string name = op.inputs[i].name;
    const DType dtype = dtype_of_code(op.inputs[i].dtype);
    add(Role::input, i, name, dtype, inputs[i]);
    if (!op.inputs[i].differentiable) continue;
    add(Role::gradient, i, "grad_" + name, dtype, inputs[i]);
    if (op.has_jvp) add(Role::tangent, i, "tangent_" + name, dtype, inputs[i]);
  }
  for (int k = 0; k < op.output_count; ++k) {
    const std::string name = op.outputs[k].name;
    const DType dtype = dtype_of_code(op.outputs[k].dtype);
    add(Role::output, k, name, dtype, outputs[k]);
    if (!is_floating(dtype)) continue;
    add(Role::cotangent, k, "grad_" + name, dtype, outputs[k]);
    if (op.has_jvp) add(Role::output_tangent, k, "tangent_" + name, dtype, outputs[k]);
  }
}

void Layout::add(Role role, int index, const std::string& name, DType dtype, const Shape& shape) {
  Buffer buffer{role, index, name, dtype, shape};
  buffer.count = shape.numel();
  buffer.element_bytes = size_in_bytes(dtype);
  buffer.pages = bytes;
  if (buffer.count > 0) buffer.page_bytes = whole_pages(buffer.count * buffer.element_bytes + boundary);
  bytes += buffer.page_bytes + unreadable_pages * page_size();
  buffers.push_back(std::move(buffer));
}

const Buffer* Layout::find(Role role, int index) const {
  const auto found =
      std::find_if(buffers.begin(), buffers.end(), [&](const Buffer& b) { return b.role == role && b.index == index; });
  return found == buffers.end() ? nullptr : &*found;
}

const Buffer& Layout::nearest(std::int64_t position) const {
  const auto distance = [&](const Buffer& buffer) {
    return std::max({std::int64_t{0}, buffer.pages - position, position - buffer.pages - buffer.page_bytes + 1});
  };
  return *std::min_element(buffers.begin(), buffers.end(),
                           [&](const Buffer& a, const Buffer& b) { return distance(a) < distance(b); });
}

void Layout::place(const Placing& placing) {
  for (Buffer& buffer : buffers) {
    const std::int64_t room = buffer.page_bytes - buffer.count * buffer.element_bytes;
    std::int64_t skipped = placing.where == Placing::Where::at_start ? 0 : room;
    if (placing.where == Placing::Where::behind_boundary && room > 0)
      skipped = (room - placing.offset) / boundary * boundary + placing.offset;
    buffer.begin = buffer.pages + skipped;
  }
}

void fill(const Buffer& buffer, std::byte* data_area, const Tensor& content) {
  clear(buffer, data_area);
  if (buffer.count == 0) return;
  std::byte* const to = data_area + buffer.begin;
  const auto bytes = static_cast<std::size_t>(buffer.end() - buffer.begin);
  if (content.defined()) std::memcpy(to, cpu::contiguous(content).bytes(), bytes);
  else std::memset(to, 0, bytes);
}

void clear(const Buffer& buffer, std::byte* data_area) {
  fill_with_pattern(buffer, data_area, buffer.pages, buffer.pages + buffer.page_bytes);
}

Tensor read(const Buffer& buffer, const std::byte* data_area) {
  Tensor tensor = Tensor::empty(buffer.shape, buffer.dtype);
  if (buffer.count > 0) {
    std::memcpy(tensor.bytes(), data_area + buffer.begin, static_cast<std::size_t>(buffer.end() - buffer.begin));
  }
  return tensor;
}

std::optional<std::string> find_stray_write(const Buffer& buffer, const std::byte* data_area) {
  const Found before = find_pattern(buffer, data_area, buffer.pages, buffer.begin, false);
  if (before.count > 0) return "wrote " + place_outside(buffer, before.last);
  const Found behind = find_pattern(buffer, data_area, buffer.end(), buffer.pages + buffer.page_bytes, false);
  if (behind.count > 0) return "wrote " + place_outside(buffer, behind.first);
  return {};
}

std::optional<std::string> find_unwritten(const Buffer& buffer, const std::byte* data_area) {
  const Found missing = find_pattern(buffer, data_area, buffer.begin, buffer.end(), true);
  if (missing.count == 0) return {};
  if (missing.count == buffer.count) {
    return fmt::format("left {} unwritten (or added to it without setting it first)", buffer.name);
  }
  const std::int64_t first = (missing.first - buffer.begin) / buffer.element_bytes;
  if (missing.count == 1) {
    return fmt::format(
        "left element {} of {}, counted from 0, of {} unwritten (or added to it without setting it first)", first,
        buffer.count, buffer.name);
  }
  return fmt::format(
      "left {} of {} elements of {} unwritten (or added to them without setting them first); the first is element {}, "
      "counted from 0",
      missing.count, buffer.count, buffer.name, first);
}

std::string place_outside(const Buffer& buffer, std::int64_t position) {
  if (position < buffer.begin) {
    const std::int64_t before = (buffer.begin - position + buffer.element_bytes - 1) / buffer.element_bytes;
    return fmt::format("before the start of {}: {} element{} before its first", buffer.name, before,
                       before == 1 ? "" : "s");
  }
  return fmt::format("past the end of {}: element {} of {}, counted from 0", buffer.name,
                     (position - buffer.begin) / buffer.element_bytes, buffer.count);
}

std::string place_inside(const Buffer& buffer, std::int64_t position) {
  const char* role = buffer.role == Role::input ? "the input " : buffer.role == Role::output ? "the output " : "";
  return fmt::format("element {} of {} of {}{}", (position - buffer.begin) / buffer.element_bytes, buffer.count, role,
                     buffer.name);
}

}  // namespace gradus::testing::foreign
