#!/usr/bin/env bash
# What tools/test.sh says of tests that pass, fail, skip themselves, or cannot be started, and what .ci/run adds up.
#   test_summary_test.sh SOURCE_FOLDER CTEST
set -euo pipefail
source=$1 ctest=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

cat >"$work/CTestTestfile.cmake" <<'END'
add_test(right sh -c "echo nothing was skipped")
add_test(wrong sh -c "echo skipped: not really; exit 1")
add_test(slow sleep 10)
set_tests_properties(slow PROPERTIES TIMEOUT 1)
add_test(not_built /nowhere/program)
add_test(no_device sh -c "echo first; echo 'skipped: no <CUDA> device & no \"driver\"'; exit 77")
add_test(no_data sh -c "echo 'DATA names no folder: skipped'; echo all is well")
add_test(silent sh -c "exit 77")
set_tests_properties(no_device silent PROPERTIES SKIP_RETURN_CODE 77)
set_tests_properties(no_data PROPERTIES SKIP_REGULAR_EXPRESSION "DATA names no folder")
END
(cd "$work" && "$ctest" --output-junit results.xml >ctest.log 2>&1) && fail "ctest found nothing wrong"
cat >"$work/expected" <<'END'
skipped: no_device: no <CUDA> device & no "driver"
skipped: no_data: DATA names no folder
skipped: silent: SKIP_RETURN_CODE=77
1 passed, 3 failed, 3 skipped
END
awk -f "$source/tools/test_summary.awk" "$work/results.xml" >"$work/summary"
diff "$work/expected" "$work/summary" >&2 || fail "the summary is another one"

# .ci/run in a tree whose tools/test.sh only prints: the last line is the sum, and one step without a count is a failure.
mkdir -p "$work/tree/.ci" "$work/tree/tools"
cp "$source/.ci/run" "$work/tree/.ci"
sum_of() {  # STATUS, then what each step prints
  local expected_status=$1 status=0
  printf '#!/bin/sh\ncase $1 in release) echo "%s" ;; *) echo "%s" ;; esac\n' "$2" "$3" >"$work/tree/tools/test.sh"
  chmod +x "$work/tree/tools/test.sh"
  "$work/tree/.ci/run" >"$work/ci.log" 2>&1 || status=$?
  [ "$status" -eq "$expected_status" ] || fail "a run of '$2' and '$3' ends with $status"
  tail -n 1 "$work/ci.log"
}
[ "$(sum_of 0 "49 passed, 0 failed, 6 skipped" "30 passed, 0 failed, 1 skipped")" = "79 passed, 0 failed, 7 skipped" ] ||
  fail "the sum is wrong" "$(cat "$work/ci.log")"
[ "$(sum_of 1 "49 passed, 2 failed, 0 skipped" "10 passed, 1 failed, 0 skipped")" = "59 passed, 3 failed, 0 skipped" ] ||
  fail "the sum with failures is wrong" "$(cat "$work/ci.log")"
[ "$(sum_of 1 "49 passed, 0 failed, 6 skipped" "the compiler died")" = "49 passed, 1 failed, 6 skipped" ] ||
  fail "a step without a count is no failure" "$(cat "$work/ci.log")"
echo "skipped tests are counted apart, with their reasons"
