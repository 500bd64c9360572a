"""A tiny random GPT-2 and Llama of the transformers library. torch==2.13.0 transformers==5.23.0, in float32.

For each: weights, logits, loss, the gradient of every parameter, and 30 tokens of greedy generation. Norms and biases are
random too, so that none of them can be forgotten unnoticed.
"""
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.generation.logits_process import (
    LogitsProcessorList, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper,
)

from fixture import save

BATCH, LENGTH = 2, 13


def fixture(model, vocab_size, generator):
    model.eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 0.3 if parameter.dim() == 1 else 0.15
            shift = 1.0 if parameter.dim() == 1 and name.endswith("weight") else 0.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale + shift)
    tokens = torch.randint(0, vocab_size, (BATCH, LENGTH), generator=generator)
    targets = torch.randint(0, vocab_size, (BATCH, LENGTH), generator=generator)
    logits = model(tokens).logits
    loss = torch.nn.functional.cross_entropy(logits.reshape(-1, vocab_size), targets.reshape(-1))
    loss.backward()
    greedy = {"max_new_tokens": 30, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    written = model.generate(tokens[:1, :5], attention_mask=torch.ones(1, 5), **greedy)
    assert written.shape[1] == 35
    top = model(written).logits[0, 4:-1].topk(2).values
    print("smallest lead of a greedy token:", (top[:, 0] - top[:, 1]).min().item())
    parameters = dict(model.named_parameters())
    return {
        "weights": parameters, "tokens": tokens, "targets": targets, "logits": logits, "loss": loss.item(),
        "gradients": {name: parameter.grad for name, parameter in parameters.items()}, "greedy": written[0].tolist(),
    }


def sampling(generator):
    """What the library's own processors make of random logits, in the order in which generate applies them."""
    cases = []
    for options in [
        {"temperature": 0.7}, {"topK": 5}, {"topP": 0.8}, {"repetitionPenalty": 1.5},
        {"temperature": 1.3, "topK": 9, "topP": 0.6},
        {"repetitionPenalty": 1.2, "temperature": 0.5, "topK": 12, "topP": 0.9},
    ]:
        logits = torch.randn(1, 23, generator=generator) * 2
        previous = [3, 7, 7, 22]
        processors = LogitsProcessorList()
        if "repetitionPenalty" in options:
            processors.append(RepetitionPenaltyLogitsProcessor(options["repetitionPenalty"]))
        if "temperature" in options:
            processors.append(TemperatureLogitsWarper(options["temperature"]))
        if "topK" in options:
            processors.append(TopKLogitsWarper(options["topK"]))
        if "topP" in options:
            processors.append(TopPLogitsWarper(options["topP"]))
        probabilities = processors(torch.tensor([previous]), logits.clone()).softmax(-1)
        cases.append({"options": options, "previous": previous, "logits": logits[0], "probabilities": probabilities[0]})
    return cases


generator = torch.Generator().manual_seed(20251)
gpt2 = GPT2LMHeadModel(GPT2Config(
    vocab_size=37, n_embd=24, n_layer=2, n_head=3, n_positions=48, bos_token_id=0, eos_token_id=0,
    resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
))
save("core/gpt2.json", fixture(gpt2, 37, generator))
llama = LlamaForCausalLM(LlamaConfig(
    vocab_size=41, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, head_dim=6,
    max_position_embeddings=48, rms_norm_eps=1e-5, tie_word_embeddings=False, attention_bias=False, mlp_bias=False,
))
save("core/llama.json", fixture(llama, 41, generator))
save("core/sampling.json", {"cases": sampling(generator)})
