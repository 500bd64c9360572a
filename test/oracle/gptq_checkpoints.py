"""GPTQ checkpoints of tiny models, packed and unpacked by this script's own reading of the format, with transformers' logits.

    python test/oracle/gptq_checkpoints.py                 writes test/fixtures/gptq/checkpoints/NAME/
    python test/oracle/gptq_checkpoints.py --check DIR …   reads what `saveGPTQ` saved, puts the floats into transformers' model, and
                                                           compares its logits with DIR/expected.json, if the lab left one there
                                                           (test/lab/quantize-formats.test.ts says how)
    python test/oracle/gptq_checkpoints.py --gptqmodel DIR …   the same, loaded by transformers with GPTQModel, where that is installed

A checkpoint's weights are the floats of a random model rounded to nearest. Versions: README.md.
"""
import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from transformers import (
    AutoConfig, AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, GPTQConfig, LlamaConfig, LlamaForCausalLM, Qwen2Config,
    Qwen2ForCausalLM,
)

from fixture import FIXTURES, save

small = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": None, "eos_token_id": None,
}
llama = lambda: LlamaForCausalLM(LlamaConfig(**small, tie_word_embeddings=False))  # noqa: E731
qwen2 = lambda: Qwen2ForCausalLM(Qwen2Config(**small, tie_word_embeddings=True))  # noqa: E731
gpt2 = lambda: GPT2LMHeadModel(GPT2Config(  # noqa: E731
    vocab_size=61, n_embd=32, n_layer=2, n_head=2, n_positions=64, bos_token_id=None, eos_token_id=None,
))
CASES = {
    "llama-4-act": (llama, {"bits": 4, "group_size": 16, "sym": False, "desc_act": True, "checkpoint_format": "gptq"}),
    "llama-2": (llama, {"bits": 2, "group_size": 16, "sym": False, "desc_act": False, "checkpoint_format": "gptq"}),
    "gpt2-3-v2": (gpt2, {"bits": 3, "group_size": 32, "sym": False, "desc_act": False, "checkpoint_format": "gptq_v2"}),
    "qwen2-8-sym": (qwen2, {"bits": 8, "group_size": -1, "sym": True, "desc_act": False, "checkpoint_format": "gptq"}),
    "gpt2-4-sym": (gpt2, {"bits": 4, "group_size": 32, "sym": True, "desc_act": False, "checkpoint_format": "gptq"}),
}


def to_words(codes, bits):
    """[n, m] → [n · bits / 32, m]: for each column a stream of bits, the lowest first."""
    stream = (codes[:, None, :] >> np.arange(bits)[None, :, None]) & 1
    stream = stream.reshape(-1, 32, codes.shape[1]).astype(np.uint64)
    return (stream << np.arange(32, dtype=np.uint64)[None, :, None]).sum(1).astype(np.uint32).view(np.int32)


def to_codes(words, bits):
    stream = (words.view(np.uint32)[:, None, :] >> np.arange(32, dtype=np.uint32)[None, :, None]) & 1
    stream = stream.reshape(-1, bits, words.shape[1]).astype(np.int64)
    return (stream << np.arange(bits)[None, :, None]).sum(1)


