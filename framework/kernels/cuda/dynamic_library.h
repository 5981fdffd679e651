// Libraries that are looked for when a program first needs them: it starts, and does without them, where they are not
// installed.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "framework/base/error.h"
#include "framework/kernels/cuda/library_state.h"

namespace gradus::cuda {

/// The first of some files that can be loaded. It stays until the program ends.
class DynamicLibrary {
 public:
  /// `name` is for messages. Throws Error, with the loader's reasons, if none can be loaded.
  DynamicLibrary(std::string name, const std::vector<std::string>& files);

  /// Throws Error if the library has no such function.
  template <class Function>
  void find(Function& function, const char* symbol) const {
    function = reinterpret_cast<Function>(address_of(symbol));
  }

 private:
  void* address_of(const char* symbol) const;

  std::string name_;
  void* library_ = nullptr;
};

/// `NAME.MAJOR`, where the loader looks for it, and then in `folder`.
std::vector<std::string> library_files(const std::string& name, int major, const std::string& folder);

template <class Library>
struct Loaded {
  Library* instance = nullptr;  ///< null where it cannot be used
  LibraryState state;
};

/// Makes a Library, which has a version(), the first time. It stays until the program ends: the driver may be gone
/// before static objects are.
template <class Library>
const Loaded<Library>& loaded() {
  static const Loaded<Library> result = []() -> Loaded<Library> {
    try {
      auto* instance = new Library;
      return {instance, {true, instance->version()}};
    } catch (const Error& error) {
      return {nullptr, {false, error.what()}};
    }
  }();
  return result;
}

/// `13.1.0`, from 130100.
std::string version_name(std::size_t version);

}  // namespace gradus::cuda
