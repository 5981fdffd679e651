#!/usr/bin/env bash
# How the truth was established: tests/checker_trial/verify/run.sh FILE...   (all of ops/ without one)
# Backward in 113 bits beside central differences of forward in 113 bits, and backward in double beside that; a line for each op,
# draw and input (the columns: verify.cpp), to standard output.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p ../../build/checker_trial
if [ $# -eq 0 ]; then set -- ops/*.cpp; fi
for file in "$@"; do
  name=$(basename "$file" .cpp)
  "${CXX:-g++}" -std=c++20 -O1 -w -DTRIAL_VERIFY -I../.. verify/verify.cpp "ops/$name.cpp" -o "../../build/checker_trial/$name" -lquadmath -lpthread -fopenmp
  "../../build/checker_trial/$name" --draws "${DRAWS:-4}"
done
