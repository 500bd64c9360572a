"""What the PEFT library computes with its adapters on the tiny models of test/fixtures/interop, and whether it takes the lab's.

    python test/oracle/peft_adapters.py                  writes test/fixtures/peft/NAME.json, and peft/NAME/ as PEFT saves it
    python test/oracle/peft_adapters.py --check DIR …    loads adapters that `savePEFT` saved, and compares their logits with
                                                DIR/expected.json, if the lab left one there (test/lab/peft-interop.test.ts)

Each fixture: tokens, targets, logits and, for what is trained, the gradients of the mean cross-entropy. All adapters are random,
so that nothing is zero. peft==0.21.2, torch==2.15.
"""
import argparse
import base64
import json
from pathlib import Path

import numpy as np
import torch
from peft import (
    IA3Config, LoraConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig, get_peft_model,
)
from transformers import AutoModelForCausalLM

from fixture import FIXTURES, save

BATCH, LENGTH = 2, 11
GPT2 = {"fan_in_fan_out": True}
LLAMA_ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CAUSAL = {"task_type": "CAUSAL_LM"}
CASES = {
    "lora-gpt2": ("gpt2", lambda: LoraConfig(r=4, lora_alpha=7, target_modules=["c_attn", "c_proj", "c_fc"], **GPT2, **CAUSAL)),
    "lora-llama": ("llama", lambda: LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj", "down_proj"], **CAUSAL)),
    "rslora-llama": ("llama", lambda: LoraConfig(
        r=4, lora_alpha=3, use_rslora=True, target_modules=LLAMA_ALL + ["embed_tokens"], **CAUSAL)),
    "dora-gpt2": ("gpt2", lambda: LoraConfig(
        r=4, lora_alpha=6, use_dora=True, target_modules=["c_attn", "mlp.c_proj"], **GPT2, **CAUSAL)),
    "dora-llama": ("llama-biased", lambda: LoraConfig(r=3, lora_alpha=6, use_dora=True, target_modules=LLAMA_ALL, **CAUSAL)),
    "ia3-gpt2": ("gpt2", lambda: IA3Config(
        target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"], **GPT2, **CAUSAL)),
    "ia3-llama": ("llama-biased", lambda: IA3Config(
        target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"], **CAUSAL)),
    "prompt-gpt2": ("gpt2", lambda: PromptTuningConfig(num_virtual_tokens=5, **CAUSAL)),
    "prompt-llama": ("llama-biased", lambda: PromptTuningConfig(num_virtual_tokens=3, **CAUSAL)),
    "prefix-gpt2": ("gpt2", lambda: PrefixTuningConfig(num_virtual_tokens=5, **CAUSAL)),
    "prefix-llama": ("llama-biased", lambda: PrefixTuningConfig(num_virtual_tokens=3, **CAUSAL)),
}


def base(name):
    return AutoModelForCausalLM.from_pretrained(FIXTURES / "interop" / name, dtype=torch.float32).eval()


def logits_of(model, tokens):
    """Without those of virtual tokens."""
    return model(tokens).logits[:, -tokens.shape[1]:]


def fixture(name, seed):
    base_name, config = CASES[name]
    generator = torch.Generator().manual_seed(seed)
    model = get_peft_model(base(base_name), config())
    model.eval()
    vocab_size = model.get_base_model().config.vocab_size
    trained = {key: value for key, value in model.named_parameters() if value.requires_grad}
    with torch.no_grad():
        for key, value in trained.items():
            noise = torch.randn(value.shape, generator=generator)
            multiplied = "ia3" in key or "magnitude" in key
            value.copy_(value * (1 + 0.3 * noise) if multiplied else 0.3 * noise)
    tokens = torch.randint(0, vocab_size, (BATCH, LENGTH), generator=generator)
    targets = torch.randint(0, vocab_size, (BATCH, LENGTH), generator=generator)
    logits = logits_of(model, tokens)
    torch.nn.functional.cross_entropy(logits.reshape(-1, vocab_size), targets.reshape(-1)).backward()
    embeds = "embed_tokens" in str(getattr(config(), "target_modules", ""))
    options = {"save_embedding_layers": False} if embeds else {}
    model.save_pretrained(FIXTURES / "peft" / name, **options)
    (FIXTURES / "peft" / name / "README.md").unlink(missing_ok=True)
    config_path = FIXTURES / "peft" / name / "adapter_config.json"
    written = {**json.loads(config_path.read_text()), "base_model_name_or_path": base_name}
    config_path.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n")
    content = {
        "base": base_name, "tokens": tokens, "targets": targets, "logits": logits,
        "gradients": {key.replace(".default", ""): value.grad for key, value in trained.items()},
        "trainable": sum(value.numel() for value in trained.values()),
    }
    if hasattr(model, "merge_and_unload") and "embed" not in str(config().target_modules):
        changed = {key.removesuffix(".base_layer") for key, _ in model.get_base_model().named_modules() if "base_layer" in key}
        merged = model.merge_and_unload()
        content["mergedLogits"] = merged(tokens).logits
        content["mergedWeights"] = {
            key: value for key, value in merged.named_parameters() if key.rpartition(".")[0] in changed and ".1." in key
        }
    save(f"peft/{name}.json", content)


def tensor(written):
    dtype = "<i4" if written.get("dtype") == "int32" else "<f4"
    values = np.frombuffer(base64.b64decode(written["data"]), dtype).reshape(written["shape"]).copy()
    return torch.from_numpy(values).long() if dtype == "<i4" else torch.from_numpy(values)


@torch.no_grad()
def check(directory):
    expected = json.loads((Path(directory) / "expected.json").read_text())
    model = PeftModel.from_pretrained(base(expected["base"]), directory).eval()
    tokens, logits = tensor(expected["tokens"]), tensor(expected["logits"])
    difference = (logits_of(model, tokens) - logits).norm() / logits.norm()
    print(f"{directory}: {difference:.1e}")
    assert difference < 1e-4


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--check", nargs="+", metavar="DIR")
arguments = parser.parse_args()
if arguments.check:
    for directory in arguments.check:
        check(directory)
else:
    for seed, name in enumerate(CASES):
        fixture(name, seed + 1)
