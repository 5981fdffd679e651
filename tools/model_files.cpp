#include "tools/model_files.h"

#include <filesystem>
#include <fstream>

#include "framework/base/error.h"
#include "framework/io/file_kind.h"

namespace gradus::tools {
namespace {

bool is_file(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

bool begins_like_safetensors(const std::string& path) {
  char bytes[9] = {};
  std::ifstream file(path, std::ios::binary);
  return file.read(bytes, sizeof bytes) && io::may_be_safetensors({bytes, sizeof bytes});
}

}  // namespace

models::LoadedModel read_model(const std::string& path, const std::string& variant, std::uint64_t seed, DType dtype) {
  const std::string checkpoint = path + ".checkpoint";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored) && is_file(checkpoint)) {
    fail<DataError>("{}: no such file; {} is there, of a run that has not ended, and can be used in its place", path,
                    checkpoint);
  }
  models::LoadedModel loaded = models::load_model(path, variant, seed, dtype);
  if (!loaded.notice.empty()) print_notices({loaded.notice});
  return loaded;
}

void require_no_model(const std::vector<NamedPath>& outputs) {
  for (const NamedPath& output : outputs) {
    if (is_file(output.path) && begins_like_safetensors(output.path))
      fail<UsageError>("{} {}: a model or a checkpoint is there: name another file", output.name, output.path);
  }
}

void require_free(const NamedPath& output) {
  std::error_code error;
  if (std::filesystem::file_size(output.path, error) == 0 || error) return;
  fail<UsageError>("{} is there already: pass --force to overwrite it, --resume to go on with its run, or another {}",
                   output.path, output.name);
}

}  // namespace gradus::tools
