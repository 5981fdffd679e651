#!/usr/bin/env bash
# On a fresh Debian or Ubuntu machine: installs what is missing, builds, runs every test, and closes with a count, above it
# why what was skipped was.
#   tools/test.sh [PRESET [CTEST OPTIONS]]      default: release; of `-L fast` what these need is built alone
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
preset=${1:-release}
shift || true
third_party/install.sh
cmake --preset "$preset" >/dev/null
case " $* " in
  *" -L fast "*) cmake --build --preset "$preset" --target fast_tests ;;
  *) cmake --build --preset "$preset" ;;
esac
results="build/$preset/test-results.xml"
rm -f "$results"
status=0
jobs=$(nproc)
if [ "$jobs" -gt 4 ]; then jobs=4; fi  # many tests use every core themselves
ctest --test-dir "build/$preset" --parallel "$jobs" --output-on-failure --output-junit "test-results.xml" "$@" || status=$?
if ! grep -q '<testcase ' "$results" 2>/dev/null; then
  echo "no test was run" >&2
  exit 1
fi
awk -f tools/test_summary.awk "$results"
exit "$status"
