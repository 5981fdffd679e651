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
    {"GGUF"sv, "a GGUF file (llama.cpp): this program reads safetensors"},
    {"\x1f\x8b"sv, "a gzip archive: unpack it with gunzip"},
    {"\x28\xb5\x2f\xfd"sv, "a Zstandard archive: unpack it with unzstd"},
    {"\xfd\x37zXZ\0"sv, "an xz archive: unpack it with unxz"},
    {"BZh"sv, "a bzip2 archive: unpack it with bunzip2"},
    {"7z\xbc\xaf\x27\x1c"sv, "a 7z archive: unpack it"},
    {"\x7f\x45LF"sv, "a program or library (ELF)"},
    {"%PDF-"sv, "a PDF document"},
    {"\x89PNG\r\n"sv, "a PNG picture"},
    {"\xff\xd8\xff"sv, "a JPEG picture"},
    {"SQLite format 3\0"sv, "an SQLite database"},
    {"\xff\xfe"sv, "a text in UTF-16"},
    {"\xfe\xff"sv, "a text in UTF-16"},
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

}  // namespace

std::string foreign_kind(std::string_view bytes) {
  bytes = bytes.substr(0, telling_bytes);
  if (bytes.empty()) return "an empty file";
  for (const Kind& kind : kinds) {
    if (bytes.starts_with(kind.magic)) return std::string(kind.name);
  }
  const auto holds = [&](std::string_view part) { return bytes.find(part) != std::string_view::npos; };
  if (bytes.starts_with("PK\x03\x04") || bytes.starts_with("PK\x05\x06")) {
    if (holds("data.pkl") || holds("constants.pkl")) return std::string(pytorch);
    return std::string(holds(".npy") ? numpy : "a zip archive: unpack it"sv);
  }
  if (is_pickle(bytes)) return std::string(pickle);
  if (bytes.size() > 262 && bytes.substr(257, 5) == "ustar") return "a tar archive: unpack it with tar -xf";
  if (is_html(bytes)) return "a web page: a download that went wrong, perhaps";
  const auto ascii = std::ranges::count_if(bytes, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  if (may_be_text(bytes) && 2 * ascii >= std::ssize(bytes)) return "a text";
  return "";
}

bool may_be_text(std::string_view bytes) {
  if (bytes.starts_with("\xff\xfe") || bytes.starts_with("\xfe\xff")) return true;
  return std::ranges::all_of(bytes, [](char c) { return static_cast<unsigned char>(c) >= ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f'; });
}

}  // namespace gradus::io
