"""Tiny random checkpoints as transformers saves them, what it computes with them, and whether it takes what the lab saves.

    python test/oracle/interop.py                 writes test/fixtures/interop/NAME/
    python test/oracle/interop.py --check DIR …   loads what `npm run lab -- export CHECKPOINT DIR` or savePretrained saved,
                                                  and compares its logits with DIR/expected.json, if the lab left one there
                                                  (test/lab/interop-save.test.ts says how)

Each fixture: config.json and model.safetensors by save_pretrained, and expected.json with tokens, logits, and 50 tokens of
greedy generation. Norms and biases are random too, so that none of them can be forgotten unnoticed. Versions: README.md.
"""
import argparse
import json
import shutil
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM,
)

from fixture import FIXTURES, save

BATCH, LENGTH, PROMPT, GREEDY = 2, 21, 6, 50
llama3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def llama(**options):
    return LlamaForCausalLM(LlamaConfig(**{
        "vocab_size": 97, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 6, "max_position_embeddings": 128, "bos_token_id": 1, "eos_token_id": 2,
        **options,
    }))


MODELS = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(
        vocab_size=97, n_embd=24, n_layer=2, n_head=3, n_positions=64, n_inner=None, bos_token_id=0, eos_token_id=0,
    )),
    # Heads that do not fit into the width, and queries that share keys.
    "llama": lambda: llama(tie_word_embeddings=False, rms_norm_eps=1e-5, head_dim=8),
    "llama3": lambda: llama(tie_word_embeddings=True, rope_parameters=llama3, num_key_value_heads=1, head_dim=12),
    "llama-biased": lambda: llama(
        attention_bias=True, mlp_bias=True, tie_word_embeddings=False,
        rope_parameters={"rope_type": "linear", "rope_theta": 5000.0, "factor": 2.5},
    ),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(
        vocab_size=97, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=128, tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        bos_token_id=1, eos_token_id=2,
    )),
}
# How each is saved: in one file or in several, in which type.
SAVED = {"llama": {"max_shard_size": "12KB"}, "llama3": {"dtype": torch.bfloat16}, "qwen2": {"dtype": torch.float16}}


def randomize(model, generator):
    for name, parameter in model.named_parameters():
        scale, shift = (0.3, 1.0 if name.endswith("weight") else 0.0) if parameter.dim() == 1 else (0.25, 0.0)
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale + shift)


def greedy(model, prompt):
    tokens = prompt
    for _ in range(GREEDY):
        top = model(tokens).logits[0, -1].topk(2)
        if top.values[0] - top.values[1] < 1e-2:
            return None
        tokens = torch.cat([tokens, top.indices[:1].view(1, 1)], 1)
    return tokens


def sliding_loss(model, tokens, window, stride):
    """Nats a token: each is judged by the first window [start, start + window) that holds it and is not its first."""
    total, judged = 0.0, 1
    for start in range(0, len(tokens), stride):
        end = min(start + window, len(tokens))
        surprisals = -model(tokens[None, start:end]).logits[0, :-1].double().log_softmax(-1)
        total += sum(surprisals[i - 1 - start, tokens[i]].item() for i in range(judged, end))
        judged = end
        if end == len(tokens):
            return total / (len(tokens) - 1)


@torch.no_grad()
def fixture(name, seed):
    """None where a greedy token leads by so little that rounding could decide."""
    generator = torch.Generator().manual_seed(seed)
    model = MODELS[name]().eval()
    randomize(model, generator)
    options = dict(SAVED.get(name, {}))
    model.to(options.pop("dtype", torch.float32))
    folder = FIXTURES / "interop" / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, **options)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    vocabulary = model.config.vocab_size
    tokens = torch.randint(0, vocabulary, (BATCH, LENGTH), generator=generator)
    written = greedy(model, tokens[:1, :PROMPT])
    if written is None:
        return False
    text = torch.randint(0, vocabulary, (150,), generator=generator)
    losses = [[window, stride, sliding_loss(model, text, window, stride)] for window, stride in [(64, 32), (20, 7), (9, 1)]]
    save(f"interop/{name}/expected.json", {
        "tokens": tokens, "logits": model(tokens).logits, "greedy": written[0].tolist(), "text": text.tolist(), "losses": losses,
    })
    print(name, "seed", seed, sorted(path.name for path in folder.iterdir()))
    return True


@torch.no_grad()
def check(folder):
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    problems = {key: value for key, value in info.items() if value}
    print(Path(folder).name, type(model).__name__, "loaded;", f"problems: {problems}" if problems else "every weight accounted for")
    expected = Path(folder) / "expected.json"
    if expected.exists():
        wanted = json.loads(expected.read_text())
        logits = model.eval()(torch.tensor(wanted["tokens"])).logits
        reference = torch.tensor(wanted["logits"]).view_as(logits)
        print("relative error of the logits:", ((logits - reference).norm() / reference.norm()).item())


parser = argparse.ArgumentParser()
parser.add_argument("--check", nargs="+")
given = parser.parse_args()
if given.check:
    for folder in given.check:
        check(folder)
else:
    for model_name in MODELS:
        assert any(fixture(model_name, seed) for seed in range(400)), model_name
