#include "framework/kernels/cuda/cudnn_descriptor.h"

#include <fmt/format.h>

namespace gradus::cuda::cudnn {
namespace {

std::vector<void*> raw_pointers(const std::vector<Descriptor>& descriptors) {
  std::vector<void*> raw;
  for (const Descriptor& descriptor : descriptors) raw.push_back(descriptor.raw());
  return raw;
}

}  // namespace

Descriptor::Descriptor(const Cudnn& library, cudnnBackendDescriptorType_t type, std::string name)
    : library_(&library), type_(type), name_(std::move(name)) {
  cudnnBackendDescriptor_t made = nullptr;
  check(library.BackendCreateDescriptor(type, &made), "cudnnBackendCreateDescriptor");
  raw_ = {made, library.BackendDestroyDescriptor};
}

Descriptor& Descriptor::set(cudnnBackendAttributeName_t attribute, const Descriptor& value) {
  void* const raw = value.raw();
  return set_elements(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &raw);
}

Descriptor& Descriptor::set(cudnnBackendAttributeName_t attribute, const std::vector<Descriptor>& values) {
  const std::vector<void*> raw = raw_pointers(values);  // cuDNN fills in what these point to
  return set_elements(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, raw.size(), raw.data());
}

Descriptor& Descriptor::finalize() {
  check(library_->BackendFinalize(raw()), "cudnnBackendFinalize");
  return *this;
}

std::vector<Descriptor> Descriptor::get_list(cudnnBackendAttributeName_t attribute, cudnnBackendDescriptorType_t type,
                                             const std::string& name) const {
  const std::size_t most = get_elements(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, nullptr);
  std::vector<Descriptor> values;
  while (values.size() < most) values.emplace_back(*library_, type, name);
  std::vector<void*> raw = raw_pointers(values);  // cuDNN fills in what these point to
  const std::size_t filled = get_elements(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, raw.size(), raw.data());
  values.erase(values.begin() + filled, values.end());
  return values;
}

Descriptor& Descriptor::set_elements(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type,
                                     std::size_t count, const void* values) {
  check(library_->BackendSetAttribute(raw(), attribute, type, static_cast<std::int64_t>(count), values),
        "cudnnBackendSetAttribute", attribute);
  return *this;
}

std::size_t Descriptor::get_elements(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type,
                                     std::size_t count, void* values) const {
  std::int64_t written = 0;
  check(library_->BackendGetAttribute(raw(), attribute, type, static_cast<std::int64_t>(count), &written, values),
        "cudnnBackendGetAttribute", attribute);
  return static_cast<std::size_t>(written);
}

void Descriptor::check(cudnnStatus_t status, const char* call, int attribute) const {
  if (status == CUDNN_STATUS_SUCCESS) return;
  const std::string of_attribute = attribute < 0 ? "" : fmt::format(" of attribute {}", attribute);
  check_status(*library_, status, call + of_attribute + " of " + name_);
}

}  // namespace gradus::cuda::cudnn
