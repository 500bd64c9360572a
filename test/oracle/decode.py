"""The decoding of `npm run bench -- decode` in PyTorch: a greedy token a step for every row of the batch, with a cache.

    python decode.py '{"batch": 8, "tokens": 128, "width": 128, "heads": 4, "layers": 4, "vocabulary": 256,
                       "threads": 2, "gpu": false}'

Eager mode, scaled_dot_product_attention, the cache a buffer of the whole context per layer.
Shapes: B batch, T context, D width, H heads, V vocabulary.
"""
import torch
from competitor import DEVICE, TASK, serve
from torch import nn
from torch.nn import functional as F

B, T, D, H, LAYERS, V = (TASK[name] for name in ("batch", "tokens", "width", "heads", "layers", "vocabulary"))
START = T // 2


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.qkv, self.output = nn.Linear(D, 3 * D), nn.Linear(D, D)
        self.up, self.down = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)
        self.keys, self.values = (torch.zeros(B, H, T, D // H, device=DEVICE) for _ in range(2))

    def forward(self, x, at):
        n = x.shape[1]
        q, k, v = (part.view(B, n, H, D // H).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(D, 2))
        self.keys[:, :, at : at + n], self.values[:, :, at : at + n] = k, v
        past = self.keys[:, :, : at + n], self.values[:, :, : at + n]
        heads = F.scaled_dot_product_attention(q, *past, is_causal=n > 1)
        x = x + self.output(heads.transpose(1, 2).reshape(B, n, D))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(V, D), nn.Embedding(T, D)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(D)

    def forward(self, ids, at):
        x = self.tokens(ids) + self.positions.weight[at : at + ids.shape[1]]
        for block in self.blocks:
            x = block(x, at)
        return self.norm(x[:, -1]) @ self.tokens.weight.T


torch.manual_seed(0)
model = Model().to(DEVICE).eval()
written = torch.zeros(B, 1, dtype=torch.int64, device=DEVICE)
length = START


@torch.inference_mode()
def step(_):
    global written, length
    if length == T:
        length = START
    written = model(written, length).argmax(-1, keepdim=True)
    length += 1
    written.tolist()  # the lab reads them, too


with torch.inference_mode():
    model(torch.zeros(B, START, dtype=torch.int64, device=DEVICE), 0)
serve(step, parameters=sum(p.numel() for p in model.parameters()))
