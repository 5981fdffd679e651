#include <cstring>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/data/utf8.h"
#include "framework/io/files.h"
#include "framework/io/input_file.h"
#include "framework/io/safetensors.h"
#include "framework/tensor/creation.h"
#include "framework/train/checkpoint.h"
#include "framework/train/metrics_file.h"
#include "models/model_file.h"
#include "tasks/birthplace/questions.h"
#include "tasks/char_lm/character_text.h"
#include "tasks/span_corruption/span_corruption.h"
#include "tests/fuzz/input_file.h"
#include "tests/fuzz/reader.h"
#include "tests/temporary_folder.h"
#include "tools/recipes.h"
#include "tools/settings.h"

namespace gradus::fuzz {
namespace {

/// Where what was read is written again.
const TemporaryFolder& scratch() {
  static const TemporaryFolder folder;
  return folder;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  const auto size = static_cast<std::size_t>(a.numel()) * size_in_bytes(a.dtype());
  return size == 0 || std::memcmp(a.bytes(), b.bytes(), size) == 0;
}

void require_same(const nn::NamedTensors& a, const nn::NamedTensors& b) {
  require(a.size() == b.size(), "written and read again there are other tensors");
  for (std::size_t i = 0; i < a.size(); ++i)
    require(a[i].first == b[i].first && same_bits(a[i].second, b[i].second), "another tensor after it was written and read again: " + a[i].first);
}

// --- safetensors ---

void read_safetensors(std::string_view bytes) {
  const InputFile file(bytes);
  io::InputFile listed(file.path(), bytes.size());
  const io::SafetensorsContents contents = io::inspect_safetensors(listed);  // which lists more than can be read
  const io::SafetensorsFile read = io::read_safetensors(file.path());
  require(contents.metadata == read.metadata && contents.tensors.size() == read.tensors.size(), "other contents when they are listed");
  io::write_safetensors(scratch() / "again", read);
  const io::SafetensorsFile again = io::read_safetensors(scratch() / "again");
  require(read.metadata == again.metadata, "other metadata after they were written and read again");
  require_same(read.tensors, again.tensors);
}

std::vector<std::string> safetensors_seeds() {
  const std::string path = scratch() / "seed";
  io::SafetensorsFile file;
  file.metadata = {{"format", "pt"}, {"note", "caf\u00e9"}};
  file.tensors = {{"weight", ones({2, 3})}, {"scale", ones({}, DType::f64)}, {"mask", zeros({5}, DType::boolean)},
                  {"empty", zeros({0, 4}, DType::i64)}, {"half", ones({3}, DType::bf16)}, {"bytes", zeros({1, 1, 1}, DType::u8)}};
  io::write_safetensors(path, file);
  std::vector<std::string> seeds = {io::read_file(path)};
  io::write_safetensors(path, {});
  seeds.push_back(io::read_file(path));
  const std::string foreign = R"({"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})";
  seeds.push_back(std::string{char(foreign.size()), 0, 0, 0, 0, 0, 0, 0} + foreign + std::string(4, '\1'));
  return seeds;
}

// --- models ---

models::GptConfig small_config(models::Variant variant) {
  return {.variant = variant, .vocabulary_size = 5, .block_size = 4, .layers = variant == models::Variant::perceiver ? 3 : 1,
          .heads = 1, .width = 4, .latents = variant == models::Variant::perceiver ? 2 : 0, .dropout = {}};
}

void read_model(std::string_view bytes) {
  const InputFile file(bytes);
  const models::LoadedModel read = models::load_model(file.path(), "", 0);
  models::save_model(scratch() / "again", *read.model, read.vocabulary);
  const models::LoadedModel again = models::load_model(scratch() / "again", to_string(read.model->config().variant), 0);
  require(read.vocabulary == again.vocabulary, "another vocabulary after it was written and read again");
  require(nlohmann::json(read.model->config()) == nlohmann::json(again.model->config()), "another configuration after it was written and read again");
  require_same(read.model->named_parameters(), again.model->named_parameters());
}

std::vector<std::string> model_seeds() {
  std::vector<std::string> seeds;
  for (const auto variant : {models::Variant::vanilla, models::Variant::rope, models::Variant::synthesizer, models::Variant::perceiver}) {
    const models::Gpt model(small_config(variant), 1);
    models::save_model(scratch() / "seed", model, data::Vocabulary::from_text(U"ab\u00e9", "seed"), {{"trained", "never"}});
    seeds.push_back(io::read_file(scratch() / "seed"));
  }
  return seeds;
}

