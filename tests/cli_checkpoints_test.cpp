// Those who stop early: checkpoints used as models, runs that go on to another end, models that were only pretrained.
#include <doctest/doctest.h>

#include "framework/io/safetensors.h"
#include "tests/workplace.h"

using namespace gradus;

namespace {

/// A long run, ended by a signal after its first checkpoint: the model is not there, its checkpoint is.
const std::string interrupted_run = "pretrain vanilla corpus.txt --writing_params_path stopped --max_epochs 2000" + tiny;

const TemporaryFolder& interrupted() {
  static bool ready = false;
  const TemporaryFolder& folder = workplace();
  if (ready) return folder;
  Program program(folder, gradus_command(words(interrupted_run + " --checkpoint_every 3")));
  while (!std::filesystem::exists(folder / "stopped.checkpoint") && !program.has_ended()) ::usleep(500);
  program.send(SIGINT);
  REQUIRE(program.wait().status == 130);
  ready = true;
  return folder;
}

std::int64_t steps_of(const TemporaryFolder& folder, const std::string& checkpoint) {
  return nlohmann::json::parse(io::read_safetensors(folder / checkpoint).metadata.at("state")).at("step");
}

}  // namespace

TEST_CASE("a checkpoint is a model: the same one that a run of as many steps writes") {
  const TemporaryFolder& folder = interrupted();
  const std::string steps = std::to_string(steps_of(folder, "stopped.checkpoint"));
  const std::string said = "stopped.checkpoint: a checkpoint after step " + steps + " of ";
  std::string whole = interrupted_run + " --max_steps " + steps;
  whole.replace(whole.find("stopped"), 7, "ended");
  must_run(folder, whole);
  const auto scored = [&](const std::string& model) {
    const Outcome outcome = run_program(
        folder, words("evaluate vanilla corpus.txt --eval_corpus_path held_out.tsv --outputs_path of_checkpoint "
                      "--reading_params_path " + model));
    CHECK_MESSAGE(outcome.status == 0, outcome.err);
    CHECK(has(outcome.err, "note: " + model + " was pretrained, not finetuned: it was never shown questions"));
    CHECK(has(outcome.err, ", used as a model\n") == model.ends_with("checkpoint"));
    return std::pair(outcome, outcome.out + io::read_file(folder / "of_checkpoint"));
  };
  const auto [of_checkpoint, answers] = scored("stopped.checkpoint");
  CHECK(of_checkpoint.err.starts_with("note: " + said));
  CHECK(answers == scored("ended").second);
  const std::string prompt = " --prompt a --max_new 20 --temperature 0";
  const Outcome sample = run_program(folder, words("sample stopped.checkpoint" + prompt));
  CHECK(sample.out == run_program(folder, words("sample ended" + prompt)).out);
  CHECK(sample.err.starts_with("note: " + said));
  CHECK(line_count(sample.err) == 1);
  const Outcome inspected = run_program(folder, words("inspect stopped.checkpoint"));
  CHECK(inspected.out.starts_with(said));
  CHECK(has(inspected.out, "variant: vanilla"));
  CHECK(has(inspected.out, "vocabulary: "));
  const std::string further = "finetune vanilla corpus.txt --finetune_corpus_path train.tsv --max_epochs 1 --progress off ";
  const Outcome finetuned =
      run_program(folder, words(further + "--reading_params_path stopped.checkpoint --writing_params_path further"));
  CHECK_MESSAGE(finetuned.status == 0, finetuned.err);
  must_run(folder, further + "--reading_params_path ended --writing_params_path further.of_model");
  CHECK(io::read_safetensors(folder / "further").tensors.size() > 10);
  const auto first = [&](const std::string& name) {
    return io::read_safetensors(folder / name).tensors.front().second.to_vector<float>();
  };
  CHECK(first("further") == first("further.of_model"));
  const Outcome answered = run_program(folder, words("evaluate vanilla --reading_params_path further --eval_corpus_path "
                                                     "held_out.tsv --outputs_path of_checkpoint"));
  CHECK(answered.err.find("pretrained, not finetuned") == std::string::npos);
}

