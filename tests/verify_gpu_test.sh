#!/usr/bin/env bash
# tools/verify_gpu.sh on an invented machine: a GPU, a compiler, a sanitizer and a gradus that are shell scripts; ctest is real.
set -euo pipefail
root=$1 ctest=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/build/bin" "$work/data/birthplace"
touch "$work/data/birthplace/"{wiki.txt,birth_places_train.tsv,birth_dev.tsv}
ln -s "$ctest" "$work/bin/ctest"
export PATH="$work/bin:$PATH" FAKES="$work"
unset GRADUS_DATA

program() { cat >"$work/$1" && chmod +x "$work/$1"; }
program bin/nvidia-smi <<'END'
#!/bin/sh
[ -e "$FAKES/no_gpu" ] && echo "NVIDIA-SMI has failed: no driver." && exit 9
echo "NVIDIA Fake-9, 1000 MiB, 580.1, 9.0"
END
program bin/nvcc <<'END'
#!/bin/sh
echo "Cuda compilation tools, release 13.0, V13.0.7"
END
program bin/cmake <<'END'
#!/bin/sh
echo "$*" >>"$FAKES/cmake.calls"
case "$*" in --build*) [ ! -e "$FAKES/no_build" ] || { echo "kernel.cu(7): error"; exit 3; } ;; *) echo "-- Gradus 9.9: CUDA 13" ;; esac
END
program bin/compute-sanitizer <<'END'
#!/bin/sh
[ "$1" = --version ] && { [ ! -e "$FAKES/no_sanitizer" ] && echo "Version 2025.3.1" || exit 1; } && exit
[ -e "$FAKES/race" ] && [ "$2" = racecheck ] && echo "========= Error: Race reported" && exit "$4"
echo "========= ERROR SUMMARY: 0 errors"
END
program bin/peer <<'END'
#!/bin/sh
case "$*" in
  *"import json, torch"*) echo '{"version": "8.8", "cuda": "13.0", "cudnn": 91900, "sees_gpu": true, "folder": "/none"}' ;;
  *" -c "*|"-c "*) echo "PyTorch 8.8" ;;
  *f32*reduce-overhead*) [ ! -e "$FAKES/slow_peer" ] || sleep 30; echo '{"tokens_per_s": 250, "step_s_median": 0.07}' ;;
  *max-autotune*) echo "no compiler" >&2; exit 1 ;;
  *) echo '{"tokens_per_s": 200, "step_s_median": 0.08}' ;;
esac
END
program build/bin/gradus <<'END'
#!/bin/sh
json=$(echo "$*" | sed -n 's/.*--json \([^ ]*\).*/\1/p')
case "$*" in
  --version) echo "gradus 9.9" ;;
  gradcheck*)
    echo "add                            agree        123 cases    1.53 s"
    [ ! -e "$FAKES/slow_gradcheck" ] || sleep 30
    [ ! -e "$FAKES/wrong" ] || { echo "mul                            DISAGREE      12 cases    0.20 s"; exit 1; } ;;
  "bench generate"*) echo '{"characters_per_s": 5000, "plain_characters_per_s": 40}' >"$json" ;;
  "bench op"*) echo '{"ops": [{"op": "gelu", "pass": "forward", "sample": "hidden", "seconds_min": 2e-6, "gflop_per_s": 3, "gb_per_s": 4}, {"op": "adamw", "error": "no bf16"}]}' >"$json" ;;
  "bench train"*)
    case "$*" in *" tf32 "*) [ ! -e "$FAKES/no_tf32" ] || { echo "gradus: no tf32" >&2; exit 2; } ;; esac
    echo '{"tokens_per_s": 300, "computed_tokens_per_s": 150, "step_s_median": 0.05}' >"$json" ;;
  pretrain*)
    metrics=$(echo "$*" | sed 's/.*--metrics \([^ ]*\).*/\1/')
    if [ ! -e "$FAKES/checkpoint" ]; then
      trap 'echo "{\"interrupted\": true, \"seconds\": 2.5}" >"$json"; touch "$FAKES/checkpoint"; exit 130' INT
      echo '{"step": 23, "epoch": 1, "loss": 3.4, "lr": 0.006, "seconds": 2.0}' >"$metrics"
      for _ in $(seq 300); do sleep 0.1; done
    fi
    case "$*" in *--resume*) ;; *) exit 2 ;; esac
    echo '{"step": 46, "epoch": 2, "loss": 2.125, "lr": 0.005, "seconds": 4.0}' >>"$metrics"
    echo '{"interrupted": false, "seconds": 4.5}' >"$json" ;;
  finetune*) echo '{"interrupted": false, "seconds": 1.5}' >"$json" ;;
  evaluate*) if [ -e "$FAKES/defect" ]; then echo '{"total": 5}'; else echo '{"correct": 100, "total": 500, "accuracy": 20.0}'; fi >"$json" ;;
