// base, random and tensor: shapes, dtypes, Philox, guard zones, views, printing.
#include <doctest/doctest.h>

#include <cmath>

#include "framework/kernels/cpu/copy.h"
#include "framework/random/philox.h"
#include "framework/tensor/creation.h"
#include "framework/tensor/guard_zones.h"
#include "framework/tensor/print.h"
#include "tests/messages.h"

using namespace gradus;

TEST_CASE("Philox 4x32-10 gives the known answers of its authors") {
  using random::philox4x32_10;
  const auto words = [](const random::Philox4& p) { return std::vector<std::uint32_t>(p.word, p.word + 4); };
  using Words = std::vector<std::uint32_t>;
  CHECK(words(philox4x32_10({{0, 0, 0, 0}}, 0, 0)) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(words(philox4x32_10({{~0u, ~0u, ~0u, ~0u}}, ~0u, ~0u)) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(words(philox4x32_10({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0)) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("draws are in range, and moments are those of the distribution") {
  StreamReader reader(3, 1);
  double mean = 0, square = 0;
  constexpr int count = 200000;
  for (int i = 0; i < count; ++i) {
    const double x = reader.next_normal();
    mean += x / count;
    square += x * x / count;
  }
  CHECK(std::fabs(mean) < 0.01);
  CHECK(std::fabs(square - 1) < 0.02);
  std::vector<int> seen(7);
  for (int i = 0; i < 7000; ++i) ++seen.at(reader.next_integer(-3, 3) + 3);
  for (int times : seen) CHECK((times > 850 && times < 1150));
  CHECK_THROWS_AS(reader.next_integer(1, 0), ContractError);
  Generator generator(5);
  CHECK(generator.take_stream() == 0);
  CHECK(generator.take_stream() == 1);
  CHECK(generator.next_stream() == 2);
}

TEST_CASE("bf16 rounds to nearest, ties to even, and keeps NaN and infinity") {
  CHECK(static_cast<float>(bfloat16(1.0f)) == 1.0f);
  CHECK(bfloat16(1.00390625f).bits == 0x3f80);   // 1 + 2^-8: a tie, to even
  CHECK(bfloat16(1.01171875f).bits == 0x3f82);   // 1 + 3 * 2^-8: a tie, to even
  CHECK(bfloat16(1.005f).bits == 0x3f81);
  CHECK(std::isnan(static_cast<float>(bfloat16(NAN))));
  CHECK(std::isinf(static_cast<float>(bfloat16(INFINITY))));
  CHECK(std::isinf(static_cast<float>(bfloat16(3.4e38f))));
}

TEST_CASE("shapes: broadcasting, ranks, overflow") {
  Shape result;
  CHECK(broadcast_shapes({2, 1, 3}, {4, 1}, result));
  CHECK(result == Shape{2, 4, 3});
  CHECK_FALSE(broadcast_shapes({2, 3}, {4, 3}, result));
  CHECK(to_string(Shape{3, 4}) == "(3,4)");
  CHECK(to_string(Shape{}) == "()");
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape{std::int64_t{1} << 40, 0, std::int64_t{1} << 40}.numel() == 0);
  const Shape huge{std::int64_t{1} << 40, std::int64_t{1} << 40};
  CHECK(message_of<ContractError>([&] { huge.numel(); }).find("63 bits") != std::string::npos);
  CHECK(message_of<ContractError>([] { Tensor::empty({std::int64_t{1} << 62}, DType::f64); }).find("larger than the address space") != std::string::npos);
  CHECK(message_of<ContractError>([] { Tensor::empty({2, -1}, DType::f64); }).find("must not be negative") != std::string::npos);
  CHECK_THROWS_AS(Shape({1, 1, 1, 1, 1, 1, 1, 1, 1}), ContractError);
  CHECK(normalize_axis(-1, 3) == 2);
  CHECK_THROWS_AS(normalize_axis(3, 3), ContractError);
}

TEST_CASE("views share storage and are kept inside it") {
  const Tensor a = arange(6, DType::f64);
  const Tensor view = a.window({2, 2}, {3, 1}, 1);
  CHECK(view.to_vector<double>() == std::vector<double>{1, 2, 4, 5});
  CHECK(view.shares_storage_with(a));
  CHECK_FALSE(view.is_contiguous());
  CHECK(cpu::contiguous(view).is_contiguous());
  CHECK_FALSE(cpu::contiguous(view).shares_storage_with(a));
  CHECK(cpu::contiguous(a).is_same(a));
  CHECK_THROWS_AS(a.window({2, 2}, {3, 1}, 3), ContractError);
  CHECK_THROWS_AS(a.window({3}, {-1}, 1), ContractError);
  CHECK(a.window({3}, {-1}, 2).to_vector<double>() == std::vector<double>{2, 1, 0});
  a.mutable_data<double>()[1] = 10;
  CHECK(view.version() == 1);
  CHECK(view.to_vector<double>()[0] == 10);
}

TEST_CASE("reading as another type, item() and requires_grad are checked") {
  const Tensor a = arange(2, DType::f64);
  CHECK(message_of<ContractError>([&] { a.data<float>(); }) == "a f64 tensor was read as f32");
  CHECK(message_of<ContractError>([&] { a.item(); }).find("exactly one element") != std::string::npos);
  CHECK(message_of<ContractError>([] { arange(3).set_requires_grad(); }).find("only floating tensors have gradients") != std::string::npos);
  CHECK(message_of<ContractError>([] { from_values({2, 2}, std::vector<double>{1, 2, 3}); }).find("holds 4 elements, 3 values") != std::string::npos);
  CHECK(scalar(2.5).item() == 2.5);
  CHECK_THROWS_AS(dtype_from_string("f16"), UsageError);
  CHECK(dtype_from_string("bf16") == DType::bf16);
}

TEST_CASE("whatever is asked of an undefined tensor is refused in a sentence, with the place") {
  const Tensor none;
  const auto refuses = [&](const char* asked, auto&& question) {
    const std::string message = message_of<ContractError>(question);
    CAPTURE(message);
    CHECK(message.starts_with(std::string(asked) + " of an undefined tensor at tests/tensor_test.cpp:"));
  };
  refuses("shape()", [&] { none.shape(); });
  refuses("strides()", [&] { none.strides(); });
  refuses("offset()", [&] { none.offset(); });
  refuses("dtype()", [&] { none.dtype(); });
  refuses("device()", [&] { none.device(); });
  refuses("rank()", [&] { none.rank(); });
  refuses("size()", [&] { none.size(0); });
  refuses("numel()", [&] { none.numel(); });
  refuses("shape()", [&] { none.spec(); });
  refuses("is_contiguous()", [&] { none.is_contiguous(); });
  refuses("data()", [&] { none.data<float>(); });
  refuses("mutable_data()", [&] { none.mutable_data<float>(); });
  refuses("fresh_data()", [&] { none.fresh_data<double>(); });
  refuses("device_data()", [&] { none.device_data<float>(); });
  refuses("bytes()", [&] { none.bytes(); });
  refuses("item()", [&] { none.item(); });
  refuses("to_vector()", [&] { none.to_vector<double>(); });
  refuses("window()", [&] { none.window({1}, {1}, 0); });
  refuses("alias()", [&] { none.alias(); });
  refuses("is_uniquely_owned()", [&] { none.is_uniquely_owned(); });
  refuses("version()", [&] { none.version(); });
  refuses("storage()", [&] { none.storage(); });
  refuses("requires_grad()", [&] { none.requires_grad(); });
  refuses("is_leaf()", [&] { none.is_leaf(); });
  refuses("set_requires_grad()", [&] { none.set_requires_grad(); });
  refuses("gradient()", [&] { none.gradient(); });
  refuses("set_gradient()", [&] { none.set_gradient(none); });
  refuses("detach()", [&] { none.detach(); });
  refuses("move_to()", [&] { none.move_to({}); });
  refuses("meta()", [&] { none.meta(); });
  refuses("shared_meta()", [&] { none.shared_meta(); });
  refuses("ensure_meta()", [&] { none.ensure_meta(); });
  refuses("zeros_like()", [&] { zeros_like(none); });
  refuses("ones_like()", [&] { ones_like(none); });
  refuses("shape()", [] { ones({2}).set_requires_grad().gradient().shape(); });  // before any backward

  CHECK_FALSE(none.defined());
  CHECK(none.is_same(Tensor()));
  CHECK_FALSE(none.shares_storage_with(ones({1})));
  CHECK_FALSE(ones({1}).shares_storage_with(none));
  CHECK(none.describe() == "undefined");
  CHECK(to_string(none) == "undefined");
  CHECK_FALSE(on_device(none, {}).defined());
  Tensor moved = ones({2});
  const Tensor taken = std::move(moved);
  refuses("numel()", [&] { moved.numel(); });  // NOLINT: what is left is undefined
  CHECK(taken.numel() == 2);
}

TEST_CASE("values in braces: whole numbers are i64, with a fraction among them f32") {
  const Tensor table = from_values({4, 2}, {0, 0, 0, 1, 1, 0, 1, 1});
  CHECK(table.spec() == TensorSpec{{4, 2}, DType::i64});
  CHECK(table.to_vector<double>() == std::vector<double>{0, 0, 0, 1, 1, 0, 1, 1});
  CHECK(from_values({2}, {1.0, 2.0}).dtype() == DType::f32);
  CHECK(from_values({3}, {0, 1.5f, -2}).to_vector<double>() == std::vector<double>{0, 1.5, -2});
  CHECK(from_values({2}, {1, 2}, DType::f64).spec() == TensorSpec{{2}, DType::f64});
  CHECK(from_values({2}, {0.5, 2}, DType::bf16).to_vector<double>()[0] == 0.5);
  CHECK(from_values({1}, {9007199254740993}).to_vector<std::int64_t>()[0] == 9007199254740993);  // 2^53 + 1
  const unsigned char byte = 200;
  const std::int64_t count = 2;
  CHECK(from_values({count}, {std::int64_t{3}, std::int64_t{byte}}).to_vector<double>()[1] == 200);
  CHECK(from_values({0}, {}).numel() == 0);
  CHECK(from_values({}, {7}).item() == 7);
  CHECK(from_values({2}, {true, false}, DType::boolean).dtype() == DType::boolean);
  for (const std::string& message : {message_of<ContractError>([] { from_values({4, 2}, {0, 1, 2}); }),
                                     message_of<ContractError>([] { from_values({4, 2}, {0.5, 1, 2}, DType::f64); })}) {
    CAPTURE(message);
    CHECK(has(message, "from_values: shape (4,2) holds 8 elements, 3 values were given at tests/tensor_test.cpp:"));
  }
}

TEST_CASE("conversions between dtypes") {
  const Tensor a = from_values({4}, std::vector<double>{-1.7, 0, 2.5, 300});
  for (DType dtype : {DType::f64, DType::f32, DType::bf16, DType::i64, DType::i32, DType::boolean}) {
    const Tensor b = Tensor::empty({4}, dtype);
    cpu::copy(b, a);
    const double expected = dtype == DType::boolean ? 1 : dtype == DType::i64 || dtype == DType::i32 ? 2 : 2.5;
    CHECK(b.to_vector<double>()[2] == expected);
    CHECK(b.to_vector<double>()[1] == 0);
  }
}

TEST_CASE("guard zones report a write past the end, and unwritten elements are NaN") {
  const GuardScope guards;
  {
    const Tensor a = Tensor::empty({5}, DType::f64);
    CHECK(std::isnan(a.data<double>()[4]));
    CHECK(guards.damaged_blocks() == 0);
    static_cast<volatile double*>(a.fresh_data<double>())[5] = 1;
    CHECK(guards.damaged_blocks() == 1);
  }
  CHECK(guards.damaged_blocks() == 1);
}

TEST_CASE("printing") {
  CHECK(to_string(from_values({2, 2}, std::vector<double>{1, 2, 3, 4.5})) == "[[1, 2], [3, 4.5]]  (2,2) f32 cpu");
  CHECK(to_string(arange(20)) == "[0, 1, 2, ..., 17, 18, 19]  (20) i64 cpu");
  CHECK(to_string(Tensor()) == "undefined");
}

TEST_CASE("tensors are let go") {
  const std::int64_t alive = live_tensor_count();
  {
    const Tensor a = ones({3});
    const Tensor b = a.alias();
    CHECK(live_tensor_count() == alive + 2);
  }
  CHECK(live_tensor_count() == alive);
}

TEST_CASE("a place in this project is told from its root, however the compiler was given the file") {
  CHECK(to_string(SourceLocation::current()).starts_with("tests/tensor_test.cpp:"));
#line 7 "../../tests/tensor_test.cpp"
  CHECK(to_string(SourceLocation::current()) == "tests/tensor_test.cpp:7");
#line 8 "/elsewhere/tensor_test.cpp"
  CHECK(to_string(SourceLocation::current()) == "/elsewhere/tensor_test.cpp:8");
}
