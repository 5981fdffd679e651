#!/usr/bin/env python3
"""Trains the same character model in Gradus and in PyTorch, from the same initial weights on the same batches without
dropout, and prints the losses side by side. PyTorch 1.13 or newer; nothing else.

  python3 tools/golden/compare_losses.py build/release/bin/gradus input.txt --steps 100

Model, loss, schedule, decay groups, clipping and the order of the examples are written down here a second time, from
their definitions; of Gradus only the initial weights and the losses are read. Ends with 1 where a loss differs by more
than --tolerance.
"""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile

import torch
import torch.nn.functional as F

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("gradus")
parser.add_argument("text")
parser.add_argument("--steps", type=int, default=100)
parser.add_argument("--layers", type=int, default=4)
parser.add_argument("--heads", type=int, default=4)
parser.add_argument("--width", type=int, default=128)
parser.add_argument("--block_size", type=int, default=128)
parser.add_argument("--batch_size", type=int, default=64)
parser.add_argument("--learning_rate", type=float, default=1e-3)
parser.add_argument("--warmup_tokens", type=int, default=10240)
parser.add_argument("--final_tokens", type=int, default=6553600)
parser.add_argument("--seed", type=int, default=42)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--tolerance", type=float, default=0.01, help="largest relative difference of a loss")
options = parser.parse_args()
torch.set_num_threads(options.threads)


def run_gradus(folder):
    """Initial weights by name, and the loss of every step."""
    model, metrics = os.path.join(folder, "model"), os.path.join(folder, "metrics")
    sizes = ("layers", "heads", "width", "block_size", "batch_size", "warmup_tokens", "final_tokens", "seed", "threads")
    command = [options.gradus, "pretrain-text", options.text, "--writing_params_path", model, "--metrics", metrics]
    command += ["--dropout", "0", "--progress", "off", "--force"]
    command += [f"--{name}={getattr(options, name)}" for name in sizes]

    def run(steps, rate):
        subprocess.run(command + [f"--max_steps={steps}", f"--learning_rate={rate}"], check=True, stdout=subprocess.DEVNULL)

    run(1, 1e-30)  # a step at this rate leaves the weights as they were
    weights = read_safetensors(model)
    run(options.steps, options.learning_rate)
    with open(metrics) as file:
        return weights, [json.loads(line)["loss"] for line in file]


def read_safetensors(path):
    with open(path, "rb") as file:
        content = bytearray(file.read())
    begin = 8 + int.from_bytes(content[:8], "little")
    tensors = {}
    for name, entry in json.loads(content[8:begin]).items():
        if name == "__metadata__":
            continue
        assert entry["dtype"] == "F32", (name, entry)
        first, last = entry["data_offsets"]
        values = torch.frombuffer(content[begin + first:begin + last], dtype=torch.float32)
        tensors[name] = values.reshape(entry["shape"]).clone().requires_grad_()
    return tensors


def philox(counter, key):
    """Philox 4x32-10: four words from four words and two."""
    mask = 0xFFFFFFFF
    for _ in range(10):
        a, b = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [(b >> 32) ^ counter[1] ^ key[0], b & mask, (a >> 32) ^ counter[3] ^ key[1], a & mask]
        key = [(key[0] + 0x9E3779B9) & mask, (key[1] + 0xBB67AE85) & mask]
    return counter


def item_of_order(index, size, seed, stream):
    """Eight Feistel rounds, again until the result lies in the range."""
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    while True:
        left, right = index >> half, index & (1 << half) - 1
        for step in range(8):
            word = philox([right, step, stream & 0xFFFFFFFF, stream >> 32], [seed & 0xFFFFFFFF, seed >> 32])[0]
            left, right = right, left ^ (word & (1 << half) - 1)
        index = left << half | right
        if index < size:
            return index


def logits_of(weights, ids):
    batch, length = ids.shape
    hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
    x = weights["tok_emb.weight"][ids] + weights["pos_emb"][:, :length]

    def norm(name, x):
        return F.layer_norm(x, (options.width,), weights[name + ".weight"], weights[name + ".bias"])

    def linear(name, x):
        return F.linear(x, weights[name + ".weight"], weights.get(name + ".bias"))

    def heads(x):
        return x.view(batch, length, options.heads, -1).transpose(1, 2)

    for i in range(options.layers):
        block = f"blocks.{i}."
        y = norm(block + "ln1", x)
        query, key, value = (heads(linear(block + "attn." + part, y)) for part in ("query", "key", "value"))
        scores = query @ key.transpose(-2, -1) / math.sqrt(options.width // options.heads)
        y = F.softmax(scores.masked_fill(hidden, -math.inf), -1) @ value
        x = x + linear(block + "attn.proj", y.transpose(1, 2).reshape(x.shape))
        x = x + linear(block + "mlp.2", F.gelu(linear(block + "mlp.0", norm(block + "ln2", x))))
    return linear("head", norm("ln_f", x))


def rate_after(tokens):
    if tokens < options.warmup_tokens:
        return options.learning_rate * tokens / options.warmup_tokens
    progress = (tokens - options.warmup_tokens) / (options.final_tokens - options.warmup_tokens)
    return options.learning_rate * max(0.1, 0.5 * (1 + math.cos(math.pi * progress)))


def train_in_pytorch(weights):
    with open(options.text, encoding="utf-8", newline="") as file:
        text = file.read()
    id_of = {character: 2 + number for number, character in enumerate(sorted(set(text)))}
    ids = torch.tensor([id_of[character] for character in text])
    examples = len(ids) - options.block_size
    if options.steps * options.batch_size > examples:
        sys.exit(f"{options.steps} steps are more than an epoch")
    decayed = [w for name, w in weights.items() if name.endswith(".weight") and w.dim() == 2 and name != "tok_emb.weight"]
    others = [w for w in weights.values() if all(w is not d for d in decayed)]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0}],
                                  lr=options.learning_rate, betas=(0.9, 0.95), eps=1e-8)
    losses = []
    for step in range(options.steps):
        places = [item_of_order(step * options.batch_size + row, examples, options.seed, 1 << 62)
                  for row in range(options.batch_size)]
        rows = torch.stack([ids[place:place + options.block_size + 1] for place in places])
        logits = logits_of(weights, rows[:, :-1])
        loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), rows[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] = rate_after((step + 1) * options.batch_size * options.block_size)
        losses.append(loss.item())
    return losses


with tempfile.TemporaryDirectory() as folder:
    weights, ours = run_gradus(folder)
theirs = train_in_pytorch(weights)
differences = [abs(a - b) / b for a, b in zip(ours, theirs, strict=True)]
print(f"step  gradus    PyTorch {torch.__version__}")
for step in sorted({1, 2, 5, 10, 20, 50, *range(100, options.steps, 100), options.steps}):
    if step <= options.steps:
        print(f"{step:4}  {ours[step - 1]:.6f}  {theirs[step - 1]:.6f}")
worst = max(range(options.steps), key=differences.__getitem__)
print(f"largest relative difference of {options.steps} losses: {differences[worst]:.2e}, at step {worst + 1}")
sys.exit(differences[worst] > options.tolerance)
