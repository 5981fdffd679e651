#!/usr/bin/env python3
"""Speed of PyTorch on the vanilla model, the other side of `gradus bench`. Prints one JSON line. PyTorch 1.13 or newer.

  train      forward, loss, backward, clipping, AdamW on rows of one length
  generate   greedy decoding as the assignment evaluates: one question at a time, nothing kept between characters

  python3 tools/bench/pytorch_gpt_step.py --batch 128 --length 128 --threads 2 --steps 3
  python3 tools/bench/pytorch_gpt_step.py --dtype bf16 --attention sdpa --compile
  python3 tools/bench/pytorch_gpt_step.py --mode generate --questions 20
  python3 tools/bench/pytorch_gpt_step.py --device cuda --dtype tf32 --steps 60 --warmup 20
  python3 tools/bench/pytorch_gpt_step.py --device cuda --dtype bf16 --attention sdpa --fused_adamw --compile max-autotune

--dtype bf16 is torch.autocast over f32 weights; tf32, on CUDA devices, is f32 with products in 19 bits. A timed step is the
same work as in `gradus bench train`: the batch goes to the device, and the loss is read, which waits for the device. On
CUDA devices --compile compiles the loss with the model. PyTorch 1.13 leaves its AVX-512 kernels off; here they are on where the
processor has them.
"""
import argparse
import contextlib
import json
import os
import resource
import statistics
import sys
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--mode", choices=["train", "generate"], default="train")
parser.add_argument("--dtype", choices=["f32", "tf32", "bf16"], default="f32")
parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
parser.add_argument("--attention", choices=["eager", "sdpa"], default="eager")
parser.add_argument("--compile", nargs="?", const="default", default=False, metavar="MODE",
                    choices=["default", "reduce-overhead", "max-autotune"], help="default, reduce-overhead or max-autotune")
parser.add_argument("--fused_adamw", action="store_true", help="AdamW in one kernel")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--batch", type=int, default=128)
parser.add_argument("--length", type=int, default=128)
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--warmup", type=int, default=1)
parser.add_argument("--questions", type=int, default=20)
parser.add_argument("--characters", type=int, default=32)
options = parser.parse_args()
if options.dtype == "tf32" and options.device != "cuda":
    parser.error("--dtype tf32 belongs to --device cuda")


def processor_flags():
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        return next((set(line.split()) for line in file if line.startswith("flags")), set())
    return set()


# Both are read when torch is loaded.
if {"avx512f", "avx512bw", "avx512dq", "avx512vl", "fma"} <= processor_flags():
    os.environ.setdefault("ATEN_CPU_CAPABILITY", "avx512")
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[library + "_NUM_THREADS"] = str(options.threads)

import torch
import torch.nn as nn
import torch.nn.functional as F

if options.attention == "sdpa" and not hasattr(F, "scaled_dot_product_attention"):
    sys.exit(f"PyTorch {torch.__version__} has no scaled_dot_product_attention")
if options.compile and not hasattr(torch, "compile"):
    sys.exit(f"PyTorch {torch.__version__} has no torch.compile")
if options.device == "cuda" and not torch.cuda.is_available():
    sys.exit(f"PyTorch {torch.__version__} finds no CUDA device")
torch.set_num_threads(options.threads)
on_cuda = options.device == "cuda"
if on_cuda:
    torch.backends.cuda.matmul.allow_tf32 = options.dtype == "tf32"
