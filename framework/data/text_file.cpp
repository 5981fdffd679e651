#include "framework/data/text_file.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "framework/base/error.h"
#include "framework/base/plural.h"
#include "framework/base/printable.h"
#include "framework/data/utf8.h"
#include "framework/io/checksum.h"
#include "framework/io/file_kind.h"
#include "framework/io/files.h"

namespace gradus::data {
namespace {

using namespace std::string_view_literals;

constexpr char32_t byte_order_mark = 0xFEFF;
constexpr std::string_view byte_order_mark_bytes = "\xEF\xBB\xBF";

/// UTF-16 or UTF-32, by its byte order mark or by where its zero bytes are; empty for neither.
std::string_view wide_encoding(std::string_view bytes) {
  if (bytes.starts_with("\xFF\xFE\0\0"sv) && bytes.size() % 4 == 0) return "UTF-32";
  if (bytes.starts_with("\0\0\xFE\xFF"sv)) return "UTF-32";
  if (bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF")) return "UTF-16";
  const std::string_view sample = bytes.substr(0, 4096);
  std::array<std::size_t, 4> zeros{};
  for (std::size_t at = 0; at < sample.size(); ++at) zeros[at % 4] += sample[at] == '\0';
  const std::size_t even = zeros[0] + zeros[2], odd = zeros[1] + zeros[3];
  const auto nearly_all = [](std::size_t part, std::size_t all) { return all > 0 && 10 * part >= 9 * all; };
  const std::size_t quarter = sample.size() / 4;
  const bool little = nearly_all(std::min(zeros[2], zeros[3]), quarter) && 2 * zeros[0] < quarter;
  const bool big = nearly_all(std::min(zeros[0], zeros[1]), quarter) && 2 * zeros[3] < quarter;
  if (little || big) return "UTF-32";
  const bool many = 8 * (even + odd) >= sample.size();
  return many && nearly_all(std::max(even, odd), even + odd) ? "UTF-16" : "";
}

/// What Windows-1252, and Latin-1 but for 0x80 to 0x9F, has for a byte; 0 for none.
char32_t windows_1252(unsigned char byte) {
  static constexpr char32_t upper[] = {0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                       0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0,      0x017D, 0,
                                       0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                       0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178};
  return byte >= 0x80 && byte < 0xA0 ? upper[byte - 0x80] : byte;
}

/// The neighbourhood of byte `at` as Windows-1252 has it; nothing where a byte of the file has no meaning there, or
/// where other characters of it are UTF-8.
std::optional<std::string> read_as_windows_1252(std::string_view bytes, std::size_t at) {
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t length = utf8_character_at(bytes, i).length;
    if (length > 1 || windows_1252(static_cast<unsigned char>(bytes[i])) == 0) return {};
    i += std::max<std::size_t>(length, 1);
  }
  constexpr std::size_t around = 16;
  std::string excerpt;
  for (std::size_t i = at - std::min(at, around); i < std::min(bytes.size(), at + around); ++i) {
    if (bytes[i] == '\n' || bytes[i] == '\r') {
      if (i > at) break;
      excerpt.clear();
    } else {
      excerpt += encode_utf8(windows_1252(static_cast<unsigned char>(bytes[i])));
    }
  }
  return printable(excerpt);
}

[[noreturn]] void refuse_invalid(const std::string& path, std::string_view bytes, std::size_t at, std::int64_t line) {
  const auto byte = [&](std::size_t i) { return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0; };
  std::string why = "save it as UTF-8";
  if (byte(at) == 0xED && byte(at + 1) >= 0xA0) {
    why = "half a surrogate pair, as CESU-8 has it: save it as UTF-8";
  } else if (const std::size_t left = bytes.size() - at;
             byte(at) >= 0xC2 && left < 4 &&
             utf8_character_at(std::string(bytes.substr(at)) + "\x80\x80\x80", 0).length > left) {
    why = "it ends in the midst of a character: it is cut off";
  } else if (const auto excerpt = read_as_windows_1252(bytes, at)) {
    why = fmt::format("in Windows-1252 it is '{}'; if that is right, save it as UTF-8 (iconv -f WINDOWS-1252 -t UTF-8)",
                      *excerpt);
  } else if (std::ranges::any_of(bytes.substr(0, at), [](char c) { return static_cast<unsigned char>(c) >= 0x80; })) {
    why = "what stands before is UTF-8: it is damaged there, or two encodings are mixed";
  }
  fail<DataError>("{}: line {}: invalid UTF-8 at byte {} ({:#04x}): {}", path, line, at, byte(at), why);
}

/// Counts what is read otherwise than it stands there, or not seen.
struct Oddities {
  std::int64_t crlf = 0, cr = 0, hidden = 0, first_hidden_line = 0;
  char32_t first_hidden = 0;

