#!/usr/bin/env bash
# The command lines of the assignment's hand-outs and scripts, edition by edition, as published: `python` is the program.
# The environment makes models and epochs small. Each edition runs by the usual recipe, then by its own in the published
# order of the flags and in another; the order must not change a byte.
#   course_scripts_test.sh GRADUS
set -euo pipefail
program=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GRADUS_MAX_EPOCHS=1 GRADUS_LAYERS=3 GRADUS_HEADS=2 GRADUS_WIDTH=16 GRADUS_THREADS=1

every_edition() {
  cat << 'LINES'
python src/dataset.py namedata
python src/dataset.py charcorruption
python src/london_baseline.py
python src/run.py finetune vanilla wiki.txt --writing_params_path vanilla.model.params \
  --finetune_corpus_path birth_places_train.tsv
python src/run.py evaluate vanilla wiki.txt --reading_params_path vanilla.model.params \
  --eval_corpus_path birth_dev.tsv --outputs_path vanilla.nopretrain.dev.predictions
python src/run.py evaluate vanilla wiki.txt --reading_params_path vanilla.model.params \
  --eval_corpus_path birth_test_inputs.tsv --outputs_path vanilla.nopretrain.test.predictions
python src/run.py pretrain vanilla wiki.txt --writing_params_path vanilla.pretrain.params
python src/run.py finetune vanilla wiki.txt --reading_params_path vanilla.pretrain.params \
  --writing_params_path vanilla.finetune.params --finetune_corpus_path birth_places_train.tsv
python src/run.py evaluate vanilla wiki.txt --reading_params_path vanilla.finetune.params \
  --eval_corpus_path birth_dev.tsv --outputs_path vanilla.pretrain.dev.predictions
python src/run.py evaluate vanilla wiki.txt --reading_params_path vanilla.finetune.params \
  --eval_corpus_path birth_test_inputs.tsv --outputs_path vanilla.pretrain.test.predictions
LINES
}

edition_2021() {
  cat << 'LINES'
python src/run.py pretrain synthesizer wiki.txt --writing_params_path synthesizer.pretrain.params
python src/run.py finetune synthesizer wiki.txt --reading_params_path synthesizer.pretrain.params \
  --writing_params_path synthesizer.finetune.params --finetune_corpus_path birth_places_train.tsv
python src/run.py evaluate synthesizer wiki.txt --reading_params_path synthesizer.finetune.params \
  --eval_corpus_path birth_dev.tsv --outputs_path synthesizer.pretrain.dev.predictions
python src/run.py evaluate synthesizer wiki.txt --reading_params_path synthesizer.finetune.params \
  --eval_corpus_path birth_test_inputs.tsv --outputs_path synthesizer.pretrain.test.predictions
LINES
}

edition_2022() { edition_2021; }

edition_2023() {
  cat << 'LINES'
python src/run.py pretrain perceiver wiki.txt --bottleneck_dim 64 \
  --pretrain_lr 6e-3 --writing_params_path perceiver.pretrain.params
python src/run.py finetune perceiver wiki.txt --bottleneck_dim 64 \
  --reading_params_path perceiver.pretrain.params \
  --writing_params_path perceiver.finetune.params \
  --finetune_corpus_path birth_places_train.tsv
python src/run.py evaluate perceiver wiki.txt --bottleneck_dim 64 \
  --reading_params_path perceiver.finetune.params \
  --eval_corpus_path birth_dev.tsv \
  --outputs_path perceiver.pretrain.dev.predictions
python src/run.py evaluate perceiver wiki.txt --bottleneck_dim 64 \
  --reading_params_path perceiver.finetune.params \
  --eval_corpus_path birth_test_inputs.tsv \
  --outputs_path perceiver.pretrain.test.predictions
LINES
}

edition_2024() {
  cat << 'LINES'
python src/run.py pretrain rope wiki.txt --writing_params_path rope.pretrain.params
python src/run.py finetune rope wiki.txt --reading_params_path rope.pretrain.params \
  --writing_params_path rope.finetune.params --finetune_corpus_path birth_places_train.tsv
python src/run.py evaluate rope wiki.txt --reading_params_path rope.finetune.params \
  --eval_corpus_path birth_dev.tsv --outputs_path rope.pretrain.dev.predictions
python src/run.py evaluate rope wiki.txt --reading_params_path rope.finetune.params \
  --eval_corpus_path birth_test_inputs.tsv --outputs_path rope.pretrain.test.predictions
LINES
}

