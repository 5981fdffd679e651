// Room is looked at before a run begins; where it ends later, the last good state stands.
#include "framework/io/room.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include <optional>

#include "framework/base/error.h"
#include "tests/messages.h"
#include "tests/program.h"

using namespace gradus;
using Names = std::vector<std::string>;

namespace {

const std::string pretrain =
    "gradus pretrain vanilla ../corpus.txt --layers 2 --heads 2 --width 32 --block_size 64 --batch_size 4 "
    "--edition 2023 --max_epochs 1 --progress lines --writing_params_path m ";

/// A small world and, in `alone`, the model of a run that had room; `disk` is where a small file system goes.
const TemporaryFolder& world() {
  static TemporaryFolder folder;
  static const Outcome made = run_shell(
      folder, "gradus world . --train_people 12 --held_out_people 12 --places 4 && mkdir disk alone && cd alone && " + pretrain);
  REQUIRE_MESSAGE(made.status == 0, made.err);
  return folder;
}

std::uintmax_t model_size() { return std::filesystem::file_size(world() / "alone/m"); }

/// `script` on an empty file system of so many models' size; nothing where none can be mounted here.
std::optional<Outcome> on_small_disk(double models, const std::string& script) {
  if (run_shell(world(), "unshare --user --map-root-user --mount true").status != 0) {
    MESSAGE("skipped: no file system can be mounted here");
    return {};
  }
  const auto bytes = static_cast<std::uintmax_t>(models * static_cast<double>(model_size()));
  return run_shell(world(), "unshare --user --map-root-user --mount sh -c 'mount -t tmpfs -o size=" + std::to_string(bytes) +
                                " none disk && cd disk && " + script + "'");
}

const std::string is_whole = "cmp m ../alone/m && test \"$(ls)\" = m";

std::int64_t free_here(const TemporaryFolder& folder) {
  struct statvfs disk {};
  REQUIRE(::statvfs(folder.path.c_str(), &disk) == 0);
  return static_cast<std::int64_t>(disk.f_bfree) * static_cast<std::int64_t>(disk.f_frsize);
}

}  // namespace

TEST_CASE("what is planned is added up, old and new of a file at the same time") {
  const TemporaryFolder folder;
  const std::int64_t most = free_here(folder) / 10 * 6;
  const std::string a = folder / "a", b = folder / "b";
  CHECK(io::lacking_room({{a, most}}).empty());
  CHECK(io::lacking_room({{a, 1000}, {b, 1000}, {"", most}, {"", most}}).empty());
  for (const auto& writes : {std::vector<io::PlannedWrite>{{a, most}, {b, most}}, {{a, most}, {a, most}},
                             {{folder / "./a", most}, {b, 10}, {a, most}}}) {
    const std::vector<std::string> sentences = io::lacking_room(writes);
    REQUIRE(sentences.size() == 1);
    CHECK(has(sentences[0], "iB are free in " + folder.path.string()));
    CHECK(has(sentences[0], writes[0].path + " "));
  }
  CHECK(has(io::lacking_room({{a, std::int64_t{1} << 62}})[0], "a needs 4194304.0 TiB, "));
  // Written twice, one after the other: the first goes when the second is whole.
  CHECK(io::lacking_room({{a, most / 2}, {a, most / 2}, {a, most / 2}, {b, most / 2}}).empty());
  CHECK(io::lacking_room({{folder / "no folder/a", std::int64_t{1} << 62}}).empty());
}

TEST_CASE("a limit of file sizes is named") {
  const TemporaryFolder folder;
  CHECK(io::beyond_size_limit({{folder / "a", std::int64_t{1} << 62}}).empty());
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit narrow{65536, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &narrow);
  const auto sentences = io::beyond_size_limit({{"a", 65536}, {"b", 65537}, {"", 65537}});
  ::setrlimit(RLIMIT_FSIZE, &before);
  CHECK(sentences == Names{"b needs 64.0 KiB, and no file may grow beyond 64.0 KiB here (ulimit -f)"});
}

TEST_CASE("a run that does not fit on the disk is refused with numbers before it begins") {
  const auto outcome = on_small_disk(3.5, pretrain + "--metrics j; status=$?; ls -A; exit $status");
  if (!outcome) return;
  CHECK(outcome->status == 1);
  CHECK(has(outcome->err, "gradus: not enough room: m.checkpoint and m need "));
  CHECK(has(outcome->err, "disk; make room, or name another folder\n"));
  CHECK_FALSE(has(outcome->out, ".lock"));
}

TEST_CASE("files of two file systems are added up apart") {
  const auto outcome = on_small_disk(1.5, pretrain + "--checkpoint ../elsewhere && " + is_whole);
  if (!outcome) return;
  CHECK_MESSAGE(outcome->status == 0, outcome->err);
  const auto small = on_small_disk(0.5, pretrain + "--checkpoint ../elsewhere");
  CHECK(small->status == 1);
  CHECK(has(small->err, "gradus: not enough room: m needs "));
}

TEST_CASE("room for one checkpoint: a warning before, one for each that fails, and the model is whole") {
  const auto outcome = on_small_disk(5.2, pretrain + "--checkpoint_every 3 && " + is_whole);
  if (!outcome) return;
  CHECK_MESSAGE(outcome->status == 0, outcome->err);
  CHECK(has(outcome->err, "warning: room for one checkpoint and the model, but not to the end of the run: "));
  CHECK(has(outcome->err, "warning: no checkpoint after step 6: m.checkpoint: cannot be written: No space left on device"));
}

TEST_CASE("where the disk fills up while it runs, the last checkpoint stands, and the run goes on from it") {
  // The disk is filled as soon as there is a checkpoint; later ones fail, and so does the last, on SIGTERM (a shell has what runs in the background ignore SIGINT).
  const std::string fill =
      "(" + pretrain + "--max_epochs 100000 --checkpoint_every 3 2>err & run=$!; "
      "until test -e m.checkpoint; do sleep 0.01; done; cp m.checkpoint ../good; "
      "until grep -q \"no checkpoint after step\" err; do cat /dev/zero >>filler 2>/dev/null; sleep 0.05; done; "
      "kill -TERM $run; wait $run; echo status $?; cat err >&2; ls -A); "
      "rm filler; step=$(gradus inspect m.checkpoint | sed -n \"1s/.*after step \\([0-9]*\\).*/\\1/p\"); " + pretrain + "--max_epochs 100000 --resume --max_steps $((step + 20)) 2>../resumed || cat ../resumed >&2; "
      "test -e m && test -e m.checkpoint";
  const auto outcome = on_small_disk(8, fill);
  if (!outcome) return;
  CHECK_MESSAGE(outcome->status == 0, outcome->err);
  CHECK_MESSAGE(has(outcome->out, "status 1\n"), outcome->out);
  CHECK(has(outcome->err, "gradus: m.checkpoint: cannot be written: No space left on device"));
  CHECK_FALSE(has(outcome->out, ".partial"));
  CHECK_FALSE(has(outcome->out, ".lock"));
  CHECK(has(io::read_file(world() / "resumed"), "resumed from m.checkpoint: "));
}
