#!/usr/bin/env python3
"""Verifies Gradus on a machine with an NVIDIA GPU, and writes a report: DATE-GPU.md and .json.

  tools/verify_gpu.sh
  tools/verify_gpu.sh --parts build,tests
  tools/verify_gpu.sh --parts train --minutes 30
  tools/verify_gpu.sh --out reports --python venv/bin/python

Each part is ended when its minutes are over; what is known then is kept. The report is written after every part, and a
later call of the same day completes it: `--parts train` again goes on with the training where it stopped. The course's data
are looked for in $GRADUS_DATA. Logs and checkpoints go to BUILD/gpu.

Exit codes: 0 all parts passed or could not be run, 1 a part failed, 2 usage, 75 none failed but one was cut short, 77 no GPU
(nothing is written), 130/143 interrupted.
"""
import argparse
import os
import signal
import sys
import time
import traceback

import machine
from checks import build, gradcheck, sanitizer, tests
from processes import ROOT, Limit, note_signal, signals
from report import CUT, FAILED, Report, ReportError, Result
from speed import speed
from training import train

PARTS = {part.__name__: part for part in (build, tests, gradcheck, sanitizer, speed, train)}


class Job:
    """What every part needs to know. Paths are absolute, or relative to the project's root, where programs run."""

    def __init__(self, options, facts, commit):
        self.build, self.python, self.facts, self.commit = options.build, options.python, facts, commit
        self.gradus = os.path.join(self.build, "bin", "gradus")
        self.folder = os.path.join(self.build, "gpu")
        self.report_path = None
        os.makedirs(self.folder, exist_ok=True)

    def log(self, name, suffix=".log"):
        return os.path.join(self.folder, name + suffix)

    def fresh(self, name):
        """A file that is not there yet."""
        path = os.path.join(self.folder, name)
        if os.path.exists(path):
            os.remove(path)
        return path


def parse():
    parser = argparse.ArgumentParser(prog="tools/verify_gpu.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), metavar="PART,PART,...", help="default: %(default)s")
    parser.add_argument("--list", action="store_true", help="say what the parts do, and stop")
    parser.add_argument("--minutes", type=float, default=9, help="for each part; default: 9")
    parser.add_argument("--out", default=os.path.join(ROOT, "docs", "gpu-results"), metavar="FOLDER",
                        help="of the report; default: docs/gpu-results")
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"), metavar="FOLDER", help="default: build/release")
    parser.add_argument("--python", default=sys.executable, metavar="PROGRAM", help="a Python with PyTorch; default: this one")
    parser.add_argument("--commit", metavar="NAME", help="for the report, where git cannot say it")
    options = parser.parse_args()
    options.parts = options.parts.split(",")
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"--parts {part}: the parts are {', '.join(PARTS)}")
    if not options.minutes > 0:
        parser.error(f"--minutes must be positive, not {options.minutes:g}")
    options.out, options.build = os.path.abspath(options.out), os.path.abspath(options.build)
    return options


def run_part(name, job, limit):
    """A defect of this program fails the part alone; the report says which defect."""
    try:
        return PARTS[name](job, limit)
    except Exception as error:
        result = Result(FAILED, f"{type(error).__name__} in tools/gpu: {error}")
        result.log("Where:", traceback.format_exc())
        return result


def verify(options):
    facts, commit = machine.facts(options.python), options.commit or machine.commit()
    for name, fact in facts.items():
        print(f"{name}: {fact}")
    if signals:
        return 128 + signals[0]
    report, job = Report(options.out, facts), Job(options, facts, commit)
    job.report_path = report.path
    statuses = []
    for name in [name for name in PARTS if name in options.parts]:
        if signals:
            break
        print(f"{name}: ...", flush=True)
        start = time.monotonic()
        result = run_part(name, job, Limit(60 * options.minutes))
        seconds = time.monotonic() - start
        kept = report.add(name, result, commit, seconds)
        report.write(list(PARTS))
        statuses.append(result.status)
        print(f"{name}: {result.status}, {seconds:.0f} s{': ' if result.reason else ''}{result.reason}"
              f"{'; the earlier result stands' if kept else ''}", flush=True)
    print(f"report: {report.path}.md")
    if signals:
        return 128 + signals[0]
    return 1 if FAILED in statuses else 75 if CUT in statuses else 0


def main():
    options = parse()
    if options.list:
        for name, part in PARTS.items():
            print(f"{name:10} {part.__doc__.strip()}")
        return 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, note_signal)
    try:
        return verify(options)
    except machine.NoGpu as missing:
        print(f"This machine shows no NVIDIA GPU: {missing}.", file=sys.stderr)
        return 77
    except (ReportError, OSError) as error:
        print(f"tools/verify_gpu.sh: {error}", file=sys.stderr)
        return 1


sys.exit(main())
