"""Fixtures of the operations and of attention. torch==2.13.0 transformers==5.23.0, everything computed in float64.

Shapes are odd on purpose. Every case holds its inputs, `output`, `upstream` (the gradient that comes in from above) and
`gradients` for the inputs that have one.
"""
import torch
import torch.nn.functional as F
from transformers.activations import NewGELUActivation
from transformers.models.llama.modeling_llama import LlamaConfig, LlamaRotaryEmbedding, apply_rotary_pos_emb

from fixture import save

torch.manual_seed(20250)
torch.set_default_dtype(torch.float64)


def as_float32(value):
    """The test starts from float32 inputs, so the truth must too."""
    return value.float().double() if value.is_floating_point() else value


def normal(*shape, scale=1.0, shift=0.0):
    return as_float32(torch.randn(*shape) * scale + shift).requires_grad_()


def case(function, inputs: dict, **options) -> dict:
    output = function(*inputs.values())
    upstream = as_float32(torch.randn_like(output))
    trained = {name: value for name, value in inputs.items() if value.requires_grad}
    gradients = torch.autograd.grad(output, list(trained.values()), upstream)
    return {"inputs": inputs, "output": output, "upstream": upstream, "gradients": dict(zip(trained, gradients)), **options}


def attention_case(batch, heads, key_value_heads, queries, keys, size, causal):
    q = normal(batch, heads, queries, size)
    k, v = (normal(batch, key_value_heads, keys, size) for _ in range(2))
    mask = torch.ones(queries, keys, dtype=torch.bool)
    if causal:
        mask = mask.tril(keys - queries)
    function = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    return case(function, {"q": q, "k": k, "v": v}, causal=causal)


def rotary_case(base, offset):
    x = normal(2, 3, 5, 6)
    rope = {"rope_type": "default", "rope_theta": base}
    config = LlamaConfig(hidden_size=18, num_attention_heads=3, head_dim=6, rope_parameters=rope)
    positions = torch.arange(offset, offset + 5)[None]
    cosines, sines = LlamaRotaryEmbedding(config)(x, positions)
    return case(lambda x: apply_rotary_pos_emb(x, x, cosines, sines)[0], {"x": x}, base=base, offset=offset)


def paper_slopes(heads):
    """The authors' get_slopes (ofirpress/attention_with_linear_biases), its arithmetic in two lines a case."""
    import math

    def power_of_two(n):
        start = 2 ** (-(2 ** -(math.log2(n) - 3)))
        return [start * start**i for i in range(n)]

    if math.log2(heads).is_integer():
        return power_of_two(heads)
    below = 2 ** math.floor(math.log2(heads))
    return power_of_two(below) + paper_slopes(2 * below)[0::2][: heads - below]


ids = torch.tensor([[1, 8, 1], [0, 1, 4]])
targets = torch.tensor([[3, 0, -100, 10], [10, -100, 5, 3]])
logits = normal(2, 4, 11, scale=3, shift=40)
flat = lambda reduction: lambda x: F.cross_entropy(x.reshape(-1, 11), targets.reshape(-1), ignore_index=-100, reduction=reduction)

save("core/ops.json", {
    "layerNorm": [
        case(
            lambda x, g, b: F.layer_norm(x, (7,), g, b, 1e-5),
            {"x": normal(3, 5, 7, scale=2, shift=1), "gain": normal(7), "bias": normal(7)},
        ),
        case(lambda x, g: F.layer_norm(x, (13,), g, None, 1e-5), {"x": normal(4, 13, shift=-3), "gain": normal(13)}),
    ],
    "rmsNorm": [case(lambda x, g: F.rms_norm(x, (7,), g, 1e-6), {"x": normal(3, 5, 7, scale=2), "gain": normal(7)})],
    "gelu": [
        case(NewGELUActivation(), {"x": normal(3, 11, scale=3)}, approximate="tanh"),
        case(F.gelu, {"x": normal(3, 11, scale=3)}, approximate="none"),
    ],
    "silu": [case(F.silu, {"x": normal(3, 11, scale=3)})],
    "swiglu": [case(lambda gate, up: F.silu(gate) * up, {"gate": normal(2, 3, 9, scale=3), "up": normal(2, 3, 9)})],
    "crossEntropy": [
        case(flat("mean"), {"logits": logits}, targets=targets, reduction="mean"),
        case(flat("sum"), {"logits": logits}, targets=targets, reduction="sum"),
        case(lambda x: flat("none")(x).reshape(2, 4), {"logits": logits}, targets=targets, reduction="none"),
    ],
    "embedding": [
        case(lambda table: F.embedding(ids, table), {"table": normal(9, 5)}, ids=ids),
    ],
    "attention": [
        attention_case(2, 3, 3, 5, 5, 4, True),
        attention_case(2, 3, 3, 5, 7, 4, False),
        attention_case(1, 2, 2, 3, 7, 5, True),
        attention_case(2, 6, 2, 5, 5, 3, True),
        attention_case(1, 4, 1, 1, 9, 8, True),
    ],
    "rotary": [rotary_case(10000.0, 0), rotary_case(500000.0, 37)],
    "alibiSlopes": {str(heads): paper_slopes(heads) for heads in [1, 2, 3, 4, 6, 8, 12, 16, 20]},
})