def quantized(weight, config, generator):
    """weight [in, out] → the four tensors."""
    bits, most = config["bits"], 2 ** config["bits"] - 1
    inputs, outputs = weight.shape
    group = inputs if config["group_size"] == -1 else config["group_size"]
    g_idx = np.arange(inputs) // group
    if config["desc_act"]:
        g_idx = g_idx[generator.permutation(inputs)]
    scales, zeros = np.zeros((inputs // group, outputs)), np.zeros((inputs // group, outputs), np.int64)
    codes = np.zeros((inputs, outputs), np.int64)
    for g in range(inputs // group):
        members = weight[g_idx == g]
        low, high = np.minimum(members.min(0), 0), np.maximum(members.max(0), 0)
        if config["sym"]:
            high = np.maximum(-low, high)
            low = -high
        scales[g] = ((high - low) / most).astype(np.float16)
        zeros[g] = (most + 1) // 2 if config["sym"] else np.clip(np.round(-low / scales[g]), 0, most)
        codes[g_idx == g] = np.clip(np.round(members / scales[g]) + zeros[g], 0, most)
    stored = (zeros - 1) & most if config["checkpoint_format"] == "gptq" else zeros
    return {
        "qweight": to_words(codes, bits), "qzeros": np.ascontiguousarray(to_words(stored.T, bits).T),
        "scales": scales.astype(np.float16), "g_idx": g_idx.astype(np.int32),
    }


def floats(tensors, config):
    """The four tensors → weight [in, out]."""
    codes = to_codes(tensors["qweight"], config["bits"])
    zeros = to_codes(np.ascontiguousarray(tensors["qzeros"].T), config["bits"]).T
    if config["checkpoint_format"] == "gptq":
        zeros = (zeros + 1) & (2 ** config["bits"] - 1)
    g_idx = tensors["g_idx"]
    return tensors["scales"].astype(np.float32)[g_idx] * (codes - zeros[g_idx]).astype(np.float32)


def is_quantized(name):
    return any(part in name for part in (".attn.", ".mlp.", "_proj.")) and name.endswith(".weight")


@torch.no_grad()
def logits_of(state, config, tokens):
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    missing, unexpected = model.load_state_dict({name: torch.tensor(value) for name, value in state.items()}, strict=False)
    assert not unexpected and all(name == "lm_head.weight" for name in missing), (missing, unexpected)
    model.tie_weights()
    return model(tokens).logits


def with_floats(tensors, config, quantization):
    """The checkpoint's tensors with every quantized weight as floats, turned as transformers' layers have them."""
    state = {}
    for name, value in tensors.items():
        base, _, part = name.rpartition(".")
        if part == "qweight":
            weight = floats({key: tensors[f"{base}.{key}"] for key in ("qweight", "qzeros", "scales", "g_idx")}, quantization)
            state[f"{base}.weight"] = weight if config.model_type == "gpt2" else np.ascontiguousarray(weight.T)
        elif part not in ("qzeros", "scales", "g_idx"):
            state[name] = value.astype(np.float32)
    return state


@torch.no_grad()
def fixture(name):
    make, quantization = CASES[name]
    torch.manual_seed(len(name))
    generator = np.random.default_rng(len(name))
    model = make().eval()
    for key, parameter in model.named_parameters():
        scale, shift = (0.3, 1.0 if key.endswith("weight") else 0.0) if parameter.dim() == 1 else (0.25, 0.0)
        parameter.copy_(torch.randn(parameter.shape) * scale + shift)
    folder = FIXTURES / "gptq" / "checkpoints" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tensors = {}
    for key, value in model.state_dict().items():
        value = value.numpy()
        if key == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        if not is_quantized(key):
            tensors[key] = np.ascontiguousarray(value)
            continue
        weight = value if model.config.model_type == "gpt2" else value.T
        for part, array in quantized(weight, quantization, generator).items():
            tensors[key.replace(".weight", f".{part}")] = array
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    full = {**quantization, "quant_method": "gptq", "damp_percent": 0.01, "static_groups": False, "true_sequential": True}
    (folder / "quantize_config.json").write_text(json.dumps(full, indent=1) + "\n")
    config = {key: value for key, value in model.config.to_dict().items() if value is not None}
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": full}, indent=1) + "\n")
    tokens = torch.randint(0, 61, (2, 11))
    logits = logits_of(with_floats(tensors, model.config, quantization), model.config, tokens)
    save(f"gptq/checkpoints/{name}/expected.json", {"tokens": tokens, "logits": logits})


def report(folder, logits_for):
    expected = Path(folder) / "expected.json"
    if not expected.exists():
        return print(Path(folder).name, "loaded; no expected.json")
    wanted = json.loads(expected.read_text())
    reference = torch.tensor(wanted["logits"])
    found = logits_for(torch.tensor(wanted["tokens"])).float().view_as(reference)
    print(Path(folder).name, "relative error of the logits:", ((found - reference).norm() / reference.norm()).item())


def check(folder):
    config = AutoConfig.from_pretrained(folder)
    quantization = json.loads((Path(folder) / "quantize_config.json").read_text())
    assert config.quantization_config == quantization
    state = with_floats(load_file(Path(folder) / "model.safetensors"), config, quantization)
    del config.quantization_config
    report(folder, lambda tokens: logits_of(state, config, tokens))


@torch.no_grad()
def check_with_gptqmodel(folder):
    bits = json.loads((Path(folder) / "quantize_config.json").read_text())["bits"]
    # Its kernels in plain PyTorch; the others are compiled for minutes.
    options = {"quantization_config": GPTQConfig(bits=bits, backend="torch"), "device_map": "cpu"}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options).eval()
    report(folder, lambda tokens: model(tokens).logits)


parser = argparse.ArgumentParser()
parser.add_argument("--check", nargs="+")
parser.add_argument("--gptqmodel", nargs="+")
given = parser.parse_args()
for path in given.check or []:
    check(path)
for path in given.gptqmodel or []:
    check_with_gptqmodel(path)
if not (given.check or given.gptqmodel):
    for case in CASES:
        fixture(case)
