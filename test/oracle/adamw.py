"""What torch.optim.AdamW does with given gradients: writes test/fixtures/adamw.json. Needs PyTorch (made with 2.13.0).

Matrices decay, vectors do not; `sometimes` has no gradient in every third step, as a parameter that a batch does not touch.
"""

import json
from pathlib import Path

import torch

torch.manual_seed(7)
shapes = {"matrix": [3, 5], "vector": [4], "cube": [2, 3, 2], "sometimes": [2, 2]}
options = {"beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8, "weightDecay": 0.1}
rates = [1e-3 * (1 + step % 4) for step in range(12)]

parameters = {name: torch.nn.Parameter(torch.randn(shape)) for name, shape in shapes.items()}
start = {name: p.detach().flatten().tolist() for name, p in parameters.items()}
optimizer = torch.optim.AdamW(
    [
        {"params": [p for p in parameters.values() if p.dim() >= 2], "weight_decay": options["weightDecay"]},
        {"params": [p for p in parameters.values() if p.dim() < 2], "weight_decay": 0.0},
    ],
    lr=1.0,
    betas=(options["beta1"], options["beta2"]),
    eps=options["epsilon"],
)
steps = []
for step, rate in enumerate(rates):
    gradients = {}
    for name, p in parameters.items():
        skipped = name == "sometimes" and step % 3 == 2
        # Gradients of very different sizes, some of them zero.
        p.grad = None if skipped else torch.randn(p.shape) * 10.0 ** torch.randint(-4, 3, p.shape) * (torch.rand(p.shape) > 0.1)
        if not skipped:
            gradients[name] = p.grad.flatten().tolist()
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    values = {name: p.detach().flatten().tolist() for name, p in parameters.items()}
    steps.append({"learningRate": rate, "gradients": gradients, "values": values})

fixture = {"shapes": shapes, "options": options, "start": start, "steps": steps}
path = Path(__file__).parent.parent / "fixtures" / "adamw.json"
path.write_text(json.dumps(fixture) + "\n")
