#!/usr/bin/env bash
# On a fresh Debian or Ubuntu machine: installs what is missing, builds, runs every test, and closes with a count.
#   tools/test.sh [PRESET [CTEST OPTIONS]]      default: release
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
preset=${1:-release}
shift || true
third_party/install.sh
cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset"
results="build/$preset/test-results.xml"
status=0
jobs=$(nproc)
if [ "$jobs" -gt 4 ]; then jobs=4; fi  # many tests use every core themselves
ctest --test-dir "build/$preset" --parallel "$jobs" --output-on-failure --output-junit "test-results.xml" "$@" || status=$?
if [ ! -s "$results" ]; then echo "no test was run" >&2; exit 1; fi
count() { grep -o "<testsuite[^>]*" "$results" | head -n 1 | grep -o "$1=\"[0-9]*\"" || sed -n 's/^[[:space:]]*\('"$1"'="[0-9]*"\).*/\1/p' "$results" | head -n 1; }
number() { local found; found=$(count "$1" | grep -o '[0-9]*' || true); echo "${found:-0}"; }
total=$(number tests) failed=$(number failures)
echo "$((total - failed)) passed, $failed failed"
if [ "$total" -eq 0 ]; then exit 1; fi
exit "$status"
