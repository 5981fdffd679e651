#include "framework/testing/foreign_buffers.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "framework/base/plural.h"
#include "framework/kernels/cpu/copy.h"

namespace gradus::testing::foreign {

static_assert(GRADUS_MAX_RANK == max_rank);

namespace {

constexpr std::int64_t unreadable_pages = 256;  ///< on each side
constexpr std::int64_t boundary = 64;          ///< a cache line, and the widest vector

/// What elements hold before they are written, as bits: NaNs that no arithmetic starts with, and an unlikely integer.
std::uint64_t unwritten(DType dtype) {
  if (dtype == DType::f64) return 0x7ffadbadc0def00d;
  return dtype == DType::f32 ? 0x7ffadbad : 0x8badf00ddeadbeef;
}

/// An element of the filler: of which buffer, on which side of its elements, and how far from them; `most` stands for
/// more.
struct FillerMark {
  static constexpr std::int64_t most = 127;
  int buffer = 0;
  bool behind = false;
  std::int64_t distance = 0;
};
static_assert(max_buffers <= 256);

// The 23 bits of an f32's payload. An f64 has them at the top of its own, so that a mark survives a conversion.
constexpr std::uint32_t mark_base = 0x7b0000;
constexpr std::uint64_t integer_base = 0x8badf00d00000000;

std::uint64_t bits_of(const FillerMark& mark, DType dtype) {
  const auto code =
      static_cast<std::uint64_t>(mark.buffer << 8 | mark.behind << 7 | std::min(mark.distance, FillerMark::most));
  if (dtype == DType::f64) return 0x7ff0000000000000 | (mark_base | code) << 29;
  return dtype == DType::f32 ? 0x7f800000 | mark_base | code : integer_base | code;
}

std::optional<FillerMark> mark_of(std::uint64_t bits, DType dtype) {
  // Arithmetic may have turned the sign. What is not a mark has other bits than those of the code.
  const std::uint64_t sign = dtype == DType::f64 ? std::uint64_t{1} << 63 : dtype == DType::f32 ? 1u << 31 : 0;
  std::uint64_t code = (bits & ~sign) ^ bits_of({}, dtype);
  if (dtype == DType::f64) code = std::rotr(code, 29);
  if (code > 0xffff) return {};
  return FillerMark{static_cast<int>(code >> 8), (code & 0x80) != 0, static_cast<std::int64_t>(code & 0x7f)};
}

/// Calls function.operator()<Word>() with the unsigned integer of an element's size.
template <class Function>
auto with_word(const Buffer& buffer, Function&& function) {
  if (buffer.element_bytes == 8) return function.template operator()<std::uint64_t>();
  return function.template operator()<std::uint32_t>();
}

/// How many elements a position outside lies before the first (1, 2, ...), or behind the last (0, 1, ...).
std::int64_t elements_away(const Buffer& buffer, std::int64_t position) {
  if (position >= buffer.end()) return (position - buffer.end()) / buffer.element_bytes;
  return (buffer.begin - position + buffer.element_bytes - 1) / buffer.element_bytes;
}

/// Calls visit(position, bits) with what each element of the filler holds, outwards from the buffer's first element,
/// then from its last.
template <class Visit>
void visit_filler(const Buffer& buffer, Visit&& visit) {
  FillerMark before{buffer.number, false, 1}, behind{buffer.number, true, 0};
  for (std::int64_t at = buffer.begin - buffer.element_bytes; at >= buffer.pages; at -= buffer.element_bytes) {
    visit(at, bits_of(before, buffer.dtype));
    ++before.distance;
  }
  for (std::int64_t at = buffer.end(); at < buffer.pages + buffer.page_bytes; at += buffer.element_bytes) {
    visit(at, bits_of(behind, buffer.dtype));
    ++behind.distance;
  }
}

void put_filler(const Buffer& buffer, std::byte* data_area) {
  with_word(buffer, [&]<class Word>() {
    visit_filler(buffer, [&](std::int64_t at, std::uint64_t bits) {
      *reinterpret_cast<Word*>(data_area + at) = static_cast<Word>(bits);
    });
  });
}

/// Positions in [begin, end) whose element is wanted: how many, the first and the last.
struct Found {
  std::int64_t count = 0, first = 0, last = 0;
};
template <class Wanted>
Found find_elements(const Buffer& buffer, const std::byte* data_area, std::int64_t begin, std::int64_t end,
                    Wanted&& wanted) {
  return with_word(buffer, [&]<class Word>() {
    Found found;
    for (std::int64_t at = begin; at < end; at += buffer.element_bytes) {
      if (!wanted(at, std::uint64_t{*reinterpret_cast<const Word*>(data_area + at)})) continue;
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
  Buffer buffer{role, static_cast<int>(buffers.size()), index, name, dtype, shape};
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
  put_filler(buffer, data_area);
  if (buffer.count == 0) return;
  std::byte* const to = data_area + buffer.begin;
  const auto bytes = static_cast<std::size_t>(buffer.end() - buffer.begin);
  if (content.defined()) std::memcpy(to, cpu::contiguous(content).bytes(), bytes);
  else std::memset(to, 0, bytes);
}

void clear(const Buffer& buffer, std::byte* data_area) {
  put_filler(buffer, data_area);
  with_word(buffer, [&]<class Word>() {
    std::fill(reinterpret_cast<Word*>(data_area + buffer.begin), reinterpret_cast<Word*>(data_area + buffer.end()),
              static_cast<Word>(unwritten(buffer.dtype)));
  });
}

Tensor read(const Buffer& buffer, const std::byte* data_area) {
  Tensor tensor = Tensor::empty(buffer.shape, buffer.dtype);
  if (buffer.count > 0) {
    std::memcpy(tensor.bytes(), data_area + buffer.begin, static_cast<std::size_t>(buffer.end() - buffer.begin));
  }
  return tensor;
}

std::optional<std::string> find_stray_write(const Buffer& buffer, const std::byte* data_area) {
  std::optional<std::int64_t> changed;
  with_word(buffer, [&]<class Word>() {
    visit_filler(buffer, [&](std::int64_t at, std::uint64_t bits) {
      if (!changed && *reinterpret_cast<const Word*>(data_area + at) != static_cast<Word>(bits)) changed = at;
    });
  });
  if (!changed) return {};
  return "wrote " + place_outside(buffer, *changed);
}

std::optional<std::string> find_unwritten(const Buffer& buffer, const std::byte* data_area) {
  const Found missing =
      find_elements(buffer, data_area, buffer.begin, buffer.end(),
                    [&](std::int64_t, std::uint64_t bits) { return bits == unwritten(buffer.dtype); });
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

std::optional<std::string> find_stray_read(const Buffer& result, const Layout& layout, const std::byte* data_area) {
  std::optional<FillerMark> mark;
  find_elements(result, data_area, result.begin, result.end(), [&](std::int64_t, std::uint64_t bits) {
    if (!mark) mark = mark_of(bits, result.dtype);
    return false;
  });
  if (!mark || mark->buffer >= static_cast<int>(layout.buffers.size())) return {};
  const Buffer& source = layout.buffers[static_cast<std::size_t>(mark->buffer)];
  if (mark->distance == FillerMark::most) {
    return fmt::format("read {} {}: {} elements or more from it",
                       mark->behind ? "past the end of" : "before the start of", source.name, mark->distance);
  }
  const std::int64_t bytes = mark->distance * source.element_bytes;
  return "read " + place_outside(source, mark->behind ? source.end() + bytes : source.begin - bytes);
}

std::string place_outside(const Buffer& buffer, std::int64_t position) {
  const std::int64_t away = elements_away(buffer, position);
  if (position < buffer.begin)
    return fmt::format("before the start of {}: {} before its first", buffer.name, plural(away, "element"));
  return fmt::format("past the end of {}: element {} of {}, counted from 0", buffer.name, buffer.count + away,
                     buffer.count);
}

std::string place_inside(const Buffer& buffer, std::int64_t position) {
  const char* role = buffer.role == Role::input ? "the input " : buffer.role == Role::output ? "the output " : "";
  return fmt::format("element {} of {} of {}{}", (position - buffer.begin) / buffer.element_bytes, buffer.count, role,
                     buffer.name);
}

}  // namespace gradus::testing::foreign
