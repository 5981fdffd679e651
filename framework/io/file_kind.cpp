#include "framework/io/file_kind.h"

#include <algorithm>
#include <cctype>
#include <iterator>

namespace gradus::io {
namespace {

using namespace std::string_view_literals;

struct Kind {
  std::string_view magic, name;
};

constexpr std::string_view pytorch = "a PyTorch file: load it there and write it with safetensors.torch.save_file";
constexpr std::string_view pickle = "a Python pickle, perhaps of PyTorch: load it there and write it with safetensors.torch.save_file";
constexpr std::string_view numpy = "a NumPy file: load it there and write it with safetensors.numpy.save_file";

constexpr Kind kinds[] = {
    {"version https://git-lfs.github.com/", "a Git LFS pointer, not the file itself: `git lfs pull` fetches it"},
    {"\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 \x6a\xa8\x50\x19."sv, pytorch},  // torch.save before version 1.6
    {"\x93NUMPY"sv, numpy},
    {"\x89HDF\r\n\x1a\n"sv, "an HDF5 file (Keras writes such): load it there and write it as safetensors"},
    {"\x1f\x8b"sv, "a gzip archive: unpack it with gunzip"},
    {"\x28\xb5\x2f\xfd"sv, "a Zstandard archive: unpack it with unzstd"},
    {"\xfd\x37zXZ\0"sv, "an xz archive: unpack it with unxz"},
    {"7z\xbc\xaf\x27\x1c"sv, "a 7z archive: unpack it"},
    {"\x7f\x45LF"sv, "a program or library (ELF)"},
    {"%PDF-"sv, "a PDF document: save it as text (pdftotext)"},
    {"{\\rtf"sv, "an RTF document: save it as text"},
    {"\xd0\xcf\x11\xe0"sv, "an old Office document: save it as text"},
    {"\x89PNG\r\n"sv, "a PNG picture"},
    {"\xff\xd8\xff"sv, "a JPEG picture"},
    {"SQLite format 3\0"sv, "an SQLite database"},
};

/// A pickle is told by its second byte, the protocol, and by an opcode that can begin one.
bool is_pickle(std::string_view bytes) {
  return bytes.size() >= 3 && bytes[0] == '\x80' && bytes[1] >= 2 && bytes[1] <= 5 && "}](\x95\x8a\x8c\x8e\x89\x88NKJXGUTCcM)"sv.find(bytes[2]) != std::string_view::npos;
}

bool is_html(std::string_view bytes) {
  std::string start;
  for (const char c : bytes.substr(std::min(bytes.find_first_not_of(" \t\r\n\xEF\xBB\xBF"), bytes.size()), 14)) {
    start += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return start.starts_with("<!doctype html") || start.starts_with("<html") || start.starts_with("<head");
}

/// The words that a text may begin with too: what follows them decides.
std::string_view kind_behind_a_word(std::string_view bytes) {
  if (bytes.starts_with("BZh") && bytes.substr(std::min<std::size_t>(bytes.size(), 4), 6) == "1AY&SY") return "a bzip2 archive: unpack it with bunzip2";
  if (bytes.starts_with("GGUF") && bytes.substr(4, 4).find('\0') != std::string_view::npos)
    return "a GGUF file (llama.cpp): this program reads safetensors";
  if (bytes.size() > 262 && bytes.substr(257, 5) == "ustar") return "a tar archive: unpack it with tar -xf";
  return "";
}

bool begins_as_utf16(std::string_view bytes) { return bytes.starts_with("\xff\xfe") || bytes.starts_with("\xfe\xff"); }

/// No control characters but those that lay a text out, and mostly ASCII.
bool may_be_text(std::string_view bytes) {
  const auto is_text = [](char c) { return static_cast<unsigned char>(c) >= ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f'; };
  const auto ascii = std::ranges::count_if(bytes, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  return std::ranges::all_of(bytes, is_text) && 2 * ascii >= std::ssize(bytes);
}

}  // namespace

std::string binary_kind(std::string_view bytes) {
  bytes = bytes.substr(0, telling_bytes);
  for (const Kind& kind : kinds) {
    if (bytes.starts_with(kind.magic)) return std::string(kind.name);
  }
  const auto holds = [&](std::string_view part) { return bytes.find(part) != std::string_view::npos; };
  if (bytes.starts_with("PK\x03\x04") || bytes.starts_with("PK\x05\x06")) {
    if (holds("data.pkl") || holds("constants.pkl")) return std::string(pytorch);
    return std::string(holds(".npy") ? numpy : "a zip archive, as .docx and .xlsx are too: unpack it"sv);
  }
  if (is_pickle(bytes)) return std::string(pickle);
  return std::string(kind_behind_a_word(bytes));
}

std::string foreign_kind(std::string_view bytes) {
  bytes = bytes.substr(0, telling_bytes);
  if (bytes.empty()) return "an empty file";
  if (const std::string kind = binary_kind(bytes); !kind.empty()) return kind;
  if (begins_as_utf16(bytes)) return "a text in UTF-16";
  if (is_html(bytes)) return "a web page: a download that went wrong, perhaps";
  return may_be_text(bytes) ? "a text" : "";
}

bool may_be_safetensors(std::string_view bytes) {
  return bytes.size() > 8 && bytes[8] == '{' && bytes.substr(4, 4) == "\0\0\0\0"sv;
}

}  // namespace gradus::io
