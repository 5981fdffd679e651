// Reading and adding by index, beside the kernels of the CPU and sums in double.
#include "framework/kernels/cpu/indexed.h"
#include "framework/kernels/cuda/indexing.h"
#include "framework/tensor/creation.h"
#include "tests/cuda/buffer.h"
#include "tests/cuda/kernel_values.h"
#include "tests/cuda/schedules.h"

using namespace gradus;

namespace {

using Indices = std::vector<std::int64_t>;

Indices indices_below(std::int64_t size, std::size_t count) {
  std::mt19937 random(7);
  std::uniform_int_distribution<std::int64_t> uniform(0, size - 1);
  Indices indices(count);
  for (std::int64_t& index : indices) index = uniform(random);
  return indices;
}

template <class T>
std::vector<T> counted_up(std::size_t count) {
  std::vector<T> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = T(std::int64_t(i * 7 % 251));
  return values;
}

/// A tensor of the CPU; integers as they are, bf16 by its f32 values.
template <class T>
Tensor on_cpu(const Shape& shape, const std::vector<T>& values) {
  if constexpr (std::is_same_v<T, std::int64_t>) return from_values(shape, values);
  else return from_values(shape, std::vector<double>(values.begin(), values.end()), dtype_of<T>);
}

template <class T>
std::vector<T> values_of(const Tensor& tensor) {
  return {tensor.data<T>(), tensor.data<T>() + tensor.numel()};
}

/// Slices of `inner` elements; all arrays begin `shift` elements after an aligned address.
template <class T>
void check_select(std::int64_t outer, std::int64_t size, std::int64_t count, std::int64_t inner,
                  std::size_t shift = 0) {
  CAPTURE(inner);
  auto table = counted_up<T>(outer * size * inner);
  const Indices index = indices_below(size, count);
  const Tensor expected = Tensor::empty({outer, count, inner}, dtype_of<T>);
  cpu::select(expected, on_cpu({outer, size, inner}, table), from_values({count}, index), 1);
  table.insert(table.begin(), shift, T{});
  Buffer<T> on_device(table), out(outer * count * inner + shift);
  Buffer<std::int64_t> index_on_device(index);
  cuda::index_select(on_device.data() + shift, index_on_device.data(), out.data() + shift, outer, size, count,
                     inner * sizeof(T), nullptr);
  auto found = out.values();
  found.erase(found.begin(), found.begin() + shift);
  CHECK(are_same(found, values_of<T>(expected)));
}

template <class T>
void check_selects() {
  for (std::int64_t inner : {1, 2, 3, 4, 8, 16, 31, 33, 128, 1000}) {
    check_select<T>(1, 5, 67, inner);
    check_select<T>(3, 4, 5, inner);
    check_select<T>(2, 4, 5, inner, 1);
  }
  check_select<T>(3, 4, 0, 5);
  check_select<T>(3, 4, 5, 0);
  check_select<T>(0, 4, 5, 3);
}

struct GatherCase {
  Shape table, index;
  int axis;
};

const std::vector<GatherCase>& gather_cases() {
  static const std::vector<GatherCase> cases = {{{3, 5}, {3, 2}, 1},
                                                {{3, 4}, {7, 4}, 0},
                                                {{3, 5, 2}, {2, 4, 1}, 1},
                                                {{2, 3, 70}, {2, 5, 67}, 1},
                                                {{4}, {9}, 0},
                                                {{300}, {1000}, 0},
                                                {{9, 5}, {7, 33}, 1},
                                                {{2, 5, 3, 4}, {2, 3, 3, 2}, 2},
                                                {{2, 2, 3, 7}, {1, 6, 3, 7}, 1},
                                                {{67, 40}, {67, 1}, 1},
                                                {{3, 5}, {3, 0}, 1},
                                                {{2, 0, 3}, {2, 0, 3}, 2},
                                                {{1, 1, 129}, {1, 1, 257}, 2},
                                                {{3, 1}, {40, 1}, 0},
                                                {{3, 5}, {0, 2}, 1}};
  return cases;
}

template <class T>
void check_gather(const GatherCase& c) {
  CAPTURE(to_string(c.table));
  const auto table = counted_up<T>(c.table.numel());
  const Indices index = indices_below(c.table[c.axis], c.index.numel());
  const Tensor expected = Tensor::empty(c.index, dtype_of<T>);
  cpu::gather(expected, on_cpu(c.table, table), from_values(c.index, index), c.axis);
  Buffer<T> on_device(table), out(index.size());
  Buffer<std::int64_t> index_on_device(index);
  cuda::gather(on_device.data(), index_on_device.data(), out.data(), c.table, c.index, c.axis, nullptr);
  CHECK(are_same(out.values(), values_of<T>(expected)));
}

template <class T>
std::vector<T> scattered(const GatherCase& c, const std::vector<T>& source, const Indices& index, bool naive = false) {
  Buffer<T> from(source), table(c.table.numel());
  Buffer<std::int64_t> index_on_device(index);
  (naive ? cuda::scatter_add_naive<T> : cuda::scatter_add<T>)(from.data(), index_on_device.data(), table.data(),
                                                              c.table, c.index, c.axis, nullptr);
  return table.values();
}

/// What the CPU adds up, in double or of magnitudes.
std::vector<double> sums_on_cpu(const GatherCase& c, const std::vector<double>& source, const Indices& index) {
  const Tensor table = zeros(c.table, DType::f64);
  cpu::scatter_add(table, from_values(c.index, source, DType::f64), from_values(c.index, index), c.axis);
  return values_of<double>(table);
}

/// A sum of n terms in any order is off by at most n - 1 roundings of the sum of magnitudes.
template <class T>
void check_sums(const std::vector<T>& found, const std::vector<double>& sums, const std::vector<double>& magnitudes,
                double terms) {
  REQUIRE(found.size() == sums.size());
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const double bound = terms * rounding_error<Arithmetic<T>> * magnitudes[i] + rounding_error<T> * std::fabs(sums[i]);
    wrong += !is_close(double(found[i]), sums[i], bound);
  }
  CHECK(wrong == 0);
}

