"""The part that measures: beside PyTorch, alone on a corpus, decoding, op by op."""
import json
import os
import sys

from processes import ROOT, run
from report import CUT, FAILED, Result
from training import course_file

DTYPES = ("f32", "bf16", "tf32")  # the last ones suffer where the time is short
SETTINGS = ("eager", "sdpa", "reduce-overhead", "bf16:max-autotune")
LATE = "the time was over"  # as side_by_side.py says it
SIDE_BY_SIDE = os.path.join(ROOT, "tools", "bench", "side_by_side.py")


def measured(result, job, limit, what, command, name):
    """The JSON of a measurement, or None; then the result says why."""
    path = job.fresh(f"{name}.json")
    ended = run(command + ["--json", path], job.log(name), limit)
    whole = result.judge(what, ended)
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError):
        if whole:
            result.worsen(FAILED, f"{what} wrote no JSON")
        return None


def beside_pytorch(result, job, limit):
    """Both sides in turn, in one call; the last measurement is given a sixth of the time."""
    command = [sys.executable, SIDE_BY_SIDE, job.gradus, "--device", "cuda", "--peer", job.python, "--batch", "128", "--length",
               "128", "--steps", "60", "--warmup", "20", "--minutes", f"{limit.left() / 60 * 5 / 6:.3f}"]
    for option, values in (("--dtype", DTYPES), ("--setting", SETTINGS)):
        for value in values:
            command += [option, value]
    compared = measured(result, job, limit, "the comparison with PyTorch", command, "side_by_side")
    if not compared:
        return None
    left_out, rows = compared["left_out"], []
    incomplete = {side["dtype"] for side in left_out if side["reason"] == LATE}
    ratios = {ratio["dtype"]: f"{ratio['ratio']:.2f} times {ratio['best']}" for ratio in compared["ratios"]}
    for side in compared["sides"]:
        rates = [one["rate"] for one in side["results"]]
        ratio = ratios.get(side["dtype"], "") + (", of those that were measured" if side["dtype"] in incomplete else "")
        ms = sorted(1000 * one["step_s_median"] for one in side["results"])[len(rates) // 2]
        rows.append([side["name"], side["dtype"], f"{side['median']:,.0f}", f"{min(rates):,.0f} to {max(rates):,.0f}", f"{ms:.3f}",
                     len(rates), ratio if side["name"] == "Gradus" else ""])
    result.table("A training step of the vanilla model, batch 128 x 128, dense, dropout 0.1, AdamW, clip; both sides in turn:",
                 ["", "dtype", "tokens/s", "least to most", "ms a step", "rounds", "ratio to PyTorch's best in that dtype"], rows)
    result.table("Left out:", ["", "dtype", "why"], [[side["name"], side["dtype"], side["reason"]] for side in left_out])
    for side in left_out:
        if side["reason"] == LATE or side["name"] == "Gradus":
            result.worsen(CUT if side["reason"] == LATE else FAILED, f"{side['name']}, {side['dtype']}: {side['reason']}")
    return compared


def on_corpus(result, job, limit):
    corpus = course_file("wiki.txt")
    if not corpus:
        return []
    rows, all_measured = [], []
    for dtype in DTYPES:
        for flags in ([], ["--padded"], ["--padded", "--eager"]):
            command = [job.gradus, "bench", "train", "--device", "cuda", "--dtype", dtype, "--corpus", corpus, "--steps", "46",
                       "--warmup", "23", *flags]
            name = " ".join(["bench train --corpus", *flags])
            one = measured(result, job, limit, f"{name} in {dtype}", command, f"corpus-{dtype}{''.join(flags)}")
            if one:
                all_measured.append(one)
                rows.append([dtype, " ".join(flags), f"{one['tokens_per_s']:,.0f}", f"{one['computed_tokens_per_s']:,.0f}",
                             f"{1000 * one['step_s_median']:.3f}"])
    result.table("Pretraining on the course's corpus, Gradus alone; padding is counted, and computed with --padded:",
                 ["dtype", "flags", "counted tokens/s", "computed tokens/s", "ms a step"], rows)
    return all_measured


def decoding(result, job, limit):
    rows, all_measured = [], []
    for dtype in ("f32", "bf16"):
        command = [job.gradus, "bench", "generate", "--device", "cuda", "--dtype", dtype]
        one = measured(result, job, limit, f"bench generate in {dtype}", command, f"generate-{dtype}")
        if one:
            all_measured.append(one)
            rows.append([dtype, f"{one['characters_per_s']:,.0f}", f"{one['plain_characters_per_s']:,.0f}"])
    result.table("Greedy decoding, Gradus alone:", ["dtype", "characters/s", "one question at a time, without a cache"], rows)
    return all_measured


def ops(result, job, limit):
    all_measured, times, errors = {}, {}, []
    for dtype in ("f32", "bf16"):
        command = [job.gradus, "bench", "op", "--all", "--device", "cuda", "--dtype", dtype]
        one = measured(result, job, limit, f"bench op in {dtype}", command, f"ops-{dtype}")
        if one:
            all_measured[dtype] = one
            errors += [[op["op"], dtype, op["error"]] for op in one["ops"] if "error" in op]
            for op in (op for op in one["ops"] if "error" not in op):
                times.setdefault((op["op"], op["pass"], op["sample"]), {})[dtype] = op
    rows = []
    for (op, direction, sample), of in times.items():
        rows.append([op, direction, sample])
        for dtype in ("f32", "bf16"):
            one = of.get(dtype)
            rows[-1] += [f"{1e6 * one['seconds_min']:,.1f}", f"{one['gflop_per_s']:,.0f}", f"{one['gb_per_s']:,.0f}"] if one else ["", "", ""]
    result.table("Ops at the vanilla model's sizes, fastest calls:",
                 ["op", "pass", "sample", "f32, us", "GFLOP/s", "GB/s", "bf16, us", "GFLOP/s", "GB/s"], rows, folded=True)
    result.table("Ops that refused:", ["op", "dtype", "why"], errors)
    return all_measured


def speed(job, limit):
    """Training steps beside PyTorch, then Gradus alone: on the course's corpus, decoding, op by op."""
    result = Result()
    result.data["beside_pytorch"] = beside_pytorch(result, job, limit.share(0.75))
    result.data["corpus"] = on_corpus(result, job, limit)
    result.data["generate"] = decoding(result, job, limit)
    result.data["ops"] = ops(result, job, limit)
    return result
