#!/usr/bin/env bash
# The built-in world, end to end: pretraining must be what makes the difference.
set -euo pipefail
program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# One thread: its matrices are small, and other tests run beside it.
"$program" demo --threads 1 --json "$work/demo.json" --progress off
value() { grep -o "\"$1\": [0-9.]*" "$work/demo.json" | grep -o '[0-9.]*$'; }
majority=$(value majority_accuracy) without=$(value no_pretraining_accuracy) with=$(value pretraining_accuracy)
awk -v m="$majority" -v n="$without" -v p="$with" 'BEGIN {
  if (!(p >= 60)) { print "with pretraining: " p " %, at least 60 % expected"; exit 1 }
  if (!(n <= m + 5 && n >= m - 5)) { print "without pretraining: " n " %, within 5 of " m " % expected"; exit 1 }
}'