// --- checkpoints ---

/// What a checkpoint is of.
struct Run {
  models::Gpt model;
  optim::AdamW optimizer;
  Generator generator;
  explicit Run(std::uint64_t seed) : model(small_config(models::Variant::vanilla), seed), optimizer(model.named_parameters(), {}), generator(seed) {}
  static nlohmann::json settings() { return {{"corpus", "0123456789abcdef"}, {"max_epochs", 2}, {"pretrain_lr", 0.006}, {"shuffle", false}}; }
  nn::NamedTensors tensors() const {
    nn::NamedTensors all = model.named_parameters();
    for (const nn::NamedTensor& moment : optimizer.state()) all.push_back(moment);
    return all;
  }
};

void read_checkpoint(std::string_view bytes) {
  const InputFile file(bytes);
  const bool recognised = train::is_checkpoint(file.path());
  Run run(1), other(2);
  const train::Position position = train::load_checkpoint(file.path(), run.model, run.optimizer, run.generator, Run::settings()).position;
  require(recognised, "a checkpoint that loads and is not recognised");
  train::save_checkpoint(scratch() / "again", run.model, run.optimizer, run.generator, position, Run::settings());
  const train::Position again = train::load_checkpoint(scratch() / "again", other.model, other.optimizer, other.generator, Run::settings()).position;
  require(position.epoch == again.epoch && position.batch == again.batch && position.step == again.step && position.tokens == again.tokens,
          "another position after it was written and read again");
  require(run.generator.seed() == other.generator.seed() && run.generator.next_stream() == other.generator.next_stream() &&
              run.optimizer.step_count() == other.optimizer.step_count(),
          "another state after it was written and read again");
  require_same(run.tensors(), other.tensors());
}

std::vector<std::string> checkpoint_seeds() {
  Run run(3);
  for (int step = 0; step < 7; ++step) run.optimizer.count_step();
  const train::Position position{.epoch = 1, .batch = 2, .step = 7, .tokens = 700, .seconds = 0.5, .last_loss = 1.5};
  train::save_checkpoint(scratch() / "seed", run.model, run.optimizer, run.generator, position, Run::settings());
  return {io::read_file(scratch() / "seed")};
}

// --- texts ---

void read_corpus(std::string_view bytes) {
  const InputFile file(bytes);
  const tasks::Corpus corpus = tasks::load_corpus(file.path());
  std::u32string joined;
  for (const auto& document : corpus.documents) joined += (joined.empty() && &document == &corpus.documents.front() ? U"" : U"\n") + corpus.vocabulary.decode(document);
  require(joined == corpus.text, "documents that are not the corpus's lines");
  // A text that begins with a byte order mark has another in front of it in its file.
  io::write_file_atomically(scratch() / "again", (corpus.text.starts_with(U'\ufeff') ? "\ufeff" : "") + data::encode_utf8(corpus.text));
  const tasks::Corpus again = tasks::load_corpus(scratch() / "again");
  require(again.text == corpus.text && again.vocabulary == corpus.vocabulary && again.documents == corpus.documents,
          "another corpus after it was written and read again");
}

void read_character_text(std::string_view bytes) {
  const InputFile file(bytes);
  const tasks::CharacterText text(file.path(), 4, 2, 0);
  const data::Batch batch = text.batch(0, text.batches_per_epoch() - 1);
  require(batch.inputs.numel() > 0 && batch.inputs.numel() == batch.targets.numel(), "a last batch without examples");
}

std::vector<std::string> corpus_seeds() {
  return {"Khatchig Mouradian. Khatchig Mouradian is a journalist, writer and translator born in Lebanon .\n"
          "Jacob Henry Studer. Jacob Henry Studer (26 February 1840 Columbus, Ohio) was a printer.\n",
          "caf\u00e9 \u2014 \U0001F600\n\nno newline at the end"};
}

void read_questions(std::string_view bytes) {
  const InputFile file(bytes);
  const tasks::QuestionFile read = tasks::load_questions(file.path(), tasks::Places::optional);
  require(!read.questions.empty(), "a file without questions that was accepted");
  std::string text;
  std::int64_t line = 0;
  for (const tasks::Question& question : read.questions) {
    require(question.line > line, "questions that are not in the order of their lines");
    line = question.line;
    require(!question.text.empty() && question.place.empty() != read.has_places, "a question without its parts");
    text += data::encode_utf8(question.text) + (read.has_places ? "\t" + data::encode_utf8(question.place) : "") + "\n";
  }
  io::write_file_atomically(scratch() / "again", text);
  const tasks::QuestionFile again = tasks::load_questions(scratch() / "again", read.has_places ? tasks::Places::needed : tasks::Places::optional);
  require(again.questions.size() == read.questions.size() && again.notices.empty(), "other questions after they were written and read again");
  for (std::size_t i = 0; i < again.questions.size(); ++i)
    require(again.questions[i].text == read.questions[i].text && again.questions[i].place == read.questions[i].place,
            "another question after it was written and read again");
}

