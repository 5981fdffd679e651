#!/usr/bin/env python3
"""Speed of PyTorch on the vanilla model's training step, the other side of `gradus bench train`. Prints one JSON line.

  python3 tools/bench/pytorch_gpt_step.py --batch 128 --length 128 --threads 2 --steps 3
"""
import argparse
import json
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--batch", type=int, default=128)
parser.add_argument("--length", type=int, default=128)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--warmup", type=int, default=1)
parser.add_argument("--attention", choices=["eager", "sdpa"], default="eager")
options = parser.parse_args()
torch.set_num_threads(options.threads)


class Block(nn.Module):
    def __init__(self, width=256, heads=8, dropout=0.1):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.key, self.query, self.value, self.projection = (nn.Linear(width, width) for _ in range(4))
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(dropout))
        self.attention_dropout, self.residual_dropout, self.heads = nn.Dropout(dropout), nn.Dropout(dropout), heads

    def attend(self, x):
        batch, length, width = x.shape
        q, k, v = (layer(x).view(batch, length, self.heads, -1).transpose(1, 2) for layer in (self.query, self.key, self.value))
        if options.attention == "sdpa":
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=0.1)
        else:
            scores = q @ k.transpose(-2, -1) / (width // self.heads) ** 0.5
            hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
            y = self.attention_dropout(F.softmax(scores.masked_fill(hidden, float("-inf")), -1)) @ v
        return self.residual_dropout(self.projection(y.transpose(1, 2).reshape(batch, length, width)))

    def forward(self, x):
        x = x + self.attend(self.norm1(x))
        return x + self.feed_forward(self.norm2(x))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.token, self.position = nn.Embedding(256, 256), nn.Parameter(torch.zeros(1, 128, 256))
        self.dropout, self.blocks = nn.Dropout(0.1), nn.Sequential(*[Block() for _ in range(4)])
        self.norm, self.head = nn.LayerNorm(256), nn.Linear(256, 256, bias=False)

    def forward(self, ids):
        return self.head(self.norm(self.blocks(self.dropout(self.token(ids) + self.position[:, : ids.shape[1]]))))


torch.manual_seed(1)
model = Gpt()
optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1)
ids, targets = torch.randint(1, 256, (2, options.batch, options.length))
seconds = []
for step in range(options.warmup + options.steps):
    start = time.perf_counter()
    loss = F.cross_entropy(model(ids).view(-1, 256), targets.reshape(-1), ignore_index=0)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    if step >= options.warmup:
        seconds.append(time.perf_counter() - start)
tokens = options.batch * options.length
print(json.dumps({"what": "pytorch_train", "torch": torch.__version__, "parameters": sum(p.numel() for p in model.parameters()),
                  "attention": options.attention, "threads": options.threads, "step_s_median": statistics.median(seconds),
                  "tokens_per_s": tokens / statistics.median(seconds)}))
