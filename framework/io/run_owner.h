// The run that holds a lock, as its file tells.
#pragma once

#include <optional>
#include <string>

namespace gradus::io {

struct RunOwner {
  int process = 0;
  std::string host, boot;      ///< boot: another one after each start of the host
  std::string process_start;   ///< in ticks since the host's start: process ids are used again
  std::string since, command;  ///< for people

  static RunOwner this_process();
  /// Nothing where the text is not that of a lock.
  static std::optional<RunOwner> from_text(const std::string& text);
  std::string to_text() const;

  bool is_on_this_host() const;
  /// Whether the process runs, on this host.
  bool is_alive() const;
  /// `pid 4711 on box since 2026-11-30 13:05 (gradus pretrain ...)`
  std::string description() const;
};

}  // namespace gradus::io
