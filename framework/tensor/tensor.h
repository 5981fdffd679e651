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
/// gradients, for zero).
class Tensor {
 public:
  Tensor() = default;
  /// Uninitialised, contiguous.
  static Tensor empty(const Shape& shape, DType dtype, Device device = {});

  bool defined() const { return impl_ != nullptr; }
  const Shape& shape() const { return impl_->shape; }
  const Shape& strides() const { return impl_->strides; }
  std::int64_t offset() const { return impl_->offset; }
  DType dtype() const { return impl_->dtype; }
  Device device() const { return impl_->storage->device(); }
  int rank() const { return impl_->shape.rank(); }
  std::int64_t size(std::int64_t axis) const { return impl_->shape[normalize_axis(axis, rank())]; }
  std::int64_t numel() const { return impl_->numel; }
  TensorSpec spec() const { return {shape(), dtype()}; }
  bool is_contiguous() const { return impl_->contiguous; }

  /// First element, for reading. Throws where `T` is not the dtype or the elements are not the CPU's.
  template <class T>
  const T* data() const {
    return static_cast<const T*>(raw_data(dtype_of<T>));
  }
  /// First element, for writing: advances the version counter of the storage.
  template <class T>
  T* mutable_data(SourceLocation where = SourceLocation::current()) const {
    impl_->storage->note_write(where);
    return static_cast<T*>(const_cast<void*>(raw_data(dtype_of<T>)));
  }
  /// First element of a tensor that nobody else has seen yet (a kernel's output): no version is advanced.
  template <class T>
  T* fresh_data() const {
    return static_cast<T*>(const_cast<void*>(raw_data(dtype_of<T>)));
  }
  /// First element for kernels of the tensor's device, wherever that is.
  template <class T>
  T* device_data() const {
    return static_cast<T*>(const_cast<void*>(device_data(dtype_of<T>)));
  }
  /// First byte, whatever the dtype, on the tensor's device.
  void* bytes() const;

  /// The single element as a number, whatever the dtype. Throws unless numel() == 1.
  double item() const;
  /// All elements in row-major order, converted to T.
  template <class T>
  std::vector<T> to_vector() const;

  /// Another window on the same storage; no autograd. Checked against the storage's bounds.
  Tensor window(const Shape& shape, const Shape& strides, std::int64_t offset) const;
  /// The same window without its history.
  Tensor alias() const { return window(shape(), strides(), offset()); }
  bool shares_storage_with(const Tensor& other) const { return impl_->storage == other.impl_->storage; }
  bool is_same(const Tensor& other) const { return impl_ == other.impl_; }
  /// No other handle, view or saved reference exists.
  bool is_uniquely_owned() const { return impl_.use_count() == 1 && impl_->storage.use_count() == 1; }

  std::int64_t version() const { return impl_->storage->version(); }
  Storage& storage() const { return *impl_->storage; }

  // --- autograd (see framework/autograd/autograd.h for backward, grad, hooks) ---
  /// True for a leaf so marked and for every tensor computed from one while recording.
  bool requires_grad() const { return meta() && (meta()->requires_grad || meta()->producer); }
  bool is_leaf() const { return !meta() || !meta()->producer; }
  /// Marks a leaf of floating dtype; returns *this. Throws on a non-leaf or an integer tensor.
  const Tensor& set_requires_grad(bool value = true) const;
  /// The accumulated gradient of a leaf; undefined where none has arrived.
  Tensor gradient() const { return meta() && meta()->gradient ? *meta()->gradient : Tensor(); }
  void set_gradient(const Tensor& gradient) const;
  /// The same elements, cut off from the tape.
  Tensor detach() const { return alias(); }

  /// Puts the elements on `device`, for all handles of this tensor; views keep the elements where they were. A leaf's
  /// gradient is forgotten. Throws where the tensor came from a recorded op.
  void move_to(Device device, SourceLocation where = SourceLocation::current()) const;

  AutogradMeta* meta() const { return impl_->meta.get(); }
  const std::shared_ptr<AutogradMeta>& shared_meta() const { return impl_->meta; }
  AutogradMeta& ensure_meta() const;

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
