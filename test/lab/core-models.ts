/** @file The tiny models of the fixtures: their configs, and transformers' names for parameters as ours. */
import { presets, tf, type Tensor, type TransformerConfig } from 'lab';
import { type FixtureTensor, tensorOf } from './core-fixture.ts';

export const gpt2Config: TransformerConfig = { vocabSize: 37, contextLength: 48, layers: 2, width: 24, heads: 3 };
export const llamaConfig: TransformerConfig = {
  ...presets.llama,
  vocabSize: 41,
  contextLength: 48,
  layers: 2,
  width: 24,
  heads: 4,
  keyValueHeads: 2,
  hiddenSize: 40,
  tiedHead: false,
};

/** The names of transformers' GPT-2 as ours; its Conv1D keeps weights [in, out], and queries, keys and values side by side. */
export function fromGPT2(tensors: Record<string, FixtureTensor>): Map<string, Tensor> {
  const state = new Map<string, Tensor>();
  const names: Record<string, string> = {
    'attn.c_proj': 'attention.output',
    'mlp.c_fc': 'mlp.up',
    'mlp.c_proj': 'mlp.down',
    ln_1: 'attentionNorm',
    ln_2: 'mlpNorm',
  };
  for (const [name, value] of Object.entries(tensors)) {
    const tensor = tensorOf(value);
    const [, layer, part, kind] = /^transformer\.h\.(\d+)\.(.+)\.(weight|bias)$/.exec(name) ?? [];
    if (part === undefined) {
      const top: Record<string, string> = { 'wte.weight': 'tokenEmbedding.weight', 'wpe.weight': 'positionEmbedding.weight' };
      const rest = name.replace('transformer.', '');
      state.set(top[rest] ?? rest.replace('ln_f', 'finalNorm'), tensor);
      continue;
    }
    const turned = tensor.rank === 2 ? tensor.transpose() : tensor;
    if (part !== 'attn.c_attn') {
      state.set(`blocks.${layer}.${names[part]}.${kind}`, turned);
      continue;
    }
    for (const [i, third] of tf.split(turned, 3, 0).entries())
      state.set(`blocks.${layer}.attention.${['query', 'key', 'value'][i]}.${kind}`, third);
  }
  return state;
}

export function fromLlama(tensors: Record<string, FixtureTensor>): Map<string, Tensor> {
  const renames: [string, string][] = [
    ['model.embed_tokens', 'tokenEmbedding'],
    ['model.layers', 'blocks'],
    ['model.norm', 'finalNorm'],
    ['lm_head', 'head'],
    ['self_attn.q_proj', 'attention.query'],
    ['self_attn.k_proj', 'attention.key'],
    ['self_attn.v_proj', 'attention.value'],
    ['self_attn.o_proj', 'attention.output'],
    ['post_attention_layernorm', 'mlpNorm'],
    ['input_layernorm', 'attentionNorm'],
    ['gate_proj', 'gate'],
    ['up_proj', 'up'],
    ['down_proj', 'down'],
  ];
  return new Map(
    Object.entries(tensors).map(([name, value]) => [
      renames.reduce((n, [from, to]) => n.replace(from, to), name),
      tensorOf(value),
    ]),
  );
}
