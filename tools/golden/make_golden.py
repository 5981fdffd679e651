#!/usr/bin/env python3
"""Writes tests/golden/*.safetensors: values that PyTorch computes, for the C++ tests to compare with.

Needs torch and safetensors; the tests themselves need neither. Same versions, same bytes:

  python3 tools/golden/make_golden.py tests/golden
"""
import json
import math
import os
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

torch.set_num_threads(1)
torch.manual_seed(2026)
f64 = torch.float64


def normal(*shape):
    return torch.randn(shape, dtype=f64)


def positive(*shape):
    return torch.rand(shape, dtype=f64) * 2 + 0.3


def ids(high, *shape):
    return torch.randint(0, high, shape)


def mask(*shape):
    return torch.rand(shape) < 0.5


def attention(q, k, v, causal, scale):
    scores = q @ k.transpose(-2, -1) * (scale if scale else 1 / math.sqrt(q.shape[-1]))
    if causal:
        seen = torch.tril(torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool))
        scores = scores.masked_fill(~seen, -math.inf)
    return F.softmax(scores, -1) @ v


def reduce(function):
    return lambda x, axes, keep_axes: function(x, dim=axes if axes else tuple(range(x.dim())), keepdim=keep_axes)


# name -> (function of tensors and attributes, [(inputs, attributes), ...])
pairs = [(normal(3, 5), normal(3, 5)), (normal(5), normal(3, 5)), (normal(3, 1), normal(1, 7)), (normal(2, 1, 3), normal(4, 1)), (normal(2, 3), normal())]
divisors = [(a, b.sign() * (b.abs() + 0.3)) for a, b in pairs]
one = [normal(3, 5), normal(7, 1, 3), normal()]
above_zero = [positive(3, 5), positive(11)]


def binary(function, operands=pairs):
    return lambda a, b: function(a, b), [((a, b), {}) for a, b in operands]


def unary(function, operands=one):
    return lambda x: function(x), [((x,), {}) for x in operands]


axes_cases = [((normal(3, 5),), {"axes": [], "keep_axes": False}), ((normal(2, 7, 3),), {"axes": [1], "keep_axes": True}),
              ((normal(7, 5),), {"axes": [0], "keep_axes": False}), ((normal(3, 5, 2),), {"axes": [0, -1], "keep_axes": False})]

