// Signals by the thousand change no bit of what is trained.
#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "framework/random/generator.h"
#include "tests/program.h"

using namespace gradus;

namespace {

constexpr int storm = 2000;

std::string pretrain(int width) {
  return "pretrain vanilla corpus.txt --layers 1 --heads 2 --block_size 96 --batch_size 8 --max_epochs 3 --edition 2023 "
         "--threads 2 --progress off --writing_params_path model --width " +
         std::to_string(width);
}

/// Asks a run to save until it ends.
/// Their number.
int send_until_the_end(Program& program, StreamReader& random) {
  int sent = 0;
  while (!program.has_ended()) {
    if (sent == 0 && !program.blocks(SIGUSR1)) continue;
    program.send(SIGUSR1);
    ++sent;
    std::this_thread::sleep_for(std::chrono::microseconds(random.next_integer(100, 1200)));
  }
  return sent;
}

}  // namespace

TEST_CASE("a storm of signals changes no bit, whatever the width") {
  const TemporaryFolder folder;
  REQUIRE(run_program(folder, words("world . --train_people 12 --held_out_people 12 --places 4")).status == 0);
  StreamReader random(1, 0);
  for (const int width : {64, 128, 256}) {
    std::filesystem::remove(folder / "model");
    REQUIRE(run_program(folder, words(pretrain(width))).status == 0);
    const std::string undisturbed = io::read_file(folder / "model");
    int sent = 0, runs = 0;
    for (; sent < storm; ++runs) {
      std::filesystem::remove(folder / "model");
      Program program(folder, gradus_command(words(pretrain(width))));
      sent += send_until_the_end(program, random);
      const Outcome outcome = program.wait();
      REQUIRE_MESSAGE(outcome.status == 0, "width ", width, " after ", sent, " signals: ", outcome.err);
      REQUIRE(io::read_file(folder / "model") == undisturbed);
    }
    MESSAGE("width ", width, ": ", sent, " signals in ", runs, " runs");
  }
}
