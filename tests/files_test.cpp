// Reading and writing files: what goes in comes out, nobody sees half of a file, and what cannot be done is said with the
// path and the reason.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <set>

#include "framework/base/error.h"
#include "framework/io/files.h"
#include "framework/io/input_file.h"
#include "tests/messages.h"
#include "tests/temporary_folder.h"

using namespace gradus;
using Names = std::vector<std::string>;

TEST_CASE("a file comes back byte for byte") {
  const TemporaryFolder folder;
  const std::string path = folder / "a file", bytes = std::string("zero \0 and \r\n\xff", 14);
  io::write_file_atomically(path, bytes);
  CHECK(io::read_file(path) == bytes);
  io::write_file_atomically(path, "");
  CHECK(io::read_file(path).empty());
  CHECK(folder.names() == Names{"a file"});
}

TEST_CASE("files that cannot be read are named with the reason") {
  const TemporaryFolder folder;
  const std::string missing = folder / "missing";
  CHECK(message_of<DataError>([&] { io::read_file(missing); }) == missing + ": cannot be read: No such file or directory");
  CHECK(message_of<DataError>([&] { io::read_file(folder.path); }) == folder.path.string() + ": is a folder, a file was expected");
  const std::string loop = folder / "loop";
  std::filesystem::create_symlink(loop, loop);
  CHECK(has(message_of<DataError>([&] { io::read_file(loop); }), loop + ": cannot be read: Too many levels of symbolic links"));
  // Opening it works, reading its first byte does not.
  CHECK(has(message_of<DataError>([] { io::read_file("/proc/self/mem"); }), "/proc/self/mem: cannot be read"));
}

TEST_CASE("a write that fails leaves the old file and no half of a new one") {
  const TemporaryFolder folder;
  const std::string path = folder / "kept";
  io::write_file_atomically(path, "old");

  SUBCASE("the writer throws") {
    CHECK(message_of<DataError>([&] {
            io::write_file_atomically(path, [](std::ostream& out) {
              out << "half";
              fail<DataError>("no more");
            });
          }) == "no more");
  }
  SUBCASE("the writer's stream fails") {
    CHECK(has(message_of<OutputError>(
                  [&] { io::write_file_atomically(path, [](std::ostream& out) { out.setstate(std::ios::badbit); }); }),
              path + ": cannot be written"));
  }
  SUBCASE("the disk takes no more") {  // as a full one would: no file may grow beyond 64 KiB
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    const rlimit narrow{65536, before.rlim_max};
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &narrow);
    const std::string text =
        message_of<OutputError>([&] { io::write_file_atomically(path, std::string(1 << 20, 'x')); });
    ::setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    CHECK(text == path + ": cannot be written: File too large");
  }
  CHECK(io::read_file(path) == "old");
  CHECK(folder.names() == Names{"kept"});
}

TEST_CASE("what a killed process left of a write goes with the next one") {
  const TemporaryFolder folder;
  const pid_t gone = ::fork();
  if (gone == 0) ::_exit(0);
  ::waitpid(gone, nullptr, 0);
  const std::string stale = fmt::format("model.{}.partial", gone), alive = fmt::format("model.{}.partial", ::getppid());
  for (const std::string& name : {stale, alive, std::string("model.mine.partial")}) io::write_file_atomically(folder / name, "half");
  io::write_file_atomically(folder / "model", "whole");
  CHECK(!std::filesystem::exists(folder / stale));
  CHECK(std::filesystem::exists(folder / alive));
  CHECK(std::filesystem::exists(folder / "model.mine.partial"));
}

TEST_CASE("a reader sees the old file or the new one, never a mixture") {
  const TemporaryFolder folder;
  const std::string path = folder / "file";
  io::write_file_atomically(path, "old");
  std::ifstream opened(path);
  io::write_file_atomically(path, [&](std::ostream& out) {
    out << "new" << std::flush;
    CHECK(io::read_file(path) == "old");
  });
  CHECK(io::read_file(path) == "new");
  std::string seen;
  opened >> seen;
  CHECK(seen == "old");
}