OPS = {
    "add": binary(torch.add), "sub": binary(torch.sub), "mul": binary(torch.mul), "div": binary(torch.div, divisors),
    "maximum": binary(torch.maximum), "minimum": binary(torch.minimum),
    "neg": unary(torch.neg), "exp": unary(torch.exp), "log": unary(torch.log, above_zero), "sqrt": unary(torch.sqrt, above_zero),
    "tanh": unary(torch.tanh), "sigmoid": unary(torch.sigmoid), "relu": unary(torch.relu), "abs": unary(torch.abs), "erf": unary(torch.erf),
    "gelu": unary(F.gelu), "gelu_tanh": unary(lambda x: F.gelu(x, approximate="tanh")),
    "pow": (lambda x, exponent: x ** exponent, [((normal(3, 5),), {"exponent": 2.0}), ((normal(5),), {"exponent": 3.0}), ((positive(7),), {"exponent": -0.5})]),
    "clamp": (lambda x, low, high: x.clamp(low, high), [((normal(3, 7),), {"low": -0.5, "high": 0.75})]),
    "where": (lambda c, a, b: torch.where(c, a, b), [((mask(3, 5), normal(3, 5), normal(3, 5)), {}), ((mask(5), normal(3, 1), normal()), {})]),
    "masked_fill": (lambda x, m, value: x.masked_fill(m, value), [((normal(2, 3, 5), mask(3, 5)), {"value": -1.5})]),
    "sum": (reduce(torch.sum), axes_cases), "mean": (reduce(torch.mean), axes_cases),
    "var": (lambda x, axes, keep_axes, correction: torch.var(x, dim=axes if axes else None, keepdim=keep_axes, correction=int(correction)),
            [((normal(3, 5),), {"axes": [1], "keep_axes": False, "correction": 1.0}), ((normal(3, 5),), {"axes": [], "keep_axes": False, "correction": 0.0})]),
    "max": (lambda x, axis, keep_axis: torch.max(x, dim=axis, keepdim=keep_axis).values,
            [((normal(3, 5),), {"axis": -1, "keep_axis": False}), ((normal(2, 7, 3),), {"axis": 1, "keep_axis": True})]),
    "argmax": (lambda x, axis, keep_axis: torch.argmax(x, dim=axis, keepdim=keep_axis), [((normal(3, 5),), {"axis": 0, "keep_axis": False})]),
    "reshape": (lambda x, shape: x.reshape(shape), [((normal(2, 3, 5),), {"shape": [6, 5]}), ((normal(6, 5),), {"shape": [2, 3, -1]})]),
    "permute": (lambda x, axes: x.permute(axes), [((normal(2, 3, 5),), {"axes": [2, 0, 1]})]),
    "slice": (lambda x, axis, start, stop, step: x[(slice(None),) * axis + (slice(start, stop, step),)],
              [((normal(3, 11),), {"axis": 1, "start": 1, "stop": 11, "step": 3}), ((normal(5, 3),), {"axis": 0, "start": 2, "stop": 4, "step": 1})]),
    "broadcast_to": (lambda x, shape: x.broadcast_to(shape), [((normal(3, 1),), {"shape": [2, 3, 5]})]),
    "concat": (lambda *t, axis: torch.cat(t, axis), [((normal(2, 3), normal(5, 3)), {"axis": 0}), ((normal(2, 1), normal(2, 4), normal(2, 2)), {"axis": -1})]),
    "stack": (lambda *t, axis: torch.stack(t, axis), [((normal(2, 3), normal(2, 3)), {"axis": 1})]),
    "repeat": (lambda x, repeats: x.repeat(repeats), [((normal(2, 3),), {"repeats": [2, 3]})]),
    "gather": (lambda x, i, axis: torch.gather(x, axis, i), [((normal(3, 5), ids(5, 3, 7)), {"axis": 1}), ((normal(4, 3), ids(4, 2, 3)), {"axis": 0})]),
    "index_select": (lambda x, i, axis: torch.index_select(x, axis, i), [((normal(3, 5, 2), torch.tensor([4, 1, 1, 0])), {"axis": 1})]),
    "embedding": (lambda w, i: F.embedding(i, w), [((normal(5, 3), torch.tensor([[0, 4, 4], [2, 4, 0]])), {})]),
    "matmul": (lambda a, b: a @ b, [((normal(3, 5), normal(5, 2)), {}), ((normal(2, 1, 3, 4), normal(3, 4, 2)), {}), ((normal(1, 7), normal(7, 1)), {}),
                                    ((normal(5, 3).t(), normal(2, 5).t()), {})]),
    "linear": (lambda x, w, b=None: F.linear(x, w, b), [((normal(2, 3, 5), normal(7, 5), normal(7)), {})]),
    "softmax": (lambda x, axis: F.softmax(x, axis), [((normal(3, 5) * 4,), {"axis": -1}), ((normal(2, 7, 3),), {"axis": 1})]),
    "log_softmax": (lambda x, axis: F.log_softmax(x, axis), [((normal(3, 5) * 4,), {"axis": -1}), ((normal(7, 2),), {"axis": 0})]),
    "layer_norm": (lambda x, g, b, epsilon: F.layer_norm(x, x.shape[-1:], g, b, epsilon), [((normal(2, 3, 7), normal(7), normal(7)), {"epsilon": 1e-5})]),
    "scaled_dot_product_attention": (attention, [((normal(2, 2, 5, 3), normal(2, 2, 5, 3), normal(2, 2, 5, 3)), {"causal": True, "scale": 0.0}),
                                                 ((normal(1, 2, 3, 4), normal(1, 2, 7, 4), normal(1, 2, 7, 5)), {"causal": False, "scale": 0.0}),
                                                 ((normal(1, 1, 7, 2), normal(1, 1, 3, 2), normal(1, 1, 3, 2)), {"causal": True, "scale": 0.5})]),
    "cross_entropy": (lambda x, t, ignore_index: F.cross_entropy(x, t, ignore_index=ignore_index), [((normal(7, 5), torch.tensor([0, 3, 0, 4, 1, 2, 0])), {"ignore_index": 0})]),
}


