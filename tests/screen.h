// A terminal for tests: what bytes do to a screen of some width.
#pragma once

#include <algorithm>
#include <cctype>
#include <string>
#include <utility>
#include <vector>

/// Understands text, \r, \n, and the sequences for "up", "erase the line's rest" and "erase all below". A line that is
/// longer than the screen is wide goes on in the next row, as most terminals have it; `resize` moves the ends of lines.
class Screen {
 public:
  explicit Screen(std::size_t width) : width_(width) {}

  void write(const std::string& bytes) {
    pending_ += bytes;
    std::size_t at = 0;
    while (at < pending_.size()) {
      const std::size_t size = size_of_next(at);
      if (size == 0) break;
      next(pending_.substr(at, size));
      at += size;
    }
    pending_.erase(0, at);
  }
  void resize(std::size_t width) { width_ = width; }

  /// Lines without their trailing blanks; one that was wrapped is one.
  std::vector<std::string> lines() const {
    std::vector<std::string> all;
    for (const auto& line : lines_) {
      std::string text;
      for (const std::string& cell : line) text += cell;
      all.push_back(text.substr(0, text.find_last_not_of(' ') + 1));
    }
    while (!all.empty() && all.back().empty()) all.pop_back();
    return all;
  }
  std::string text() const {
    std::string all;
    for (const std::string& line : lines()) all += line + "\n";
    return all;
  }
  /// Characters written into the last column or beyond it since it was asked before.
  std::size_t take_overflows() { return std::exchange(overflows_, 0); }

 private:
  /// Bytes of the character or sequence at `at`; 0 where it is not complete.
  std::size_t size_of_next(std::size_t at) const {
    const auto lead = static_cast<unsigned char>(pending_[at]);
    std::size_t size = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (lead == 0x1B) {
      size = 2;
      while (at + size < pending_.size() && !std::isalpha(static_cast<unsigned char>(pending_[at + size]))) ++size;
      ++size;
    }
    return at + size <= pending_.size() ? size : 0;
  }

  void next(const std::string& what) {
    std::vector<std::string>& line = lines_[row_];
    if (what == "\r") column_ = column_ / width_ * width_;
    else if (what == "\n") {
      lines_.insert(lines_.begin() + static_cast<std::ptrdiff_t>(++row_), std::vector<std::string>());
      column_ = 0;
    } else if (what[0] != '\033') {
      if (line.size() <= column_) line.resize(column_ + 1, " ");
      line[column_++] = what;
      if (column_ >= width_) ++overflows_;
    } else if (what.back() == 'A') {
      column_ -= std::min(column_ / width_, static_cast<std::size_t>(std::stoul(what.substr(2)))) * width_;
    } else if (what.back() == 'K') {
      const std::size_t row_end = (column_ / width_ + 1) * width_;
      if (line.size() <= row_end) line.resize(std::min(line.size(), column_));
      else std::fill(line.begin() + static_cast<std::ptrdiff_t>(column_), line.begin() + static_cast<std::ptrdiff_t>(row_end), " ");
    } else if (what.back() == 'J') {
      line.resize(std::min(line.size(), column_));
      lines_.resize(row_ + 1);
    }
  }

  std::size_t width_;
  std::vector<std::vector<std::string>> lines_{1};
  std::size_t row_ = 0, column_ = 0, overflows_ = 0;
  std::string pending_;
};
