// Text files from every machine: one loader for corpora, questions, settings, recipes and prompts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gradus::data {

struct TextFile {
  std::u32string text;               ///< its lines end with \n
  std::string fingerprint;           ///< of the text, whatever its line ends were
  std::vector<std::string> notices;  ///< what is not as it stands in the file, a line each, beginning with the path
};

/// Reads a file, which may be a pipe, once. Line ends CRLF and CR become LF, as in Python's text mode, and a byte order
/// mark at the beginning is skipped: a notice says so, and also where characters that nobody sees are kept (controls,
/// byte order marks in the midst). Throws DataError with path, line and remedy for UTF-16 and UTF-32, for a NUL, for
/// bytes that are not UTF-8, and for archives, PDF documents, models and other files that are no text, by name.
TextFile load_text(const std::string& path);

/// The same for bytes that were read already; `path` names them.
TextFile parse_text(std::string_view bytes, const std::string& path);

}  // namespace gradus::data
