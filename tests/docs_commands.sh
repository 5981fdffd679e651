#!/usr/bin/env bash
# Runs every command of the ```sh blocks in README.md and docs/, each file in a folder of its own. The programs are on PATH as
# `gradus` and `gradus-emulated`. Scripts of the repository itself (tools/, third_party/, cmake) are run by continuous integration, not here.
set -euo pipefail
root=$1 program=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
ln -s "$program" "$work/bin/gradus"
ln -s "$program-emulated" "$work/bin/gradus-emulated"
export PATH="$work/bin:$PATH"
count=0
for document in "$root"/README.md "$root"/docs/*.md; do
  commands=$(awk '/^```sh$/ { inside = 1; next } /^```/ { inside = 0 } inside' "$document" | grep -vE '^(tools/|third_party/|cmake )' || true)
  [ -n "$commands" ] || continue
  folder="$work/$(basename "$document" .md)"
  mkdir "$folder"
  if ! (cd "$folder" && bash -euo pipefail -c "$commands") >"$folder.log" 2>&1; then
    echo "a command of $document failed:" >&2
    tail -n 20 "$folder.log" >&2
    exit 1
  fi
  count=$((count + $(grep -c '^gradus' <<<"$commands")))
done
echo "$count commands of the documentation ran"
[ "$count" -gt 15 ]
