"""What PyTorch makes of the recipe of `npm run lab -- train`: the same model, text, optimizer and schedule, in a page.

    python nano_recipe.py TINYSHAKESPEARE.txt --lr 1e-3 --seed 1

Prints the loss on the whole validation text, to be compared with the lab's. Sources: nanoGPT's config/train_shakespeare_char.py
with the flags that its README gives for a CPU. Shapes: B batch, T tokens, D width, H heads.
"""
import argparse
import math
import time

import torch
from torch import nn
from torch.nn import functional as F

T, B, LAYERS, H, D = 64, 12, 4, 4, 128
WARMUP, STEPS = 100, 2000


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(D, bias=False), nn.LayerNorm(D, bias=False)
        self.qkv, self.output = nn.Linear(D, 3 * D, bias=False), nn.Linear(D, D, bias=False)
        self.up, self.down = nn.Linear(D, 4 * D, bias=False), nn.Linear(4 * D, D, bias=False)

    def forward(self, x):
        batch, length, _ = x.shape
        q, k, v = (part.view(batch, length, H, D // H).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(D, 2))
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.output(heads.transpose(1, 2).reshape(batch, length, D))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Model(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, D), nn.Embedding(T, D)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(D, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                into_stream = name.endswith(("output.weight", "down.weight"))
                nn.init.normal_(parameter, 0, 0.02 / math.sqrt(2 * LAYERS) if into_stream else 0.02)

    def loss(self, ids):
        """ids [B, T + 1]: mean over the last T of −log p."""
        x = self.tokens(ids[:, :-1]) + self.positions.weight[: ids.shape[1] - 1]
        for block in self.blocks:
            x = block(x)
        logits = self.norm(x) @ self.tokens.weight.T
        return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def rate(step, highest):
    if step < WARMUP:
        return highest * (step + 1) / (WARMUP + 1)
    progress = (step - WARMUP) / (STEPS - WARMUP)
    return highest * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))


@torch.no_grad()
def whole_validation(model, ids):
    count = (len(ids) - 1) // T
    windows = ids[: count * T + 1].unfold(0, T + 1, T)
    parts = windows.split(200)
    return sum(model.loss(part).item() * len(part) for part in parts) / count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("text")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)

    text = open(options.text, encoding="utf-8").read()
    number = {character: i for i, character in enumerate(sorted(set(text)))}
    ids = torch.tensor([number[character] for character in text])
    cut = int(0.9 * len(ids))
    learned, kept = ids[:cut], ids[cut:]

    model = Model(len(number))
    matrices = [p for p in model.parameters() if p.dim() == 2]
    gains = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": gains, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, 0.99))
    started = time.monotonic()
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, options.lr)
        starts = torch.randint(len(learned) - T, (B,))
        loss = model.loss(torch.stack([learned[start : start + T + 1] for start in starts]))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    seconds = time.monotonic() - started
    print(f"{STEPS} steps in {seconds:.0f} s, loss on the whole validation text {whole_validation(model, kept):.4f}")


main()
