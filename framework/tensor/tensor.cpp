#include "framework/tensor/tensor.h"

#include <atomic>

#include "framework/tensor/device_memory.h"
#include "framework/tensor/indexing.h"
#include "framework/tensor/memory.h"

namespace gradus {
namespace {

std::atomic<std::int64_t> live_tensors{0};

bool strides_are_contiguous(const Shape& shape, const Shape& strides) {
  std::int64_t expected = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    if (shape[axis] == 0) return true;
    if (shape[axis] != 1 && strides[axis] != expected) return false;
    expected *= shape[axis];
  }
  return true;
}

/// The lowest and the highest offset of an element.
std::pair<std::int64_t, std::int64_t> reach(const Shape& shape, const Shape& strides, std::int64_t offset) {
  std::int64_t lowest = offset, highest = offset;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const std::int64_t way = (shape[axis] - 1) * strides[axis];
    (way < 0 ? lowest : highest) += way;
  }
  return {lowest, highest};
}

}  // namespace

Storage::Storage(std::int64_t bytes, Device device)
    : data_(allocate_memory(bytes, device)), bytes_(bytes), device_(device) {}

Storage::~Storage() { release_memory(data_, device_); }

std::int64_t live_tensor_count() { return live_tensors.load(); }

Tensor::Impl::Impl(std::shared_ptr<Storage> storage, Shape shape, Shape strides, std::int64_t offset, DType dtype)
    : storage(std::move(storage)), shape(shape), strides(strides), offset(offset), numel(shape.numel()), dtype(dtype),
      contiguous(strides_are_contiguous(shape, strides)) {
  ++live_tensors;
}

Tensor::Impl::~Impl() { --live_tensors; }

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  for (std::int64_t size : shape) {
    if (size < 0) fail("a tensor cannot have the shape {}: sizes must not be negative", to_string(shape));
  }
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(shape.numel(), size_in_bytes(dtype), &bytes)) {
    fail("a tensor of shape {} {} is larger than the address space", to_string(shape), to_string(dtype));
  }
  auto storage = std::make_shared<Storage>(bytes, device);
  return Tensor(std::make_shared<Impl>(std::move(storage), shape, contiguous_strides(shape), 0, dtype));
}

void Tensor::refuse_undefined(const char* what, SourceLocation where) {
  fail("{} of an undefined tensor at {}: a gradient, say, is undefined until a backward pass reaches its tensor", what,
       to_string(where));
}

const void* Tensor::raw_data(DType expected) const {
  if (device() != Device{}) fail("code of the CPU reads a tensor {}", describe());
  return device_data(expected);
}

const void* Tensor::device_data(DType expected) const {
  if (expected != dtype()) fail("a {} tensor was read as {}", to_string(dtype()), to_string(expected));
  return bytes();
}

void* Tensor::bytes(SourceLocation where) const {
  const Impl& it = impl("bytes()", where);
  return static_cast<char*>(it.storage->data()) + it.offset * size_in_bytes(it.dtype);
}

double Tensor::item(SourceLocation where) const {
  require_defined("item()", where);
  if (numel() != 1) fail("item() needs exactly one element, the tensor is {} at {}", describe(), to_string(where));
  return to_vector<double>()[0];
}

template <class T>
std::vector<T> Tensor::to_vector(SourceLocation where) const {
  require_defined("to_vector()", where);
  if (device() != Device{}) return on_device(*this, {}).to_vector<T>();
  std::vector<T> values;
  values.reserve(numel());
  visit_dtype(dtype(), [&]<class Element>() {
    const Element* first = data<Element>();
    for_each_offset(shape(), strides(), [&](std::int64_t offset) {
      if constexpr (std::is_same_v<Element, bfloat16>) {
        values.push_back(static_cast<T>(static_cast<float>(first[offset])));
      } else {
        values.push_back(static_cast<T>(first[offset]));
      }
    });
  });
  return values;
}
template std::vector<double> Tensor::to_vector<double>(SourceLocation) const;
template std::vector<float> Tensor::to_vector<float>(SourceLocation) const;
template std::vector<std::int64_t> Tensor::to_vector<std::int64_t>(SourceLocation) const;

Tensor on_device(const Tensor& tensor, Device device, SourceLocation where) {
  if (!tensor.defined() || tensor.device() == device) return tensor;
  if (tensor.numel() == 0) return Tensor::empty(tensor.shape(), tensor.dtype(), device);
  const auto [lowest, highest] = reach(tensor.shape(), tensor.strides(), 0);
  const std::int64_t size = size_in_bytes(tensor.dtype());
  const MemoryOriginScope origin({"on_device", where});
  const Tensor moved = Tensor::empty({highest - lowest + 1}, tensor.dtype(), device);
  const DeviceMemory& memory = device_memory(device == Device{} ? tensor.device() : device);
  memory.copy(moved.bytes(), device, static_cast<const char*>(tensor.bytes()) + lowest * size, tensor.device(),
              (highest - lowest + 1) * size);
  return moved.window(tensor.shape(), tensor.strides(), -lowest);
}

void Tensor::move_to(Device device, SourceLocation where) const {
  require_defined("move_to()", where);
  if (!is_leaf()) fail("a tensor that came from an op cannot move to {}: {}", to_string(device), describe());
  const Tensor moved = on_device(*this, device, where);
  if (moved.is_same(*this)) return;
  if (meta()) set_gradient({});
  impl_->storage = moved.impl_->storage;
  impl_->offset = moved.impl_->offset;
}

Tensor Tensor::window(const Shape& shape, const Shape& strides, std::int64_t offset, SourceLocation where) const {
  require_defined("window()", where);
  if (shape.rank() != strides.rank()) fail("shape {} and strides {} differ in rank", to_string(shape), to_string(strides));
  const auto [lowest, highest] = reach(shape, strides, offset);
  const std::int64_t capacity = impl_->storage->bytes() / size_in_bytes(dtype());
  if (shape.numel() > 0 && (lowest < 0 || highest >= capacity)) {
    fail("a view of shape {}, strides {}, offset {} leaves its storage of {} elements", to_string(shape),
         to_string(strides), offset, capacity);
  }
  return Tensor(std::make_shared<Impl>(impl_->storage, shape, strides, offset, dtype()));
}

const Tensor& Tensor::set_requires_grad(bool value, SourceLocation where) const {
  require_defined("set_requires_grad()", where);
  if (value && !is_floating(dtype())) fail("only floating tensors have gradients, this one is {}", describe());
  if (!is_leaf()) fail("requires_grad can be set on a leaf only; use detach() first");
  ensure_meta().requires_grad = value;
  return *this;
}

void Tensor::set_gradient(const Tensor& gradient, SourceLocation where) const {
  require_defined("set_gradient()", where);
  if (gradient.defined() && (gradient.spec() != spec() || gradient.device() != device())) {
    fail("the gradient of a tensor {} cannot be {}", describe(), gradient.describe());
  }
  ensure_meta().gradient = gradient.defined() ? std::make_shared<Tensor>(gradient) : nullptr;
}

AutogradMeta& Tensor::ensure_meta(SourceLocation where) const {
  std::shared_ptr<AutogradMeta>& meta = impl("ensure_meta()", where).meta;
  if (!meta) meta = std::make_shared<AutogradMeta>();
  return *meta;
}

std::string Tensor::describe() const {
  if (!defined()) return "undefined";
  return fmt::format("{} {} {}", to_string(shape()), to_string(dtype()), to_string(device()));
}

}  // namespace gradus
