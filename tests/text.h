#pragma once

#include <string>
#include <vector>

#include "framework/data/utf8.h"
#include "framework/data/vocabulary.h"

inline std::string text_of(const gradus::data::Vocabulary& vocabulary, const std::vector<std::int64_t>& ids) {
  return gradus::data::encode_utf8(vocabulary.decode(ids));
}

inline std::string repeated(const std::string& text, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}
