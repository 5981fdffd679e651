// Turns what is left of a call into a foreign op into a sentence.
#pragma once

#include "framework/testing/foreign_buffers.h"
#include "framework/testing/foreign_op.h"
#include "framework/testing/foreign_process.h"

namespace gradus::testing::foreign {

/// `who`: "my_op.so: my_op" or the library alone. `layout`: null where there are no buffers yet.
[[noreturn]] void explain_end(const std::string& who, const Process& process, const Answer& answer, double timeout,
                              const Layout* layout);
/// For a result other than `done`.
[[noreturn]] void explain_result(const std::string& who, const Control& control);

/// For a library that does not load: throws DataError where that is because it was built with AddressSanitizer, which
/// has to be in the process before everything else.
void explain_sanitizer(const std::string& path);

[[noreturn]] void fail_foreign(ForeignFailureKind kind, const std::string& who, Stage stage, const std::string& what);

}  // namespace gradus::testing::foreign