TEST_CASE("places that cannot be written to are named with the reason") {
  const TemporaryFolder folder;
  const std::string elsewhere = folder / "no/such/file", over_folder = folder.path, long_name = folder / std::string(300, 'n');
  CHECK(message_of<OutputError>([&] { io::write_file_atomically(elsewhere, "x"); }) ==
        elsewhere + ": cannot be written: No such file or directory");
  CHECK(has(message_of<OutputError>([&] { io::write_file_atomically(over_folder, "x"); }),
            over_folder + ": is a folder"));
  CHECK(has(message_of<OutputError>([&] { io::write_file_atomically(long_name, "x"); }), "File name too long"));
  CHECK(folder.names().empty());
}

TEST_CASE("an output path is judged before the work begins") {
  const TemporaryFolder folder;
  const std::string good = folder / "model", elsewhere = folder / "no/such/file", under_file = folder / "model/inside";
  io::require_writable(good);
  CHECK(folder.names().empty());  // judging writes nothing
  folder.write("model", "there");
  io::require_writable(good);
  CHECK(io::read_file(good) == "there");
  CHECK(has(message_of<UsageError>([&] { io::require_writable(elsewhere); }), "does not exist"));
  CHECK(has(message_of<UsageError>([&] { io::require_writable(under_file); }), "does not exist"));
  CHECK(has(message_of<UsageError>([&] { io::require_writable(folder.path); }), "is a folder"));
  CHECK(has(message_of<UsageError>([] { io::require_writable(""); }), "must not be empty"));
  CHECK(has(message_of<UsageError>([&] { io::require_writable(folder / std::string(300, 'n')); }), "File name too long"));
}

TEST_CASE("a device or pipe is not replaced by a file") {
  const TemporaryFolder folder;
  const std::string pipe = folder / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(message_of<UsageError>([&] { io::require_writable(pipe); }) == pipe + ": is not a regular file");
  CHECK(message_of<OutputError>([&] { io::write_file_atomically(pipe, "x"); }) == pipe + ": is not a regular file");
  CHECK(std::filesystem::is_fifo(pipe));
  CHECK(message_of<UsageError>([] { io::require_writable("/dev/null"); }) == "/dev/null: is not a regular file");
}

TEST_CASE("temporaries are private, under names that nobody can foresee, and no link is followed") {
  const TemporaryFolder folder;
  const std::string path = folder / "model";
  folder.write("victim", "precious");
  // Every name that an earlier version, or a guess, would have taken.
  for (int near = -50; near < 50; ++near) std::filesystem::create_symlink("victim", folder / fmt::format("model.{}.partial", ::getpid() + near));
  std::set<std::string> seen;
  for (int time = 0; time < 3; ++time) {
    io::write_file_atomically(path, [&](std::ostream& out) {
      out << "secret";
      for (const std::string& name : folder.names()) {
        struct stat info {};
        REQUIRE(::lstat((folder / name).c_str(), &info) == 0);
        if (name == "victim" || name == "model" || S_ISLNK(info.st_mode)) continue;
        CHECK((info.st_mode & 0777) == 0600);
        seen.insert(name);
      }
    });
  }
  CHECK(seen.size() == 3);
  CHECK(io::read_file(folder / "victim") == "precious");
  CHECK(io::read_file(path) == "secret");
  CHECK(!std::filesystem::is_symlink(path));
  CHECK(folder.names().size() == 102);
}

TEST_CASE("a file keeps the mode that it had; a new one has the usual one") {
  const TemporaryFolder folder;
  const auto mode_of = [&](const std::string& name) {
    struct stat info {};
    ::stat((folder / name).c_str(), &info);
    return info.st_mode & 07777;
  };
  for (const mode_t mask : {022u, 077u, 002u}) {
    const mode_t before = ::umask(mask);
    io::write_file_atomically(folder / fmt::format("new {}", mask), "x");
    CHECK(mode_of(fmt::format("new {}", mask)) == (0666 & ~mask));
    CHECK(::umask(before) == mask);
  }
  for (const mode_t mode : {0600u, 0644u, 0751u, 0660u}) {
    folder.write("old", "old");
    ::chmod((folder / "old").c_str(), mode);
    io::write_file_atomically(folder / "old", "new");
    CHECK(mode_of("old") == mode);
    CHECK(io::read_file(folder / "old") == "new");
  }
}

