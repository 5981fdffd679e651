#include "tools/printable_streams.h"

#include <algorithm>
#include <iostream>
#include <streambuf>
#include <string>
#include <utility>

#include "framework/base/printable.h"
#include "framework/base/unicode.h"

namespace gradus::tools {
namespace {

/// How many bytes at the end of `text` begin a character of UTF-8 whose other bytes are still to come.
std::size_t unfinished(std::string_view text) {
  constexpr std::size_t longest = 3;
  for (std::size_t count = 1; count <= std::min(longest, text.size()); ++count) {
    const auto byte = static_cast<unsigned char>(text[text.size() - count]);
    if ((byte & 0xC0) == 0x80) continue;
    const std::size_t needed = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    return needed > count ? count : 0;
  }
  return 0;
}

/// Hands everything on to `target`, printable.
class PrintableBuffer : public std::streambuf {
 public:
  explicit PrintableBuffer(std::streambuf* target) : target_(target) {}

 protected:
  std::streamsize xsputn(const char* text, std::streamsize count) override {
    const std::string all = std::exchange(begun_, {}).append(text, static_cast<std::size_t>(count));
    const std::size_t held_back = unfinished(all);
    begun_ = all.substr(all.size() - held_back);
    return put(std::string_view(all).substr(0, all.size() - held_back)) ? count : 0;
  }
  int_type overflow(int_type byte) override {
    if (traits_type::eq_int_type(byte, traits_type::eof())) return traits_type::not_eof(byte);
    const char one = traits_type::to_char_type(byte);
    return xsputn(&one, 1) == 1 ? byte : traits_type::eof();
  }
  int sync() override {
    const bool whole = put(std::exchange(begun_, {}));
    return target_->pubsync() == 0 && whole ? 0 : -1;
  }

 private:
  bool put(std::string_view text) {
    const std::string shown = printable(text, "\n\t");
    return target_->sputn(shown.data(), static_cast<std::streamsize>(shown.size())) ==
           static_cast<std::streamsize>(shown.size());
  }

  std::streambuf* target_;
  std::string begun_;
};

}  // namespace

void make_standard_streams_printable() {
  for (std::ostream* stream : {&std::cout, &std::cerr}) {
    // The streams outlive everything that has an owner.
    stream->rdbuf(new PrintableBuffer(stream->rdbuf()));
  }
}

}  // namespace gradus::tools
