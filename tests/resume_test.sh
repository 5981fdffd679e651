#!/usr/bin/env bash
# A run that is interrupted, or killed at random moments, and resumed ends in the same bits as one that was left alone.
set -euo pipefail
program=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$program" world world --train_people 20 --held_out_people 10 >/dev/null

# start OUTPUT [FLAGS ...]: in the background, as the process $! itself, so that signals reach the program.
start() {
  local output=$1
  shift
  "$program" pretrain vanilla world/corpus.txt --writing_params_path "$output" --max_epochs 6 --batch_size 8 --layers 1 --heads 2 --width 32 \
    --metrics "$output.jsonl" --checkpoint_every 3 --progress off "$@" >/dev/null &
}
pretrain() {
  start "$@"
  wait $!
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
start interrupted
pid=$!
while [ ! -f interrupted.jsonl ] || [ "$(wc -l <interrupted.jsonl)" -lt 5 ]; do sleep 0.02; done
kill -INT $pid
status=0
wait $pid || status=$?
[ "$status" -eq 130 ] || fail "Ctrl-C ended with status $status"
[ -f interrupted.checkpoint ] && [ ! -f interrupted ] || fail "Ctrl-C left no checkpoint, or a model"
status=0
pretrain interrupted 2>/dev/null || status=$?
[ "$status" -eq 2 ] || fail "a checkpoint was overwritten without being asked (status $status)"
status=0
pretrain interrupted --resume --seed 5 2>message || status=$?
[ "$status" -eq 2 ] && grep -q "another seed" message || fail "a changed seed was not refused by name"
pretrain interrupted --resume
cmp whole interrupted || fail "the interrupted run has other weights"
same_metrics whole.jsonl interrupted.jsonl || fail "the interrupted run has other metrics"
[ ! -f interrupted.checkpoint ] || fail "a finished run left its checkpoint"

# SIGKILL at random moments, until the run gets through.
RANDOM=7
kills=0
while [ ! -f killed ]; do
  start killed --resume
  pid=$!
  sleep "0.$((RANDOM % 80 + 10))"
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