def about(**content):
    # One key: the library writes several in no fixed order.
    return {"golden": json.dumps({**content, "torch": torch.__version__.split("+")[0]})}


def make_ops(path):
    tensors, cases = {}, []
    for op, (function, calls) in OPS.items():
        for inputs, attributes in calls:
            number = len(cases)
            leaves = [x.clone().requires_grad_(x.is_floating_point()) for x in inputs]
            out = function(*leaves, **attributes)
            case = {"op": op, "attributes": attributes, "inputs": [], "output": f"{number}.output", "cotangent": None, "gradients": []}
            if out.requires_grad:
                cotangent = normal(*out.shape)
                (out * cotangent).sum().backward()
                case["cotangent"] = f"{number}.cotangent"
                tensors[case["cotangent"]] = cotangent
            for i, leaf in enumerate(leaves):
                case["inputs"].append(f"{number}.input{i}")
                tensors[f"{number}.input{i}"] = leaf.detach().contiguous()
                if leaf.grad is not None:
                    tensors[f"{number}.gradient{i}"] = leaf.grad.contiguous()
                case["gradients"].append(f"{number}.gradient{i}" if leaf.grad is not None else None)
            tensors[case["output"]] = out.detach().clone().contiguous()
            cases.append(case)
    save_file(tensors, path, metadata=about(cases=cases))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.key, self.query, self.value, self.proj = (nn.Linear(width, width) for _ in range(4))
        self.heads = heads

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (layer(x).view(b, t, self.heads, c // self.heads).transpose(1, 2) for layer in (self.query, self.key, self.value))
        return self.proj(attention(q, k, v, True, 0).transpose(1, 2).reshape(b, t, c))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln1, self.ln2, self.attn = nn.LayerNorm(width), nn.LayerNorm(width), Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class Gpt(nn.Module):
    def __init__(self, vocabulary, block, layers, heads, width):
        super().__init__()
        self.tok_emb, self.pos_emb = nn.Embedding(vocabulary, width), nn.Parameter(torch.zeros(1, block, width))
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.ln_f, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def loss(self, x, y):
        logits = self.head(self.ln_f(self.blocks(self.tok_emb(x) + self.pos_emb[:, : x.shape[1]])))
        return logits, F.cross_entropy(logits.view(-1, logits.shape[-1]), y.reshape(-1), ignore_index=0)


CONFIG = {"vocabulary_size": 11, "block_size": 8, "layers": 2, "heads": 2, "width": 16, "embedding_dropout": 0.0, "residual_dropout": 0.0,
          "attention_dropout": 0.0}


def make_gpt(path):
    model = Gpt(11, 8, 2, 2, 16).double()
    for p in model.parameters():
        p.data = normal(*p.shape) * 0.3
    x, y = ids(11, 3, 7), ids(11, 3, 7)
    logits, loss = model.loss(x, y)
    loss.backward()
    tensors = {"ids": x, "targets": y, "logits": logits.detach(), "loss": loss.detach()}
    for name, p in model.named_parameters():
        tensors["weight." + name] = p.detach().contiguous()
        tensors["gradient." + name] = p.grad.contiguous()
    save_file(tensors, path, metadata=about(config=CONFIG))


def make_training(path):
    model = Gpt(11, 8, 2, 2, 16)
    for p in model.parameters():
        p.data = (torch.randn(*p.shape) * 0.1)
    tensors = {"weight." + name: p.detach().clone() for name, p in model.named_parameters()}
    decayed = [p for n, p in model.named_parameters() if "bias" not in n]
    rest = [p for n, p in model.named_parameters() if "bias" in n]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}], lr=6e-3, betas=(0.9, 0.95), eps=1e-8)
    losses, norms, rates = [], [], []
    for step in range(10):
        x, y = ids(11, 4, 8), ids(11, 4, 8)
        tensors[f"ids.{step}"], tensors[f"targets.{step}"] = x, y
        rate = 6e-3 * 0.5 * (1 + math.cos(math.pi * step / 12))
        for group in optimizer.param_groups:
            group["lr"] = rate
        _, loss = model.loss(x, y)
        model.zero_grad()
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
        optimizer.step()
        losses.append(loss.item())
        rates.append(rate)
    tensors.update({"final." + name: p.detach() for name, p in model.named_parameters()})
    for name, values in (("losses", losses), ("norms", norms), ("rates", rates)):
        tensors[name] = torch.tensor(values, dtype=f64)
    save_file(tensors, path, metadata=about(config=CONFIG))