std::vector<double> magnitudes_of(std::vector<double> values) {
  for (double& value : values) value = std::fabs(value);
  return values;
}

template <class T>
void check_scatter(const GatherCase& c) {
  CAPTURE(to_string(c.table));
  const auto source = normal_values<T>(c.index.numel(), 1);
  const Indices index = indices_below(c.table[c.axis], c.index.numel());
  const std::vector<double> exact(source.begin(), source.end());
  const auto sums = sums_on_cpu(c, exact, index), magnitudes = sums_on_cpu(c, magnitudes_of(exact), index);
  for (bool naive : {false, true}) check_sums(scattered(c, source, index, naive), sums, magnitudes, c.index[c.axis]);
  if constexpr (!std::is_same_v<T, bfloat16>) {
    const Tensor table = zeros(c.table, dtype_of<T>);
    cpu::scatter_add(table, on_cpu(c.index, source), from_values(c.index, index), c.axis);
    CHECK(are_same(scattered(c, source, index, true), values_of<T>(table)));
  }
}

template <class T>
std::vector<T> added(const std::vector<T>& source, const Indices& ids, std::size_t rows, std::size_t columns,
                     bool naive = false, std::size_t shift = 0) {
  std::vector<T> shifted(source);
  shifted.insert(shifted.begin(), shift, T(0.0f));
  Buffer<T> from(shifted), table(rows * columns);
  Buffer<std::int64_t> ids_on_device(ids);
  Buffer<Arithmetic<T>> partials(cuda::embedding_add_partials(ids.size(), rows, columns));
  if (naive) {
    cuda::embedding_add_naive(from.data() + shift, ids_on_device.data(), table.data(), ids.size(), rows, columns,
                              nullptr);
  } else {
    cuda::embedding_add(from.data() + shift, ids_on_device.data(), table.data(), partials.data(), ids.size(), rows,
                        columns, nullptr);
  }
  return table.values();
}

template <class T>
void check_embedding_add(std::size_t count, std::size_t rows, std::size_t columns) {
  CAPTURE(count);
  CAPTURE(rows);
  CAPTURE(columns);
  const auto source = normal_values<T>(count * columns, 1);
  const Indices ids = indices_below(rows, count);
  const auto sums_of = [&](const auto& values) {
    const Tensor table = zeros({std::int64_t(rows), std::int64_t(columns)},
                               dtype_of<typename std::decay_t<decltype(values)>::value_type>);
    cpu::add_rows(table, on_cpu({std::int64_t(count), std::int64_t(columns)}, values),
                  from_values({std::int64_t(count)}, ids));
    return table;
  };
  const std::vector<double> exact(source.begin(), source.end());
  const auto sums = values_of<double>(sums_of(exact)), magnitudes = values_of<double>(sums_of(magnitudes_of(exact)));
  for (bool naive : {false, true}) {
    if (naive && count * rows * columns > 1'000'000) continue;
    check_sums(added(source, ids, rows, columns, naive), sums, magnitudes, count);
  }
  if constexpr (!std::is_same_v<T, bfloat16>) {
    CHECK(are_same(added(source, ids, rows, columns, true), values_of<T>(sums_of(source))));
  }
}

