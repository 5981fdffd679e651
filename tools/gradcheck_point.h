// The point of one check as a safetensors file, for replay elsewhere.
#pragma once

#include <string>

#include "framework/testing/gradcheck.h"

namespace gradus::tools {

/// Tensors `input.NAME`, `output.NAME`, `cotangent.NAME`, `gradient.NAME` (as claimed), and in f64 `expected.NAME` and
/// `bar.NAME`, which are NaN for elements that were not judged singly. The metadata say what was checked and the
/// verdict. The report needs its `point`.
void write_point(const std::string& path, const testing::CheckReport& report);

/// The inputs alone, of a check that did not come to its end; `why` is the sentence.
void write_point(const std::string& path, const testing::Subject& subject, const Tensors& inputs,
                 const std::string& why);

}  // namespace gradus::tools