complain() {
  cat log >&2
  echo "failed: $*" >&2
  exit 1
}
require() {  # PATTERN LINE: the log has it
  grep -q -- "$1" log || complain "$2 (expected: $1)"
}
run() {
  "$program" "$@" > log 2>&1 || complain "$@"
}

# The same command in another order: flags and arguments are mixed by a random source that is the line itself, some
# flags stand before the function, others are written --flag=value.
reordered() {  # SCRIPT FUNCTION VARIANT CORPUS [--flag value]...
  local script=$1 positional=("$2" "$3" "$4") flags=()
  local source
  source=$(printf '%s ' "$@")
  shift 4
  while [ $# -gt 0 ]; do
    if [ $((${#flags[@]} % 2)) -eq 0 ]; then flags+=("$1=$2"); else flags+=("$1 $2"); fi
    shift 2
  done
  mapfile -t flags < <(printf '%s\n' "${flags[@]}" | shuf --random-source=<(printf '%s' "$source$source"))
  local words="$script" i
  for i in "${!flags[@]}"; do
    words+=" ${flags[i]}"
    if [ "$i" -lt 3 ]; then words+=" ${positional[i]}"; fi
  done
  for ((i = ${#flags[@]}; i < 3; ++i)); do words+=" ${positional[i]}"; done
  # shellcheck disable=SC2086
  run $words --tb_expt_name=again --finetune_lr 6e-4 --pretrain_lr 6e-3
}

execute() {  # ORDER LINE...
  local order=$1
  shift
  case "$2" in
    src/run.py) if [ "$order" = reordered ]; then reordered "${@:2}"; else run "${@:2}"; fi ;;
    *) run "${@:2}" ;;
  esac
  case "$*" in
    *namedata*) require '^x: Where was .*born?⁇' "$*" ;;
    *charcorruption*) require '^y: ' "$*" ;;
    *london_baseline*) require '^Correct: ' "$*" ;;
    *evaluate*birth_dev*) require '^Correct: [0-9.]* out of [0-9.]*: [0-9.e-]*%$' "$*" ;;
    *evaluate*birth_test*) require '^No gold birth places provided; returning (0,0)$' "$*" ;;
    *) require '^number of parameters: ' "$*" ;;
  esac
}

scripts_of() {  # YEAR ORDER
  local folder="$work/$1-$2-${GRADUS_EDITION:-usual}" words count=0
  "$program" world "$folder" --train_people 12 --held_out_people 6 > /dev/null
  cd "$folder"
  mv corpus.txt wiki.txt
  mv train.tsv birth_places_train.tsv
  mv held_out.tsv birth_dev.tsv
  cut -f1 birth_dev.tsv > birth_test_inputs.tsv
  while read -a words; do
    execute "$2" "${words[@]}"
    count=$((count + 1))
  done < <(every_edition; "edition_$1")
  [ "$count" -eq 14 ]
  for predictions in *.predictions; do
    [ "$(wc -l < "$predictions")" -eq "$(wc -l < birth_dev.tsv)" ]
  done
  cd "$work"
}

for year in 2021 2022 2023 2024; do
  scripts_of $year published
  GRADUS_EDITION=$year scripts_of $year published
  # The rates are given in the other order: they must be those of the edition.
  GRADUS_EDITION=$year scripts_of $year reordered
  for file in "$work/$year-published-$year"/*.{params,predictions}; do
    cmp "$file" "$work/$year-reordered-$year/$(basename "$file")"
  done
done

cd "$work/2023-published-2023"
refused() {  # STATUS SENTENCE ARGUMENTS...
  local status=0 expected=$1 sentence=$2
  shift 2
  "$program" "$@" > log 2>&1 || status=$?
  [ "$status" -eq "$expected" ] || complain "$@ (status $status, not $expected)"
  require "$sentence" "$*"
}
refused 2 '--bottleneck_dim 32: the model in perceiver.finetune.params has 64' evaluate perceiver wiki.txt --bottleneck_dim 32 \
  --reading_params_path perceiver.finetune.params --eval_corpus_path birth_dev.tsv --outputs_path refused
refused 2 '--full_length: examples of 128 characters, and a synthesizer of block_size 128 takes 127' \
  pretrain synthesizer wiki.txt --writing_params_path refused --edition 2024
echo "the scripts of all editions run"