template <class T>
void check_embedding_adds() {
  check_embedding_add<T>(1, 1, 1);
  for (std::size_t columns : {1, 31, 33, 128, 256, 257, 264}) check_embedding_add<T>(67, 5, columns);
  for (std::size_t count : {0, 31, 32, 33, 300, 1000}) check_embedding_add<T>(count, 7, 8);
  check_embedding_add<T>(3 * 2048 + 17, 3, 8);  // ids in shares
  CHECK(added<T>({}, {}, 0, 3).empty());
}

}  // namespace

TEST_CASE("slices are selected as on the CPU, whatever their length and address") {
  check_selects<double>();
  check_selects<float>();
  check_selects<bfloat16>();
  check_selects<std::int64_t>();
  check_selects<std::uint8_t>();
  check_select<std::uint8_t>(1, 2, 2, 1024 * 256 + 1);  // more than the blocks of one slice
}

TEST_CASE("elements are gathered as on the CPU") {
  for (const GatherCase& c : gather_cases()) {
    check_gather<double>(c);
    check_gather<float>(c);
    check_gather<bfloat16>(c);
    check_gather<std::int64_t>(c);
    check_gather<std::uint8_t>(c);
  }
}

TEST_CASE("elements are added at their index, in the naive version with the bits of the CPU") {
  for (const GatherCase& c : gather_cases()) {
    check_scatter<double>(c);
    check_scatter<float>(c);
    check_scatter<bfloat16>(c);
  }
}

TEST_CASE("rows are added at their id, in the naive version with the bits of the CPU") {
  check_embedding_adds<double>();
  check_embedding_adds<float>();
  check_embedding_adds<bfloat16>();
}

TEST_CASE("reading and adding by index come out the same under every schedule") {
  const Indices ids = indices_below(3, 3 * 2048);
  const auto rows = normal_values<float>(ids.size() * 5, 1);
  const auto sums = added(rows, ids, 3, 5);
  for_each_schedule([&] {
    check_select<float>(2, 4, 5, 33);
    CHECK(are_same(added(rows, ids, 3, 5), sums));
  });
  for (const GatherCase& c : {GatherCase{{2, 300}, {2, 1000}, 1}, GatherCase{{2, 3, 33}, {2, 5, 33}, 1}}) {
    const auto source = normal_values<float>(c.index.numel(), 1);
    const Indices index = indices_below(c.table[c.axis], c.index.numel());
    const auto first = scattered(c, source, index);
    for_each_schedule([&] {
      check_gather<float>(c);
      CHECK(are_same(scattered(c, source, index), first));
    });
  }
}

TEST_CASE("the ids of small tables are cut into shares, those of large ones are not") {
  CHECK(cuda::embedding_add_partials(3 * 2048, 3, 5) == 3 * 3 * 5);
  CHECK(cuda::embedding_add_partials(2047, 3, 5) == 0);
  CHECK(cuda::embedding_add_partials(1 << 20, 3, 5) == 16 * 3 * 5);
  CHECK(cuda::embedding_add_partials(1 << 20, 2049, 5) == 0);
  CHECK(cuda::embedding_add_partials(1 << 20, 0, 5) == 0);
}

TEST_CASE("the bits of an embedding's gradient are the same wherever it lies") {
  const Indices ids = indices_below(5, 300);
  const auto source = normal_values<float>(300 * 40, 1);
  CHECK(are_same(added(source, ids, 5, 40, false, 1), added(source, ids, 5, 40)));
}

TEST_CASE("what is not finite stays in the rows that it is added to") {
  const std::vector<float> source = {NAN, INFINITY, -0.0f, -INFINITY, 1, 2};
  for (bool naive : {false, true}) {
    const auto found = added(source, {1, 1, 2}, 4, 2, naive);
    CHECK(found[0] == 0);
    CHECK(std::isnan(found[2]));
    CHECK(std::isnan(found[3]));
    CHECK(found[4] == 1);
    CHECK(found[7] == 0);
    const auto scattered_values = scattered<float>({{4}, {6}, 0}, source, {0, 1, 2, 1, 3, 3}, naive);
    CHECK(std::isnan(scattered_values[0]));
    CHECK(std::isnan(scattered_values[1]));
    CHECK(scattered_values[2] == 0);
    CHECK(scattered_values[3] == 3);
  }
}
