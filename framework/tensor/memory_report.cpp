#include "framework/tensor/memory_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "framework/base/plural.h"

namespace gradus {
namespace {

constexpr std::size_t most_rows = 8;

struct Row {
  std::string origin;
  std::int64_t bytes = 0, blocks = 0;
};

std::vector<Row> rows_of(const std::vector<MemoryUse>& uses) {
  std::map<std::string, Row> by_origin;
  for (const MemoryUse& use : uses) {
    const std::string origin = to_string(use.origin);
    Row& row = by_origin[origin];
    row = {origin, row.bytes + use.bytes, row.blocks + 1};
  }
  std::vector<Row> rows;
  for (const auto& [origin, row] : by_origin) rows.push_back(row);
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.bytes > b.bytes; });
  return rows;
}

/// Of more rows than fit, the last ones become one.
std::vector<Row> shortened(std::vector<Row> rows) {
  if (rows.size() <= most_rows) return rows;
  Row rest{plural(rows.size() - most_rows, "other place")};
  for (std::size_t i = most_rows; i < rows.size(); ++i) rest.bytes += rows[i].bytes, rest.blocks += rows[i].blocks;
  rows.resize(most_rows);
  rows.push_back(rest);
  return rows;
}

}  // namespace

std::string readable_bytes(std::int64_t bytes) {
  constexpr std::int64_t kib = 1024, mib = kib * kib;
  if (bytes < kib) return plural(bytes, "byte");
  if (bytes < mib) return fmt::format("{} KiB", bytes / kib);
  if (bytes < 10 * mib) return fmt::format("{:.1f} MiB", double(bytes) / mib);
  return with_separators(bytes / mib) + " MiB";
}

std::string to_string(const MemoryOrigin& origin) {
  if (origin.op.empty()) return "code outside of ops";
  const std::string place = origin.where.line() > 0 ? " at " + to_string(origin.where) : "";
  return fmt::format("[{}]{}{}", origin.op, place, origin.backward ? ", backward" : "");
}

std::string memory_table(const std::vector<MemoryUse>& uses) {
  std::string table = fmt::format("{:>12}  {:>7}  by\n", "in use", "blocks");
  for (const Row& row : shortened(rows_of(uses))) {
    table += fmt::format("{:>12}  {:>7}  {}\n", readable_bytes(row.bytes), with_separators(row.blocks), row.origin);
  }
  return table;
}

std::string memory_advice() {
  return "To need less: --micro_batches N (each batch in N parts), --recompute (less is kept for "
         "backward), smaller batches (--batch_size; --batch of gradus bench); where a step is a graph, --eager.";
}

}  // namespace gradus
