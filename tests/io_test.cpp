// Files, the safetensors format, UTF-8, the vocabulary and batches: what goes in comes out, and whatever is damaged is
// refused with a sentence that names it.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>
#include <fstream>

#include "framework/base/error.h"
#include "framework/data/batch.h"
#include "framework/data/utf8.h"
#include "framework/data/vocabulary.h"
#include "framework/io/files.h"
#include "framework/io/safetensors.h"
#include "framework/random/generator.h"
#include "framework/tensor/creation.h"
#include "tests/messages.h"
#include "tests/temporary_folder.h"

using namespace gradus;
using Names = std::vector<std::string>;

namespace {

void put(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

/// The bytes of a safetensors file with this header, its length in front.
std::string file_of(const std::string& header, const std::string& data = "") {
  const std::uint64_t size = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &size, 8);
  return bytes + header + data;
}

std::string bytes_of(const Tensor& tensor) {
  return {static_cast<const char*>(tensor.bytes()), static_cast<std::size_t>(tensor.numel()) * size_in_bytes(tensor.dtype())};
}

io::SafetensorsFile example_file() {
  Generator generator(7);
  io::SafetensorsFile file;
  file.metadata = {{"config", R"({"layers": 4})"}, {"vocabulary", "□⁇\n é"}};
  file.tensors = {{"blocks.0.weight", random_normal({3, 5}, generator)}, {"step", from_values({2}, std::vector<std::int64_t>{-1, 1LL << 40})}};
  return file;
}

}  // namespace

// ---- files ----

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
  put(good, "there");
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

// ---- safetensors ----

TEST_CASE("tensors of every dtype and shape come back bit for bit") {
  const TemporaryFolder folder;
  const std::string path = folder / "t.safetensors";
  Generator generator(1);
  io::SafetensorsFile file;
  for (DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    file.tensors.emplace_back(fmt::format("normal {}", to_string(dtype)), random_normal({3, 7}, generator, dtype));
    file.tensors.emplace_back(fmt::format("scalar {}", to_string(dtype)), scalar(-0.0, dtype));
    file.tensors.emplace_back(fmt::format("not numbers {}", to_string(dtype)), from_values({3}, std::vector<double>{NAN, INFINITY, -INFINITY}, dtype));
  }
  for (DType dtype : {DType::i64, DType::i32, DType::u8}) file.tensors.emplace_back(fmt::format("integers {}", to_string(dtype)), arange(5, dtype));
  file.tensors.emplace_back("truths", from_values({2, 1, 2}, std::vector<double>{1, 0, 0, 1}, DType::boolean));
  file.tensors.emplace_back("empty", zeros({4, 0}, DType::f64));
  file.tensors.emplace_back("eight axes", ones({1, 2, 1, 1, 3, 1, 1, 1}));
  file.tensors.emplace_back("", ones({1}));  // a name all the same
  const Tensor matrix = random_normal({4, 6}, generator);
  file.tensors.emplace_back("transposed", matrix.window({6, 4}, {1, 6}, 0));
  file.metadata = {{"format", "test"}, {"text", "line\n\"quoted\" □"}, {"empty", ""}};
  io::write_safetensors(path, file);
  const io::SafetensorsFile back = io::read_safetensors(path);
  CHECK(back.metadata == file.metadata);
  REQUIRE(back.tensors.size() == file.tensors.size());
  for (std::size_t i = 0; i < file.tensors.size(); ++i) {
    const auto& [name, tensor] = file.tensors[i];
    INFO(name);
    CHECK(back.tensors[i].first == name);
    CHECK(back.tensors[i].second.spec() == tensor.spec());
    if (name != "transposed") CHECK(bytes_of(back.tensors[i].second) == bytes_of(tensor));
    else CHECK(back.tensors[i].second.to_vector<float>() == tensor.to_vector<float>());
  }
  CHECK(back.find("integers i64").to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 1, 2, 3, 4});
  CHECK_FALSE(back.find("absent").defined());
  CHECK(back.require("format", path) == "test");
  CHECK(has(message_of<DataError>([&] { back.require("variant", path); }), path + ": the metadata has no 'variant'"));
}

