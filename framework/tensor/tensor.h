// Tensor: a handle to shared storage seen through a shape and strides.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "framework/base/dtype.h"
#include "framework/base/shape.h"
#include "framework/base/source_location.h"
#include "framework/tensor/autograd_meta.h"
#include "framework/tensor/storage.h"

namespace gradus {

/// Shape and dtype without elements: what an op promises about an output.
struct TensorSpec {
  Shape shape;
  DType dtype;
  bool operator==(const TensorSpec&) const = default;
};

/// A handle: copying it copies no elements. A default-constructed Tensor is undefined (stands for "none" or, among
/// gradients, for zero): it can be copied, compared, described and printed; all else throws and names the place `where`
/// in the user's code.
class Tensor {
 public:
  Tensor() = default;
  /// Uninitialised, contiguous.
  static Tensor empty(const Shape& shape, DType dtype, Device device = {});

  bool defined() const { return impl_ != nullptr; }
  /// Throws for an undefined tensor, of which `what` was asked.
  void require_defined(const char* what, SourceLocation where = SourceLocation::current()) const {
    if (!impl_) [[unlikely]] refuse_undefined(what, where);
  }
  const Shape& shape(SourceLocation where = SourceLocation::current()) const { return impl("shape()", where).shape; }
  const Shape& strides(SourceLocation where = SourceLocation::current()) const {
    return impl("strides()", where).strides;
  }
  std::int64_t offset(SourceLocation where = SourceLocation::current()) const { return impl("offset()", where).offset; }
  DType dtype(SourceLocation where = SourceLocation::current()) const { return impl("dtype()", where).dtype; }
  Device device(SourceLocation where = SourceLocation::current()) const {
    return impl("device()", where).storage->device();
  }
  int rank(SourceLocation where = SourceLocation::current()) const { return impl("rank()", where).shape.rank(); }
  std::int64_t size(std::int64_t axis, SourceLocation where = SourceLocation::current()) const {
    const Shape& sizes = impl("size()", where).shape;
    return sizes[normalize_axis(axis, sizes.rank())];
  }
  std::int64_t numel(SourceLocation where = SourceLocation::current()) const { return impl("numel()", where).numel; }
  TensorSpec spec(SourceLocation where = SourceLocation::current()) const { return {shape(where), dtype(where)}; }
  bool is_contiguous(SourceLocation where = SourceLocation::current()) const {
    return impl("is_contiguous()", where).contiguous;
  }

  /// First element, for reading. Throws where `T` is not the dtype or the elements are not the CPU's.
  template <class T>
  const T* data(SourceLocation where = SourceLocation::current()) const {
    return require_defined("data()", where), static_cast<const T*>(raw_data(dtype_of<T>));
  }
  /// First element, for writing: advances the version counter of the storage.
  template <class T>
  T* mutable_data(SourceLocation where = SourceLocation::current()) const {
    impl("mutable_data()", where).storage->note_write(where);
    return static_cast<T*>(const_cast<void*>(raw_data(dtype_of<T>)));
  }
  /// First element of a tensor that nobody else has seen yet (a kernel's output): no version is advanced.
  template <class T>
  T* fresh_data(SourceLocation where = SourceLocation::current()) const {
    return require_defined("fresh_data()", where), static_cast<T*>(const_cast<void*>(raw_data(dtype_of<T>)));
  }
  /// First element for kernels of the tensor's device, wherever that is.
  template <class T>
  T* device_data(SourceLocation where = SourceLocation::current()) const {
    return require_defined("device_data()", where), static_cast<T*>(const_cast<void*>(device_data(dtype_of<T>)));
  }
  /// First byte, whatever the dtype, on the tensor's device.
  void* bytes(SourceLocation where = SourceLocation::current()) const;

  /// The single element as a number, whatever the dtype. Throws unless numel() == 1.
  double item(SourceLocation where = SourceLocation::current()) const;
  /// All elements in row-major order, converted to T.
  template <class T>
  std::vector<T> to_vector(SourceLocation where = SourceLocation::current()) const;

