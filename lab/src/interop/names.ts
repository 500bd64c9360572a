/**
 * @file The names of weights: theirs in a checkpoint of the transformers library, ours in `Module.namedParameters`.
 *
 * Sizes: V vocabulary, N positions, D width, Q heads · head size, K key/value heads · head size, F inside the MLP.
 */
import type { ResolvedTransformerConfig } from '../model/index.ts';
import type { PretrainedFormat } from './read-config.ts';

/** `*` is the number of the layer; `{a,b}`: theirs holds ours side by side. `turned`: theirs is [in, out], ours [out, in]. */
type Row = readonly [theirs: string, shape: string, ours: string, how?: 'turned'];

const gpt2: readonly Row[] = [
  ['wte.weight', 'V D', 'tokenEmbedding.weight'],
  ['wpe.weight', 'N D', 'positionEmbedding.weight'],
  ['h.*.ln_1.weight', 'D', 'blocks.*.attentionNorm.weight'],
  ['h.*.ln_1.bias', 'D', 'blocks.*.attentionNorm.bias'],
  ['h.*.attn.c_attn.weight', 'D 3D', 'blocks.*.attention.{query,key,value}.weight', 'turned'],
  ['h.*.attn.c_attn.bias', '3D', 'blocks.*.attention.{query,key,value}.bias'],
  ['h.*.attn.c_proj.weight', 'D D', 'blocks.*.attention.output.weight', 'turned'],
  ['h.*.attn.c_proj.bias', 'D', 'blocks.*.attention.output.bias'],
  ['h.*.ln_2.weight', 'D', 'blocks.*.mlpNorm.weight'],
  ['h.*.ln_2.bias', 'D', 'blocks.*.mlpNorm.bias'],
  ['h.*.mlp.c_fc.weight', 'D F', 'blocks.*.mlp.up.weight', 'turned'],
  ['h.*.mlp.c_fc.bias', 'F', 'blocks.*.mlp.up.bias'],
  ['h.*.mlp.c_proj.weight', 'F D', 'blocks.*.mlp.down.weight', 'turned'],
  ['h.*.mlp.c_proj.bias', 'D', 'blocks.*.mlp.down.bias'],
  ['ln_f.weight', 'D', 'finalNorm.weight'],
  ['ln_f.bias', 'D', 'finalNorm.bias'],
  ['lm_head.weight', 'V D', 'head.weight'],
];

const llama: readonly Row[] = [
  ['model.embed_tokens.weight', 'V D', 'tokenEmbedding.weight'],
  ['model.layers.*.input_layernorm.weight', 'D', 'blocks.*.attentionNorm.weight'],
  ['model.layers.*.self_attn.q_proj.weight', 'Q D', 'blocks.*.attention.query.weight'],
  ['model.layers.*.self_attn.q_proj.bias', 'Q', 'blocks.*.attention.query.bias'],
  ['model.layers.*.self_attn.k_proj.weight', 'K D', 'blocks.*.attention.key.weight'],
  ['model.layers.*.self_attn.k_proj.bias', 'K', 'blocks.*.attention.key.bias'],
  ['model.layers.*.self_attn.v_proj.weight', 'K D', 'blocks.*.attention.value.weight'],
  ['model.layers.*.self_attn.v_proj.bias', 'K', 'blocks.*.attention.value.bias'],
  ['model.layers.*.self_attn.o_proj.weight', 'D Q', 'blocks.*.attention.output.weight'],
  ['model.layers.*.self_attn.o_proj.bias', 'D', 'blocks.*.attention.output.bias'],
  ['model.layers.*.post_attention_layernorm.weight', 'D', 'blocks.*.mlpNorm.weight'],
  ['model.layers.*.mlp.gate_proj.weight', 'F D', 'blocks.*.mlp.gate.weight'],
  ['model.layers.*.mlp.gate_proj.bias', 'F', 'blocks.*.mlp.gate.bias'],
  ['model.layers.*.mlp.up_proj.weight', 'F D', 'blocks.*.mlp.up.weight'],
  ['model.layers.*.mlp.up_proj.bias', 'F', 'blocks.*.mlp.up.bias'],
  ['model.layers.*.mlp.down_proj.weight', 'D F', 'blocks.*.mlp.down.weight'],
  ['model.layers.*.mlp.down_proj.bias', 'D', 'blocks.*.mlp.down.bias'],
  ['model.norm.weight', 'D', 'finalNorm.weight'],
  ['lm_head.weight', 'V D', 'head.weight'],
];

const tables: Readonly<Record<PretrainedFormat, readonly Row[]>> = { gpt2, llama, qwen2: llama };

/** What a checkpoint may hold that is no weight: the causal mask of old GPT-2 files, and tables that the config implies. */
const ignorable: Readonly<Record<PretrainedFormat, RegExp>> = {
  gpt2: /^h\.\d+\.attn\.(bias|masked_bias)$/,
  llama: /^model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq$/,
  qwen2: /^model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq$/,
};

export function isIgnorable(format: PretrainedFormat, name: string): boolean {
  return ignorable[format].test(name);
}

/** Parts of ours that not every config has; the first pattern that fits decides. */
const optional: readonly (readonly [RegExp, (config: ResolvedTransformerConfig) => boolean])[] = [
  [/^head\./, ({ tiedHead }) => !tiedHead],
  [/\.attention\.output\.bias$/, ({ attentionBias }) => attentionBias === true],
  [/\.attention\.\w+\.bias$/, ({ attentionBias }) => attentionBias !== false],
  [/\.bias$/, ({ bias }) => bias],
];

/** Whether a model of that config has a parameter at that path of a table. */
export function hasParameter(config: ResolvedTransformerConfig, path: string): boolean {
  return optional.find(([pattern]) => pattern.test(path))?.[1](config) ?? true;
}

/** A tensor of a checkpoint and where it belongs. */
export interface NamedWeight {
  /** In the checkpoint. */
  readonly name: string;
  /** In the checkpoint. */
  readonly shape: readonly number[];
  /** The paths of ours; several share the last axis of theirs, in equal parts. */
  readonly paths: readonly string[];
  readonly turned: boolean;
}

/** Every row of a table for a config: one for each layer, with numbers for sizes. */
export function namedWeights(format: PretrainedFormat, config: ResolvedTransformerConfig): NamedWeight[] {
  return tables[format].flatMap(([theirs, shape, ours, how]) => {
    const layers = theirs.includes('*') ? config.layers : 1;
    return Array.from({ length: layers }, (_, layer) => ({
      name: theirs.replace('*', String(layer)),
      shape: shape.split(' ').map((size) => sizeOf(size, config)),
      paths: alternatives(ours.replace('*', String(layer))),
      turned: how === 'turned',
    }));
  });
}

function sizeOf(letters: string, config: ResolvedTransformerConfig): number {
  const { vocabSize, contextLength, width, heads, keyValueHeads, headSize, hiddenSize } = config;
  const sizes = { V: vocabSize, N: contextLength, D: width, Q: heads * headSize, K: keyValueHeads * headSize, F: hiddenSize };
  return Number(letters.slice(0, -1) || 1) * sizes[letters.at(-1) as keyof typeof sizes];
}

/** 'a.{b,c}.d' → ['a.b.d', 'a.c.d'] */
function alternatives(pattern: string): string[] {
  const [before, inner, after] = pattern.split(/[{}]/);
  return inner === undefined ? [pattern] : inner.split(',').map((name) => `${before}${name}${after}`);
}
