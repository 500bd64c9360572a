"""Losses of alignment by TRL, on a tiny GPT-2: trl==1.16.0 (DPO), trl==0.19.1 (`trl/core.py`: whitening, masked means).

python test/oracle/align.py CORE   # CORE: the file trl/core.py of trl 0.19.1, the last with PPO's helpers
"""
import importlib.util
import sys
from collections import defaultdict
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from transformers import GPT2Config, GPT2LMHeadModel
from trl import DPOTrainer

from fixture import save

VOCAB, BETA = 29, 0.3
spec = importlib.util.spec_from_file_location("core", sys.argv[1])
core = importlib.util.module_from_spec(spec)
spec.loader.exec_module(core)
generator = torch.Generator().manual_seed(71)


def tiny_model():
    model = GPT2LMHeadModel(GPT2Config(
        vocab_size=VOCAB, n_embd=8, n_layer=1, n_head=2, n_positions=16, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
    )).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            shift = 1.0 if parameter.dim() == 1 and name.endswith("weight") else 0.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4 + shift)
    return model


policy, reference = tiny_model(), tiny_model()
prompts = [torch.randint(0, VOCAB, (n,), generator=generator).tolist() for n in (3, 5, 2)]
answers = [[torch.randint(0, VOCAB, (n,), generator=generator).tolist() for n in pair] for pair in ((4, 2), (3, 6), (7, 1))]
samples = [(prompt, pair[side]) for side in (0, 1) for prompt, pair in zip(prompts, answers)]
length = max(len(prompt) + len(completion) for prompt, completion in samples)
ids = torch.tensor([p + c + [0] * (length - len(p) - len(c)) for p, c in samples])
mask = torch.tensor([[0] * len(p) + [1] * len(c) + [0] * (length - len(p) - len(c)) for p, c in samples])


class Output:
    """Log-probabilities; the trainer's statistics, which nobody reads here, are zero."""

    def __init__(self, log_probs):
        self.log_probs = log_probs

    def __getattr__(self, name):
        zeros = torch.zeros_like(self.log_probs)
        return zeros.bool() if name.startswith("is_") else zeros


class WithLogProbabilities:
    """What TRL's trainer asks of its model: the log-probability of each label, zero where there is none."""

    def __init__(self, model):
        self.model = model

    def __call__(self, input_ids, labels, **_):
        logits = self.model(input_ids).logits[:, :-1]
        wanted = labels[:, 1:]
        found = logits.log_softmax(-1).gather(-1, wanted.clamp(min=0)[..., None])[..., 0] * (wanted != -100)
        return Output(found)


class Accelerator:
    device = torch.device("cpu")

    def gather_for_metrics(self, value):
        return value

    gather = gather_for_metrics


def trl_dpo(kind):
    trainer = SimpleNamespace(
        model=policy, ref_model=WithLogProbabilities(reference), accelerator=Accelerator(), aux_loss_enabled=False, ld_alpha=None,
        precompute_ref_logps=False, args=SimpleNamespace(gradient_checkpointing=False, gradient_checkpointing_kwargs=None),
        f_divergence_type="reverse_kl", loss_types=[kind], loss_weights=[1.0], beta=BETA, label_smoothing=0.0,
        use_weighting=False, _metrics=defaultdict(lambda: defaultdict(list)), _total_train_tokens=0,
    )
    seen = {}

    def model(**inputs):
        out = WithLogProbabilities(policy)(**inputs)
        seen["logps"] = out.log_probs
        return out

    import trl.trainer.dpo_trainer as module
    from contextlib import nullcontext
    module.disable_gradient_checkpointing = lambda *_: nullcontext()
    module.is_peft_model = lambda *_: False
    policy.zero_grad()
    try:
        loss = DPOTrainer._compute_loss(trainer, model, {"input_ids": ids, "completion_mask": mask}, False)
    except Exception as error:
        raise SystemExit(f"{kind}: {type(error).__name__}: {error}") from error
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in policy.named_parameters()} if kind == "sigmoid" else None
    return {"loss": loss.item(), **({"gradients": gradients} if gradients else {})}


dpo = {kind: trl_dpo(kind) for kind in ("sigmoid", "hinge", "ipo")}
with torch.no_grad():
    logps = [WithLogProbabilities(m)(ids, ids.masked_fill(mask == 0, -100)).log_probs for m in (policy, reference)]
    ratios = (logps[0] - logps[1]).sum(1)
gain = BETA * (ratios[:3] - ratios[3:])
smoothed = (-0.9 * F.logsigmoid(gain) - 0.1 * F.logsigmoid(-gain)).mean()

chosen, rejected, margins = (torch.randn(5, generator=generator).requires_grad_() for _ in range(3))
pairwise = {}
for name, loss in {
    "plain": -F.logsigmoid(chosen - rejected).mean(),
    "margin": -F.logsigmoid(chosen - rejected - margins).mean(),
    "centered": -F.logsigmoid(chosen - rejected).mean() + 0.01 * ((chosen + rejected) ** 2).mean(),
}.items():
    slopes = torch.autograd.grad(loss, (chosen, rejected))
    pairwise[name] = {"loss": loss.item(), "chosen": slopes[0], "rejected": slopes[1]}

# PPO on two completions of 6 and 4 tokens, by TRL's masked means; the loss and its gradients for what the networks give.
real = torch.tensor([[1.0] * 6, [1.0] * 4 + [0.0] * 2]).bool()
before, now, expected, values, rewards = (torch.randn(2, 6, generator=generator) * s for s in (0.5, 0.5, 1.0, 1.0, 1.0))
now = (before + 0.3 * torch.randn(2, 6, generator=generator)).requires_grad_()
values = (expected + 0.3 * torch.randn(2, 6, generator=generator)).requires_grad_()
advantages = torch.zeros(2, 6)
for row, count in enumerate((6, 4)):
    after = 0.0
    for t in reversed(range(count)):
        delta = rewards[row, t] + (expected[row, t + 1] if t + 1 < count else 0.0) - expected[row, t]
        after = advantages[row, t] = delta + 0.95 * after
returns = advantages + expected
white = core.masked_whiten(advantages, real)
ratio = (now - before).exp()
policy_loss = core.masked_mean(torch.max(-white * ratio, -white * ratio.clamp(0.8, 1.2)), real)
clipped = torch.max(torch.min(values, expected + 0.2), expected - 0.2)
value_loss = 0.5 * core.masked_mean(torch.max((values - returns) ** 2, (clipped - returns) ** 2), real)
held = core.masked_mean((-white * ratio.clamp(0.8, 1.2) > -white * ratio).float(), real)
slopes = torch.autograd.grad(policy_loss + 0.1 * value_loss, (now, values))
group = torch.randn(8, generator=generator)
save("align/losses.json", {
    "weights": dict(policy.named_parameters()), "referenceWeights": dict(reference.named_parameters()),
    "prompts": prompts, "answers": answers, "beta": BETA, "logProbabilities": logps[0],
    "dpo": {**dpo, "smoothed": {"loss": smoothed.item()}},
    "pairwise": {"chosen": chosen, "rejected": rejected, "margins": margins, "losses": pairwise},
    "ppo": {
        "before": before, "now": now, "expected": expected, "values": values, "rewards": rewards, "advantages": advantages,
        "returns": returns, "white": white, "policyLoss": policy_loss.item(), "valueLoss": value_loss.item(),
        "clipFraction": held.item(), "nowGradient": slopes[0], "valuesGradient": slopes[1],
    },
    "group": {"rewards": group, "advantages": (group - group.mean()) / (group.std() + 1e-4)},
})
