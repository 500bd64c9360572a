"""The training step of `npm run bench -- train` in PyTorch: `--torch PYTHON` runs it in turn with the lab's own.

    python yardstick.py '{"batch": 16, "tokens": 128, "width": 128, "heads": 4, "layers": 4, "vocabulary": 256,
                          "threads": 2, "gpu": false}'

Eager mode with what PyTorch has fused: scaled_dot_product_attention and AdamW(fused=True). The loss is printed with each step.
Shapes: B batch, T tokens, D width, H heads, V vocabulary.
"""
import torch
from competitor import DEVICE, TASK, serve
from torch import nn
from torch.nn import functional as F

B, T, D, H, LAYERS, V = (TASK[name] for name in ("batch", "tokens", "width", "heads", "layers", "vocabulary"))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.qkv, self.output = nn.Linear(D, 3 * D), nn.Linear(D, D)
        self.up, self.down = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)

    def forward(self, x):
        q, k, v = (part.view(B, T, H, D // H).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(D, 2))
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.output(heads.transpose(1, 2).reshape(B, T, D))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(V, D), nn.Embedding(T, D)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(D)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions.weight
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.tokens.weight.T


def batch(index):
    """Each token follows from the one before it: x' = 3 x + 7 + (t mod 5), modulo V."""
    rows = []
    for b in range(B):
        row = [(b * 37 + index * 101) % V]
        for t in range(T):
            row.append((3 * row[-1] + 7 + t % 5) % V)
        rows.append(row)
    ids = torch.tensor(rows, device=DEVICE)
    return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


torch.manual_seed(0)
model = Model().to(DEVICE)
for parameter in model.parameters():
    if parameter.dim() >= 2:
        nn.init.normal_(parameter, 0, 0.02)
optimizer = torch.optim.AdamW(model.parameters(), 1e-3, (0.9, 0.95), weight_decay=0.1, fused=True)


def step(index):
    inputs, targets = batch(index)
    loss = F.cross_entropy(model(inputs).view(-1, V), targets.view(-1))
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return {"loss": loss.item()}


serve(step, parameters=sum(p.numel() for p in model.parameters()))
