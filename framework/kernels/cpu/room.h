// Memory for libraries that do not look whether they get it.
#pragma once

#include <cstddef>

namespace gradus::cpu {

/// Throws std::bad_alloc where the system would not give so many bytes more. They are not kept.
void require_room(std::size_t bytes);

}  // namespace gradus::cpu