TEST_CASE("the same content gives the same bytes, and the bytes are the format") {
  const TemporaryFolder folder;
  const std::string first = folder / "1", second = folder / "2", third = folder / "3";
  io::write_safetensors(first, example_file());
  io::write_safetensors(second, example_file());
  io::write_safetensors(third, io::read_safetensors(first));
  const std::string bytes = io::read_file(first);
  CHECK(io::read_file(second) == bytes);
  CHECK(io::read_file(third) == bytes);
  std::uint64_t header_size;
  std::memcpy(&header_size, bytes.data(), 8);
  CHECK(header_size % 8 == 0);
  CHECK(bytes[8] == '{');
  CHECK(bytes.size() == 8 + header_size + 3 * 5 * 4 + 2 * 8);
  CHECK(has(bytes, R"("blocks.0.weight":{"dtype":"F32","shape":[3,5],"data_offsets":[0,60]})"));
  CHECK(has(bytes, R"("step":{"dtype":"I64","shape":[2],"data_offsets":[60,76]})"));
}

TEST_CASE("files of other programs: no checksum, no metadata, header in another order, trailing spaces") {
  const TemporaryFolder folder;
  const std::string path = folder / "foreign";
  const float values[] = {1.5f, -2.0f};
  const std::string data(reinterpret_cast<const char*>(values), 8);
  put(path, file_of(R"({"b":{"shape":[],"data_offsets":[4,8],"dtype":"F32"},"a":{"data_offsets":[0,4],"dtype":"F32","shape":[1,1]}}    )", data));
  const io::SafetensorsFile file = io::read_safetensors(path);
  CHECK(file.metadata.empty());
  REQUIRE(file.tensors.size() == 2);
  CHECK(file.tensors[0].first == "a");  // in the order of their bytes
  CHECK(file.tensors[0].second.shape() == Shape{1, 1});
  CHECK(file.find("a").item() == 1.5);
  CHECK(file.find("b").item() == -2.0);
  put(path, file_of("{}"));
  CHECK(io::read_safetensors(path).tensors.empty());
}

TEST_CASE("two tensors of one name, or text that is not UTF-8, are not written") {
  const TemporaryFolder folder;
  const std::string path = folder / "f";
  CHECK(has(message_of<ContractError>([&] { io::write_safetensors(path, {{}, {{"w", ones({1})}, {"w", ones({1})}}}); }), "two tensors are named 'w'"));
  CHECK(has(message_of<ContractError>([&] { io::write_safetensors(path, {{{"note", "\xff"}}, {}}); }), "'note' is not UTF-8"));
  CHECK(folder.names().empty());
}

