#!/bin/sh
# grade.sh FOLDER REFERENCE SEED [OPTIONS OF gradcheck]: a line for each FOLDER/*.c; what was found is in NAME.log and NAME.xml
folder=$1 reference=$2 seed=$3; shift 3
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
(cd "$work" && gradus gradcheck --new example >example.log)  # for gradus_op.h
for source in "$folder"/*.c; do
  name=$(basename "$source" .c)
  cc -shared -fPIC -O2 -I"$work" -o "$work/$name.so" "$source" -lm 2>"$folder/$name.log" || { echo "$name: does not compile"; continue; }
  gradus gradcheck --lib "$work/$name.so" --like "$reference" --points 5 --seed "$seed" --hide_seed --sandbox \
    --time_limit 60 --junit "$folder/$name.xml" "$@" >"$folder/$name.log" 2>&1
  case $? in 0) mark=right ;; 1) mark=wrong ;; 5) mark="cannot tell" ;; 6) mark=crashed ;; *) mark="not judged" ;; esac
  echo "$name: $mark"
done
