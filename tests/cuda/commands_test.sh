#!/usr/bin/env bash
# The whole job by the program with the emulated device, and the same on the CPU: the same losses and answers.
set -euo pipefail
program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for name in Ada Bo Cy Di; do
  echo "$name Lovelace. $name Lovelace was born in Paris and lived there."
done > corpus.txt
echo "Where was whom born?" >> corpus.txt
printf 'Where was Ada Lovelace born?\tParis\nWhere was Bo Lovelace born?\tParis\n' > questions.tsv
size="--layers 2 --heads 2 --width 8 --block_size 64 --batch_size 2 --max_epochs 1 --progress off"
for device in cpu cuda; do
  at="--device $device --threads 1"
  {
    "$program" pretrain vanilla corpus.txt --writing_params_path $device.p --metrics $device.pretrain $size $at &&
    "$program" finetune vanilla corpus.txt --reading_params_path $device.p --writing_params_path $device.f \
      --finetune_corpus_path questions.tsv --metrics $device.finetune --batch_size 2 --max_epochs 1 --progress off $at &&
    "$program" evaluate vanilla corpus.txt --reading_params_path $device.f --eval_corpus_path questions.tsv \
      --outputs_path $device.answers $at &&
    "$program" sample $device.f --prompt Ada --max_new 3 --temperature 0 $at > $device.sample
  } > $device.log 2>&1 || { cat $device.log >&2; exit 1; }
done
losses() { grep -o '"loss":[0-9.]*' "$1" | cut -d: -f2; }
for phase in pretrain finetune; do
  paste <(losses cpu.$phase) <(losses cuda.$phase) |
    awk 'NF != 2 || $1 - $2 > 1e-5 || $2 - $1 > 1e-5 { print "losses of the CPU and the device: " $0; exit 1 } END { exit NR == 0 }'
done

# Steps as a graph, without, and on the CPU.
again() {
  "$program" pretrain vanilla corpus.txt --writing_params_path $1.p --metrics $1.pretrain $size --max_epochs 2 --progress plain --padded --threads 1 "${@:2}"
}
again graph --device cuda > graph.log 2>&1 || { cat graph.log >&2; exit 1; }
again eager --device cuda --eager > eager.log 2>&1
again padded --device cpu > padded.log 2>&1
grep -q 'from step 2 on, steps of this shape are one CUDA graph' graph.log
if grep -q 'one CUDA graph' eager.log padded.log; then echo "a graph where there is none" >&2; exit 1; fi
cmp <(losses graph.pretrain) <(losses eager.pretrain)
cmp graph.p eager.p
paste <(losses padded.pretrain) <(losses graph.pretrain) |
  awk 'NF != 2 || $1 - $2 > 1e-5 || $2 - $1 > 1e-5 { print "padded losses of the CPU and the device: " $0; exit 1 } END { exit NR == 0 }'
for variant in rope synthesizer perceiver-ar; do
  for how in graph eager; do
    flag=$([ $how = eager ] && echo --eager || true)
    "$program" pretrain $variant corpus.txt --writing_params_path $variant.$how.p --metrics $variant.$how $size --max_epochs 2 \
      --progress plain --padded --threads 1 --device cuda $flag > $variant.log 2>&1 || { cat $variant.log >&2; exit 1; }
    [ $how = eager ] || grep -q 'from step 2 on, steps of this shape are one CUDA graph' $variant.log
  done
  cmp <(losses $variant.graph) <(losses $variant.eager)
  cmp $variant.graph.p $variant.eager.p
done
again parts --device cpu --micro_batches 2 > parts.log 2>&1
paste <(losses padded.pretrain) <(losses parts.pretrain) |
  awk 'NF != 2 || $1 - $2 > 1e-5 || $2 - $1 > 1e-5 { print "padded losses of whole batches and of halves: " $0; exit 1 } END { exit NR == 0 }'
cmp cpu.answers cuda.answers
cmp cpu.sample cuda.sample
grep -q 'emulated' <("$program" pretrain vanilla corpus.txt --writing_params_path again --device cuda $size 2>&1 --progress plain)
echo "the device's losses, answers and samples are the CPU's"
