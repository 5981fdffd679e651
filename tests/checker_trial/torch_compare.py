#!/usr/bin/env python3
"""Runs torch.autograd.gradcheck on the ops of libraries that follow version 2 of gradus_op.h.

    torch_compare.py [--seed 1] [--draws 20] [--op NAME] [--truth truth.tsv] LIBRARY.so... > torch.tsv

Every op becomes a torch.autograd.Function whose forward and backward call the library. Inputs are drawn as the op declares.
Each draw is checked with gradcheck's defaults ("default") and with fast_mode=True ("fast"). Ops with f32 among their inputs or
outputs are checked with eps=1e-3, atol=rtol=1e-2 instead, since gradcheck's defaults are for f64. TSV on standard output, the
summary on standard error."""
import argparse
import collections
import ctypes as C
import math
import sys
import zlib

import numpy as np

F64, F32, I64 = 0, 1, 2
DTYPES = {F64: np.float64, F32: np.float32, I64: np.int64}
RANK, MESSAGE = 8, 512


class Tensor(C.Structure):
    _fields_ = [("data", C.c_void_p), ("dtype", C.c_int32), ("rank", C.c_int32), ("shape", C.c_int64 * RANK)]


class Call(C.Structure):
    _fields_ = [(name, C.POINTER(Tensor)) for name in ("inputs", "outputs")] + [("attributes", C.POINTER(C.c_double))] + \
               [(name, C.POINTER(Tensor)) for name in ("cotangents", "gradients", "tangents", "output_tangents")] + [("message", C.c_char_p)]


class Input(C.Structure):
    _fields_ = [("name", C.c_char_p), ("dtype", C.c_int32), ("differentiable", C.c_int32), ("rank", C.c_int32), ("shape", C.c_int64 * RANK),
                ("low", C.c_double), ("high", C.c_double), ("kink_count", C.c_int32), ("kinks", C.c_double * 8)]


class Output(C.Structure):
    _fields_ = [("name", C.c_char_p), ("dtype", C.c_int32), ("accuracy", C.c_double)]


class Attribute(C.Structure):
    _fields_ = [("name", C.c_char_p), ("value", C.c_double), ("low", C.c_double), ("high", C.c_double)]


FUNCTION = C.CFUNCTYPE(C.c_int, C.POINTER(Call))


class Op(C.Structure):
    _fields_ = [("name", C.c_char_p), ("summary", C.c_char_p)] + [(n, C.c_int32) for n in ("input_count", "output_count", "attribute_count")] + \
               [("inputs", C.POINTER(Input)), ("outputs", C.POINTER(Output)), ("attributes", C.POINTER(Attribute))] + \
               [(n, FUNCTION) for n in ("shape", "forward", "backward", "jvp")]


class Library(C.Structure):
    _fields_ = [("version", C.c_int32), ("op_count", C.c_int32), ("ops", C.POINTER(Op))]


class Refused(Exception):
    pass


class LoadedOp:
    """One op: draw() gives inputs; forward() and backward() take and give numpy arrays."""

    def __init__(self, op):
        self.op, self.name = op, op.name.decode()
        self.inputs, self.outputs = op.inputs[: op.input_count], op.outputs[: op.output_count]
        self.attributes = {op.attributes[i].name.decode(): op.attributes[i].value for i in range(op.attribute_count)}
        self.single = any(t.dtype == F32 for t in [*self.inputs, *self.outputs])

    def draw(self, rng):
        arrays = []
        for spec in self.inputs:
            shape = spec.shape[: spec.rank]
            if spec.dtype == I64:
                arrays.append(rng.integers(int(spec.low), int(spec.high) + 1, size=shape))
                continue
            normal = spec.low == 0 and spec.high == 0
            take = lambda n: rng.standard_normal(n) if normal else rng.uniform(spec.low, spec.high, n)
            values = take(math.prod(shape))
            gap = 1e-3 * (2 if normal else spec.high - spec.low)
            for _ in range(1000):
                near = np.zeros(values.shape, bool)
                for kink in spec.kinks[: spec.kink_count]:
                    near |= abs(values - kink) < gap
                if not near.any():
                    break
                values[near] = take(int(near.sum()))
            arrays.append(values.reshape(shape).astype(DTYPES[spec.dtype]))
        return arrays

    @staticmethod
    def _tensors(arrays, dtypes=None):
        result = (Tensor * max(len(arrays), 1))()
        for i, (t, a) in enumerate(zip(result, arrays)):
            if a is None:
                t.dtype = dtypes[i]
                continue
            t.dtype = {np.dtype(v): k for k, v in DTYPES.items()}[a.dtype]
            t.rank, t.data = a.ndim, a.ctypes.data
            t.shape[: a.ndim] = a.shape
        return result

    def _call(self, function, **tensors):
        message = C.create_string_buffer(MESSAGE)
        call = Call(attributes=(C.c_double * max(len(self.attributes), 1))(*self.attributes.values()), message=C.cast(message, C.c_char_p), **tensors)
        if function(C.byref(call)):
            raise Refused(message.value.decode())

    def forward(self, arrays):
        inputs = self._tensors(arrays)
        for t in inputs:
            t.data = None
        outputs = (Tensor * len(self.outputs))()
        for t, spec in zip(outputs, self.outputs):
            t.dtype = spec.dtype
        if self.op.shape:
            self._call(self.op.shape, inputs=inputs, outputs=outputs)
        else:
            for t in outputs:
                t.rank, t.shape[:] = inputs[0].rank, inputs[0].shape[:]
        results = [np.full(t.shape[: t.rank], -1 if t.dtype == I64 else math.nan, DTYPES[t.dtype]) for t in outputs]
        self._call(self.op.forward, inputs=self._tensors(arrays), outputs=self._tensors(results))
        return results

    def backward(self, arrays, results, cotangents):
        gradients = [np.full(a.shape, math.nan, a.dtype) if spec.differentiable else None for a, spec in zip(arrays, self.inputs)]
        cotangents = [None if spec.dtype == I64 else u for u, spec in zip(cotangents, self.outputs)]
        u, g = self._tensors(cotangents, [s.dtype for s in self.outputs]), self._tensors(gradients, [s.dtype for s in self.inputs])
        for filled, like in [(u, results), (g, arrays)]:
            for t, a in zip(filled, like):
                t.rank, t.shape[: a.ndim] = a.ndim, a.shape
        self._call(self.op.backward, inputs=self._tensors(arrays), outputs=self._tensors(results), cotangents=u, gradients=g)
        return gradients


