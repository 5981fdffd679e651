// Whether a library that is looked for when it is first needed can be used.
#pragma once

#include <string>

namespace gradus::cuda {

/// Its version if it can be used, `13.1.0`, or why not, in a sentence.
struct LibraryState {
  bool usable;
  std::string version_or_reason;
};

}  // namespace gradus::cuda
