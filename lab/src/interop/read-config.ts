/**
 * @file config.json of the transformers library as a config of ours. What would change the computation and is not known here is
 * refused, never overlooked.
 */
import { LabError } from '../base/index.ts';
import type { TransformerConfig } from '../model/index.ts';
import type { RotaryScaling } from '../ops/index.ts';
import { Fields, type JSONObject } from './json.ts';

/** Whose names and config a checkpoint has; `model_type` in its config.json. */
export type PretrainedFormat = 'gpt2' | 'llama' | 'qwen2';

const readers: Readonly<Record<PretrainedFormat, (fields: Fields) => TransformerConfig>> = {
  gpt2: gpt2Config,
  llama: (fields) => llamaConfig(fields, { bias: fields.boolean('mlp_bias', false), attentionBias: fields.boolean('attention_bias', false) }),
  qwen2: (fields) => {
    fields.oneOf('use_sliding_window', [false], false);
    return llamaConfig(fields, { bias: false, attentionBias: 'inputs' });
  },
};

/**
 * @param file what to call it in errors
 * @throws LabError for a kind of model, or a feature of it, that is not known here, naming the field.
 */
export function readConfig(json: JSONObject, file: string): { readonly format: PretrainedFormat; readonly config: TransformerConfig } {
  const fields = new Fields(json, file);
  const type = fields.string('model_type');
  if (!Object.hasOwn(readers, type)) {
    throw new LabError(`${file}: models of type '${type}' are not known here; known: ${Object.keys(readers).join(', ')}.`);
  }
  const format = type as PretrainedFormat;
  return { format, config: readers[format](fields) };
}

function gpt2Config(fields: Fields): TransformerConfig {
  fields.oneOf('activation_function', ['gelu_new', 'gelu_pytorch_tanh'], 'gelu_new');
  fields.oneOf('scale_attn_weights', [true], true);
  fields.oneOf('scale_attn_by_inverse_layer_idx', [false], false);
  fields.oneOf('add_cross_attention', [false], false);
  const dropouts = ['resid_pdrop', 'embd_pdrop', 'attn_pdrop'].map((field) => fields.number(field, 0.1));
  const width = fields.count('n_embd');
  return {
    vocabSize: fields.count('vocab_size'),
    contextLength: fields.count(fields.has('n_positions') ? 'n_positions' : 'n_ctx'),
    layers: fields.count('n_layer'),
    width,
    heads: fields.count('n_head'),
    hiddenSize: fields.count('n_inner', 4 * width),
    norm: 'layer',
    normEpsilon: fields.positive('layer_norm_epsilon', 1e-5),
    position: 'learned',
    mlp: 'gelu',
    bias: true,
    tiedHead: fields.boolean('tie_word_embeddings', true),
    // One number for all three here: theirs where they agree.
    dropout: new Set(dropouts).size === 1 ? dropouts[0]! : 0,
    initializerStd: fields.number('initializer_range', 0.02),
  };
}

function llamaConfig(fields: Fields, biases: Pick<TransformerConfig, 'bias' | 'attentionBias'>): TransformerConfig {
  fields.oneOf('hidden_act', ['silu'], 'silu');
  fields.oneOf('partial_rotary_factor', [1], 1);
  const width = fields.count('hidden_size');
  const heads = fields.count('num_attention_heads');
  return {
    vocabSize: fields.count('vocab_size'),
    contextLength: fields.count('max_position_embeddings', 2048),
    layers: fields.count('num_hidden_layers'),
    width,
    heads,
    keyValueHeads: fields.count('num_key_value_heads', heads),
    headSize: fields.count('head_dim', Math.floor(width / heads)),
    hiddenSize: fields.count('intermediate_size'),
    norm: 'rms',
    normEpsilon: fields.positive('rms_norm_eps', 1e-6),
    position: 'rotary',
    ...rotaryConfig(fields),
    mlp: 'swiglu',
    ...biases,
    tiedHead: fields.boolean('tie_word_embeddings', false),
    initializerStd: fields.number('initializer_range', 0.02),
  };
}

/** Newer files have all of it in `rope_parameters`; older ones `rope_theta`, and `rope_scaling` beside it. */
function rotaryConfig(fields: Fields): { readonly rotaryBase: number; readonly rotaryScaling: RotaryScaling | null } {
  const field = ['rope_parameters', 'rope_scaling'].find((name) => fields.has(name));
  const rope = field === undefined ? new Fields({}, fields.name) : fields.object(field);
  rope.oneOf('partial_rotary_factor', [1], 1);
  return {
    rotaryBase: (rope.has('rope_theta') ? rope : fields).positive('rope_theta', 10000),
    rotaryScaling: rotaryScaling(rope, fields),
  };
}

function rotaryScaling(rope: Fields, fields: Fields): RotaryScaling | null {
  const type = rope.oneOf(rope.has('rope_type') ? 'rope_type' : 'type', ['default', 'linear', 'llama3'], 'default');
  if (type === 'default') return null;
  const factor = rope.positive('factor');
  if (type === 'linear') return { type, factor };
  return {
    type: 'llama3',
    factor,
    lowFrequencyFactor: rope.positive('low_freq_factor'),
    highFrequencyFactor: rope.positive('high_freq_factor'),
    originalContextLength: rope.count('original_max_position_embeddings', fields.count('max_position_embeddings', 2048)),
  };
}
