/**
 * @file A config of ours as config.json of the transformers library: the other way of read-config.ts.
 */
import { LabError } from '../base/index.ts';
import type { ResolvedTransformerConfig } from '../model/index.ts';
import type { JSONObject } from './json.ts';
import type { PretrainedFormat } from './read-config.ts';

/** What a model must be to be written in a format; the first that holds is the format unless told. */
const requirements: Readonly<Record<PretrainedFormat, readonly (readonly [string, (config: ResolvedTransformerConfig) => boolean])[]>> = {
  gpt2: [
    ["norm 'layer'", ({ norm }) => norm === 'layer'],
    ["position 'learned'", ({ position }) => position === 'learned'],
    ["mlp 'gelu'", ({ mlp }) => mlp === 'gelu'],
    ['as many keyValueHeads as heads', ({ heads, keyValueHeads }) => heads === keyValueHeads],
    ['heads · headSize = width', ({ heads, headSize, width }) => heads * headSize === width],
  ],
  llama: [...llamaRequirements(), ['attentionBias true or false', ({ attentionBias }) => attentionBias !== 'inputs']],
  qwen2: [
    ...llamaRequirements(),
    ["attentionBias 'inputs'", ({ attentionBias }) => attentionBias === 'inputs'],
    ['bias false', ({ bias }) => !bias],
  ],
};

function llamaRequirements(): (readonly [string, (config: ResolvedTransformerConfig) => boolean])[] {
  return [
    ["norm 'rms'", ({ norm }) => norm === 'rms'],
    ["position 'rotary'", ({ position }) => position === 'rotary'],
    ["mlp 'swiglu'", ({ mlp }) => mlp === 'swiglu'],
  ];
}

/**
 * The format that can hold a model.
 *
 * @param wanted this one and no other
 * @throws LabError when there is none, saying what each needs.
 */
export function formatOf(config: ResolvedTransformerConfig, wanted?: PretrainedFormat): PretrainedFormat {
  const formats = wanted ? [wanted] : (Object.keys(requirements) as PretrainedFormat[]);
  const lacks = (format: PretrainedFormat): string[] =>
    [...requirements[format], ['no block of your own', ({ block }: ResolvedTransformerConfig) => block === undefined] as const]
      .filter(([, holds]) => !holds(config))
      .map(([name]) => name);
  const fitting = formats.find((format) => lacks(format).length === 0);
  if (fitting) return fitting;
  const needs = formats.map((format) => `${format} needs ${lacks(format).join(', ')}`);
  throw new LabError(`This model cannot be written in a format of transformers: ${needs.join('; ')}.`);
}

export interface WriteConfigOptions {
  readonly format: PretrainedFormat;
  /** PyTorch's name of the type that the weights are saved in. */
  readonly dtype: string;
  readonly stopTokens: readonly number[];
}

export function writeConfig(config: ResolvedTransformerConfig, { format, dtype, stopTokens }: WriteConfigOptions): JSONObject {
  const architectures = { gpt2: 'GPT2LMHeadModel', llama: 'LlamaForCausalLM', qwen2: 'Qwen2ForCausalLM' };
  return {
    architectures: [architectures[format]],
    model_type: format,
    ...(format === 'gpt2' ? gpt2Fields(config) : llamaFields(config)),
    ...(format === 'llama' && { attention_bias: config.attentionBias, mlp_bias: config.bias }),
    ...(format === 'qwen2' && { use_sliding_window: false }),
    vocab_size: config.vocabSize,
    tie_word_embeddings: config.tiedHead,
    initializer_range: config.initializerStd,
    // Null, because the library's own defaults mean its own vocabularies.
    bos_token_id: null,
    eos_token_id: stopTokens.length > 1 ? stopTokens : (stopTokens[0] ?? null),
    // Newer versions of the library read the first, older ones the second.
    dtype,
    torch_dtype: dtype,
  };
}

function gpt2Fields({ width, layers, heads, contextLength, hiddenSize, normEpsilon, dropout }: ResolvedTransformerConfig): JSONObject {
  return {
    n_embd: width,
    n_layer: layers,
    n_head: heads,
    n_positions: contextLength,
    n_ctx: contextLength,
    n_inner: hiddenSize,
    activation_function: 'gelu_new',
    layer_norm_epsilon: normEpsilon,
    resid_pdrop: dropout,
    embd_pdrop: dropout,
    attn_pdrop: dropout,
  };
}

function llamaFields(config: ResolvedTransformerConfig): JSONObject {
  const scaling = ropeScaling(config);
  return {
    hidden_size: config.width,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.keyValueHeads,
    head_dim: config.headSize,
    intermediate_size: config.hiddenSize,
    max_position_embeddings: config.contextLength,
    hidden_act: 'silu',
    rms_norm_eps: config.normEpsilon,
    // Newer versions of the library read the first, older ones the other two.
    rope_parameters: { rope_theta: config.rotaryBase, ...(scaling ?? { rope_type: 'default' }) },
    rope_theta: config.rotaryBase,
    ...(scaling && { rope_scaling: scaling }),
  };
}

function ropeScaling({ rotaryScaling: scaling }: ResolvedTransformerConfig): JSONObject | undefined {
  if (!scaling) return undefined;
  if (scaling.type === 'linear') return { rope_type: 'linear', factor: scaling.factor };
  return {
    rope_type: 'llama3',
    factor: scaling.factor,
    low_freq_factor: scaling.lowFrequencyFactor,
    high_freq_factor: scaling.highFrequencyFactor,
    original_max_position_embeddings: scaling.originalContextLength,
  };
}
