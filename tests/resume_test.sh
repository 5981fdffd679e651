#!/usr/bin/env bash
# A run that is interrupted, or killed at random moments, and resumed ends in the same bits as one that was left alone.
set -euo pipefail
program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$program" world world --train_people 20 --held_out_people 10 >/dev/null

pretrain() {  # pretrain OUTPUT [FLAGS ...]
  local output=$1
  shift
  "$program" pretrain vanilla world/corpus.txt --writing_params_path "$output" --max_epochs 6 --batch_size 8 --layers 1 --heads 2 --width 32 \
    --metrics "$output.jsonl" --checkpoint_every 3 --progress off "$@" >/dev/null
}
fail() {
  echo "$1" >&2
  exit 1
}
same_metrics() {  # all but the timings
  diff <(sed 's/,"seconds".*//' "$1") <(sed 's/,"seconds".*//' "$2") >/dev/null
}

pretrain whole

# Ctrl-C: exit status 130, a checkpoint, no model; then on with --resume.
pretrain interrupted &
pid=$!
while [ "$(wc -l <interrupted.jsonl 2>/dev/null || echo 0)" -lt 5 ]; do sleep 0.02; done
kill -INT $pid
status=0
wait $pid || status=$?
if [ "$status" -ne 0 ]; then
  [ "$status" -eq 130 ] || fail "Ctrl-C ended with status $status"
  [ -f interrupted.checkpoint ] && [ ! -f interrupted ] || fail "Ctrl-C left no checkpoint, or a model"
  status=0
  pretrain interrupted 2>/dev/null || status=$?
  [ "$status" -eq 2 ] || fail "a checkpoint was overwritten without being asked (status $status)"
  status=0
  pretrain interrupted --resume --seed 5 2>message || status=$?
  [ "$status" -eq 2 ] && grep -q "another seed" message || fail "a changed seed was not refused by name"
  pretrain interrupted --resume
fi
cmp whole interrupted || fail "the interrupted run has other weights"
same_metrics whole.jsonl interrupted.jsonl || fail "the interrupted run has other metrics"
[ ! -f interrupted.checkpoint ] || fail "a finished run left its checkpoint"

# SIGKILL at random moments, until the run gets through.
RANDOM=7
kills=0
while [ ! -f killed ]; do
  pretrain killed --resume &
  pid=$!
  sleep "0.$((RANDOM % 60 + 20))"
  if [ "$kills" -lt 8 ] && kill -KILL $pid 2>/dev/null; then kills=$((kills + 1)); fi
  wait $pid 2>/dev/null || true
done
cmp whole killed || fail "the killed run has other weights"
same_metrics whole.jsonl killed.jsonl || fail "the killed run has other metrics"
for left in killed.*.partial; do
  [ ! -e "$left" ] || rm "$left"  # a kill between writing and renaming may leave one; it is never read
done

# The number of threads changes nothing.
pretrain threads --threads 1
cmp whole threads || fail "one thread gives other weights"
echo "interrupted once, killed $kills times: the same bits"
