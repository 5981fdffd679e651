#include "framework/nn/layers.h"

#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"

namespace gradus::nn {

Tensor Initializer::normal(const Shape& shape) { return random_normal(shape, generator, dtype, 0, deviation); }

Linear::Linear(std::int64_t in, std::int64_t out, bool with_bias, Initializer& initializer)
    : weight_(register_parameter("weight", initializer.normal({out, in}))) {
  if (with_bias) bias_ = register_parameter("bias", zeros({out}, initializer.dtype));
}
Tensor Linear::forward(const Tensor& x, SourceLocation where) const { return linear(x, weight_, bias_, where); }

Embedding::Embedding(std::int64_t count, std::int64_t width, Initializer& initializer)
    : weight_(register_parameter("weight", initializer.normal({count, width}))) {}
Tensor Embedding::forward(const Tensor& ids, SourceLocation where) const { return embedding(weight_, ids, where); }

LayerNorm::LayerNorm(std::int64_t width, DType dtype, double epsilon)
    : weight_(register_parameter("weight", ones({width}, dtype))),
      bias_(register_parameter("bias", zeros({width}, dtype))),
      epsilon_(epsilon) {}
Tensor LayerNorm::forward(const Tensor& x, SourceLocation where) const {
  return layer_norm(x, weight_, bias_, epsilon_, where);
}
NormalisedSum LayerNorm::forward(const Tensor& residual, const Tensor& update, const DropoutDraw& draw,
                                 SourceLocation where) const {
  return dropout_add_layer_norm(residual, update, weight_, bias_, epsilon_, draw, where);
}

Dropout::Dropout(double probability, Generator& generator) : probability_(probability), generator_(&generator) {}
Tensor Dropout::forward(const Tensor& x, SourceLocation where) const {
  return is_training() && probability_ > 0 ? dropout(x, probability_, *generator_, where) : x;
}
Tensor Dropout::forward(const Tensor& residual, const Tensor& update, SourceLocation where) const {
  const DropoutDraw drawn = draw();
  return drawn.probability > 0 ? dropout_add(residual, update, drawn, where) : add(residual, update, where);
}
DropoutDraw Dropout::draw() const {
  if (!is_training() || probability_ == 0) return {};
  return {probability_, static_cast<std::int64_t>(generator_->seed()),
          static_cast<std::int64_t>(generator_->take_stream())};
}

}  // namespace gradus::nn
