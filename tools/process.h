// The program as a process: how its threads wait, and what becomes of its standard streams.
#pragma once

namespace gradus::tools {

/// Lets waiting threads sleep after a short spin: where they spin for long on cores that other programs use, each step waits for the busiest of them.
/// OpenMP reads its settings before main() begins, so the program is started once more, with them in the environment,
/// unless the user has set his own (OMP_WAIT_POLICY or GOMP_SPINCOUNT). To be called first.
void let_waiting_threads_sleep(char** arguments);

/// Keeps the numbers of standard streams that were closed from being given to the files that the program opens.
void reserve_standard_streams();

/// True where everything printed so far has reached standard output.
bool standard_output_is_whole();

}  // namespace gradus::tools