TEST_CASE("every malformed file is refused with its path and what is wrong") {
  const TemporaryFolder folder;
  const std::string path = folder / "broken.safetensors";
  const std::string four(4, '\0'), eight(8, '\0');
  const auto with_length = [](std::uint64_t length, const std::string& rest) {
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &length, 8);
    return bytes + rest;
  };
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"a":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  const std::string huge = "18446744073709551615", exabyte = "1152921504606846976";
  struct Case {
    std::string what, bytes, expected;
  };
  const std::vector<Case> cases = {
      {"empty", "", "0 bytes are too few for a header"},
      {"seven bytes", "1234567", "7 bytes are too few for a header"},
      {"a text", "Once upon a time there was a file", "a header of"},
      {"header longer than the file", with_length(100, "{}"), "a header of 100 bytes is announced, 2 bytes follow"},
      {"absurd header", with_length(UINT64_MAX, "{}"), "a header of 18446744073709551615 bytes is announced"},
      {"length that wraps around", with_length(UINT64_MAX - 7, "{}"), "is announced, 2 bytes follow"},
      {"no header", with_length(0, ""), "not JSON"},
      {"not JSON", file_of("{\"a\":"), "not JSON"},
      {"not UTF-8", file_of("{\"\xff\":{}}"), "not JSON"},
      {"JSON with something behind", file_of("{} {}"), "not JSON"},
      {"a list", file_of("[]"), "not a JSON object"},
      {"a number", file_of("17"), "not a JSON object"},
      {"null", file_of("null"), "not a JSON object"},
      {"entry is a number", file_of(R"({"a":1})"), "tensor 'a' has no complete description"},
      {"entry is empty", file_of(R"({"a":{}})"), "tensor 'a' has no complete description"},
      {"no shape", file_of(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", four), "tensor 'a' has no complete description"},
      {"dtype is a number", file_of(entry("32", "[1]", "[0,4]"), four), "tensor 'a' has no complete description"},
      {"shape is a number", file_of(entry("\"F32\"", "1", "[0,4]"), four), "tensor 'a' has no complete description"},
      {"one offset", file_of(entry("\"F32\"", "[1]", "[0]"), four), "tensor 'a' has no complete description"},
      {"three offsets", file_of(entry("\"F32\"", "[1]", "[0,4,8]"), four), "tensor 'a' has no complete description"},
      {"unknown dtype", file_of(entry("\"F8_E4M3\"", "[4]", "[0,4]"), four), "has the dtype F8_E4M3, which is not supported"},
      {"nine axes", file_of(entry("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), four), "has 9 axes, at most 8"},
      {"negative size", file_of(entry("\"F32\"", "[-1]", "[0,4]"), four), "has an impossible shape [-1]"},
      {"half a size", file_of(entry("\"F32\"", "[0.5]", "[0,4]"), four), "has an impossible shape [0.5]"},
      {"size beyond 63 bits", file_of(entry("\"F32\"", "[" + huge + "]", "[0,4]"), four), "has an impossible shape"},
      {"size beyond 64 bits", file_of(entry("\"F32\"", "[1e30]", "[0,4]"), four), "has an impossible shape"},
      {"size is a string", file_of(entry("\"F32\"", "[\"1\"]", "[0,4]"), four), "has an impossible shape"},
      {"negative offset", file_of(entry("\"F32\"", "[1]", "[-4,0]"), four), "has impossible offsets"},
      {"offset is a string", file_of(entry("\"F32\"", "[1]", "[0,\"4\"]"), four), "has impossible offsets"},
      {"end before begin", file_of(entry("\"F32\"", "[1]", "[4,0]"), four), "lies at bytes 4..0"},
      {"end outside", file_of(entry("\"F32\"", "[2]", "[0,8]"), four), "lies at bytes 0..8, but the file holds 4 bytes of data"},
      {"end far outside", file_of(entry("\"F32\"", "[1]", "[0," + huge + "]"), four), "but the file holds 4 bytes of data"},
      {"too small for the shape", file_of(entry("\"F32\"", "[2]", "[0,4]"), four), "of shape [2] F32 does not fill its 4 bytes"},
      {"too large for the shape", file_of(entry("\"F32\"", "[]", "[0,8]"), eight), "of shape [] F32 does not fill its 8 bytes"},
      {"huge shape", file_of(entry("\"F32\"", "[" + exabyte + "]", "[0,4]"), four), "does not fill its 4 bytes"},
      {"product that wraps to zero", file_of(entry("\"F32\"", "[4294967296,4294967296]", "[0,0]")), "does not fill its 0 bytes"},
      {"bytes that wrap to zero", file_of(entry("\"F32\"", "[4611686018427387904]", "[0,0]")), "does not fill its 0 bytes"},
      {"product that wraps before a zero", file_of(entry("\"F32\"", "[4611686018427387904,4611686018427387904,0]", "[0,0]")), "does not fill its 0 bytes"},
      {"product that wraps behind a zero", file_of(entry("\"F32\"", "[0,4611686018427387904,4611686018427387904]", "[0,0]")), "does not fill its 0 bytes"},
      {"overlap", file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})", four + "12"),
       "tensor 'b' begins at byte 2, expected 4: tensors overlap or leave holes"},
      {"same bytes twice", file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four),
       "tensor 'b' begins at byte 0, expected 4"},
      {"hole", file_of(entry("\"F32\"", "[1]", "[4,8]"), eight), "tensor 'a' begins at byte 4, expected 0"},
      {"bytes behind", file_of(entry("\"F32\"", "[1]", "[0,4]"), eight), "4 bytes follow the last tensor"},
      {"name twice", file_of(R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four),
       "the tensor 'a' is there twice"},
      {"empty name twice", file_of(R"({"":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four),
       "the tensor '' is there twice"},
      {"metadata is a list", file_of(R"({"__metadata__":[]})"), "its metadata is not a JSON object"},
      {"metadata value is a number", file_of(R"({"__metadata__":{"step":3}})"), "the metadata 'step' is not a string"},
      {"wrong checksum", file_of(R"({"__metadata__":{"checksum":"0000000000000000"}})"), "the checksum does not match"},
      {"neither true nor false", file_of(entry("\"BOOL\"", "[2]", "[0,2]"), "\1\2"), "tensor 'a' holds a byte that is neither 0 nor 1"},
      {"deep nesting", file_of(std::string(1 << 20, '[')), "nested too deeply"},
      {"deep nesting, closed", file_of(std::string(1 << 20, '[') + std::string(1 << 20, ']')), "nested too deeply"},
      {"deep nesting in a shape", file_of(entry("\"F32\"", std::string(1 << 20, '[') + std::string(1 << 20, ']'), "[0,4]"), four), "nested too deeply"},
  };
  for (const Case& broken : cases) {
    INFO(broken.what);
    put(path, broken.bytes);
    const std::string text = message_of<DataError>([&] { io::read_safetensors(path); });
    CHECK(text.substr(0, path.size() + 2) == path + ": ");
    CHECK_MESSAGE(has(text, broken.expected), text.substr(0, 300));
    CHECK(text.size() < 500);
  }
}

TEST_CASE("a header of many names is read in a time that grows with their number, not its square") {
  const TemporaryFolder folder;
  const std::string path = folder / "many";
  std::string header = "{";
  for (int i = 0; i < 100000; ++i) header += (i ? ",\"" : "\"") + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  put(path, file_of(header + "}"));
  const auto start = std::chrono::steady_clock::now();
  CHECK(io::read_safetensors(path).tensors.size() == 100000);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(30));  // a scan for each name took minutes
}

TEST_CASE("a file cut short anywhere is refused") {
  const TemporaryFolder folder;
  const std::string path = folder / "whole", cut = folder / "cut";
  io::write_safetensors(path, example_file());
  const std::string bytes = io::read_file(path);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    put(cut, bytes.substr(0, size));
    CHECK_MESSAGE(has(message_of<DataError>([&] { io::read_safetensors(cut); }), cut + ": "), size);
  }
}

