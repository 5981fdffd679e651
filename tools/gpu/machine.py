"""What is on this machine: GPU, driver, compilers, libraries, PyTorch."""
import ctypes
import glob
import json
import os
import platform
import re
import shutil
import subprocess

from processes import answer

ABSENT = "not found"


class NoGpu(Exception):
    pass


def gpus():
    """Name, memory, driver and compute capability of each GPU; NoGpu says what is missing."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version,compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=60)
    except OSError as error:
        raise NoGpu("nvidia-smi, which comes with NVIDIA's driver, is not on PATH") from error
    except subprocess.TimeoutExpired as error:
        raise NoGpu("nvidia-smi gives no answer within a minute") from error
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    if done.returncode != 0 or not rows or any(len(row) != 4 for row in rows):
        said = (done.stdout + done.stderr).strip().splitlines()
        raise NoGpu(f"nvidia-smi ends with status {done.returncode}: {said[0] if said else 'no GPU is listed'}")
    return [dict(zip(("name", "memory", "driver", "compute_capability"), row)) for row in rows]


def toolkit_program(name):
    """Its path; nvcc's folder need not be on PATH."""
    return shutil.which(name) or shutil.which(name, path="/usr/local/cuda/bin")


def version_of(name, pattern):
    program = toolkit_program(name)
    found = re.search(pattern, answer([program, "--version"]) or "") if program else None
    return found.group(1) if found else None


def library_version(name, majors, function, folders):
    """Of the first library found: by its soname, in `folders`."""
    for major in majors:
        for folder in [""] + folders:
            try:
                library = ctypes.CDLL(os.path.join(folder, f"{name}.so.{major}"))
                version = getattr(library, function)
            except (OSError, AttributeError):
                continue
            version.restype = ctypes.c_size_t
            number = version()
            where = f" in {folder}" if folder else ""
            return f"{number // 10000}.{number // 100 % 100}.{number % 100}{where}"
    return ABSENT


def pytorch(python):
    text = answer([python, "-c", """
import json, torch
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
                  "sees_gpu": torch.cuda.is_available(), "folder": torch.__path__[0]}))"""])
    return json.loads(text.splitlines()[-1]) if text else None


def processor():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"


def commit():
    name = answer(["git", "rev-parse", "--short=12", "HEAD"])
    if not name:
        return "unknown"
    changed = answer(["git", "status", "--porcelain", "--", ".", ":!docs/gpu-results"])
    return name + (" with changes" if changed else "")


def facts(python):
    """Ordered as a report shows them."""
    devices, torch, compiler = gpus(), pytorch(python), toolkit_program("nvcc")
    folders = [os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(compiler))), "lib64")] if compiler else []
    if torch:
        folders += sorted(glob.glob(os.path.join(os.path.dirname(torch["folder"]), "nvidia", "*", "lib")))
    gpu = devices[0]
    return {
        "GPU": gpu["name"] + (f", the first of {len(devices)}" if len(devices) > 1 else ""),
        "memory": gpu["memory"],
        "compute capability": gpu["compute_capability"],
        "driver": gpu["driver"],
        "nvcc": version_of("nvcc", r"V([\d.]+)") or ABSENT,
        "cuBLASLt": library_version("libcublasLt", (14, 13, 12), "cublasLtGetVersion", folders),
        "cuDNN": library_version("libcudnn", (9,), "cudnnGetVersion", folders),
        "compute-sanitizer": version_of("compute-sanitizer", r"Version ([\d.]+)") or "not installed",
        "PyTorch": f"{torch['version']} (CUDA {torch['cuda']}, cuDNN {torch['cudnn']}"
                   f"{'' if torch['sees_gpu'] else '; it sees no GPU'})" if torch else ABSENT,
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }
