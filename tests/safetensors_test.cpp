// The safetensors format: what is written comes back, what other programs write is read, and whatever is damaged or
// foreign is refused with a sentence that names it.
#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <set>

#include "framework/base/error.h"
#include "framework/io/checksum.h"
#include "framework/io/files.h"
#include "framework/io/input_file.h"
#include "framework/io/safetensors.h"
#include "framework/random/generator.h"
#include "framework/tensor/creation.h"
#include "tests/messages.h"
#include "tests/temporary_folder.h"

using namespace gradus;

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

io::SafetensorsContents inspected(const std::string& path) {
  io::InputFile file(path, UINT64_MAX);
  return io::inspect_safetensors(file);
}

io::SafetensorsFile example_file() {
  Generator generator(7);
  io::SafetensorsFile file;
  file.metadata = {{"config", R"({"layers": 4})"}, {"vocabulary", "□⁇\n é"}};
  file.tensors = {{"blocks.0.weight", random_normal({3, 5}, generator)}, {"step", from_values({2}, std::vector<std::int64_t>{-1, 1LL << 40})}};
  return file;
}

}  // namespace

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
      {"empty", "", "not a safetensors file but an empty file"},
      {"seven bytes", std::string("\1\0\0\0\0\0\0", 7), "7 bytes are too few for a header"},
      {"a text", "Once upon a time there was a file", "not a safetensors file but a text"},
      {"header longer than the file", with_length(100, "{}"), "a header of 100 bytes is announced, 2 bytes follow"},
      {"absurd header", with_length(UINT64_MAX, "{}"), "a header of 18446744073709551615 bytes is announced"},
      {"length that wraps around", with_length(UINT64_MAX - 7, "{}"), "is announced, 2 bytes follow"},
      {"no header", with_length(0, ""), "not valid JSON"},
      {"not valid JSON", file_of("{\"a\":"), "not valid JSON"},
      {"not UTF-8", file_of("{\"\xff\":{}}"), "not valid JSON"},
      {"JSON with something behind", file_of("{} {}"), "not valid JSON"},
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
      {"unknown dtype", file_of(entry("\"F8_E3M4\"", "[4]", "[0,4]"), four), "has the dtype \"F8_E3M4\", which the format does not know"},
      {"unsupported dtype", file_of(entry("\"F8_E4M3\"", "[4]", "[0,4]"), four), "has the dtype F8_E4M3, which is not supported"},
      {"nine axes", file_of(entry("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), four), "has 9 axes, at most 8"},
      {"negative size", file_of(entry("\"F32\"", "[-1]", "[0,4]"), four), "has an impossible shape [-1]"},
      {"half a size", file_of(entry("\"F32\"", "[0.5]", "[0,4]"), four), "has an impossible shape [0.5]"},
      {"size beyond 63 bits", file_of(entry("\"F32\"", "[" + huge + "]", "[0,4]"), four), "does not fill its 4 bytes"},
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
      {"product that wraps behind a zero", file_of(entry("\"F32\"", "[0,4611686018427387904,4611686018427387904]", "[0,0]")), "has axes too long to be supported"},
      {"axis beyond 63 bits", file_of(entry("\"F32\"", "[0," + huge + "]", "[0,0]")), "has axes too long to be supported"},
      {"overlap", file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})", four + "12"),
       "tensor 'b' begins at byte 2, expected 4: tensors overlap or leave holes"},
      {"same bytes twice", file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four),
       "tensor 'b' begins at byte 0, expected 4"},
      {"hole", file_of(entry("\"F32\"", "[1]", "[4,8]"), eight), "tensor 'a' begins at byte 4, expected 0"},
      {"bytes behind", file_of(entry("\"F32\"", "[1]", "[0,4]"), eight), "4 bytes follow the last tensor"},
      {"name twice", file_of(R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four),
       "its header: the key 'a' is there twice"},
      {"empty name twice", file_of(R"({"":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four),
       "its header: the key '' is there twice"},
      {"metadata is a list", file_of(R"({"__metadata__":[]})"), "its metadata is not a JSON object"},
      {"metadata value is a number", file_of(R"({"__metadata__":{"step":3}})"), "the metadata 'step' is not a string"},
      {"wrong checksum", file_of(R"({"__metadata__":{"checksum":"0000000000000000"}})"), "the checksum does not match"},
      {"neither true nor false", file_of(entry("\"BOOL\"", "[2]", "[0,2]"), "\1\2"), "tensor 'a' holds a byte that is neither 0 nor 1"},
      {"NUL behind the header", file_of(entry("\"F32\"", "[1]", "[0,4]") + std::string(1, '\0'), four), "a NUL byte at line 1, column 55"},
      {"a program behind a NUL", file_of(entry("\"F32\"", "[1]", "[0,4]") + std::string("\0#!/bin/sh", 11), four), "a NUL byte"},
      {"NUL in a name", file_of(std::string("{\"a\0\":{}}", 10)), "a NUL byte at line 1, column 4"},
      {"form feed behind the header", file_of(entry("\"F32\"", "[1]", "[0,4]") + "\f", four), "not valid JSON"},
      {"byte order mark", file_of("\xEF\xBB\xBF{}"), "it begins with a byte order mark"},
      {"comment", file_of("{}/**/"), "not valid JSON"},
      {"comma behind the last", file_of("{\"__metadata__\":{},}"), "not valid JSON"},
      {"half of a surrogate pair", file_of(R"({"\ud800":{}})"), "not valid JSON"},
      {"UTF-8 of a surrogate", file_of("{\"\xED\xA0\x80\":{}}"), "not valid JSON"},
      {"control character in a name", file_of("{\"\x01\":{}}"), "not valid JSON"},
      {"number without end", file_of(R"({"a":)" + std::string(400, '1') + "}"), "a number is too large"},
      {"fraction", file_of(entry("\"F32\"", "[1]", "[0,4.0]"), four), "has impossible offsets [0,4.0]"},
      {"exponent", file_of(entry("\"F32\"", "[1e0]", "[0,4]"), four), "has an impossible shape [1.0]"},
      {"leading zero", file_of(entry("\"F32\"", "[1]", "[0,04]"), four), "not valid JSON"},
      {"minus zero", file_of(entry("\"F32\"", "[1]", "[-0,4]"), four), "has impossible offsets"},
      {"dtype twice", file_of(R"({"a":{"dtype":"F32","dtype":"I32","shape":[1],"data_offsets":[0,4]}})", four), "the key 'dtype' is there twice"},
      {"shape twice", file_of(R"({"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}})", four), "the key 'shape' is there twice"},
      {"data_offsets twice", file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"data_offsets":[0,4]}})", four), "the key 'data_offsets' is there twice"},
      {"metadata key twice", file_of(R"({"__metadata__":{"a":"1","a":"2"}})"), "the key 'a' is there twice"},
      {"metadata twice", file_of(R"({"__metadata__":{"a":"1"},"__metadata__":{}})"), "the key '__metadata__' is there twice"},
      {"name twice, once escaped", file_of(R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"\u0061":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four),
       "the key 'a' is there twice"},
      {"a list in place of the fields", file_of(R"({"a":["F32",[1],[0,4]]})", four), "tensor 'a' has no complete description"},
      {"metadata value is null", file_of(R"({"__metadata__":{"a":null}})"), "the metadata 'a' is not a string"},
      {"odd number of half bytes", file_of(entry("\"F4\"", "[3]", "[0,2]"), "12"), "of shape [3] F4 does not fill its 2 bytes"},
      {"empty tensor inside another", file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"z":{"dtype":"F32","shape":[0],"data_offsets":[2,2]}})", four),
       "tensor 'z' begins at byte 2, expected 4"},
      {"long name of control characters", file_of("{\"" + std::string(5000, '\x7f') + "\":1}"), "has no complete description"},
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

TEST_CASE("every flipped bit of a file is noticed, wherever it is") {
  const TemporaryFolder folder;
  const std::string path = folder / "whole", damaged = folder / "damaged";
  io::write_safetensors(path, example_file());
  const std::string bytes = io::read_file(path);
  CHECK(io::read_safetensors(path).verified == io::Verified::everything);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string changed = bytes;
    changed[bit / 8] ^= static_cast<char>(1 << bit % 8);
    put(damaged, changed);
    try {  // a changed name of the checksum is a file without one: its reader sees that
      const io::Verified verified = io::read_safetensors(damaged).verified;
      CHECK_MESSAGE(verified == io::Verified::nothing, bit);
    } catch (const DataError& error) {
      CHECK(has(error.what(), damaged + ": "));
    }
  }
}

TEST_CASE("pairs of flips, swapped and shifted bytes are noticed: nothing cancels") {
  const TemporaryFolder folder;
  const std::string path = folder / "whole", damaged = folder / "damaged";
  io::write_safetensors(path, {{}, {{"w", ones({64})}}});
  const std::string bytes = io::read_file(path);
  const std::size_t data = bytes.size() - 256;
  const auto is_noticed = [&](std::string changed) {
    put(damaged, changed);
    return has(message_of<DataError>([&] { io::read_safetensors(damaged); }), "the checksum does not match");
  };
  for (std::size_t a = data + 3; a < bytes.size(); a += 4) {  // signs, in the same place of their words too
    for (std::size_t b = a + 4; b < bytes.size(); b += 4) {
      std::string changed = bytes;
      changed[a] ^= '\x80', changed[b] ^= '\x80';
      CHECK_MESSAGE(is_noticed(changed), a, " and ", b);
    }
  }
  CHECK(is_noticed(bytes.substr(0, data) + bytes.substr(data + 1) + bytes[data]));
  std::string spaces = bytes;
  const std::size_t last_space = data - 1;
  if (spaces[last_space] == ' ') {
    spaces[last_space] = '\t';
    CHECK(is_noticed(spaces));
  }
}

TEST_CASE("files of earlier versions are verified by their own checksum, and it is said that it sees less") {
  const TemporaryFolder folder;
  const std::string path = folder / "old", header = R"("a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[1],"data_offsets":[8,9]}})";
  put(path, file_of(R"({"__metadata__":{"checksum":"a6cd43d67707d6c7","note":"x"},)" + header, "12345678a"));
  const io::SafetensorsFile file = io::read_safetensors(path);
  CHECK(file.verified == io::Verified::data);
  CHECK(file.metadata == std::map<std::string, std::string>{{"note", "x"}});
  CHECK(has(io::verification_notice(path, file.verified), "of an earlier version"));
  put(path, file_of(R"({"__metadata__":{"checksum":"a6cd43d67707d6c7"},)" + header, "12345678b"));
  CHECK(has(message_of<DataError>([&] { io::read_safetensors(path); }), "the checksum does not match"));
  put(path, file_of("{" + header, "12345678a"));
  CHECK(has(io::verification_notice(path, io::read_safetensors(path).verified), "without a checksum"));
  CHECK(io::verification_notice(path, io::Verified::everything).empty());
}

TEST_CASE("the checksum is XXH3 of 128 bits, in any parts; the earlier one FNV-1a over words") {
  CHECK(io::checksum("") == "99aa06d3014798d86001c324468d497f");  // known answers
  CHECK(io::checksum("a") == "a96faf705af16834e6c632b61e964e1f");
  std::string bytes;
  for (int i = 0; i < 1000; ++i) bytes += static_cast<char>(i * 37);
  io::Checksum parts;
  io::OldChecksum old_whole, old_parts;
  old_whole.add(bytes.data(), bytes.size());
  for (std::size_t at = 0; at < bytes.size(); at += 7) {
    const std::string part = bytes.substr(at, 7);
    parts.add(part);
    old_parts.add(part.data(), part.size());
  }
  CHECK(parts.digits() == io::checksum(bytes));
  CHECK(old_parts.digits() == old_whole.digits());
  io::OldChecksum foobar;
  foobar.add("foobar", 6);
  CHECK(foobar.digits() == "85944171f73967e8");  // below eight bytes it is the well-known function
}

