#!/usr/bin/env python3
"""Has `gradus gradcheck` judge the ops of the trial, draw after draw, and counts its verdicts beside truth.tsv.

    trial.py [--draws 20] [--repeat N] [--op NAME] [--jobs 2] GRADUS LIBRARY.so > verdicts.tsv

A draw is one run of the program with a seed of its own. TSV on standard output (op, seed, verdict, cause), the summary and every
right op that was not agreed with on standard error. Ends with 1 where a right op was called wrong, or crashed."""
import argparse
import collections
import concurrent.futures
import json
import os
import subprocess
import sys


def judge(options, op, seed):
    command = [options.gradus, "gradcheck", "--lib", options.ops, "--op", op, "--seed", str(seed), "--json", "-"]
    if options.repeat:
        command += ["--repeat", str(options.repeat)]
    run = subprocess.run(command, capture_output=True, text=True)
    report = json.loads(run.stdout[run.stdout.index("{\n"):])
    causes = [check["cause"]["sentence"] for check in report["checks"] if check["cause"]]
    return op, seed, report["verdict"], causes[0] if causes else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gradus")
    parser.add_argument("ops", metavar="LIBRARY.so")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=0)
    parser.add_argument("--op")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()

    folder = os.path.dirname(os.path.abspath(__file__))
    lines = [line.rstrip("\n").split("\t") for line in open(os.path.join(folder, "truth.tsv"))][1:]
    truth = {line[0]: line[2] if line[2] == "right" else f"{line[2]}, shows: {line[5]}" for line in lines}
    ops = [op for op in truth if options.op in (None, op)]

    print("op", "seed", "verdict", "cause", sep="\t")
    counts, doubtful = collections.defaultdict(collections.Counter), collections.defaultdict(collections.Counter)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = [pool.submit(judge, options, op, seed) for op in ops for seed in range(1, options.draws + 1)]
        for run in runs:
            op, seed, verdict, cause = run.result()
            print(op, seed, verdict, cause, sep="\t", flush=True)
            counts[truth[op]][verdict] += 1
            if (verdict == "agree") != (truth[op] == "right"):
                doubtful[op][verdict] += 1

    for label, verdicts in sorted(counts.items()):
        print(f"{label}: {sum(verdicts.values())} draws: " + ", ".join(f"{n} {v}" for v, n in verdicts.most_common()), file=sys.stderr)
    for op, verdicts in doubtful.items():
        print(f"  {op} ({truth[op]}): " + ", ".join(f"{n} {v}" for v, n in verdicts.items()), file=sys.stderr)
    return 1 if counts["right"]["disagree"] + counts["right"]["crash"] else 0


if __name__ == "__main__":
    sys.exit(main())
