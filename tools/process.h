// The program's standard streams: closed ones, and those whose readers leave.
#pragma once

namespace gradus::tools {

/// Keeps the numbers of standard streams that were closed from being given to the files that the program opens.
void reserve_standard_streams();

/// For commands that train: the run goes on where those who read what it prints have gone, which ends others (SIGPIPE).
void outlive_readers();

/// True where everything printed so far has reached standard output, or nobody reads it any more.
bool standard_output_is_whole();

}  // namespace gradus::tools
