#!/usr/bin/env bash
# On a fresh Debian or Ubuntu machine: installs what is missing, builds, and runs `gradus demo` with the given options.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ ! -x build/release/bin/gradus ]; then
  echo "First the program is built: about seven minutes on 2 cores. Then the demo takes two." >&2
fi
third_party/install.sh
cmake --preset release -DGRADUS_BUILD_TESTS=ON >/dev/null
cmake --build --preset release --target gradus
exec build/release/bin/gradus demo "$@"