def load(path):
    library = C.CDLL(path)
    library.gradus_describe.restype = C.POINTER(Library)
    described = library.gradus_describe().contents
    return [LoadedOp(described.ops[i]) for i in range(described.op_count)]


def as_function(op, torch):
    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *tensors):
            results = [torch.from_numpy(r) for r in op.forward([t.detach().contiguous().numpy() for t in tensors])]
            ctx.save_for_backward(*tensors, *results)
            ctx.mark_non_differentiable(*[r for r in results if not r.is_floating_point()])
            return tuple(results)

        @staticmethod
        def backward(ctx, *cotangents):
            saved = [t.detach().contiguous().numpy() for t in ctx.saved_tensors]
            arrays, results = saved[: len(op.inputs)], saved[len(op.inputs):]
            gradients = op.backward(arrays, results, [u.detach().contiguous().numpy() for u in cotangents])
            return tuple(None if g is None else torch.from_numpy(g) for g in gradients)

    return Function.apply


def check(op, arrays, fast, torch):
    tensors = [torch.from_numpy(a).requires_grad_(bool(spec.differentiable)) for a, spec in zip(arrays, op.inputs)]
    settings = dict(eps=1e-3, atol=1e-2, rtol=1e-2) if op.single else {}
    try:
        torch.autograd.gradcheck(as_function(op, torch), tensors, fast_mode=fast, **settings)
        return "pass", ""
    except torch.autograd.gradcheck.GradcheckError as error:
        return "fail", str(error)
    except Exception as error:  # what an op refuses, what torch does not support
        return "error", f"{type(error).__name__}: {error}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("libraries", nargs="+")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--op")
    parser.add_argument("--truth")
    options = parser.parse_args()

    import warnings
    import torch
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.autograd.gradcheck.GradcheckError = torch.autograd.gradcheck.__globals__["GradcheckError"]

    print("op", "draw", "mode", "result", "reason", sep="\t")
    results, single = collections.defaultdict(list), {}
    for path in options.libraries:
        for op in load(path if "/" in path else "./" + path):
            if options.op not in (None, op.name):
                continue
            single[op.name] = op.single
            for draw in range(options.draws):
                rng = np.random.default_rng([options.seed, zlib.crc32(op.name.encode()), draw])
                arrays = op.draw(rng)
                for mode in ("default", "fast"):
                    torch.manual_seed(options.seed * 1000 + draw)
                    result, reason = check(op, [a.copy() for a in arrays], mode == "fast", torch)
                    results[op.name, mode].append(result)
                    reason = " ".join(reason.split())[:100]
                    print(op.name, draw, mode, result, reason, sep="\t", flush=True)

    truth = {}
    if options.truth:
        lines = [line.rstrip("\n").split("\t") for line in open(options.truth)]
        truth = {line[0]: (line[2], line[5]) for line in lines[1:]}
    report(results, single, truth)


def report(results, single, truth, out=sys.stderr):
    """Counts of draws and ops; with a truth: how many right ones are rejected, and how many wrong ones are not found."""
    groups = [("right", ("right", "")), ("wrong, shows at every point", ("wrong", "default")), ("wrong elsewhere, shows with repeat", ("wrong_elsewhere", "repeat")),
              ("wrong elsewhere, hidden", ("wrong_elsewhere", "hidden"))]
    for mode in ("default", "fast"):
        for kind, is_single in [("f64", False), ("f32 or mixed", True)]:
            rows = {name: r for (name, m), r in results.items() if m == mode and single[name] == is_single}
            print(f"gradcheck {mode}, {kind} ops: {len(rows)}", file=out)
            for label, key in groups if truth else [("all", None)]:
                names = [n for n in rows if key is None or truth.get(n) == key]
                if not names:
                    continue
                counts = collections.Counter(x for n in names for x in rows[n])
                ever = sum(any(x != "pass" for x in rows[n]) for n in names)
                always = sum(all(x != "pass" for x in rows[n]) for n in names)
                print(f"  {label}: {len(names)} ops; draws pass {counts['pass']}, fail {counts['fail']}, error {counts['error']}; "
                      f"ops not passed in some draw {ever}, in every draw {always}", file=out)


if __name__ == "__main__":
    main()
