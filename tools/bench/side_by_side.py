#!/usr/bin/env python3
"""Gradus and PyTorch in turn, in one call, on the same work; prints a Markdown table of medians and the ratios to the
fastest setting of PyTorch in the same dtype.

  python3 tools/bench/side_by_side.py build/release/bin/gradus --rounds 3 --threads 2
  python3 tools/bench/side_by_side.py build/release/bin/gradus --peer /usr/bin/python3 --peer venv/bin/python --dtype f32 --dtype bf16
  python3 tools/bench/side_by_side.py build/release/bin/gradus --corpus wiki.txt --steps 23 --dtype bf16
  python3 tools/bench/side_by_side.py build/release/bin/gradus --mode generate
  python3 tools/bench/side_by_side.py build/release/bin/gradus --scaling 1,2
  python3 tools/bench/side_by_side.py build/release/bin/gradus --device cuda --dtype f32 --dtype bf16 --steps 60 --warmup 20

On CUDA devices the settings of PyTorch are others: `eager` is what the assignment runs; the others have
scaled_dot_product_attention and AdamW in one kernel, the last three are modes of torch.compile. bf16:max-autotune is that
setting in that dtype alone. --minutes ends the rounds early; so does Ctrl-C; what was measured is printed. --scaling times Gradus alone, on each number of threads, and fails where the loss is not the same to the last bit.
A setting that a side does not have is left out, with what it said. --llm_c takes a build of llm.c's CPU trainer, made to
the model's size by its user; it runs in the current folder, and the time of a step is read from what it prints.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

FUSED = ["--attention", "sdpa", "--fused_adamw"]
SETTINGS = {"cpu": {"eager": [], "sdpa": ["--attention", "sdpa"], "eager+compile": ["--compile"],
                    "sdpa+compile": ["--attention", "sdpa", "--compile"]},
            "cuda": {"eager": [], "sdpa": FUSED, "compile": FUSED + ["--compile"],
                     "reduce-overhead": FUSED + ["--compile", "reduce-overhead"],
                     "max-autotune": FUSED + ["--compile", "max-autotune"]}}
PEER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pytorch_gpt_step.py")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="gradus")
    parser.add_argument("--mode", choices=["train", "generate"], default="train")
    parser.add_argument("--peer", action="append", metavar="PYTHON", help="a Python with PyTorch; may be repeated")
    parser.add_argument("--device", choices=SETTINGS, default="cpu")
    parser.add_argument("--setting", action="append", metavar="[DTYPE:]SETTING",
                        help="of PyTorch; may be repeated; default: all; " + "; ".join(
                            f"{device}: {', '.join(settings)}" for device, settings in SETTINGS.items()))
    parser.add_argument("--dtype", action="append", choices=["f32", "tf32", "bf16"], help="may be repeated; default: f32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, metavar="M", help="no measurement begins later than that")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=3, help="steps before; the first ones of PyTorch are its slowest")
    parser.add_argument("--corpus", metavar="FILE",
                        help="Gradus pretrains on its documents and leaves padding out; PyTorch computes whole batches")
    parser.add_argument("--questions", type=int, default=200, help="of Gradus; PyTorch answers a tenth of them")
    parser.add_argument("--llm_c", metavar="PROGRAM")
    parser.add_argument("--llm_c_tokens", type=int, metavar="N", help="in one of its steps; default: batch x length")
    parser.add_argument("--scaling", metavar="N,N,...", help="numbers of threads")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    options.peer, options.dtype = options.peer or [sys.executable], options.dtype or ["f32"]
    options.setting = options.setting or list(SETTINGS[options.device])
    for setting in options.setting:
        if setting.split(":")[-1] not in SETTINGS[options.device]:
            parser.error(f"--setting {setting}: on {options.device} there are {', '.join(SETTINGS[options.device])}")
    if "tf32" in options.dtype and options.device != "cuda":
        parser.error("--dtype tf32 belongs to --device cuda")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.corpus and options.mode != "train":
        parser.error("--corpus belongs to --mode train")
    if options.scaling and not re.fullmatch(r"\d+(,\d+)*", options.scaling):
        parser.error(f"--scaling takes numbers of threads, 1,2 for example, not {options.scaling}")
    return options


class Unavailable(Exception):
    pass


def output_of(command, **environment):
    try:
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    except OSError as error:
        raise Unavailable(str(error)) from error
    if done.returncode != 0:
        raise Unavailable((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    return done.stdout


class Side:
    """One line of the table: run() gives the JSON of one measurement, with `rate` added."""

    def __init__(self, name, dtype, run):
        self.name, self.dtype, self.run, self.results = name, dtype, run, []

    def measure(self):
        self.results.append(self.run())

    def median(self, key="rate"):
        values = [result[key] for result in self.results if key in result]
        return statistics.median(values) if values else None


def with_rate(result, mode):
    return {**result, "rate": result["tokens_per_s" if mode == "train" else "characters_per_s"]}


def gradus(options, dtype, threads):
    command = [options.program, "bench", options.mode, "--device", options.device, "--dtype", dtype,
               "--threads", str(threads)]
    if options.mode == "train":
        command += ["--batch", str(options.batch), "--length", str(options.length), "--steps", str(options.steps),
                    "--warmup", str(options.warmup)]
        if options.corpus:
            command += ["--corpus", options.corpus]
    else:
        command += ["--questions", str(options.questions), "--plain_questions", "1"]

    def run():
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "result.json")
            output_of(command + ["--json", path])
            with open(path) as file:
                return with_rate(json.load(file), options.mode)

    return run


def pytorch(options, python, setting, dtype):
    command = [python, PEER, "--mode", options.mode, "--device", options.device, "--dtype", dtype, "--threads", str(options.threads),
               "--batch", str(options.batch), "--length", str(options.length), "--steps", str(options.steps),
               "--warmup", str(options.warmup), "--questions", str(max(1, options.questions // 10)), *SETTINGS[options.device][setting]]
    return lambda: with_rate(json.loads(output_of(command).splitlines()[-1]), options.mode)


def llm_c(options):
    def run():
        text = output_of([options.llm_c], OMP_NUM_THREADS=str(options.threads))
        steps = [float(ms) / 1000 for ms in re.findall(r"\(took ([\d.]+) ms\)", text)]
        if len(steps) < 2:
            raise Unavailable(f"{options.llm_c}: it prints no times of steps, '(took ... ms)'")
        seconds = statistics.median(steps[1:])  # the first one warms up
        return {"step_s_median": seconds, "rate": (options.llm_c_tokens or options.batch * options.length) / seconds}

    return run


def sides_of(options):
    for dtype in options.dtype:
        yield Side("Gradus", dtype, gradus(options, dtype, options.threads))
        for python in options.peer:
            version = "PyTorch"
            try:
                version = output_of([python, "-c", "import torch; print('PyTorch', torch.__version__)"]).strip()
            except Unavailable as reason:
                print(f"left out: {python}: {reason}", file=sys.stderr)
                continue
            for only_dtype, _, setting in (setting.rpartition(":") for setting in options.setting):
                if only_dtype in ("", dtype):
                    yield Side(f"{version}, {setting}", dtype, pytorch(options, python, setting, dtype))
    if options.llm_c and options.mode == "train":
        yield Side("llm.c", "f32", llm_c(options))


class Turns:
    """Measures each side once a round, until the time is over. `left_out` says why sides fell out."""

    def __init__(self, sides):
        self.sides, self.left_out, self.cut_short = sides, [], False

    def take(self, rounds, minutes):
        end = time.monotonic() + 60 * minutes if minutes else float("inf")
        try:
            for _ in range(rounds):
                for side in list(self.sides):
                    if time.monotonic() >= end:
                        raise KeyboardInterrupt
                    self.measure(side)
        except KeyboardInterrupt:
            self.cut_short = True
            for side in [side for side in self.sides if not side.results]:
                self.leave_out(side, "the time was over")

    def measure(self, side):
        try:
            side.measure()
        except Unavailable as reason:
            self.leave_out(side, str(reason))

    def leave_out(self, side, reason):
        print(f"left out: {side.name}, {side.dtype}: {reason}", file=sys.stderr)
        self.left_out.append({"name": side.name, "dtype": side.dtype, "reason": reason})
        self.sides.remove(side)


def processor():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return "unknown processor"


def markdown(sides, unit, ratios, memory_key):
    yield f"| | dtype | {unit} | least to most | peak MiB |"
    yield "|---|---|---|---|---|"
    for side in sides:
        rates, memory = [result["rate"] for result in side.results], side.median(memory_key)
        yield (f"| {side.name} | {side.dtype} | {side.median():,.0f} | {min(rates):,.0f} to {max(rates):,.0f} "
               f"| {f'{memory:,.0f}' if memory else '-'} |")
    for line in ratios:
        yield ""
        yield line


def ratios_to_best(sides):
    for ours in (side for side in sides if side.name == "Gradus"):
        peers = [side for side in sides if side.name.startswith("PyTorch") and side.dtype == ours.dtype]
        if not peers:
            continue
        best = max(peers, key=Side.median)
        ratio = statistics.median(a["rate"] / b["rate"] for a, b in zip(ours.results, best.results))
        yield {"dtype": ours.dtype, "best": best.name, "ratio": ratio}


def ratios_to_least_threads(sides):
    for side in sides[1:]:
        ratio = statistics.median(a["rate"] / b["rate"] for a, b in zip(side.results, sides[0].results))
        yield {"dtype": side.dtype, "best": sides[0].name, "ratio": ratio, "name": side.name}


def check_losses(sides):
    for dtype in {side.dtype for side in sides}:
        losses = {result["loss_last"] for side in sides if side.dtype == dtype for result in side.results}
        if len(losses) > 1:
            sys.exit(f"{dtype}: the loss depends on the number of threads: {sorted(losses)}")
        print(f"\nThe loss in {dtype} is the same to the last bit on every number of threads: {losses.pop()!r}")


def main():
    options = parse()
    if options.scaling:
        options.mode = "train"
        counts = [int(count) for count in options.scaling.split(",")]
        groups = [[Side(f"Gradus, {count} thread{'s' * (count != 1)}", dtype, gradus(options, dtype, count)) for count in counts]
                  for dtype in options.dtype]
    else:
        groups = [list(sides_of(options))]
    turns = Turns([side for group in groups for side in group])
    turns.take(options.rounds, options.minutes)
    sides = turns.sides
    if not sides:
        sys.exit("nothing could be measured")
    if options.scaling:
        ratios = [ratio for group in groups
                  for ratio in ratios_to_least_threads([side for side in group if side in sides])]
    else:
        ratios = list(ratios_to_best(sides))
    unit = "tokens/s" if options.mode == "train" else "characters/s"
    work = f"batch {options.batch} x {options.length}" if options.mode == "train" else "greedy decoding"
    if options.corpus:
        work += f", documents of {os.path.basename(options.corpus)} with their padding counted"
    version = output_of([options.program, "--version"]).strip()
    threads = options.scaling or options.threads
    rounds = f"{options.rounds} rounds in turn" + (", cut short" if turns.cut_short else "")
    print(f"{version}; {options.device}, {processor()}, {threads} threads; {work}, medians of {rounds}\n")
    said = [f"{ratio.get('name', 'Gradus')} / {ratio['best']}, {ratio['dtype']}: {ratio['ratio']:.2f}" for ratio in ratios]
    print("\n".join(markdown(sides, unit, said, "peak_device_mib" if options.device == "cuda" else "peak_rss_mib")))
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"gradus": version, "processor": processor(), "device": options.device,
                       "threads": threads, "work": work, "rounds": options.rounds, "cut_short": turns.cut_short,
                       "left_out": turns.left_out,
                       "sides": [{"name": side.name, "dtype": side.dtype, "median": side.median(),
                                  "results": side.results} for side in sides], "ratios": ratios}, file, indent=2)
    if options.scaling:
        check_losses(sides)


main()
