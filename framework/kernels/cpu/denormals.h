// Numbers too small for the normal form.
#pragma once

namespace gradus::cpu {

/// While one lives, the CPU's threads take denormal numbers (in f32 those below 1.2e-38) for zero and write none. Many
/// x86 processors need many times as long for them, and softmax makes them in numbers once a model is sure of
/// itself. Other processors are left as they are.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned before_;
};

}  // namespace gradus::cpu
