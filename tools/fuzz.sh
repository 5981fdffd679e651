#!/usr/bin/env bash
# Coverage-guided fuzzing of everything that reads what others wrote (tests/fuzz), with clang's libFuzzer, AddressSanitizer and
# UndefinedBehaviorSanitizer.
#   tools/fuzz.sh [--hours H] [--readers a,b] [--slice SECONDS]
# H: processor hours over all readers (0.2), spent in rounds of SECONDS (60) a reader. Inputs that reached new code stay in
# build/fuzz/corpus, so a later run goes on from there; what broke a promise is in build/fuzz/findings. Ends with a table of what
# was run, by all runs together, and with 1 where anything is found. Ctrl-C ends it early, with the table.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
hours=0.2 wanted="" slice=60
usage() { sed -n '2,8s/^# \{0,1\}//p' "tools/fuzz.sh"; }
while [ $# -gt 0 ]; do
  case $1 in
    --hours) hours=${2:?--hours needs a number} && shift 2 ;;
    --readers) wanted=${2:?--readers needs names} && shift 2 ;;
    --slice) slice=${2:?--slice needs seconds} && shift 2 ;;
    --help) usage && exit 0 ;;
    *) echo "tools/fuzz.sh: unknown option $1; see --help" >&2 && exit 2 ;;
  esac
done

# A clang with libFuzzer, and with the source locations of C++20, which clang 14 does not have.
compiler=""
probe=$(mktemp -d)
trap 'rm -rf "$probe"' EXIT
printf '%s\n' '#include <cstdint>' '#include <source_location>' \
  'extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t*, std::size_t) { return std::source_location::current().line() == 0; }' >"$probe/probe.cpp"
for candidate in ${CXX:-} clang++ clang++-2{3,2,1,0} clang++-1{9,8,7,6}; do
  if command -v "$candidate" >/dev/null &&
    "$candidate" -std=c++20 -fsanitize=fuzzer,address,undefined "$probe/probe.cpp" -o "$probe/probe" >/dev/null 2>&1; then
    compiler=$candidate
    break
  fi
done
if [ -z "$compiler" ]; then
  echo "tools/fuzz.sh: no clang 16 or newer with libFuzzer; on Debian and Ubuntu: apt-get install clang-19 libclang-rt-19-dev" >&2
  exit 1
fi

# What is not fuzzed comes from a build like any other; GRADUS_BUILD names one that is there.
if [ -z "${GRADUS_BUILD:-}" ]; then
  GRADUS_BUILD=$PWD/build/fuzz/library
  cmake --preset release -B "$GRADUS_BUILD" -DGRADUS_UNITY_BUILD=OFF -DGRADUS_CUDA=OFF -DGRADUS_BUILD_TESTS=OFF >/dev/null
  cmake --build "$GRADUS_BUILD" --target gradus
fi
CXX=$compiler cmake -S tests/fuzz/libfuzzer -B build/fuzz -G Ninja -DGRADUS_BUILD="$GRADUS_BUILD" >/dev/null
cmake --build build/fuzz
program=$PWD/build/fuzz/fuzz_readers
counts=build/fuzz/counts.tsv  # reader, executions, edges covered, processor seconds: a line for each slice
mkdir -p build/fuzz/{corpus,findings,logs}
touch "$counts"
"$program" --seeds build/fuzz/seeds
readers=$("$program" --list)
if [ -n "$wanted" ]; then
  for name in ${wanted//,/ }; do
    grep -qx "$name" <<<"$readers" || { echo "tools/fuzz.sh: no reader '$name'; there are: ${readers//$'\n'/, }" >&2 && exit 2; }
  done
  readers=${wanted//,/$'\n'}
fi

# Files that the readers write go to memory.
scratch=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)/gradus-fuzz.XXXXXX")
table() {
  awk -F '\t' 'BEGIN { printf "%-16s %14s %9s %9s %10s\n", "reader", "executions", "edges", "findings", "seconds" }
    { if (!($1 in runs)) order[++n] = $1; runs[$1] += $2; if ($3 > edges[$1]) edges[$1] = $3; seconds[$1] += $4 }
    END { for (i = 1; i <= n; ++i) { r = order[i]; found = 0; command = "ls build/fuzz/findings | grep -c \"^" r "-\""; command | getline found; close(command)
            printf "%-16s %14d %9d %9d %10.0f\n", r, runs[r], edges[r], found, seconds[r]; all += runs[r]; spent += seconds[r]; broken += found }
          printf "%-16s %14d %9s %9d %10.0f\n", "all", all, "", broken, spent }' "$counts"
}
finish() {
  rm -rf "$scratch" "$probe"
  table
  [ -z "$(ls build/fuzz/findings)" ] || { echo "findings in build/fuzz/findings; to see one: GRADUS_FUZZ_READER=NAME $program FILE"; exit 1; }
  exit 0
}
trap finish EXIT
trap 'exit 0' INT TERM

export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TMPDIR=$scratch
export ASAN_OPTIONS=detect_odr_violation=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
spent=0
while awk "BEGIN { exit !($spent < $hours * 3600) }"; do
  for reader in $readers; do
    log=build/fuzz/logs/$reader.log
    mkdir -p "build/fuzz/corpus/$reader"
    TIMEFORMAT='%U %S'
    taken=$({ time GRADUS_FUZZ_READER=$reader nice -n 19 "$program" -max_total_time="$slice" -timeout=120 -rss_limit_mb=2048 \
      -malloc_limit_mb=512 -max_len=400000 -len_control=50 -dict=tests/fuzz/libfuzzer/dictionary -print_final_stats=1 \
      -artifact_prefix="build/fuzz/findings/$reader-" "build/fuzz/corpus/$reader" "build/fuzz/seeds/$reader" >"$log" 2>&1 </dev/null; } 2>&1) || true
    seconds=$(awk '{ print $1 + $2 }' <<<"${taken##*$'\n'}")
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
    edges=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | grep -o '[0-9]*' || true)
    printf '%s\t%s\t%s\t%s\n' "$reader" "${executions:-0}" "${edges:-0}" "$seconds" >>"$counts"
    spent=$(awk "BEGIN { print $spent + $seconds }")
    if grep -qE '^(FINDING|SUMMARY)' "$log"; then
      grep -E '^(FINDING|SUMMARY|artifact)' "$log" || true
      cp "$log" "build/fuzz/logs/$reader.$(date +%s).found"
    fi
  done
done
