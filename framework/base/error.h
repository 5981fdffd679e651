// The exceptions of Gradus. The type says whose fault it is; the program maps each to its exit code.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace gradus {

/// Base of all errors: one line that names the op, file or flag, what was expected and what was found.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A call that breaks a contract of the framework: wrong shapes, dtypes, modes. Exit code 1.
struct ContractError : Error {
  using Error::Error;
};

/// A flag, argument or configuration value that cannot be used. Exit code 2.
struct UsageError : Error {
  using Error::Error;
};

/// An input file that is missing, damaged, foreign or malformed. Exit code 3.
struct DataError : Error {
  using Error::Error;
};

/// A file that cannot be written: disk full, permission lost. Exit code 1.
struct OutputError : Error {
  using Error::Error;
};

/// NaN or infinity where a number is needed. Exit code 4.
struct NumericError : Error {
  using Error::Error;
};

/// A device whose memory is full: a line as above, and below it what is in use. Exit code 1.
struct MemoryError : Error {
  using Error::Error;
};

/// Throws `E` with a formatted message: `fail<DataError>("{}: empty file", path)`.
template <class E = ContractError, class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw E(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace gradus
