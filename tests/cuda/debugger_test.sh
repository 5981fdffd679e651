#!/usr/bin/env bash
# The gdb session of docs/cuda-emulation.md, run; what it prints must be what the chapter shows. Status 77 without gdb.
#   debugger_test.sh PROGRAM DOCUMENT
set -euo pipefail
program=$1 document=$2
command -v gdb >/dev/null || { echo "skipped: no gdb"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
block() { awk -v language="$1" '$0 == "```" language { inside = 1; next } /^```/ { inside = 0 } inside' "$document"; }
block gdb >"$work/commands"
block gdb-output >"$work/expected"
if ! gdb -q -nx -batch -ex 'set debuginfod enabled off' -x "$work/commands" "$program" >"$work/all" 2>&1; then
  if grep -q 'ptrace' "$work/all"; then echo "skipped: no program can be traced here"; exit 77; fi
fi
grep '^\$' "$work/all" >"$work/found" || true
[ -s "$work/expected" ] && diff "$work/expected" "$work/found" && exit 0
cat "$work/all" >&2
exit 1
