// What a test's own process writes to standard error.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "framework/io/files.h"
#include "tests/temporary_folder.h"

/// What `body` writes to standard error.
template <class Body>
std::string errors_of(Body&& body) {
  const TemporaryFolder folder;
  const std::string path = folder / "stderr";
  std::fflush(stderr);
  const int before = ::dup(STDERR_FILENO), file = ::open(path.c_str(), O_CREAT | O_WRONLY, 0600);
  ::dup2(file, STDERR_FILENO);
  body();
  std::fflush(stderr);
  ::dup2(before, STDERR_FILENO);
  ::close(before);
  ::close(file);
  return gradus::io::read_file(path);
}
