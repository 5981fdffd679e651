#!/usr/bin/env python3
"""Gradus and PyTorch in turn, in one call, on the vanilla model's training step; prints medians and the ratio.

  python3 tools/bench/side_by_side.py build/release/bin/gradus --rounds 3 --batch 128 --threads 2
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("program")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--batch", type=int, default=128)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps", type=int, default=2)
options = parser.parse_args()
shared = ["--batch", str(options.batch), "--threads", str(options.threads), "--steps", str(options.steps)]
peer = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pytorch_gpt_step.py")


def gradus():
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        subprocess.run([options.program, "bench", "train", "--json", file.name, *shared], check=True, stdout=subprocess.DEVNULL)
        return json.load(open(file.name))["tokens_per_s"]


def pytorch(attention):
    out = subprocess.run([sys.executable, peer, "--attention", attention, *shared], check=True, capture_output=True, text=True).stdout
    return json.loads(out)["tokens_per_s"]


sides = {"gradus": gradus, "pytorch eager": lambda: pytorch("eager"), "pytorch sdpa": lambda: pytorch("sdpa")}
rates = {name: [] for name in sides}
for _ in range(options.rounds):
    for name, run in sides.items():
        rates[name].append(run())
for name, values in rates.items():
    print(f"{name:15} {statistics.median(values):8.0f} tokens/s ({min(values):.0f} to {max(values):.0f})")
for name in ("pytorch eager", "pytorch sdpa"):
    ratio = statistics.median(a / b for a, b in zip(rates["gradus"], rates[name]))
    print(f"gradus / {name}: {ratio:.2f}")
