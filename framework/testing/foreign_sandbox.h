// A filter of system calls: what a library may do besides computing.
#pragma once

#include <string>

namespace gradus::testing::foreign {

/// From here on, and for good, this process and its threads may compute, take memory, read files and start threads. What
/// else they ask the kernel for (the network, other processes, writing to the file system) is not done; SIGSYS comes
/// instead. Returns why that cannot be had here; empty: it can. Descriptor `socket` stays usable.
std::string enter_sandbox(int socket);

/// What a refused call was for: "to open the network (socket)".
std::string act_of(long system_call);

}  // namespace gradus::testing::foreign