def turned(x, stride):
    """Pairs of features as complex numbers, turned by the angles of positions 0, stride, 2 stride, ..."""
    places, features = torch.arange(x.shape[-2], dtype=f64) * stride, x.shape[-1]
    angles = torch.outer(places, 10000.0 ** (-torch.arange(0, features, 2, dtype=f64) / features))
    turns = torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2).contiguous()) * turns).flatten(-2)


class Rotary(nn.Module):
    """Attention whose queries and keys are turned by their positions, `stride` apart."""

    def __init__(self, width, heads, stride=1):
        super().__init__()
        self.heads, self.stride = heads, stride
        self.key, self.query, self.value, self.proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        b, t, c = x.shape
        split = lambda y: y.view(b, t, self.heads, c // self.heads).transpose(1, 2)
        y = attention(turned(split(self.query(x)), self.stride), turned(split(self.key(x)), self.stride), split(self.value(x)),
                      causal=True, scale=0.0)
        return self.proj(y.transpose(1, 2).reshape(b, t, c))


class Synthesizer(nn.Module):
    def __init__(self, width, heads, longest):
        super().__init__()
        self.heads = heads
        self.w1, self.value, self.proj = (nn.Linear(width, width) for _ in range(3))
        self.w2, self.b2 = nn.Parameter(torch.zeros(width // heads, longest)), nn.Parameter(torch.zeros(longest))

    def forward(self, x):
        b, t, c = x.shape
        split = lambda y: y.view(b, t, self.heads, c // self.heads).transpose(1, 2)
        scores = F.relu(split(self.w1(x))) @ self.w2[:, :t] + self.b2[:t]
        scores = scores.masked_fill(torch.ones(t, t).triu(1).bool(), -1e10)
        return self.proj((F.softmax(scores, -1) @ split(self.value(x))).transpose(1, 2).reshape(b, t, c))


class Cross(nn.Module):
    """Query i sees the keys j with sees(i, j). Both are turned by their positions, so far apart, if at all."""

    def __init__(self, width, heads, sees, apart):
        super().__init__()
        self.apart = apart
        self.heads, self.sees = heads, sees
        self.key, self.query, self.value, self.proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, kv, q):
        b, c = q.shape[0], q.shape[-1]
        split = lambda y: y.view(b, -1, self.heads, c // self.heads).transpose(1, 2)
        queries, keys = split(self.query(q)), split(self.key(kv))
        if self.apart:
            queries, keys = turned(queries, self.apart[0]), turned(keys, self.apart[1])
        i, j = torch.arange(q.shape[1])[:, None], torch.arange(kv.shape[1])[None]
        scores = (queries @ keys.transpose(-1, -2) / math.sqrt(c // self.heads)).masked_fill(~self.sees(i, j), -1e10)
        return self.proj((F.softmax(scores, -1) @ split(self.value(kv))).transpose(1, 2).reshape(b, -1, c))


def feed_forward(width):
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


class Down(nn.Module):
    def __init__(self, width, heads, latents, stride, anchored):
        super().__init__()
        self.stride, self.anchored = stride, anchored
        self.C = nn.Parameter(torch.zeros(1, latents, width))
        self.ln1, self.ln2, self.mlp = nn.LayerNorm(width), nn.LayerNorm(width), feed_forward(width)
        self.attn = Cross(width, heads, lambda i, j: j <= i * stride, (stride, 1) if anchored else None)

    def forward(self, x, _):
        latents = self.C.expand(x.shape[0], -1, -1)
        if self.anchored:
            stand = x[:, :: self.stride]
            latents = latents[:, : stand.shape[1]] + stand
        h = latents + self.attn(x, self.ln1(latents))
        return h + self.mlp(self.ln2(h))


class Up(nn.Module):
    def __init__(self, width, heads, stride, anchored):
        super().__init__()
        self.ln1, self.ln2, self.mlp = nn.LayerNorm(width), nn.LayerNorm(width), feed_forward(width)
        self.attn = Cross(width, heads, lambda i, j: j * stride <= i, (1, stride) if anchored else None)

    def forward(self, y, x):
        h = x + self.attn(self.ln1(y), x)
        return h + self.mlp(self.ln2(h))


class PreNorm(nn.Module):
    def __init__(self, width, attn):
        super().__init__()
        self.ln1, self.ln2, self.attn, self.mlp = nn.LayerNorm(width), nn.LayerNorm(width), attn, feed_forward(width)

    def forward(self, x, _):
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class Variant(nn.Module):
    def __init__(self, variant, vocabulary, block, layers, heads, width, latents):
        super().__init__()
        if variant != "rope":
            self.pos_emb = nn.Parameter(torch.zeros(1, block, width))
        self.tok_emb = nn.Embedding(vocabulary, width)
        stride = -(-block // latents) if variant == "perceiver-ar" else 1
        plain = lambda: PreNorm(width, Attention(width, heads))
        anchored = variant == "perceiver-ar"
        made = {"rope": lambda: PreNorm(width, Rotary(width, heads)),
                "perceiver-ar": lambda: PreNorm(width, Rotary(width, heads, stride)),
                "synthesizer": lambda: PreNorm(width, Synthesizer(width, heads, block - 1))}.get(variant, plain)
        self.blocks = nn.ModuleList(made() for _ in range(layers))
        if latents:
            self.blocks[0], self.blocks[-1] = Down(width, heads, latents, stride, anchored), Up(width, heads, stride, anchored)
        self.ln_f, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def loss(self, x, y):
        first = self.tok_emb(x)
        if hasattr(self, "pos_emb"):
            first = first + self.pos_emb[:, : x.shape[1]]
        h = first
        for block in self.blocks:
            h = block(h, first)
        logits = self.head(self.ln_f(h))
        return logits, F.cross_entropy(logits.view(-1, logits.shape[-1]), y.reshape(-1), ignore_index=0)


def make_variants(path):
    torch.manual_seed(2027)
    tensors, configs = {}, {}
    for variant in ("rope", "synthesizer", "perceiver", "perceiver-ar"):
        latents = 3 if variant.startswith("perceiver") else 0
        model = Variant(variant, 11, 8, 3, 2, 8, latents).double()
        for p in model.parameters():
            p.data = normal(*p.shape) * 0.4
        x, y = ids(11, 2, 7), ids(11, 2, 7)
        logits, loss = model.loss(x, y)
        loss.backward()
        tensors.update({f"{variant}.ids": x, f"{variant}.targets": y, f"{variant}.logits": logits.detach(), f"{variant}.loss": loss.detach()})
        for name, p in model.named_parameters():
            tensors[f"{variant}.weight.{name}"] = p.detach().contiguous()
            tensors[f"{variant}.gradient.{name}"] = p.grad.contiguous()
        configs[variant] = {**CONFIG, "variant": variant, "layers": 3, "width": 8, "latents": latents,
                            "anchored": variant == "perceiver-ar"}
    save_file(tensors, path, metadata=about(configs=configs))


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else sys.exit(__doc__)
    os.makedirs(folder, exist_ok=True)
    make_ops(os.path.join(folder, "ops.safetensors"))
    make_gpt(os.path.join(folder, "gpt.safetensors"))
    make_training(os.path.join(folder, "training.safetensors"))
    make_variants(os.path.join(folder, "variants.safetensors"))
