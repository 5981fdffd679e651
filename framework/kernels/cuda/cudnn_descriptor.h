// A descriptor of cuDNN's graph interface: an object that the library makes, whose attributes are set by name, and
// which is then finalized.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "framework/kernels/cuda/cudnn.h"

namespace gradus::cuda::cudnn {

/// What cuDNN calls the type of an attribute.
template <class T>
constexpr cudnnBackendAttributeType_t attribute_type = T::unknown;
template <>
inline constexpr auto attribute_type<std::int64_t> = CUDNN_TYPE_INT64;
template <>
inline constexpr auto attribute_type<bool> = CUDNN_TYPE_BOOLEAN;
template <>
inline constexpr auto attribute_type<char> = CUDNN_TYPE_CHAR;
template <>
inline constexpr auto attribute_type<void*> = CUDNN_TYPE_VOID_PTR;
template <>
inline constexpr auto attribute_type<cudnnHandle_t> = CUDNN_TYPE_HANDLE;
template <>
inline constexpr auto attribute_type<cudnnDataType_t> = CUDNN_TYPE_DATA_TYPE;
template <>
inline constexpr auto attribute_type<cudnnPointwiseMode_t> = CUDNN_TYPE_POINTWISE_MODE;
template <>
inline constexpr auto attribute_type<cudnnReduceTensorOp_t> = CUDNN_TYPE_REDUCTION_OPERATOR_TYPE;
template <>
inline constexpr auto attribute_type<cudnnBackendHeurMode_t> = CUDNN_TYPE_HEUR_MODE;

/// A handle: copies are the same descriptor. Each call throws Error, in a sentence, if cuDNN refuses.
class Descriptor {
 public:
  /// `name` is for messages: `a matmul`.
  Descriptor(const Cudnn& library, cudnnBackendDescriptorType_t type, std::string name);

  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t attribute, const T& value) {
    return set_elements(attribute, attribute_type<T>, 1, &value);
  }
  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t attribute, const std::vector<T>& values) {
    return set_elements(attribute, attribute_type<T>, values.size(), values.data());
  }
  Descriptor& set(cudnnBackendAttributeName_t attribute, const Descriptor& value);
  Descriptor& set(cudnnBackendAttributeName_t attribute, const std::vector<Descriptor>& values);
  Descriptor& finalize();

  template <class T>
  T get(cudnnBackendAttributeName_t attribute) const {
    T value{};
    get_elements(attribute, attribute_type<T>, 1, &value);
    return value;
  }
  /// The descriptors that this one holds.
  std::vector<Descriptor> get_list(cudnnBackendAttributeName_t attribute, cudnnBackendDescriptorType_t type,
                                   const std::string& name) const;

  cudnnBackendDescriptorType_t type() const { return type_; }
  cudnnBackendDescriptor_t raw() const { return raw_.get(); }

 private:
  Descriptor& set_elements(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type, std::size_t count,
                           const void* values);
  /// How many it writes; how many there are at most, if `count` is 0.
  std::size_t get_elements(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type, std::size_t count,
                           void* values) const;
  void check(cudnnStatus_t status, const char* call, int attribute = -1) const;

  const Cudnn* library_;
  cudnnBackendDescriptorType_t type_;
  std::string name_;
  std::shared_ptr<void> raw_;
};

}  // namespace gradus::cuda::cudnn