TEST_CASE("a write-protected file is not replaced, although its folder would allow it") {
  const TemporaryFolder folder;
  const std::string path = folder.write("model", "kept");
  ::chmod(path.c_str(), 0444);
  if (::geteuid() == 0) {  // to whom nothing is protected, here as everywhere
    io::require_writable(path);
    return;
  }
  CHECK(message_of<UsageError>([&] { io::require_writable(path); }) == path + ": is write-protected");
  CHECK(message_of<OutputError>([&] { io::write_file_atomically(path, "x"); }) == path + ": is write-protected");
  CHECK(io::read_file(path) == "kept");
  CHECK(folder.names() == Names{"model"});
}

TEST_CASE("a link is written through, and stays a link") {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder.path / "deep/er");
  const std::string target = folder.write("deep/target", "old");
  std::filesystem::create_symlink("deep/target", folder / "relative");
  std::filesystem::create_symlink(target, folder / "absolute");
  std::filesystem::create_symlink("../deep/er/../../relative", folder / "deep/chain");
  for (const std::string name : {"relative", "absolute", "deep/chain"}) {
    INFO(name);
    io::require_writable(folder / name);
    io::write_file_atomically(folder / name, name);
    CHECK(std::filesystem::is_symlink(folder / name));
    CHECK(!std::filesystem::is_symlink(target));
    CHECK(io::read_file(target) == name);
  }
  std::filesystem::create_symlink("deep/new", folder / "dangling");
  io::write_file_atomically(folder / "dangling", "made");
  CHECK(io::read_file(folder / "deep/new") == "made");
  CHECK(std::filesystem::is_symlink(folder / "dangling"));
}

TEST_CASE("links that lead nowhere, in a circle, to a folder or a device are refused and stay") {
  const TemporaryFolder folder;
  const std::pair<std::string, std::string> links[] = {{"circle", "circle"}, {"to there", "and back"}, {"and back", "to there"}, {"folder", "."},
                                                       {"device", "/dev/null"}, {"nowhere", "no/such/file"}, {"slash", "no such folder/"}};
  for (const auto& [name, target] : links) std::filesystem::create_symlink(target, folder / name);
  const std::pair<std::string, std::string> said[] = {{"circle", "Too many levels of symbolic links"}, {"to there", "Too many levels of symbolic links"},
                                                      {"folder", "is a folder"}, {"device", "is not a regular file"}, {"nowhere", "the folder " + (folder / "no/such") + " does not exist"},
                                                      {"slash", "does not exist"}};
  for (const auto& [name, why] : said) {
    const std::string path = folder / name;
    const std::string text = message_of<UsageError>([&] { io::require_writable(path); });
    CHECK_MESSAGE(has(text, path + ": "), text);
    CHECK_MESSAGE(has(text, why), text);
    CHECK(message_of<OutputError>([&] { io::write_file_atomically(path, "x"); }) != "no error");
    CHECK(std::filesystem::is_symlink(path));
  }
  CHECK(folder.names().size() == std::size(links));
  CHECK(has(message_of<UsageError>([] { io::require_writable("/proc/self/fd/1"); }), "is not a regular file"));
}

