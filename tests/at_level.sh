#!/usr/bin/env bash
# Runs a command with the framework's library for a level of x86-64, as on a processor that has no higher one; status 77
# where this processor does not reach the level.
#   at_level.sh LEVEL COMMAND...
set -euo pipefail
level=$1
shift
case $level in
  x86-64) hidden=-AVX2 ;;
  x86-64-v3) hidden=-AVX512F ;;
  *) hidden= ;;
esac
if [ "$level" != x86-64 ] && ! /lib64/ld-linux-x86-64.so.2 --help | grep "^ *$level (supported" >/dev/null; then
  echo "skipped: this processor has no $level"
  exit 77
fi
export GRADUS_EXPECTED_LEVEL=$level
[ -z "$hidden" ] || export GLIBC_TUNABLES=glibc.cpu.hwcaps=$hidden
exec "$@"
