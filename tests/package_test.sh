#!/usr/bin/env bash
# Installs a built tree, builds docs/examples/custom_op against it by find_package as docs/custom-ops.md says, and runs it:
# status 0. Then breaks its gradient: status 1, and the cause is named. And a program of one file, by pkg-config alone.
#   package_test.sh SOURCE_FOLDER BUILD_FOLDER      cmake is taken from PATH, the compiler from CXX
set -euo pipefail
source=$1 build=$2
export GRADUS_PREFIX
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
GRADUS_PREFIX=$work/prefix

fail() {
  echo "$1" >&2
  shift
  for log in "$@"; do tail -n 40 "$log" >&2; done
  exit 1
}

cmake --install "$build" --prefix "$GRADUS_PREFIX" >"$work/install.log" 2>&1 || fail "the tree cannot be installed" "$work/install.log"
foreign=$(grep -lrF -e "$source" -e "$build" "$GRADUS_PREFIX"/lib*/{cmake,pkgconfig} "$GRADUS_PREFIX/include" || true)
[ -z "$foreign" ] || fail "the installed package speaks of the tree that it was built in: $foreign"

# The program finds its library at any prefix, and the same as where it was built.
mv "$GRADUS_PREFIX" "$work/elsewhere"
"$work/elsewhere/bin/gradus" --version >"$work/installed.log" 2>&1 || fail "the installed program does not start" "$work/installed.log"
"$build/bin/gradus" --version | cmp - "$work/installed.log" >&2 || fail "the installed program is another one" "$work/installed.log"
mv "$work/elsewhere" "$GRADUS_PREFIX"

# The document's own commands, in a copy of docs/.
mkdir "$work/copy"
cp -r "$source/docs/examples" "$work/copy"
commands=$(awk '/^```sh package$/ { inside = 1; next } /^```/ { inside = 0 } inside' "$source/docs/custom-ops.md")
[ -n "$commands" ] || fail "docs/custom-ops.md has no commands"
run_document() { (cd "$work/copy" && bash -euo pipefail -c "$commands") >"$work/$1.log" 2>&1; }

run_document right || fail "the example fails" "$work/right.log"
[ "$(grep -c '^swiglu.*agree$' "$work/right.log")" -eq 4 ] || fail "not all checks of the example agree" "$work/right.log"
grep -q 'step 200  loss 0\.00' "$work/right.log" || fail "the example has not learned" "$work/right.log"

# The example calls nothing of it, yet it has the check that refuses a processor without the package's instructions.
if [ "$(uname -m)" = x86_64 ]; then
  program=$work/copy/build/custom_op
  nm "$program" $(ldd "$program" | awk '/gradus_framework/ { print $3 }') | grep ' T gradus_refuse_unfit_processor$' >/dev/null ||
    fail "the example has no check of the processor"
fi

# Of both libraries, with no word of CMake.
cat >"$work/small.cpp" <<'END'
#include <iostream>

#include "framework/gradus.h"
#include "models/gpt/gpt.h"

int main() {
  const gradus::Tensor x = gradus::from_values({3}, std::vector<double>{0, 1.5, 2}).set_requires_grad();
  gradus::backward(gradus::sum(x * x * 3.0));
  std::cout << gradus::to_string(x.gradient()) << "\n";
  gradus::models::GptConfig config;
  std::cout << config.layers << "\n";
}
END
export PKG_CONFIG_PATH=$(dirname "$(find "$GRADUS_PREFIX" -name gradus.pc)")
flags=$(pkg-config --cflags --libs gradus) || fail "pkg-config does not find the package"
${CXX:-c++} "$work/small.cpp" $flags -o "$work/small" >"$work/small.log" 2>&1 || fail "the flags of pkg-config do not do: $flags" "$work/small.log"
LD_LIBRARY_PATH=$(pkg-config --variable=libdir gradus) "$work/small" >"$work/small.log" 2>&1 || fail "a program by pkg-config does not run" "$work/small.log"
grep -qF '[0, 9, 12]  (3) f32 cpu' "$work/small.log" || fail "a program by pkg-config is wrong" "$work/small.log"

sed -i 's/call.set_gradient(1, map_elements(gradient_of_value, upstream, gate))/call.set_gradient(1, map_elements(gradient_of_value, upstream, gate) * 2.0)/' \
  "$work/copy/examples/custom_op/swiglu.cpp"
status=0
run_document wrong || status=$?
[ "$status" -eq 1 ] || fail "a wrong gradient ends with status $status, not 1" "$work/wrong.log"
grep -q "likely cause.*gradient of 'value'.*2 times\|likely cause.*gradient of 'value'.*twice" "$work/wrong.log" ||
  fail "the cause of the wrong gradient is not named" "$work/wrong.log"
echo "the installed package builds and runs docs/examples/custom_op, and a program by pkg-config"