TEST_CASE("the longest names that there are, and names that are no UTF-8, are written") {
  const TemporaryFolder folder;
  std::string umlauts;
  while (umlauts.size() < 252) umlauts += "ä";
  for (const std::string& name : {std::string(255, 'n'), std::string(230, 'n'), umlauts, std::string("\xff\xfe not \x80"), std::string("-"), std::string("a\nb")}) {
    io::write_file_atomically(folder / name, [&](std::ostream& out) {
      out << "whole";
      CHECK(folder.names().size() == 1);
    });
    CHECK(folder.names() == Names{name});
    CHECK(io::read_file(folder / name) == "whole");
    std::filesystem::remove(folder / name);
  }
  CHECK(has(message_of<UsageError>([&] { io::require_writable(folder / "slash/"); }), "does not exist"));
  CHECK(has(message_of<OutputError>([&] { io::write_file_atomically(folder / std::string("a\0b", 3), "x"); }), "cannot hold a NUL"));
}

TEST_CASE("what is left of long names is removed as well; what is no file of ours is left alone") {
  const TemporaryFolder folder;
  const pid_t gone = ::fork();
  if (gone == 0) ::_exit(0);
  ::waitpid(gone, nullptr, 0);
  const std::string stem(255 - 32, 'n'), stale = fmt::format("{}.{}.0123abcd.partial", stem, gone);
  folder.write(stale, "half");
  std::filesystem::create_directory(folder / fmt::format("{}.{}.0123abce.partial", stem, gone));
  std::filesystem::create_symlink(".", folder / fmt::format("{}.{}.0123abcf.partial", stem, gone));
  for (const char* rest : {".0123abcg.partial", ".0123abcd.partial2", ".0123abc.partial", "0123abcd.partial"}) folder.write(fmt::format("{}.{}{}", stem, gone, rest), "not ours");
  io::write_file_atomically(folder / std::string(255, 'n'), "whole");
  CHECK(!std::filesystem::exists(folder / stale));
  CHECK(folder.names().size() == 1 + 2 + 4);
}

TEST_CASE("a folder that goes while a file is written leaves an error, nothing else") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "short-lived");
  const std::string path = folder / "short-lived/model";
  CHECK(message_of<OutputError>([&] { io::write_file_atomically(path, [&](std::ostream&) { std::filesystem::remove_all(folder / "short-lived"); }); }) ==
        path + ": cannot be written: No such file or directory");
  CHECK(folder.names().empty());
}

TEST_CASE("what has no end, or is larger than is allowed, is read to its limit, and named") {
  const TemporaryFolder folder;
  const std::string sparse = folder.write("sparse", "");
  REQUIRE(::truncate(sparse.c_str(), std::int64_t{1} << 40) == 0);
  CHECK(message_of<DataError>([&] { io::read_file(sparse); }) == sparse + ": holds 1,048,576 MiB, at most 2,048 MiB are read");
  const std::string small = folder.write("small", "12345");
  CHECK(io::read_file(small, 5) == "12345");
  CHECK(message_of<DataError>([&] { io::read_file(small, 4); }) == small + ": holds 5 bytes, at most 4 bytes are read");
  CHECK(message_of<DataError>([] { io::read_file("/dev/zero", 1 << 20); }) ==
        "/dev/zero: has no end within 1.0 MiB, more is not read of a pipe or device: give a file");
  CHECK(io::read_file("/dev/null").empty());
  CHECK(has(io::read_file("/proc/self/status"), "Umask:"));  // it says that it is empty
}

TEST_CASE("a pipe is read once, to its end or its limit") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t writer = ::fork();
  if (writer == 0) {
    ::close(ends[0]);
    std::signal(SIGPIPE, SIG_DFL);
    const std::string part(1000, 'x');
    for (int i = 0; i < 300; ++i) [[maybe_unused]] const ssize_t ignored = ::write(ends[1], part.data(), part.size());
    ::_exit(0);
  }
  ::close(ends[1]);
  const std::string path = fmt::format("/dev/fd/{}", ends[0]);
  SUBCASE("to its end") { CHECK(io::read_file(path) == std::string(300000, 'x')); }
  SUBCASE("to its limit") { CHECK(has(message_of<DataError>([&] { io::read_file(path, 200000); }), "has no end within 195 KiB")); }
  ::close(ends[0]);
  ::waitpid(writer, nullptr, 0);
}
