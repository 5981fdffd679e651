#include "framework/kernels/captured_work.h"

#include "framework/kernels/elements.h"
#include "framework/tensor/creation.h"
#include "framework/tensor/device_memory.h"

namespace gradus {
namespace {

Tensors checked(Tensors inputs) {
  if (inputs.empty()) fail("work is recorded with an input at least");
  for (const Tensor& input : inputs) {
    if (input.device() != inputs[0].device() || !input.is_contiguous())
      fail("work is recorded with contiguous inputs of one device, not {}", input.describe());
  }
  if (inputs[0].device() == Device{}) fail("work of the CPU cannot be recorded");
  return inputs;
}

void give(const Tensor& input, const Tensor& value) {
  if (value.device() == input.device()) return elements::copy(input, value);
  const Tensor packed = elements::contiguous(value);
  device_memory(input.device())
      .copy(input.bytes(), input.device(), packed.bytes(), packed.device(),
            input.numel() * size_in_bytes(input.dtype()));
}

}  // namespace

CapturedWork::CapturedWork(Tensors inputs, Generator& generator, const std::function<void()>& body)
    : inputs_(checked(std::move(inputs))),
      generator_(generator),
      seed_(generator.seed()),
      first_stream_(generator.next_stream()),
      pool_(inputs_[0].device()),
      capture_{.device = inputs_[0].device()} {
  const DeviceGraphs& graphs = device_memory(capture_.device).graphs;
  capture_.stream_offset = Tensor::empty({}, DType::i64, capture_.device);
  DrawnStreams drawn;
  {
    const CaptureScope scope(capture_);
    graphs.begin();
    try {
      const MemoryPool::FillScope fill(pool_);
      const StreamRecordScope record(drawn);
      body();
    } catch (...) {
      end_failed(graphs);
      throw;
    }
  }
  streams_ = generator_.next_stream() - first_stream_;
  generator_ = Generator(seed_, first_stream_);
  graph_ = graphs.end();
  check_streams(drawn);
  for (const IndexBound& bound : capture_.bounds) input_of(bound.index);
}

void CapturedWork::end_failed(const DeviceGraphs& graphs) {
  generator_ = Generator(seed_, first_stream_);
  try {
    graphs.end();
  } catch (const std::exception&) {  // the recording is over in any case
  }
}

void CapturedWork::run(const Tensors& values) {
  check(values);
  const auto offset = static_cast<std::int64_t>(generator_.next_stream() - first_stream_);
  give(capture_.stream_offset, from_values({}, std::vector<std::int64_t>{offset}));
  for (std::size_t i = 0; i < inputs_.size(); ++i) give(inputs_[i], values[i]);
  device_memory(capture_.device).graphs.queue(graph_);
  generator_ = Generator(seed_, generator_.next_stream() + streams_);
}

void CapturedWork::check(const Tensors& values) const {
  if (generator_.seed() != seed_) fail("work was recorded with the random seed {}, not {}", seed_, generator_.seed());
  if (values.size() != inputs_.size())
    fail("recorded work has {} inputs, {} values were given", inputs_.size(), values.size());
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (values[i].spec() != inputs_[i].spec())
      fail("input {} of recorded work is {}, not {}", i, inputs_[i].describe(), values[i].describe());
  }
  for (const IndexBound& bound : capture_.bounds) {
    const std::size_t i = input_of(bound.index);
    const std::int64_t position = elements::first_outside(values[i], bound.size, bound.except);
    if (position < 0) continue;
    fail("input {} of recorded work: index {} at position {} is outside 0..{}", i,
         values[i].to_vector<std::int64_t>()[static_cast<std::size_t>(position)], position, bound.size - 1);
  }
}

void CapturedWork::check_streams(const DrawnStreams& drawn) const {
  std::uint64_t next = first_stream_;
  for (const DrawnStream& stream : drawn) {
    if (stream.seed != seed_ || stream.stream != next++)
      fail("work that is recorded draws random streams from one generator alone, the one it is recorded with");
  }
}

std::size_t CapturedWork::input_of(const Tensor& index) const {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (index.bytes() == inputs_[i].bytes() && index.numel() == inputs_[i].numel() && index.is_contiguous()) return i;
  }
  fail("in work that is recorded, indices are inputs: their values could not be checked else");
}

}  // namespace gradus
