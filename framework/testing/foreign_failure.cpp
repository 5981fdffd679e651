#include "framework/testing/foreign_failure.h"

#include <dlfcn.h>
#include <signal.h>
#include <string.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "framework/base/printable.h"
#include "framework/testing/foreign_sandbox.h"

namespace gradus::testing {

using Kind = ForeignFailureKind;

std::string_view to_string(Kind kind) {
  switch (kind) {
    case Kind::crash: return "crashed";
    case Kind::timeout: return "timed out";
    case Kind::forbidden: return "forbidden";
    case Kind::out_of_bounds: return "out of bounds";
    case Kind::unwritten: return "unwritten";
    case Kind::input_modified: return "input modified";
    case Kind::refused: return "refused";
    case Kind::bad_description: return "bad description";
    case Kind::nothing_to_check: return "nothing to check";
  }
  return "unknown";
}

namespace foreign {
namespace {

#if defined(__aarch64__)
constexpr const char* machine = "aarch64";
#else
constexpr const char* machine = "x86_64";
#endif

const char* function_name(Stage stage) {
  switch (stage) {
    case Stage::loading: return "being loaded, it";
    case Stage::describing: return "gradus_describe";
    case Stage::reading: return "its description";
    case Stage::shape: return "shape";
    case Stage::forward: return "forward";
    case Stage::backward: return "backward";
    case Stage::jvp: return "jvp";
    case Stage::checker: break;
  }
  return "something that it had started";
}

std::string signal_name(int signal, int code) {
  switch (signal) {
    case SIGSEGV: return "segmentation fault";
    case SIGBUS: return "bus error";
    case SIGILL: return "illegal instruction";
    case SIGABRT: return "abort() was called (a failed assertion, an uncaught exception or a damaged heap)";
    case SIGFPE: return code == FPE_INTDIV ? "integer division by zero" : "arithmetic fault";
    case SIGTRAP: return "trap";
    case SIGXFSZ: return fmt::format("a file grew beyond {} MiB, which is as much as an op may write", largest_file >> 20);
    case SIGKILL: return "it was killed (perhaps because memory ran out)";
    default: return fmt::format("signal {}", signal);
  }
}

std::string crash_reason(const Control& control) {
  const std::string name = signal_name(control.signal, control.signal_code);
  if (control.signal != SIGSEGV && control.signal != SIGBUS) return name;
  if (control.signal_code == SI_KERNEL) return name + " at an address that cannot exist, or a misaligned vector access";
  constexpr std::uint64_t near = 65536;
  const std::uint64_t address = control.address, stack = control.stack_pointer;
  if (address < near) return fmt::format("{} at address {:#x} (null pointer)", name, address);
  if ((address > stack ? address - stack : stack - address) < near)
    return name + " at the end of the stack (endless recursion, or large local arrays?)";
  return fmt::format("{} at address {:#x}", name, address);
}

std::string text_of_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::string text_of(const char (&message)[GRADUS_MESSAGE_SIZE]) {
  std::string text(message, ::strnlen(message, GRADUS_MESSAGE_SIZE));
  std::ranges::replace_if(text, [](char c) { return c == '\n' || c == '\t'; }, ' ');
  while (!text.empty() && (text.back() == '.' || text.back() == ' ')) text.pop_back();
  return printable(text);
}

}  // namespace

void explain_sanitizer(const std::string& path) {
  if (::dlsym(RTLD_DEFAULT, "__asan_init")) return;
  const std::string bytes = text_of_file(path);
  if (bytes.find("__asan_init") == std::string::npos) return;
  const bool of_gcc = bytes.find("libasan.so") != std::string::npos;
  fail<DataError>(
      "{}: it is built with AddressSanitizer, which has to be there before the program begins: {}", path,
      of_gcc ? fmt::format("LD_PRELOAD=$(gcc -print-file-name=libasan.so) gradus gradcheck --lib {}", path)
             : fmt::format("build it with -shared-libasan as well, then LD_PRELOAD=$(clang "
                           "-print-file-name=libclang_rt.asan-{}.so) gradus gradcheck --lib {}",
                           machine, path));
}

void fail_foreign(Kind kind, const std::string& who, Stage stage, const std::string& what) {
  throw ForeignFailure(kind, fmt::format("{}: {} {}", who, function_name(stage), what));
}

void explain_end(const std::string& who, const Process& process, const Answer& answer, double timeout,
                 const Layout* layout) {
  const Control& control = process.control();
  const Stage stage = control.stage;
  if (answer.kind == Answer::Kind::timed_out)
    fail_foreign(Kind::timeout, who, stage, fmt::format("did not return within {:g} s", timeout));
  if (answer.too_many) {
    fail_foreign(Kind::crash, who, stage,
                 fmt::format("had more than {} processes and threads at a time, and was ended", most_tasks));
  }
  if (answer.keeper_gone) fail_foreign(Kind::crash, who, stage, "ended the process that keeps watch over it");
  if (control.signal == 0) {
    fail_foreign(Kind::crash, who, stage,
                 answer.cut_off  ? "closed its connection to the checker and did not return"
                 : answer.exited ? fmt::format("ended the process with exit code {}", answer.code)
                                 : "crashed: " + signal_name(answer.code, 0));
  }
  if (control.signal == SIGSYS && control.manner.sandbox) {
    fail_foreign(Kind::forbidden, who, stage,
                 fmt::format("tried {}, which the sandbox does not allow", act_of(control.system_call)));
  }
  if (stage == Stage::reading)
    fail_foreign(Kind::bad_description, who, stage, "holds a pointer that leads nowhere: " + crash_reason(control));

  const std::uint64_t base = reinterpret_cast<std::uintptr_t>(process.data());
  const auto position = static_cast<std::int64_t>(control.address - base);
  const bool in_data = control.address >= base && position < process.data_bytes();
  const bool by_address = control.signal == SIGSEGV && control.signal_code != SI_KERNEL;
  if (!layout || !in_data || !by_address) fail_foreign(Kind::crash, who, stage, "crashed: " + crash_reason(control));

  const Buffer& buffer = layout->nearest(position);
  if (position < buffer.begin || position >= buffer.end()) {
    const char* verb = control.access == 1 ? "wrote" : control.access == 0 ? "read" : "reached";
    fail_foreign(Kind::out_of_bounds, who, stage, fmt::format("{} {}", verb, place_outside(buffer, position)));
  }
  fail_foreign(Kind::input_modified, who, stage,
               fmt::format("wrote to {}, which it may only read", place_inside(buffer, position)));
}

void explain_result(const std::string& who, const Control& control) {
  const std::string message = text_of(control.message);
  switch (control.result) {
    case Result::threw: fail_foreign(Kind::crash, who, control.stage, "threw a C++ exception: " + message);
    case Result::no_library: fail<DataError>("{}: {}", who, message);
    case Result::no_sandbox: fail<Error>("{}: it is not run, there is no sandbox here: {}", who, message);
    case Result::bad_description: throw ForeignFailure(Kind::bad_description, fmt::format("{}: {}", who, message));
    default: break;
  }
  fail_foreign(Kind::refused, who, control.stage,
               message.empty() ? fmt::format("returned {} and no message", control.returned) : "refused: " + message);
}

}  // namespace foreign
}  // namespace gradus::testing
