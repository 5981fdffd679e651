// The first thing that the program does.
#pragma once

namespace gradus::tools {

/// Blocks the signals that train::take_signals() will take. Then starts the program once more, with settings for the
/// libraries in its environment, unless they are there: waiting threads are to sleep after a short spin (where they spin
/// for long on cores that other programs use, each step waits for the busiest of them), and OpenBLAS is to have no pool of
/// threads (nothing here uses it, and where memory is limited it never ends). What the user has set himself stays.
void start(char** arguments, char** environment);

}  // namespace gradus::tools