  /// Another window on the same storage; no autograd. Checked against the storage's bounds.
  Tensor window(const Shape& shape, const Shape& strides, std::int64_t offset,
                SourceLocation where = SourceLocation::current()) const;
  /// The same window without its history.
  Tensor alias(SourceLocation where = SourceLocation::current()) const {
    const Impl& it = impl("alias()", where);
    return window(it.shape, it.strides, it.offset);
  }
  bool shares_storage_with(const Tensor& other) const {
    return defined() && other.defined() && impl_->storage == other.impl_->storage;
  }
  bool is_same(const Tensor& other) const { return impl_ == other.impl_; }
  /// No other handle, view or saved reference exists.
  bool is_uniquely_owned(SourceLocation where = SourceLocation::current()) const {
    return impl("is_uniquely_owned()", where).storage.use_count() == 1 && impl_.use_count() == 1;
  }

  std::int64_t version(SourceLocation where = SourceLocation::current()) const {
    return impl("version()", where).storage->version();
  }
  Storage& storage(SourceLocation where = SourceLocation::current()) const { return *impl("storage()", where).storage; }

  // --- autograd (see framework/autograd/autograd.h for backward, grad, hooks) ---
  /// True for a leaf so marked and for every tensor computed from one while recording.
  bool requires_grad(SourceLocation where = SourceLocation::current()) const {
    const AutogradMeta* const known = impl("requires_grad()", where).meta.get();
    return known && (known->requires_grad || known->producer);
  }
  bool is_leaf(SourceLocation where = SourceLocation::current()) const {
    const AutogradMeta* const known = impl("is_leaf()", where).meta.get();
    return !known || !known->producer;
  }
  /// Marks a leaf of floating dtype; returns *this. Throws on a non-leaf or an integer tensor.
  const Tensor& set_requires_grad(bool value = true, SourceLocation where = SourceLocation::current()) const;
  /// The accumulated gradient of a leaf; undefined where none has arrived.
  Tensor gradient(SourceLocation where = SourceLocation::current()) const {
    const AutogradMeta* const known = impl("gradient()", where).meta.get();
    return known && known->gradient ? *known->gradient : Tensor();
  }
  void set_gradient(const Tensor& gradient, SourceLocation where = SourceLocation::current()) const;
  /// The same elements, cut off from the tape.
  Tensor detach(SourceLocation where = SourceLocation::current()) const {
    return require_defined("detach()", where), alias();
  }

  /// Puts the elements on `device`, for all handles of this tensor; views keep the elements where they were. A leaf's
  /// gradient is forgotten. Throws where the tensor came from a recorded op.
  void move_to(Device device, SourceLocation where = SourceLocation::current()) const;

  AutogradMeta* meta(SourceLocation where = SourceLocation::current()) const {
    return impl("meta()", where).meta.get();
  }
  const std::shared_ptr<AutogradMeta>& shared_meta(SourceLocation where = SourceLocation::current()) const {
    return impl("shared_meta()", where).meta;
  }
  AutogradMeta& ensure_meta(SourceLocation where = SourceLocation::current()) const;

  /// `(3,4) f32 cpu`
  std::string describe() const;

 private:
  struct Impl {
    Impl(std::shared_ptr<Storage> storage, Shape shape, Shape strides, std::int64_t offset, DType dtype);
    ~Impl();
    std::shared_ptr<Storage> storage;
    Shape shape, strides;
    std::int64_t offset, numel;
    DType dtype;
    bool contiguous;
    std::shared_ptr<AutogradMeta> meta;
  };
  explicit Tensor(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  Impl& impl(const char* what, SourceLocation where) const { return require_defined(what, where), *impl_; }
  [[noreturn]] static void refuse_undefined(const char* what, SourceLocation where);
  const void* raw_data(DType expected) const;
  const void* device_data(DType expected) const;

  std::shared_ptr<Impl> impl_;
};

using Tensors = std::vector<Tensor>;

/// The tensor itself where it is there already, else its elements on `device`, with the same strides and no history.
Tensor on_device(const Tensor& tensor, Device device, SourceLocation where = SourceLocation::current());

/// Tensors alive in the process: zero when everything has been let go.
std::int64_t live_tensor_count();

}  // namespace gradus