TEST_CASE("every flipped bit of the data is noticed; one of the header never does worse than an error") {
  const TemporaryFolder folder;
  const std::string path = folder / "whole", damaged = folder / "damaged";
  io::write_safetensors(path, example_file());
  const std::string bytes = io::read_file(path);
  std::uint64_t header_size;
  std::memcpy(&header_size, bytes.data(), 8);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string changed = bytes;
    changed[bit / 8] ^= static_cast<char>(1 << bit % 8);
    put(damaged, changed);
    std::string text = "read";
    try {
      io::read_safetensors(damaged);
    } catch (const DataError& error) {
      text = error.what();
    }
    if (bit / 8 >= 8 + header_size) CHECK_MESSAGE(has(text, "the checksum does not match"), bit);
    if (bit / 8 < 8) CHECK_MESSAGE(text != "read", bit);
  }
}

TEST_CASE("the checksum: 64-bit FNV-1a over words, then the bytes that are left") {
  CHECK(io::checksum("", 0) == "cbf29ce484222325");
  CHECK(io::checksum("a", 1) == "af63dc4c8601ec8c");  // below eight bytes it is the well-known function
  CHECK(io::checksum("foobar", 6) == "85944171f73967e8");
  CHECK(io::checksum("12345678", 8) != io::checksum("12345679", 8));
}

// ---- UTF-8 ----

TEST_CASE("all code points go to UTF-8 and back") {
  std::u32string all;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c < 0xD800 || c >= 0xE000) all.push_back(c);
  }
  CHECK(data::decode_utf8(data::encode_utf8(all), "all") == all);
  CHECK(data::encode_utf8(U"aé□𝄞") == "a\xC3\xA9\xE2\x96\xA1\xF0\x9D\x84\x9E");
}

