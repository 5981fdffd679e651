// The layers that models are built of. `where` is the place of the call, which errors name, with the module's path.
#pragma once

#include "framework/nn/module.h"
#include "framework/ops/layer_norm.h"
#include "framework/random/generator.h"

namespace gradus::nn {

/// Where the numbers of a new model come from: normal draws of the given deviation, one stream for each parameter.
struct Initializer {
  Generator generator;
  DType dtype = DType::f32;
  double deviation = 0.02;

  Tensor normal(const Shape& shape);
};

/// x (..., in) -> (..., out). Weight (out, in) normal, bias (out) zero.
class Linear : public Module {
 public:
  Linear(std::int64_t in, std::int64_t out, bool with_bias, Initializer& initializer);
  Tensor forward(const Tensor& x, SourceLocation where = SourceLocation::current()) const;

 private:
  Tensor weight_, bias_;
};

/// ids (...) i64 -> (..., width). Weight (count, width) normal.
class Embedding : public Module {
 public:
  Embedding(std::int64_t count, std::int64_t width, Initializer& initializer);
  Tensor forward(const Tensor& ids, SourceLocation where = SourceLocation::current()) const;

 private:
  Tensor weight_;
};

/// Normalises the last axis, of size `width`. Weight 1, bias 0.
class LayerNorm : public Module {
 public:
  LayerNorm(std::int64_t width, DType dtype, double epsilon = 1e-5);
  Tensor forward(const Tensor& x, SourceLocation where = SourceLocation::current()) const;
  /// residual + dropout(update), and that normalised.
  NormalisedSum forward(const Tensor& residual, const Tensor& update, const DropoutDraw& draw,
                        SourceLocation where = SourceLocation::current()) const;

 private:
  Tensor weight_, bias_;
  double epsilon_;
};

/// Drops elements while training. Takes a stream of `generator` (the model's) each time.
class Dropout : public Module {
 public:
  Dropout(double probability, Generator& generator);
  Tensor forward(const Tensor& x, SourceLocation where = SourceLocation::current()) const;
  /// residual + dropout(update)
  Tensor forward(const Tensor& residual, const Tensor& update,
                 SourceLocation where = SourceLocation::current()) const;
  /// For an op that drops elements itself: of probability 0 at evaluation.
  DropoutDraw draw() const;

 private:
  double probability_;
  Generator* generator_;
};

}  // namespace gradus::nn
