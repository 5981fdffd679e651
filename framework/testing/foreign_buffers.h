// The buffers that a foreign op works on: where each lies, what it holds before a call, and what can be seen in it
// after.
//
//   | unreadable | filler | elements | unreadable |
//
// The elements end where the unreadable pages begin, so that the first access beyond them is caught in the act. What is
// written before them is found afterwards, by the filler that it destroyed. A call with the elements at the other end
// of their pages catches accesses before them as well.
//
// The filler is NaN too, and each of its elements says in its payload which buffer's it is and how far from the
// elements. Arithmetic hands a payload on: a result with one was computed from what lies outside a buffer. (Elements
// that were not written hold another NaN.)
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "framework/tensor/tensor.h"
#include "framework/testing/foreign_protocol.h"

namespace gradus::testing::foreign {

enum class Role { input, output, cotangent, gradient, tangent, output_tangent };

/// Where in their pages the elements of a buffer lie.
struct Placing {
  enum class Where { at_end, at_start, behind_boundary } where = Where::at_end;
  std::int64_t offset = 0;  ///< behind_boundary: bytes from the last boundary of 64 bytes to the first element
};

struct Buffer {
  Role role;
  int number = 0;    ///< among all buffers of the layout
  int index = 0;     ///< among those of its role
  std::string name;  ///< `x`, `grad_x`, `tangent_x`
  DType dtype;
  Shape shape;
  std::int64_t count = 0, element_bytes = 0;
  std::int64_t pages = 0, page_bytes = 0;  ///< within the data area
  std::int64_t begin = 0;                  ///< of the elements, within the data area

  std::int64_t end() const { return begin + count * element_bytes; }
};

DType dtype_of_code(std::int64_t code);
std::int32_t code_of_dtype(DType dtype);

/// All buffers of an op for given shapes, with unreadable pages between them, and the bytes of data area that they
/// need.
struct Layout {
  Layout(const OpRecord& op, const std::vector<Shape>& inputs, const std::vector<Shape>& outputs);

  const Buffer* find(Role role, int index) const;
  /// The buffer whose pages lie nearest to a position in the data area.
  const Buffer& nearest(std::int64_t position) const;
  void place(const Placing& placing);

  std::vector<Buffer> buffers;
  std::int64_t bytes = 0;

 private:
  void add(Role role, int index, const std::string& name, DType dtype, const Shape& shape);
};

/// Puts a tensor's elements into a buffer, zeros for an undefined one, and the filler around them.
void fill(const Buffer& buffer, std::byte* data_area, const Tensor& content);
/// Makes a buffer that is to be written hold nothing but what "not written" means, and the filler around it.
void clear(const Buffer& buffer, std::byte* data_area);
Tensor read(const Buffer& buffer, const std::byte* data_area);

/// What a call did to a buffer that it was to write, as the end of a sentence; nothing where all is well.
std::optional<std::string> find_stray_write(const Buffer& buffer, const std::byte* data_area);
std::optional<std::string> find_unwritten(const Buffer& buffer, const std::byte* data_area);
/// The same for what a result says it was computed from: "read past the end of x: element 12 of 12, counted from 0".
std::optional<std::string> find_stray_read(const Buffer& result, const Layout& layout, const std::byte* data_area);

/// "past the end of y: element 12 of 12, counted from 0", for a position in the data area outside the elements.
std::string place_outside(const Buffer& buffer, std::int64_t position);
/// "element 3 of 12 of the input x", for one within.
std::string place_inside(const Buffer& buffer, std::int64_t position);

}  // namespace gradus::testing::foreign
