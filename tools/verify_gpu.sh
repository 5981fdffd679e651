#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: builds, tests, checks gradients, looks for races, measures, trains; and writes a report.
#   tools/verify_gpu.sh [OPTIONS]      --help says which
set -euo pipefail
if ! command -v python3 >/dev/null; then echo "tools/verify_gpu.sh needs python3, which is not on PATH" >&2; exit 1; fi
exec python3 "$(dirname "${BASH_SOURCE[0]}")/gpu/verify.py" "$@"
