#!/usr/bin/env bash
# The table of planted defects in the documentation is what the program prints.
#   table_test.sh PROGRAM DOCUMENT
set -euo pipefail
diff <(sed -n '/^| The kernel or its caller/,/^$/p' "$2" | grep '^|') <("$1" table) && exit 0
echo "the table of $2 differs from what '$1 table' prints" >&2
exit 1
