// A trained model as one safetensors file: weights under the assignment's parameter names, with the configuration and the
// vocabulary in the metadata, so that nothing else is needed to use it.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "framework/data/vocabulary.h"
#include "models/gpt/gpt.h"

namespace gradus::models {

struct LoadedModel {
  std::unique_ptr<Gpt> model;
  data::Vocabulary vocabulary;
  std::map<std::string, std::string> metadata;
  std::string notice;  ///< a line for the user where the file is a checkpoint, or damage to it could have gone unseen; else empty
};

/// What a file of the model holds beside its weights: variant, configuration, vocabulary.
std::map<std::string, std::string> describe_model(const Gpt& model, const data::Vocabulary& vocabulary);

/// Written atomically. `notes` are further metadata (how it was trained).
void save_model(const std::string& path, const Gpt& model, const data::Vocabulary& vocabulary,
                const std::map<std::string, std::string>& notes = {});

/// A model, or a checkpoint as the model that it has so far. Throws DataError where the file is neither, or not one of
/// `variant` (empty: of any), is damaged, or its weights do not fit its configuration; NumericError where a number in it is not
/// finite. `seed` starts the dropout streams of further training.
LoadedModel load_model(const std::string& path, const std::string& variant, std::uint64_t seed, DType dtype = DType::f32);

}  // namespace gradus::models
