// The numbers of a model.
#pragma once

#include <vector>

#include "framework/nn/module.h"

namespace gradus {

/// Of all parameters, one after another.
inline std::vector<double> parameter_values(const nn::Module& model) {
  std::vector<double> all;
  for (const Tensor& parameter : model.parameters()) {
    const std::vector<double> values = parameter.to_vector<double>();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

}  // namespace gradus
