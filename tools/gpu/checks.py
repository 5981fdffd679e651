"""The parts that say whether it is right: build, tests, gradcheck, sanitizer."""
import json
import os
import re
import xml.etree.ElementTree as xml

from machine import toolkit_program
from processes import run
from report import ABSENT, CUT, FAILED, Result


def gpu_tests(job, limit, result):
    """Names of the tests labelled gpu, each also its target's name; where there are none, the result says why."""
    listing = run(["ctest", "--test-dir", job.build, "-L", "gpu", "--show-only=json-v1"], job.log("list"), limit)
    try:
        names = [test["name"] for test in json.loads(listing.output)["tests"]]
    except (ValueError, KeyError):
        names = []
    if not names and listing.cut:
        result.worsen(CUT, "the time was over before the tests were known")
    elif not names:
        result.worsen(FAILED, f"no test of {job.build} is labelled gpu: it is not built, or without CUDA; `--parts build` builds it")
    return names


def build(job, limit):
    """Configures and builds the release preset with CUDA: the program and the tests of the GPU."""
    result = Result()
    configured = run(["cmake", "--preset", "release", "-B", job.build, "-DGRADUS_CUDA=ON"], job.log("configure"), limit)
    if not result.judge("configuring", configured):
        return result
    targets = ["gradus"] + gpu_tests(job, limit, result)
    if len(targets) == 1:
        return result
    result.judge("building", run(["cmake", "--build", job.build, "--target", *targets], job.log("build"), limit))
    summary = re.search(r"-- (Gradus .*)", configured.output)
    result.table("Configured:", ["", ""], [["build", summary.group(1) if summary else "?"], ["targets", ", ".join(targets)]])
    result.data = {"targets": targets}
    return result


def ctest_row(name, junit):
    """Result, seconds and cases of a test, from what ctest wrote."""
    try:
        case = xml.parse(junit).getroot().find("testcase")
    except (OSError, xml.ParseError):
        case = None
    if case is None:
        return [name, "FAILED: ctest wrote no result", "", ""], None
    said = case.findtext("system-out") or ""
    cases = re.search(r"test cases:\s*(\d+)", said)
    how = {"run": "passed", "notrun": "FAILED: skipped or not built"}.get(case.get("status"), "FAILED")
    return [name, how, f"{float(case.get('time', 0)):.1f}", cases.group(1) if cases else ""], said


def tests(job, limit):
    """Every test labelled gpu; on a machine with a GPU a skipped one has failed."""
    result, rows = Result(), []
    for name in gpu_tests(job, limit, result):
        junit = os.path.abspath(job.log(name, ".xml"))
        if os.path.exists(junit):
            os.remove(junit)
        ended = run(["ctest", "--test-dir", job.build, "-L", "gpu", "-R", f"^{name}$", "--output-junit", junit],
                    job.log(name), limit)
        if ended.cut:
            result.worsen(CUT, f"the time was over at {name}")
            rows.append([name, "cut short" if ended.seconds else "not run", f"{ended.seconds:.1f}", ""])
            continue
        row, said = ctest_row(name, junit)
        rows.append(row)
        if row[1] != "passed":
            result.worsen(FAILED, f"{name}: {row[1].split(': ')[-1].lower()}")
            result.log(f"{name}:", said if said is not None else ended.output)
    result.table("Tests labelled `gpu`:", ["test", "result", "seconds", "cases"], rows)
    result.data = {"tests": [dict(zip(("name", "result", "seconds", "cases"), row)) for row in rows]}
    return result


def gradcheck(job, limit):
    """`gradus gradcheck --all` on the device."""
    result = Result()
    path = job.fresh("gradcheck.json")
    ended = run([job.gradus, "gradcheck", "--all", "--device", "cuda", "--json", path], job.log("gradcheck"), limit)
    result.judge("gradus gradcheck", ended)
    rows = re.findall(r"^(\w+) +(agree|DISAGREE) +(\d+) cases +([\d.]+) s$", ended.output, re.MULTILINE)
    if not rows and not ended.cut:
        result.worsen(FAILED, "gradus gradcheck named no op")
    wrong = [op for op, verdict, _, _ in rows if verdict != "agree"]
    total = [len(rows), len(wrong), sum(int(row[2]) for row in rows), f"{sum(float(row[3]) for row in rows):.1f}"]
    result.table("Ops against their definitions and gradients, on the device:", ["ops checked", "of them wrong", "cases", "seconds"],
                 [total])
    result.table("Wrong:", ["op"], [[op] for op in wrong])
    if wrong:
        result.status, result.reason = FAILED, f"{len(wrong)} of {len(rows)} ops do not agree: {', '.join(wrong[:5])}"
    result.data = {"ops": [{"op": op, "verdict": verdict, "cases": int(cases), "seconds": float(seconds)}
                           for op, verdict, cases, seconds in rows]}
    return result


SANITIZED = ("cuda_device_test", "cuda_kernels_device_test")
SANITIZED_MODELS = ("cuda_captured_work_device_test", "cuda_training_device_test")  # for memcheck alone: they take long
SANITIZER_TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
FOUND = 99  # the exit status that compute-sanitizer is asked for where it finds something


def sanitized(result, tool, name, ended):
    """One row, and what it means for the part."""
    summary = re.findall(r"={9} ((?:ERROR|RACECHECK) SUMMARY: .*)", ended.output)
    findings = re.findall(r"={9} (?:Invalid|Error: |Warning: |Uninitialized|Barrier error|Program hit|Out-of-range).*", ended.output)
    said = summary[-1] if summary else f"{len(findings)} findings so far" if ended.cut else "no summary"
    what = f"{tool} of {name}"
    if ended.cut and not findings:
        result.worsen(CUT, f"{what} was ended: the time was over")
        return [tool, name, "cut short" if ended.seconds else "not run", f"{ended.seconds:.0f}", said]
    if ended.cut or ended.status == FOUND:
        how = "found errors"
    elif ended.status == 77:
        how = "was skipped: the program sees no GPU"
    elif ended.status != 0:
        how = "did not start" if ended.status is None else f"ended with status {ended.status}"
    else:
        return [tool, name, "passed", f"{ended.seconds:.0f}", said]
    result.worsen(FAILED, f"{what} {how}")
    result.log(f"{what}:", ended.output)
    return [tool, name, f"FAILED: {how}", f"{ended.seconds:.0f}", said]


def sanitizer(job, limit):
    """compute-sanitizer's four tools on the tests of the kernels; each gets an equal share of the time that is left."""
    result, rows = Result(), []
    if job.facts["compute-sanitizer"] == "not installed":
        return Result(ABSENT, "compute-sanitizer is not installed")
    runs = [(tool, name) for tool in SANITIZER_TOOLS for name in SANITIZED]
    runs += [("memcheck", name) for name in SANITIZED_MODELS]
    for place, (tool, name) in enumerate(runs):
        ended = run([toolkit_program("compute-sanitizer"), "--tool", tool, "--error-exitcode", str(FOUND), os.path.join(job.build, "bin", name)],
                    job.log(f"{tool}-{name}"), limit.share(1 / (len(runs) - place)))
        rows.append(sanitized(result, tool, name, ended))
    result.table("compute-sanitizer:", ["tool", "test", "result", "seconds", "its summary"], rows)
    result.data = {"runs": [dict(zip(("tool", "test", "result", "seconds", "summary"), row)) for row in rows]}
    return result
