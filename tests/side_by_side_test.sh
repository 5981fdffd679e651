#!/usr/bin/env bash
# tools/bench/side_by_side.py on invented sides, whose rates are known; --scaling on the real program, at a small size.
set -euo pipefail
python=$1 script=$2 program=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/gradus" <<'END'
#!/bin/sh
[ "$1" = --version ] && echo "gradus 9.9" && exit
case " $* " in *" bf16 "*) echo "gradus: no bf16 here" >&2; exit 2 ;; esac
rate=300
case " $* " in *" --corpus wiki.txt "*) rate=600 ;; esac
threads=$(echo "$*" | sed 's/.*--threads \([0-9]*\).*/\1/')
echo "{\"tokens_per_s\": $rate, \"characters_per_s\": 50, \"loss_last\": 4.$threads, \"peak_rss_mib\": 7}" >"$(echo "$*" | sed 's/.*--json //')"
END
cat >"$work/peer" <<'END'
#!/bin/sh
case " $* " in
  *" -c "*) echo "PyTorch 8.8" ;;
  *--compile*) echo "no compiler" >&2; exit 1 ;;
  *generate*) echo '{"characters_per_s": 5}' ;;
  *sdpa*) [ -z "${SLOW:-}" ] || sleep 2; echo '{"tokens_per_s": 200}' ;;
  *) echo '{"tokens_per_s": 100}' ;;
esac
END
cat >"$work/llm_c" <<'END'
#!/bin/sh
for ms in 900.5 500.0 500.0; do echo "step 1: train loss 5.3 (took $ms ms)"; done
END
chmod +x "$work"/*

expect() { grep -qF -- "$1" "$work/out" || { echo "missing: $1"; cat "$work/out"; exit 1; } >&2; }
compare() { "$python" "$script" "$@" >"$work/out" 2>&1; }

compare "$work/gradus" --peer "$work/peer" --peer "$work/none" --dtype f32 --dtype bf16 --rounds 2 --llm_c "$work/llm_c" --llm_c_tokens 64 --json "$work/json"
expect "gradus 9.9; "
expect "| Gradus | f32 | 300 | 300 to 300 | 7 |"
expect "| PyTorch 8.8, sdpa | bf16 | 200 | 200 to 200 | - |"
expect "| llm.c | f32 | 128 |"
expect "Gradus / PyTorch 8.8, sdpa, f32: 1.50"
expect "left out: Gradus, bf16: gradus: no bf16 here"
expect "left out: PyTorch 8.8, eager+compile, f32: no compiler"
expect "left out: $work/none"
"$python" -c "import json; assert json.load(open('$work/json'))['ratios'] == [{'dtype': 'f32', 'best': 'PyTorch 8.8, sdpa', 'ratio': 1.5}]"

SLOW=1 compare "$work/gradus" --peer "$work/peer" --rounds 2 --minutes 0.03
expect "medians of 2 rounds in turn, cut short"
expect "| PyTorch 8.8, sdpa | f32 | 200 |"
expect "left out: PyTorch 8.8, eager+compile, f32: the time was over"

compare "$work/gradus" --peer "$work/peer" --device cuda --dtype f32 --dtype tf32 --rounds 1 --setting eager --setting tf32:max-autotune --setting f32:sdpa
expect "| Gradus | tf32 |"
expect "| PyTorch 8.8, sdpa | f32 | 200 |"
expect "left out: PyTorch 8.8, max-autotune, tf32: no compiler"
if grep -q "max-autotune, f32\|sdpa | tf32" "$work/out"; then echo "a setting of one dtype is measured in another" >&2; exit 1; fi
if compare "$work/gradus" --setting max-autotune; then echo "a setting of CUDA devices passes on the CPU" >&2; exit 1; fi
expect "--setting max-autotune: on cpu there are eager, "
if compare "$work/gradus" --dtype tf32; then echo "tf32 passes on the CPU" >&2; exit 1; fi
expect "--dtype tf32 belongs to --device cuda"

compare "$work/gradus" --peer "$work/peer" --mode generate --rounds 1
expect "Gradus / PyTorch 8.8, eager, f32: 10.00"

compare "$work/gradus" --peer "$work/peer" --corpus wiki.txt --rounds 1
expect "documents of wiki.txt with their padding counted"
expect "Gradus / PyTorch 8.8, sdpa, f32: 3.00"
if compare "$work/gradus" --mode generate --corpus wiki.txt; then echo "--corpus passes with generate" >&2; exit 1; fi
expect "--corpus belongs to --mode train"

compare "$program" --scaling 1,2 --batch 2 --length 16 --steps 1 --rounds 1
expect "The loss in f32 is the same to the last bit on every number of threads"
if compare "$work/gradus" --scaling 1,2 --rounds 1; then echo "two losses pass for one" >&2; exit 1; fi
expect "f32: the loss depends on the number of threads: [4.1, 4.2]"
if compare "$work/gradus" --scaling one; then echo "--scaling one passes" >&2; exit 1; fi
expect "--scaling takes numbers of threads"