WIDTH, HEADS, LAYERS, VOCABULARY, BLOCK, DROPOUT = 256, 8, 4, 256, 128, 0.1


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.key, self.query, self.value, self.projection = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.feed_forward = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH), nn.Dropout(DROPOUT))
        self.attention_dropout, self.residual_dropout = nn.Dropout(DROPOUT), nn.Dropout(DROPOUT)
        self.register_buffer("hidden", torch.ones(BLOCK, BLOCK, dtype=torch.bool).triu(1), persistent=False)

    def attend(self, x):
        batch, length, width = x.shape
        q, k, v = (layer(x).view(batch, length, HEADS, -1).transpose(1, 2)
                   for layer in (self.query, self.key, self.value))
        if options.attention == "sdpa":
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=DROPOUT if self.training else 0.0)
        else:
            scores = q @ k.transpose(-2, -1) / (WIDTH // HEADS) ** 0.5
            scores = scores.masked_fill(self.hidden[:length, :length], float("-inf"))
            y = self.attention_dropout(F.softmax(scores, -1)) @ v
        return self.residual_dropout(self.projection(y.transpose(1, 2).reshape(batch, length, width)))

    def forward(self, x):
        x = x + self.attend(self.norm1(x))
        return x + self.feed_forward(self.norm2(x))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.token, self.position = nn.Embedding(VOCABULARY, WIDTH), nn.Parameter(torch.zeros(1, BLOCK, WIDTH))
        self.dropout, self.blocks = nn.Dropout(DROPOUT), nn.Sequential(*[Block() for _ in range(LAYERS)])
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, ids):
        return self.head(self.norm(self.blocks(self.dropout(self.token(ids) + self.position[:, : ids.shape[1]]))))


def computing():
    return torch.autocast(options.device, dtype=torch.bfloat16) if options.dtype == "bf16" else contextlib.nullcontext()


def wait():
    if on_cuda:
        torch.cuda.synchronize()


def compiled(function, **how):
    return torch.compile(function, mode=options.compile, **how) if options.compile else function


def train(model):
    run = model if on_cuda else compiled(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1,
                                  **({"fused": True} if options.fused_adamw else {}))
    batch = torch.randint(1, VOCABULARY, (2, options.batch, options.length))
    if on_cuda:
        batch = batch.pin_memory()

    def loss_of(ids, targets):
        return F.cross_entropy(run(ids).view(-1, VOCABULARY), targets.reshape(-1), ignore_index=0)

    if on_cuda:
        loss_of = compiled(loss_of)
    seconds = []
    for step in range(options.warmup + options.steps):
        wait()
        start = time.perf_counter()
        if on_cuda and options.compile:
            torch.compiler.cudagraph_mark_step_begin()
        ids, targets = batch.to(options.device, non_blocking=True)
        with computing():
            loss = loss_of(ids, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        value = loss.item()
        wait()
        if step >= options.warmup:
            seconds.append(time.perf_counter() - start)
    tokens = options.batch * options.length
    return {"batch": options.batch, "length": options.length, "step_s_median": statistics.median(seconds),
            "step_s_min": min(seconds), "step_s_max": max(seconds), "tokens_per_s": tokens / statistics.median(seconds),
            "loss_last": value}


@torch.no_grad()
def generate(model):
    model.eval()
    run = compiled(model, dynamic=True)
    lengths = torch.randint(25, 46, (options.questions + 1,)).tolist()
    for number, length in enumerate(lengths):
        if number == 1:  # the first one warms up
            wait()
            start = time.perf_counter()
        ids = torch.randint(1, VOCABULARY, (1, length)).to(options.device)
        for _ in range(options.characters):
            with computing():
                logits = run(ids)
            ids = torch.cat([ids, logits[:, -1].argmax(-1, keepdim=True)], 1)
    wait()
    seconds = time.perf_counter() - start
    return {"questions": options.questions, "characters": options.characters,
            "characters_per_s": options.questions * options.characters / seconds}


torch.manual_seed(1)
model = Gpt().to(options.device)
result = train(model) if options.mode == "train" else generate(model)
print(json.dumps({"what": "pytorch_" + options.mode, "torch": torch.__version__, "dtype": options.dtype,
                  "attention": options.attention, "compile": options.compile, "threads": options.threads,
                  "device": torch.cuda.get_device_name() if on_cuda else "cpu", "fused_adamw": options.fused_adamw,
                  "parameters": sum(p.numel() for p in model.parameters()), **result,
                  **({"peak_device_mib": torch.cuda.max_memory_allocated() >> 20} if on_cuda else {}),
                  "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))