esac
END
program test_program <<'END'
#!/bin/sh
echo "[doctest] test cases: 12 | 12 passed"
if [ -e "$FAKES/skip" ]; then exit 77; fi
if [ -e "$FAKES/slow_tests" ]; then sleep 30; fi
END
for name in cuda_device_test cuda_kernels_device_test; do
  ln -s "$work/test_program" "$work/build/bin/$name"
  echo "add_test($name $work/build/bin/$name)
set_tests_properties($name PROPERTIES LABELS gpu SKIP_RETURN_CODE 77)" >>"$work/build/CTestTestfile.cmake"
done

fail() { echo "$1"; cat "$work/out" "$work"/reports/*.md; exit 1; } >&2
verify() { # EXPECTED STATUS, OPTIONS
  local status=0 expected=$1
  shift
  "$root/tools/verify_gpu.sh" --build "$work/build" --out "$work/reports" --python "$work/bin/peer" --commit c0ffee "$@" >"$work/out" 2>&1 || status=$?
  [ "$status" = "$expected" ] || fail "status $status, not $expected: $*"
}
said() { grep -qF -- "$1" "$work/out" || fail "it does not say: $1"; }
reported() { grep -qF -- "$1" "$work"/reports/*.md || fail "not in the report: $1"; }
with() { touch "$work/$1"; }
without() { rm "$work/$1"; }

# Without a GPU: a sentence, and nothing is written.
with no_gpu
verify 77
said "This machine shows no NVIDIA GPU: nvidia-smi ends with status 9: NVIDIA-SMI has failed: no driver."
for written in reports build/gpu; do [ ! -e "$work/$written" ] || fail "$written was written"; done
without no_gpu
verify 2 --parts tests,tast
said "--parts tast: the parts are build, tests, "
verify 0 --list
said "gradcheck "

# Parts that pass; each call completes the report.
verify 0 --parts build
grep -qF -- "--target gradus cuda_device_test cuda_kernels_device_test" "$work/cmake.calls" || fail "the targets are not built"
reported "| nvcc | 13.0.7 |"
reported "| PyTorch | 8.8 (CUDA 13.0, cuDNN 91900) |"
reported "| build | Gradus 9.9: CUDA 13 |"
reported "| tests | not run |"
verify 0 --parts tests,gradcheck,sanitizer,train
reported "| build | passed |"
reported "| cuda_kernels_device_test | passed |"
reported "| 1 | 0 | 123 | 1.5 |"
reported "| racecheck | cuda_device_test | passed |"
reported "| train | not run | 0 | c0ffee | GRADUS_DATA names no folder with birthplace/wiki.txt"

# A part that is not whole leaves an earlier whole one of the same commit as it is.
with slow_tests
verify 75 --parts tests --minutes 0.06
said "the time was over at cuda_device_test; the earlier result stands"
reported "| tests | passed |"
verify 75 --parts tests --minutes 0.06 --commit bee
reported "| tests | cut short |"
reported "| cuda_device_test | cut short |"
verify 75 --parts tests --minutes 0.00001 --commit bee
reported "the time was over before the tests were known"
without slow_tests

# What fails is shown as failed, and the other parts are run.
with skip
with wrong
with race
with no_build
verify 1 --parts build,tests,gradcheck,sanitizer
reported "| build | FAILED |"
reported "kernel.cu(7): error"
reported "| cuda_device_test | FAILED: skipped or not built |"
reported "| gradcheck | FAILED |"
reported "1 of 2 ops do not agree: mul |"
reported "| racecheck | cuda_device_test | FAILED: found errors |"
reported "| memcheck | cuda_device_test | passed |"
without skip
without wrong
without race
without no_build
with no_sanitizer
verify 0 --parts sanitizer,tests
reported "compute-sanitizer is not installed"
reported "| tests | passed |"
mv "$work/build/CTestTestfile.cmake" "$work/hidden"
verify 1 --parts tests
said "is labelled gpu"
mv "$work/hidden" "$work/build/CTestTestfile.cmake"

# At the limit what is known is kept; so it is when a signal ends it.
with slow_gradcheck
verify 75 --parts gradcheck --minutes 0.06 --commit bee
said "gradcheck: cut short"
reported "| 1 | 0 | 123 | 1.5 |"
"$root/tools/verify_gpu.sh" --build "$work/build" --out "$work/signalled" --python "$work/bin/peer" --parts gradcheck,speed >"$work/out" 2>&1 &
for _ in $(seq 100); do ! grep -q "gradcheck: \.\.\." "$work/out" || break; sleep 0.1; done
kill -TERM $!
status=0
wait $! || status=$?
[ "$status" = 143 ] || fail "after SIGTERM: status $status"
grep -qF "| gradcheck | cut short |" "$work"/signalled/*.md || fail "nothing was written after SIGTERM"
grep -qF "| speed | not run |" "$work"/signalled/*.md || fail "the next part was run after SIGTERM"
without slow_gradcheck

# Training is ended cleanly, and the next call goes on; another commit begins anew.
export GRADUS_DATA="$work/data"
verify 75 --parts train --minutes 0.1
reported "| pretrain | to be resumed | 23 | 2.5 | loss 3.40000, epoch 1 |"
verify 0 --parts train
reported "| pretrain | done | 46 | 4.5 | loss 2.12500, epoch 2 |"
reported "| evaluate | done |  |  | 100 of 500 right, 20.0 % |"
[ "$(cat "$work"/reports/*-pretrain.csv)" = "epoch,loss of its last batch,learning rate
1,3.40000,6.000000e-03
2,2.12500,5.000000e-03" ] || fail "the curve is wrong"
verify 0 --parts train --commit bee
reported "| pretrain | done | 46 | 4.5 |"
if grep -qF "| 1 | 3.40000 |" "$work"/reports/*.md; then fail "another commit's training was resumed"; fi

# What this program does not expect fails the part alone.
with defect
verify 1 --parts train --commit dee
reported "| train | FAILED | "
reported "KeyError in tools/gpu: 'correct'"
without defect

# Speed, beside PyTorch and alone; what a side does not have is said, and is a failure where it is Gradus.
with no_tf32
verify 1 --parts speed
reported "| Gradus | f32 | 300 | 300 to 300 | 50.000 | 3 | 1.20 times PyTorch 8.8, reduce-overhead |"
reported "| PyTorch 8.8, reduce-overhead | bf16 | 200 |"
reported "| PyTorch 8.8, max-autotune | bf16 | no compiler |"
if grep -qF "max-autotune | f32" "$work"/reports/*.md; then fail "max-autotune is measured in f32 too"; fi
reported "| Gradus | tf32 | gradus: no tf32 |"
reported "Gradus, tf32: gradus: no tf32 |"
reported "| bf16 |  | 300 | 150 | 50.000 |"
reported "| bf16 | --padded --eager | 300 | 150 | 50.000 |"
reported "| f32 | 5,000 | 40 |"
reported "| gelu | forward | hidden | 2.0 | 3 | 4 | 2.0 | 3 | 4 |"
reported "| adamw | bf16 | no bf16 |"
without no_tf32
verify 0 --parts speed
with slow_peer
verify 75 --parts speed --minutes 0.15 --commit bee
reported "| 1.50 times PyTorch 8.8, eager, of those that were measured |"
reported "| PyTorch 8.8, reduce-overhead | f32 | the time was over |"
reported "| f32 | 5,000 | 40 |"
without slow_peer

# A file of something else is not overwritten.
report=$(ls "$work"/reports/*.json)
echo "{}" >"$report"
verify 1 --parts tests
said "is not a report of this program"

# The documentation's commands are understood.
grep '^tools/verify_gpu.sh' "$root/docs/gpu.md" >"$work/documented"
[ "$(wc -l <"$work/documented")" -ge 3 ] || fail "docs/gpu.md shows too few commands"
while read -r line; do bash -c "cd '$root' && $line --list" >"$work/out" 2>&1 || fail "docs/gpu.md: $line"; done <"$work/documented"
