// A named source of random streams. Its whole state is two integers, so it goes into checkpoints as they are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gradus {

class Generator {
 public:
  explicit Generator(std::uint64_t seed, std::uint64_t next_stream = 0) : seed_(seed), next_stream_(next_stream) {}

  std::uint64_t seed() const { return seed_; }
  std::uint64_t next_stream() const { return next_stream_; }

  /// Hands out a stream number that no earlier call got. Every random op takes one.
  std::uint64_t take_stream();

 private:
  std::uint64_t seed_;
  std::uint64_t next_stream_;
};

/// A stream that some generator handed out.
struct DrawnStream {
  std::uint64_t seed, stream;
};
using DrawnStreams = std::vector<DrawnStream>;

/// Sees the calls of take_stream() on this thread while it lives; the innermost scope sees them first.
class StreamScope {
 protected:
  StreamScope();
  ~StreamScope();
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;

 private:
  friend class Generator;
  /// True where `stream` is set to what the generator shall hand out without a step of its own.
  virtual bool replace(std::uint64_t seed, std::uint64_t& stream) = 0;
  virtual void note(const DrawnStream& drawn) = 0;
  StreamScope* outer_;
};

/// Appends what is handed out to `record`.
class StreamRecordScope final : StreamScope {
 public:
  explicit StreamRecordScope(DrawnStreams& record) : record_(record) {}

 private:
  bool replace(std::uint64_t, std::uint64_t&) override { return false; }
  void note(const DrawnStream& drawn) override { record_.push_back(drawn); }
  DrawnStreams& record_;
};

/// Hands out the streams of `record` again, in their order, whatever the state of the generators, which stays. Scopes
/// around it see nothing of that.
class StreamReplayScope final : StreamScope {
 public:
  explicit StreamReplayScope(const DrawnStreams& record) : record_(record) {}
  /// True where exactly the record has been asked for again, by generators of the same seeds.
  bool is_faithful() const { return faithful_ && next_ == record_.size(); }

 private:
  bool replace(std::uint64_t seed, std::uint64_t& stream) override;
  void note(const DrawnStream&) override {}
  const DrawnStreams& record_;
  std::size_t next_ = 0;
  bool faithful_ = true;
};

/// Draws one after another from a single stream, for host-side decisions (data order, corruption spans).
class StreamReader {
 public:
  StreamReader(std::uint64_t seed, std::uint64_t stream) : seed_(seed), stream_(stream) {}

  std::uint32_t next_word();
  /// Uniform in [0, 1) with 53 bits.
  double next_uniform();
  /// Standard normal (Box-Muller, one of the pair).
  double next_normal();
  /// Uniform integer in [low, high], both included, without modulo bias. Needs low <= high.
  std::int64_t next_integer(std::int64_t low, std::int64_t high);

 private:
  std::uint64_t seed_, stream_, index_ = 0;
};

}  // namespace gradus
