#!/usr/bin/env bash
# On a fresh Debian or Ubuntu machine: installs what is missing, builds, and runs `gradus demo` with the given options.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
third_party/install.sh
cmake --preset release -DGRADUS_BUILD_TESTS=ON >/dev/null
cmake --build --preset release --target gradus
exec build/release/bin/gradus demo "$@"
