#!/usr/bin/env bash
# A portable build, looked at from outside: what every processor must run has no instructions that only some have, the
# libraries of the higher levels have them, and no library calls a program's copy of a function that it has itself.
#   levels_test.sh PROGRAM LIBRARY_FOLDER
set -euo pipefail
program=$1 folder=$2
name=libgradus_framework.so
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() { echo "$1" >&2; exit 1; }
instructions_with() { objdump -d --no-show-raw-insn "$1" | grep -c "%$2" || true; }
expect() {  # FILE REGISTERS none|many
  local found
  found=$(instructions_with "$1" "$2")
  case $3 in
    none) [ "$found" -eq 0 ] || fail "$1: $found instructions use $2 registers, none expected" ;;
    many) [ "$found" -gt 1000 ] || fail "$1: $found instructions use $2 registers, many expected" ;;
  esac
}
expect "$program" '[yz]mm' none
expect "$folder/$name" '[yz]mm' none
expect "$folder/glibc-hwcaps/x86-64-v3/$name" zmm none
expect "$folder/glibc-hwcaps/x86-64-v3/$name" ymm many
expect "$folder/glibc-hwcaps/x86-64-v4/$name" zmm many

for library in "$folder/$name" "$folder"/glibc-hwcaps/*/"$name"; do
  nm -D --defined-only "$library" | awk '$2 ~ /[TWti]/ { print $3 }' | sort >"$work/has"
  readelf -rW "$library" | awk '/JUMP_SLO|GLOB_DAT/ { print $5 }' | sort >"$work/asks_for"
  [ -s "$work/has" ] && [ -s "$work/asks_for" ] || fail "$library: its symbols cannot be read"
  shared=$(comm -12 "$work/has" "$work/asks_for")
  [ -z "$shared" ] || fail "$library asks the loader for functions of its own: $(head -n 3 <<<"$shared" | tr '\n' ' ')"
done
echo "the levels are apart"