  void note_hidden(char32_t character, std::int64_t line) {
    if (hidden++ > 0) return;
    first_hidden = character;
    first_hidden_line = line;
  }
};

void describe(const Oddities& odd, const std::string& path, std::vector<std::string>& notices) {
  if (odd.crlf > 0 || odd.cr > 0) {
    const auto count = [](std::int64_t number, const char* kind) {
      return number > 0 ? fmt::format("{} {} {}", with_separators(number), number == 1 ? "line end" : "line ends", kind)
                        : "";
    };
    notices.push_back(fmt::format("{}: {}{}{} read as LF", path, count(odd.crlf, "CRLF"),
                                  odd.crlf > 0 && odd.cr > 0 ? " and " : "", count(odd.cr, "CR")));
  }
  if (odd.hidden > 0) {
    notices.push_back(fmt::format("{}: {} that nobody sees {} part of the text, {} U+{:04X} in line {}", path,
                                  odd.hidden == 1 ? "a character" : with_separators(odd.hidden) + " characters",
                                  odd.hidden == 1 ? "is" : "are", odd.hidden == 1 ? "the" : "the first",
                                  static_cast<std::uint32_t>(odd.first_hidden), odd.first_hidden_line));
  }
}

}  // namespace

TextFile parse_text(std::string_view bytes, const std::string& path) {
  if (const std::string kind = io::binary_kind(bytes); !kind.empty()) fail<DataError>("{}: it is {}", path, kind);
  if (io::may_be_safetensors(bytes))
    fail<DataError>("{}: it is a safetensors file: a model or a checkpoint, where a text is expected", path);
  if (const std::string_view encoding = wide_encoding(bytes); !encoding.empty())
    fail<DataError>("{}: {} text: save it as UTF-8 (iconv -f {} -t UTF-8)", path, encoding, encoding);
  TextFile file;
  file.text.reserve(bytes.size());
  Oddities odd;
  std::size_t at = 0;
  if (bytes.starts_with(byte_order_mark_bytes)) {
    at = byte_order_mark_bytes.size();
    file.notices.push_back(path + ": the byte order mark at its beginning is skipped");
  }
  for (std::int64_t line = 1; at < bytes.size();) {
    auto [character, length] = utf8_character_at(bytes, at);
    if (length == 0) refuse_invalid(path, bytes, at, line);
    if (character == U'\0') {
      fail<DataError>("{}: line {}: a NUL at byte {}: a text has none; the file is damaged, or no text", path, line,
                      at);
    }
    if (character == U'\r') {
      const bool before_newline = at + 1 < bytes.size() && bytes[at + 1] == '\n';
      ++(before_newline ? odd.crlf : odd.cr);
      length += before_newline;
      character = U'\n';
    } else if ((is_control(character) && character != U'\n' && character != U'\t') || character == byte_order_mark) {
      odd.note_hidden(character, line);
    }
    line += character == U'\n';
    file.text.push_back(character);
    at += length;
  }
  describe(odd, path, file.notices);
  const bool as_it_stands = odd.crlf == 0 && odd.cr == 0 && !bytes.starts_with(byte_order_mark_bytes);
  file.fingerprint = as_it_stands ? io::checksum(bytes) : io::checksum(encode_utf8(file.text));
  return file;
}

TextFile load_text(const std::string& path) { return parse_text(io::read_file(path), path); }

}  // namespace gradus::data
