// Files of models as commands meet them: read, and not overwritten by mistake.
#pragma once

#include <string>
#include <vector>

#include "models/model_file.h"
#include "tools/options.h"

namespace gradus::tools {

/// models::load_model; says on standard error where the file is a checkpoint. Throws DataError as that does, with a hint
/// where nothing is at `path` but an interrupted run left a checkpoint of it.
models::LoadedModel read_model(const std::string& path, const std::string& variant, std::uint64_t seed, DType dtype);

/// Throws UsageError where one of `outputs` is a file with a model or a checkpoint in it.
void require_no_model(const std::vector<NamedPath>& outputs);

/// Throws UsageError where a file, not an empty one, is at a run's output already.
void require_free(const NamedPath& output);

}  // namespace gradus::tools