std::vector<std::string> question_seeds() {
  return {"Where was Khatchig Mouradian born?\tLebanon\nWhere was Jacob Studer born?\tColumbus\n",
          "Where was Ren\u00e9 born?\nWhere was A born?\n"};
}

void read_utf8(std::string_view bytes) {
  require(data::encode_utf8(data::decode_utf8(bytes, "origin")) == bytes, "other bytes after they were decoded and encoded");
}

void read_vocabulary(std::string_view bytes) {
  const data::Vocabulary vocabulary = data::Vocabulary::from_characters(data::decode_utf8(bytes, "origin"), "origin");
  require(data::encode_utf8(vocabulary.characters()) == bytes, "other characters than were given");
  require(vocabulary.decode(vocabulary.encode(vocabulary.characters(), "origin")) == vocabulary.characters(), "ids that are not one for each character");
}

void read_metrics(std::string_view bytes) {
  const std::string kept = train::metrics_before(std::string(bytes), 3);
  require(train::metrics_before(kept, 3) == kept, "lines that are kept once and not twice");
  std::size_t lines = 0;
  for (const char byte : kept) lines += byte == '\n';
  require(kept.empty() || (kept.back() == '\n' && lines > 0), "a line that does not end");
}

std::vector<std::string> metrics_seeds() {
  return {R"({"step":1,"epoch":1,"loss":3.5})" "\n" R"({"step":2,"epoch":1,"loss":null})" "\n" R"({"step":5,"loss":1e-3})" "\n" R"({"step":)"};
}

// --- settings ---

void read_settings(std::string_view bytes) {
  const InputFile file(bytes);
  const tools::Settings settings = tools::read_config(file.path());
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (const auto& [name, value] : settings) object[name] = value;
  require(tools::settings_of(object, "again").size() == object.size(), "settings that cannot be written");
}

std::vector<std::string> settings_seeds() {
  return {R"({"seed": 1, "max-epochs": 10, "dtype": "bf16", "shuffle": true, "pretrain_lr": 6e-3})",
          "# a run\nseed = 1\nmax_epochs=10  # few\ndtype = \"bf16\"\n\nshuffle = true\n"};
}

void read_recipe(std::string_view bytes) {
  const InputFile file(bytes);
  const tools::Settings from_scratch = tools::recipe_values(file.path(), "finetune", true);
  require(from_scratch.size() >= tools::recipe_values(file.path(), "finetune", false).size(), "fewer values from scratch");
  tools::recipe_values(file.path(), "pretrain", false);
}

std::vector<std::string> recipe_seeds() {
  return {R"({"about": "why", "pretrain": {"max_epochs": 650, "pretrain_lr": 6e-3}, "finetune": {"max_epochs": 10}, "finetune from scratch": {"max_epochs": 75}})",
          R"({"pretrain": {"shuffle": true, "decay": "standard", "warmup_tokens": "1%"}})"};
}

}  // namespace

std::vector<Reader> file_readers() {
  const std::string file = "/proc/self/fd/";
  return {{"safetensors", Form::safetensors, read_safetensors, file, safetensors_seeds},
          {"model", Form::safetensors, read_model, file, model_seeds},
          {"checkpoint", Form::safetensors, read_checkpoint, file, checkpoint_seeds},
          {"corpus", Form::text, read_corpus, file, corpus_seeds},
          {"character_text", Form::text, read_character_text, file, corpus_seeds},
          {"questions", Form::text, read_questions, file, question_seeds},
          {"utf8", Form::text, read_utf8, "origin", corpus_seeds},
          {"vocabulary", Form::text, read_vocabulary, "origin", [] { return std::vector<std::string>{"\u25a1\u2047\nabc \u00e9\u2014"}; }},
          {"metrics", Form::json, read_metrics, "", metrics_seeds},
          {"settings", Form::json, read_settings, file, settings_seeds},
          {"recipe", Form::json, read_recipe, file, recipe_seeds}};
}

}  // namespace gradus::fuzz
