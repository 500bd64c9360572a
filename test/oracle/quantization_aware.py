"""Fixtures of quantization-aware training: a fake-quantized linear layer and distillation. torch==2.15.0, in float64.

The grid is LLM-QAT's (symmetric, to the largest number of each row, + 1e-6), and so is the gradient: the straight-through
estimator, written as x + (q - x).detach(), with and without its limit of |x| < 2.
"""
import torch
import torch.nn.functional as F

from fixture import save

torch.manual_seed(90)
torch.set_default_dtype(torch.float64)


def normal(*shape, scale=1.0):
    return (torch.randn(*shape) * scale).float().double().requires_grad_()


def fake_quantize(x, bits, limit=None):
    scale = (x.detach().abs().amax(-1, keepdim=True) + 1e-6) / (2 ** (bits - 1) - 1)
    quantized = torch.round(x.detach() / scale) * scale
    passes = x if limit is None else torch.where(x.abs() < limit, x, x.detach())
    return quantized + passes - passes.detach()


def linear_case(weights, activations, outputs, limit):
    x, weight, bias = normal(2, 5, 7, scale=1.5), normal(3, 7, scale=1.2), normal(3)
    y = F.linear(fake_quantize(x, activations, limit), fake_quantize(weight, weights, limit), bias)
    if outputs:
        y = fake_quantize(y, outputs, limit)
    upstream = torch.randn_like(y).float().double()
    gradients = torch.autograd.grad(y, [x, weight, bias], upstream)
    return {
        "bits": {"weights": weights, "activations": activations, "outputs": outputs},
        "limit": limit,
        "x": x,
        "weight": weight,
        "bias": bias,
        "output": y,
        "upstream": upstream,
        "gradients": dict(zip(["x", "weight", "bias"], gradients)),
    }


def distillation():
    student, teacher = normal(2, 3, 11, scale=3), normal(2, 3, 11, scale=3).detach()
    log_q, log_p = (F.log_softmax(logits.reshape(-1, 11), -1) for logits in (student, teacher))
    loss = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    return {"student": student, "teacher": teacher, "loss": loss.item(), "gradient": torch.autograd.grad(loss, student)[0]}


cases = [(4, 8, None, None), (3, 4, 4, None), (2, 8, 8, None), (4, 8, 4, 2.0)]
save("quantization-aware.json", {"linear": [linear_case(*case) for case in cases], "distillation": distillation()})