TEST_CASE("what is no safetensors file is named for what it is") {
  const TemporaryFolder folder;
  const std::string path = folder / "model.params";
  const auto zip = [](const std::string& name, const std::string& content) {
    std::string local("PK\x03\x04\x14\0\0\0\0\0", 10);
    return local + std::string(16, '\1') + static_cast<char>(name.size()) + std::string(3, '\0') + name + content;
  };
  const std::pair<std::string, std::string> cases[] = {
      {zip("archive/data.pkl", "\x80\x02}q."), "a PyTorch file: load it there and write it with safetensors.torch.save_file"},
      {zip("w.npy", "\x93NUMPY"), "a NumPy file"},
      {zip("notes.txt", "hello"), "a zip archive"},
      {std::string("PK\x03\x04\0\0\0\0\0\0", 10) + std::string(40, '\0'), "a zip archive"},  // its length could be a header's
      {"\x80\x02}q\x01X\x01", "a Python pickle"},
      {"\x80\x04\x95\x10", "a Python pickle"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a Git LFS pointer, not the file itself"},
      {"\x1f\x8b\x08", "a gzip archive"},
      {"\x89HDF\r\n\x1a\n", "an HDF5 file"},
      {std::string("\x93NUMPY\1\0", 8), "a NumPy file"},
      {std::string("GGUF\3\0\0\0", 8), "a GGUF file"},
      {"\n<!DOCTYPE HTML><html>404", "a web page"},
      {"\xff\xfeh", "a text in UTF-16"},
      {std::string(257, 'x') + "ustar" + std::string(250, '\0'), "a tar archive"},
      {"One of these days, and then\nanother", "a text"},
      {"", "an empty file"}};
  for (const auto& [bytes, kind] : cases) {
    INFO(kind);
    put(path, bytes);
    for (const auto& text : {message_of<DataError>([&] { io::read_safetensors(path); }), message_of<DataError>([&] { inspected(path); })})
      CHECK_MESSAGE(text.starts_with(path + ": not a safetensors file but " + kind), text);
  }
}

TEST_CASE("every dtype of the format is listed; what no tensor can be is refused when it is loaded") {
  const TemporaryFolder folder;
  const std::string path = folder / "t.safetensors";
  const std::map<std::string, int> bits = {{"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},   {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8},
                                           {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16}, {"U16", 16}, {"F16", 16}, {"BF16", 16},
                                           {"I32", 32},    {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64}, {"I64", 64}, {"U64", 64}};
  for (const auto& [dtype, size] : bits) {
    INFO(dtype);
    put(path, file_of(R"({"__metadata__":null,"t":{"dtype":")" + dtype + R"(","shape":[2,4],"data_offsets":[0,)" + std::to_string(size) + "]}}", std::string(size, '\0')));
    const io::SafetensorsContents contents = inspected(path);
    REQUIRE(contents.tensors.size() == 1);
    CHECK(contents.tensors[0].entry.dtype == dtype);
    CHECK(contents.tensors[0].entry.elements() == 8);
    CHECK(contents.tensors[0].not_finite == 0);
    const bool loads = std::set<std::string>{"BOOL", "U8", "F16", "BF16", "I32", "F32", "F64", "I64"}.contains(dtype);
    const std::string text = message_of<DataError>([&] { io::read_safetensors(path); });
    CHECK(text == (loads ? "no error" : path + ": tensor 't' has the dtype " + dtype + ", which is not supported"));
  }
  put(path, file_of(R"({"t":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,0,18446744073709551615],"data_offsets":[0,0]}})"));
  CHECK(inspected(path).tensors[0].entry.elements() == 0);
}

TEST_CASE("half precision becomes f32, which holds every such number") {
  const TemporaryFolder folder;
  const std::string path = folder / "half";
  const std::uint16_t halves[] = {0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x83ff, 0x7c00, 0xfc00, 0x7e01, 0x3555};
  put(path, file_of(R"({"h":{"dtype":"F16","shape":[12],"data_offsets":[0,24]}})", std::string(reinterpret_cast<const char*>(halves), 24)));
  const Tensor half = io::read_safetensors(path).find("h");
  CHECK(half.dtype() == DType::f32);
  const std::vector<float> values = half.to_vector<float>();
  const std::vector<float> expected = {0, -0.0f, 1, -2, 65504, 0x1p-14f, 0x1p-24f, -1023 * 0x1p-24f, INFINITY, -INFINITY, NAN, 0x1.554p-2f};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK_MESSAGE(std::signbit(values[i]) == std::signbit(expected[i]), i);
    if (std::isnan(expected[i])) CHECK(std::isnan(values[i]));
    else CHECK(values[i] == expected[i]);
  }
  CHECK(inspected(path).tensors[0].not_finite == 3);
}