TEST_CASE("what is no model, though it is a checkpoint or one is beside it") {
  const TemporaryFolder& folder = interrupted();
  io::SafetensorsFile old = io::read_safetensors(folder / "stopped.checkpoint");
  for (const std::string key : {"config", "variant", "vocabulary", "function"}) old.metadata.erase(key);
  io::write_safetensors(folder / "old.checkpoint", old);
  io::SafetensorsFile stateless = io::read_safetensors(folder / "stopped.checkpoint");
  stateless.metadata["state"] = "{}";
  io::write_safetensors(folder / "stateless.checkpoint", stateless);
  const std::string answers = evaluate + " --eval_corpus_path held_out.tsv --reading_params_path ";
  check_refusals({
      {answers + "old.checkpoint", 3,
       "written by an older version: without configuration and vocabulary it is no model; it can be resumed"},
      {"sample old.checkpoint --prompt a", 3, "without configuration and vocabulary it is no model"},
      {answers + "stateless.checkpoint", 3, "stateless.checkpoint: its state is damaged"},
      {"evaluate rope --outputs_path new --eval_corpus_path held_out.tsv --reading_params_path stopped.checkpoint", 3,
       "stopped.checkpoint: holds a model of the variant 'vanilla', not 'rope'"},
      {answers + "stopped", 3,
       "stopped: no such file; stopped.checkpoint is there, of a run that has not ended, and can be used in its place"},
      {"finetune vanilla corpus.txt --finetune_corpus_path train.tsv --reading_params_path stopped.checkpoint "
       "--writing_params_path stopped",
       2, "--checkpoint and --reading_params_path are the same file"},
  });
}

TEST_CASE("a run goes on to more epochs, as one that was meant to have them, where its schedule is the same") {
  const TemporaryFolder& folder = workplace();
  const std::string fixed = "pretrain vanilla corpus.txt --final_tokens 1m --warmup_tokens 100" + tiny;
  must_run(folder, fixed + " --writing_params_path straight --max_epochs 5");
  const std::string line = fixed + " --writing_params_path extended";
  must_run(folder, line + " --max_epochs 2 --keep_checkpoint");
  const std::string two = io::read_file(folder / "extended");
  const Outcome complete = run_program(folder, words(line + " --max_epochs 2 --resume"));
  CHECK(complete.status == 0);
  CHECK(has(complete.err, "extended is complete, with these settings: nothing to resume"));
  check_refusals({{line + " --max_epochs 5 --resume", 2,
                   "extended.checkpoint: the run was to have 2 epochs, not 5: pass --extend too if it is to go on to "
                   "there; the learning rate's course is the same"},
                  {line + " --max_epochs 1 --resume --extend", 2, "cannot resume with another --max_epochs: it was 2"}});
  CHECK(io::read_file(folder / "extended") == two);
  const Outcome extended = run_program(folder, words(line + " --max_epochs 3 --resume --extend --keep_checkpoint"));
  REQUIRE_MESSAGE(extended.status == 0, extended.err);
  CHECK(has(extended.err, " from 2 to 3 epochs: the learning rate's course is the same\n"));
  must_run(folder, line + " --max_epochs 5 --resume --extend");
  CHECK(io::read_file(folder / "extended") == io::read_file(folder / "straight"));
  CHECK(!std::filesystem::exists(folder / "extended.checkpoint"));
  check_refusals({{line + " --max_epochs 9 --resume --extend", 2,
                   "extended is complete with its 5 epochs, and its checkpoint is gone: it cannot be extended to 9; "
                   "--force starts anew, and --keep_checkpoint keeps what --extend needs"}});
}

TEST_CASE("what another end changes in the schedule is said, and how many steps were done does not matter") {
  const TemporaryFolder& folder = workplace();
  const std::string line = "finetune vanilla corpus.txt --finetune_corpus_path train.tsv --writing_params_path longer "
                           "--final_tokens all" + tiny;
  const Outcome early = run_program(folder, words(line + " --max_epochs 4 --max_steps 2"));
  CHECK(has(early.err, "kept longer.checkpoint: --resume goes on from there\n"));
  const std::string change = "the learning rate is ";
  const Outcome refused = run_program(folder, words(line + " --max_epochs 8 --resume"));
  CHECK(refused.status == 2);
  CHECK(has(refused.err, "longer.checkpoint: the run was to have 4 epochs, not 8: pass --extend too"));
  CHECK(has(refused.err, change));
  CHECK(line_count(refused.err) == 1);
  const Outcome extended = run_program(folder, words(line + " --max_epochs 8 --resume --extend --json longer.json"));
  CHECK_MESSAGE(extended.status == 0, extended.err);
  CHECK(has(extended.err, "extended after step 2 from 4 to 8 epochs: " + change));
  CHECK(has(extended.err, " tokens, not "));
  CHECK(nlohmann::json::parse(io::read_file(folder / "longer.json")).at("steps") == 8);
  CHECK(!std::filesystem::exists(folder / "longer.checkpoint"));
}