TEST_CASE("invalid UTF-8 is refused with line and byte") {
  const std::string starts[] = {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC3", "\xC3(", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xE2\x96", "\xED\xA0\x80",
                                "\xED\xBF\xBF", "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\xF0\x9D\x84", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFE", "\xFF"};
  for (const std::string& bytes : starts) {
    CHECK(message_of<DataError>([&] { data::decode_utf8("one\ntwo é " + bytes, "f.txt"); }) == "f.txt: line 2: invalid UTF-8 at byte 11");
    CHECK(has(message_of<DataError>([&] { data::decode_utf8(bytes + "\nrest", "f.txt"); }), "f.txt: line 1: invalid UTF-8 at byte 0"));
  }
}

TEST_CASE("characters are described by number, and by themselves where that is harmless") {
  CHECK(data::describe_character(U'é') == "'é' (U+00E9)");
  CHECK(data::describe_character(U'𝄞') == "'𝄞' (U+1D11E)");
  CHECK(data::describe_character(U'\n') == "U+000A");
  CHECK(data::describe_character(0x7F) == "U+007F");
  CHECK(data::describe_character(0x9B) == "U+009B");  // begins a terminal's escape sequence
}

// ---- vocabulary ----

TEST_CASE("ids: pad, mask, then the characters of the text by code point") {
  const data::Vocabulary vocabulary = data::Vocabulary::from_text(U"béa\nab", "t");
  CHECK(vocabulary.size() == 6);
  CHECK(vocabulary.characters() == U"□⁇\nabé");
  CHECK(vocabulary.encode(U"□⁇abé\n", "t") == std::vector<std::int64_t>{0, 1, 3, 4, 5, 2});
  CHECK(vocabulary.decode({5, 0, 2}) == U"é□\n");
  CHECK(vocabulary.encode(U"", "t").empty());
  CHECK(vocabulary.contains(U'b'));
  CHECK_FALSE(vocabulary.contains(U'c'));
  CHECK(data::Vocabulary::from_text(U"", "t").size() == 2);
  CHECK(data::Vocabulary::from_characters(vocabulary.characters(), "t") == vocabulary);
}

TEST_CASE("what a vocabulary cannot hold is named with its place") {
  const data::Vocabulary vocabulary = data::Vocabulary::from_text(U"abc\n", "t");
  CHECK(message_of<DataError>([&] { vocabulary.encode(U"a\nb\nß", "q.tsv"); }) == "q.tsv: line 3: the character 'ß' (U+00DF) is not in the vocabulary");
  CHECK(has(message_of<DataError>([&] { vocabulary.encode(U"ß", "q.tsv", 7); }), "q.tsv: line 7:"));
  CHECK(message_of<DataError>([] { data::Vocabulary::from_text(U"one\ntwo ⁇", "w.txt"); }) ==
        "w.txt: line 2: the text holds the reserved character '⁇' (U+2047)");
  CHECK(has(message_of<DataError>([] { data::Vocabulary::from_text(U"□", "w.txt"); }), "line 1: the text holds the reserved character '□' (U+25A1)"));
  CHECK(has(message_of<ContractError>([&] { vocabulary.decode({0, 6}); }), "id 6 is outside the vocabulary of 6 characters"));
  CHECK(has(message_of<ContractError>([&] { vocabulary.decode({-1}); }), "id -1 is outside"));
  for (const char32_t* characters : {U"", U"□", U"⁇□ab", U"abc"}) {
    CHECK(has(message_of<DataError>([&] { data::Vocabulary::from_characters(characters, "m"); }), "m: the vocabulary does not begin with the two reserved"));
  }
  CHECK(has(message_of<DataError>([] { data::Vocabulary::from_characters(U"□⁇aba", "m"); }), "m: the vocabulary repeats a character"));
}

TEST_CASE("a model and a corpus of different vocabularies do not go together") {
  const data::Vocabulary of_model = data::Vocabulary::from_text(U"abc", "m"), same = data::Vocabulary::from_text(U"cba", "c");
  data::require_same_vocabulary(of_model, same, "m.params", "c.txt");
  const data::Vocabulary other = data::Vocabulary::from_text(U"abxy", "c");
  CHECK(message_of<DataError>([&] { data::require_same_vocabulary(of_model, other, "m.params", "c.txt"); }) ==
        "c.txt: not the corpus that m.params was trained with: its vocabulary differs (6 characters against 5; 'x' (U+0078) is new; 'c' (U+0063) is missing)");
}

// ---- batches ----

TEST_CASE("padding at the end of an example is left out, and counted all the same") {
  const data::Batch batch = data::collate({{{5, 6, 0, 0, 0}, {0, 7, 0, 0, 0}}, {{5, 0, 0, 0, 0}, {0, 0, 8, 0, 0}}});
  CHECK(batch.inputs.spec() == TensorSpec{{1, 5}, DType::i64});
  CHECK(batch.lengths == std::vector<std::int64_t>{2, 3});
  CHECK(batch.inputs.to_vector<std::int64_t>() == std::vector<std::int64_t>{5, 6, 5, 0, 0});
  CHECK(batch.targets.to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 7, 0, 0, 8});
  CHECK(batch.counted_tokens == 10);
  const data::Batch padded = data::collate({{{0, 0}, {0, 0}}});
  CHECK(padded.inputs.shape() == Shape{1, 1});
  CHECK(padded.counted_tokens == 2);
  CHECK(data::collate({{{0, 1}, {0, 0}}}).inputs.shape() == Shape{1, 2});
  CHECK(has(message_of<ContractError>([] { data::collate({}); }), "at least one example"));
  CHECK(batch.predicted == 2);
  const std::vector<data::Batch> halves = data::split(batch, 2);
  REQUIRE(halves.size() == 2);
  CHECK(halves[0].inputs.to_vector<std::int64_t>() == std::vector<std::int64_t>{5, 6});
  CHECK(halves[1].targets.to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 0, 8});
  CHECK(halves[1].lengths == std::vector<std::int64_t>{3});
  CHECK(halves[0].predicted + halves[1].predicted == 2);
  CHECK(data::split(batch, 7).size() == 2);
  CHECK(data::split(batch, 1)[0].lengths == batch.lengths);
  const data::Batch rows = data::padded(batch, data::Padding::to_full_length);
  CHECK(rows.inputs.shape() == Shape{2, 5});
  CHECK(rows.inputs.to_vector<std::int64_t>() == std::vector<std::int64_t>{5, 6, 0, 0, 0, 5, 0, 0, 0, 0});
  CHECK(rows.targets.to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 7, 0, 0, 0, 0, 0, 8, 0, 0});
  CHECK(rows.lengths.empty());
  CHECK(rows.predicted == 2);
  CHECK(rows.counted_tokens == 10);
  const data::Batch shorter = data::padded(batch, data::Padding::to_longest);
  CHECK(shorter.inputs.shape() == Shape{2, 3});
  CHECK(shorter.inputs.to_vector<std::int64_t>() == std::vector<std::int64_t>{5, 6, 0, 5, 0, 0});
  CHECK(shorter.targets.to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 7, 0, 0, 0, 8});
  CHECK(shorter.predicted == 2);
  CHECK(shorter.counted_tokens == 10);
  const std::vector<data::Batch> rows_apart = data::split(rows, 3);
  REQUIRE(rows_apart.size() == 2);
  CHECK(rows_apart[1].inputs.shape() == Shape{1, 5});
  CHECK(rows_apart[1].inputs.to_vector<std::int64_t>() == std::vector<std::int64_t>{5, 0, 0, 0, 0});
  CHECK(rows_apart[1].targets.to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 0, 8, 0, 0});
  CHECK(rows_apart[1].lengths.empty());
  CHECK(rows_apart[0].predicted == 1);
  CHECK(rows_apart[0].counted_tokens + rows_apart[1].counted_tokens == 10);
  CHECK(has(message_of<ContractError>([&] { data::padded(halves[1], data::Padding::to_longest); }),
            "a part of a batch cannot be padded"));
  CHECK(has(message_of<ContractError>([] { data::collate({{{1, 2}, {1, 2}}, {{1}, {1}}}); }), "one length"));
  CHECK(has(message_of<ContractError>([] { data::collate({{{1, 2}, {1}}}); }), "one length"));
}
