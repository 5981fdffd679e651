// A file that becomes another when it is whole.
#pragma once

#include <ostream>
#include <streambuf>
#include <string>

#include "framework/io/descriptor.h"
#include "framework/io/destination.h"

namespace gradus::io {

/// Writes straight to a descriptor.
class DescriptorBuffer final : public std::streambuf {
 public:
  explicit DescriptorBuffer(int descriptor) : descriptor_(descriptor) {}
  /// errno of the first write that failed; 0 where none did.
  int error() const { return error_; }

 protected:
  std::streamsize xsputn(const char* bytes, std::streamsize count) override;
  int_type overflow(int_type character) override;

 private:
  const int descriptor_;
  int error_ = 0;
};

/// A new file beside its destination, under a name that nobody can have foreseen, readable by this user alone. It is
/// removed when this ends, unless it has taken the destination's place.
class TemporaryFile {
 public:
  /// Throws OutputError, beginning with `name`, where it cannot be made.
  TemporaryFile(const Destination& destination, const std::string& name);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  std::ostream& stream() { return stream_; }
  /// Flushes it to disk and renames it, with the owner and mode of the file that was there, or those of a new file.
  void take_place();

 private:
  /// errno says why where it is not.
  void check(bool good) const;

  const Destination destination_;
  const std::string name_;
  std::string path_;
  Descriptor descriptor_;
  DescriptorBuffer buffer_;
  std::ostream stream_;
  bool is_there_ = true;
};

/// Removes what killed processes of this user left of unfinished writes to a destination.
void remove_stale_temporaries(const Destination& destination);

}  // namespace gradus::io
