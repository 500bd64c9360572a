"""The attention of `npm run bench -- attention` in PyTorch: scaled_dot_product_attention, forward or with the backward pass.

    python attention.py '{"batch": 1, "heads": 8, "queries": 1024, "keys": 1024, "headSize": 64, "backward": true,
                          "kernel": "any", "half": false, "threads": 2, "gpu": false}'

`kernel`: any, flash, or math. Shapes: B batch, H heads, T queries, U keys, S head size.
"""
from contextlib import nullcontext

import torch
from competitor import DEVICE, TASK, serve
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

B, H, T, U, S = (TASK[name] for name in ("batch", "heads", "queries", "keys", "headSize"))
BACKWARD = TASK["backward"]
KERNELS = {"flash": SDPBackend.FLASH_ATTENTION, "math": SDPBackend.MATH}


def normal(length):
    dtype = torch.float16 if TASK["half"] else torch.float32
    return torch.randn(B, H, length, S, device=DEVICE, dtype=dtype, requires_grad=BACKWARD)


torch.manual_seed(0)
q, k, v = normal(T), normal(U), normal(U)


def step(_):
    kernel = KERNELS.get(TASK["kernel"])
    with sdpa_kernel(kernel) if kernel else nullcontext(), torch.set_grad_enabled(BACKWARD):
        # A single query is the last one: it sees everything.
        out = scaled_dot_product_attention(q, k, v, is_causal=T > 1)
        if BACKWARD:
            torch.autograd.grad(out.sum(), (q, k, v))


serve(step)
