// What the checker and the process in which a foreign op runs say to each other: one block of shared memory, and a byte
// each way on a socket for "please" and "done".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "framework/testing/gradus_op.h"

namespace gradus::testing::foreign {

inline constexpr int name_size = 64, summary_size = 256, max_ops = 64;
inline constexpr int max_buffers = 6 * GRADUS_MAX_COUNT;

// A library's description, without pointers. Unused bytes are zero, so that records can be compared.
struct InputRecord {
  char name[name_size];
  std::int32_t dtype, differentiable, rank, kink_count;
  std::int64_t shape[GRADUS_MAX_RANK];
  double low, high, kinks[GRADUS_MAX_KINKS];
};
struct OutputRecord {
  char name[name_size];
  std::int64_t dtype;
};
struct AttributeRecord {
  char name[name_size];
  double value;
};
struct OpRecord {
  char name[name_size], summary[summary_size];
  std::int32_t input_count, output_count, attribute_count, has_jvp;
  InputRecord inputs[GRADUS_MAX_COUNT];
  OutputRecord outputs[GRADUS_MAX_COUNT];
  AttributeRecord attributes[GRADUS_MAX_COUNT];
};

enum class Request : std::int32_t { load, shape, forward, backward, jvp };
/// Whose code is running.
enum class Stage : std::int32_t { checker, loading, describing, reading, shape, forward, backward, jvp };
enum class Result : std::int32_t { done, refused, threw, no_library, bad_description, no_sandbox };

/// Whole pages within the data area. Everything else there can be neither read nor written.
struct Pages {
  std::int64_t offset, bytes;
  std::int64_t writable;  ///< during this call
};

/// The block that both processes see; the data area follows it. The op could have scribbled on it: the checker believes
/// nothing here without looking.
struct Control {
  Request request;
  std::int32_t op;
  std::int32_t relayout;  ///< the buffers lie elsewhere than at the call before
  std::int32_t buffer_count;
  Pages buffers[max_buffers];
  std::int64_t data_bytes;
  std::int32_t sandbox;  ///< the process is to enter one before it loads anything
  std::int32_t rounding;  ///< as fesetround takes it
  double attributes[GRADUS_MAX_COUNT];
  gradus_tensor inputs[GRADUS_MAX_COUNT], outputs[GRADUS_MAX_COUNT], cotangents[GRADUS_MAX_COUNT];
  gradus_tensor gradients[GRADUS_MAX_COUNT], tangents[GRADUS_MAX_COUNT], output_tangents[GRADUS_MAX_COUNT];

  // Answers.
  volatile Stage stage;
  Result result;
  std::int32_t returned;
  std::int32_t record_count;  ///< OpRecords at the start of the data area, after `load`
  char message[GRADUS_MESSAGE_SIZE];

  // Left by the signal handler.
  volatile std::int32_t signal, signal_code;
  volatile std::int32_t access;  ///< 1: writing, 0: reading, -1: unknown
  volatile std::uint64_t address, stack_pointer;
  volatile std::int64_t system_call;  ///< of a SIGSYS
};

inline constexpr std::int64_t largest_file = 256 << 20;  ///< bytes that an op may write to a file

std::int64_t page_size();
/// `bytes` rounded up to whole pages.
std::int64_t whole_pages(std::int64_t bytes);

/// The life of the child: answers requests that arrive on the socket until it is closed.
[[noreturn]] void serve(int socket, const std::string& path, Control* control, std::byte* data, int keeper);

/// Copies what a library says of itself into the records, of which there is room for max_ops; returns their number.
/// Throws ContractError for whatever cannot be.
int read_description(const gradus_library* library, OpRecord* records);

/// Throws DataError unless the file is a whole shared library for this machine.
void require_shared_library(const std::string& path);

}  // namespace gradus::testing::foreign
