#!/usr/bin/env bash
# The commands of the assignment's scripts, of every edition, with the program in place of `python src/run.py`; the
# environment makes models and epochs small.
#   course_scripts_test.sh GRADUS
set -euo pipefail
program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$program" world world --train_people 12 --held_out_people 6 > /dev/null
cp world/corpus.txt wiki.txt
cp world/train.tsv birth_places_train.tsv
cp world/held_out.tsv birth_dev.tsv
cut -f1 birth_dev.tsv > birth_test_inputs.tsv
export GRADUS_MAX_EPOCHS=1 GRADUS_LAYERS=3 GRADUS_HEADS=2 GRADUS_WIDTH=16 GRADUS_THREADS=1

run() {
  if ! "$program" "$@" > log 2>&1; then
    cat log >&2
    echo "failed: gradus $*" >&2
    exit 1
  fi
}
evaluate() {  # VARIANT PARAMS NAME
  run evaluate "$1" wiki.txt --reading_params_path "$2" --eval_corpus_path birth_dev.tsv --outputs_path "$3.dev.predictions"
  grep -q '^Correct: [0-9.]* out of [0-9.]*: [0-9.e-]*%$' log
  run evaluate "$1" wiki.txt --reading_params_path "$2" --eval_corpus_path birth_test_inputs.tsv --outputs_path "$3.test.predictions"
  grep -q '^No gold birth places provided; returning (0,0)$' log
  [ "$(wc -l < "$3.dev.predictions")" -eq "$(wc -l < birth_dev.tsv)" ]
  [ "$(wc -l < "$3.test.predictions")" -eq "$(wc -l < birth_test_inputs.tsv)" ]
}
with_pretraining() {  # VARIANT [flags of training]
  local variant=$1
  shift
  run pretrain "$variant" wiki.txt --writing_params_path "$variant.pretrain.params" "$@"
  run finetune "$variant" wiki.txt --reading_params_path "$variant.pretrain.params" --writing_params_path "$variant.finetune.params" \
    --finetune_corpus_path birth_places_train.tsv "$@"
  evaluate "$variant" "$variant.finetune.params" "$variant.pretrain"
}

scripts_of() {  # YEAR
  run finetune vanilla wiki.txt --writing_params_path vanilla.model.params --finetune_corpus_path birth_places_train.tsv
  evaluate vanilla vanilla.model.params vanilla.nopretrain
  with_pretraining vanilla
  case $1 in
    2021 | 2022) with_pretraining synthesizer ;;
    2023) with_pretraining perceiver --bottleneck_dim 64 --pretrain_lr 6e-3 ;;
    2024) with_pretraining rope ;;
  esac
}

for year in 2021 2022 2023 2024; do
  scripts_of $year  # by the usual recipe
  GRADUS_EDITION=$year scripts_of $year
done
status=0
GRADUS_EDITION=2024 "$program" pretrain synthesizer wiki.txt --writing_params_path long.params > log 2>&1 || status=$?
[ "$status" -eq 2 ]
grep -q -- '--full_length: examples of 128 characters, and a synthesizer of block_size 128 takes 127' log
echo "the scripts of all editions run"
