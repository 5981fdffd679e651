#include "framework/kernels/cpu/room.h"

#include <sys/mman.h>

#include <new>

namespace gradus::cpu {

void require_room(std::size_t bytes) {
  void* const room = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) throw std::bad_alloc();
  ::munmap(room, bytes);
}

}  // namespace gradus::cpu
