/** @file Checkpoints of transformers compute here what they compute there, and what is not one is refused by name. */
import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateTokens, loadPretrained, startBackend, tf, wasmHeap, type StoredTensor, type Tensor2D } from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectNear, onEveryBackend, tensorOf } from './core-fixture.ts';
import {
  changeTensors,
  checkpoints,
  copyOf,
  expectedOf,
  fixturePath,
  newFolder,
  type CheckpointName,
} from './interop-fixture.ts';

const load = (folder: string) => loadPretrained(folder, { quiet: true });

async function expectLogits(folder: string, name: CheckpointName): Promise<void> {
  const { model } = await load(folder);
  const { tokens, logits } = expectedOf(name);
  await expectNear(model.forward(tensorOf<Tensor2D>(tokens)), logits, 1e-5, name);
  model.dispose();
}

onEveryBackend(() => {
  it.each(checkpoints)('%s: the logits of transformers', async (name) => {
    await expectLogits(fixturePath(name), name);
  });

  it.each(checkpoints)('%s: the 50 tokens that transformers writes, with the cache and without', async (name) => {
    const { model } = await load(fixturePath(name));
    const { greedy } = expectedOf(name);
    for (const cache of [true, false]) {
      const written = [];
      for await (const token of generateTokens(model, greedy.slice(0, 6), { maxTokens: 50, temperature: 0, cache }))
        written.push(token);
      expect(written, `cache ${cache}`).toEqual(greedy.slice(6));
    }
    model.dispose();
  });
});

describe('what is loaded', () => {
  beforeAll(() => startBackend({ backend: 'wasm', threads: 1 }));

  it('has no more and no less than the weights, and nothing else stays on the device', async () => {
    const before = tf.memory().numTensors;
    const { model, ignored, format, config, stopTokens } = await load(fixturePath('gpt2'));
    expect(tf.memory().numTensors - before).toBe(model.parameters().length);
    expect({ ignored, format, stopTokens, type: config['model_type'] }).toEqual({
      ignored: [],
      format: 'gpt2',
      stopTokens: [0],
      type: 'gpt2',
    });
    expect(model.training).toBe(false);
    expect(model.config).toMatchObject({
      vocabSize: 97,
      contextLength: 64,
      dropout: 0.1,
      initializerStd: 0.02,
      hiddenSize: 96,
    });
    model.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('takes little more memory than the weights', async () => {
    const { usage } = wasmHeap();
    const before = usage.live;
    usage.resetPeak();
    const { model } = await load(fixturePath('gpt2'));
    const weights = 4 * model.parameterCount();
    expect(usage.peak - before).toBeLessThan(1.1 * weights);
    model.dispose();
  });

  it('takes the older way to say how positions turn', async () => {
    const linear = copyOf('llama-biased', (config) => {
      delete config['rope_parameters'];
      Object.assign(config, { rope_theta: 5000, rope_scaling: { type: 'linear', factor: 2.5 } });
    });
    await expectLogits(linear, 'llama-biased');
    const llama3 = copyOf('llama3', (config) => {
      const { rope_theta: theta, ...rest } = config['rope_parameters'] as Record<string, unknown>;
      delete config['rope_parameters'];
      Object.assign(config, { rope_theta: theta, rope_scaling: rest });
    });
    await expectLogits(llama3, 'llama3');
  });

  it('takes names with and without the prefix of GPT-2, old masks, and a head that is the embedding', async () => {
    const folder = await changeTensors(copyOf('gpt2'), (tensors) => {
      const all = [...tensors];
      tensors.clear();
      for (const [name, tensor] of all) tensors.set(name.replace('transformer.', ''), tensor);
      tensors.set('h.0.attn.bias', { dtype: 'BOOL', shape: [1, 1, 2, 2], data: Uint8Array.of(1, 0, 1, 1) });
      tensors.set('h.1.attn.masked_bias', { dtype: 'F32', shape: [], data: Float32Array.of(-1e4) });
      tensors.set('lm_head.weight', tensors.get('wte.weight')!);
    });
    await expectLogits(folder, 'gpt2');
    const { model, ignored } = await load(folder);
    expect([...ignored].sort()).toEqual(['h.0.attn.bias', 'h.1.attn.masked_bias']);
    model.dispose();
  });
});

const f32 = (...shape: number[]): StoredTensor => {
  return { dtype: 'F32', shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) };
};

describe('refused by name', () => {
  const c_fc = 'transformer.h.1.mlp.c_fc.weight';
  it.each<[string, (tensors: Map<string, StoredTensor>) => unknown, RegExp]>([
    ['a missing tensor', (t) => t.delete(c_fc), /'transformer.h.1.mlp.c_fc.weight' \[24, 96\] is missing/],
    ['a tensor too many', (t) => t.set('transformer.h.2.ln_1.weight', f32(24)), /'transformer.h.2.ln_1.weight' is not a part/],
    [
      'a mask of another kind of model',
      (t) => t.set('transformer.h.0.self_attn.rotary_emb.inv_freq', f32(3)),
      /inv_freq' is not a part/,
    ],
    ['a tensor that is turned round', (t) => t.set(c_fc, f32(96, 24)), /c_fc.weight' has shape \[96, 24\], not \[24, 96\]/],
    [
      'a tensor of integers',
      (t) => t.set(c_fc, { dtype: 'I32', shape: [24, 96], data: new Int32Array(24 * 96) }),
      /c_fc.weight' has type I32/,
    ],
    ['a head of another shape', (t) => t.set('lm_head.weight', f32(98, 24)), /'lm_head.weight' has shape \[98, 24\]/],
    [
      'a head that is not the embedding',
      (t) => t.set('lm_head.weight', f32(97, 24)),
      /'lm_head.weight' differs from 'transformer.wte.weight'/,
    ],
  ])('%s', async (_, change, says) => {
    const before = tf.memory().numTensors;
    const folder = await changeTensors(copyOf('gpt2'), (tensors) => void change(tensors));
    await expect(load(folder)).rejects.toMatchObject({ name: 'LabError', message: expect.stringMatching(says) as string });
    expect(tf.memory().numTensors).toBe(before);
  });

  it.each<[CheckpointName, Record<string, unknown>, RegExp]>([
    ['gpt2', { model_type: 'bert' }, /models of type 'bert' are not known here; known: gpt2, llama, qwen2/],
    ['gpt2', { model_type: 'constructor' }, /models of type 'constructor'/],
    ['gpt2', { model_type: undefined }, /has no "model_type"/],
    ['gpt2', { activation_function: 'relu' }, /"activation_function" is "relu", but here it must be "gelu_new"/],
    ['gpt2', { scale_attn_by_inverse_layer_idx: true }, /scale_attn_by_inverse_layer_idx/],
    ['gpt2', { n_layer: 3 }, /'transformer.h.2.ln_1.weight' \[24\] is missing.*and 4 more/],
    ['gpt2', { n_layer: 1e12 }, /has 28 tensors; its config.json promises 1000000000000 layers/],
    ['gpt2', { n_embd: 24e12 }, /wte.weight' has shape \[97, 24\], not \[97, 24000000000000\]/],
    ['gpt2', { n_embd: -24 }, /"n_embd" is -24, but here it must be a whole number from 1 on/],
    ['gpt2', { n_embd: '24' }, /"n_embd" is "24"/],
    ['gpt2', { n_head: 5 }, /width 24 is not a multiple of 5 heads/],
    ['gpt2', { tie_word_embeddings: false }, /'lm_head.weight' \[97, 24\] is missing/],
    ['llama3', { hidden_act: 'gelu' }, /hidden_act/],
    ['llama3', { attention_bias: true }, /q_proj.bias' \[48\] is missing/],
    ['llama3', { num_key_value_heads: 2 }, /k_proj.weight' has shape \[12, 24\], not \[24, 24\]/],
    ['llama3', { rope_parameters: { rope_type: 'yarn' } }, /rope_parameters: "rope_type" is "yarn", but here it must be/],
    ['llama3', { rope_parameters: { rope_type: 'llama3', factor: 8 } }, /rope_parameters has no "low_freq_factor"/],
    ['llama3', { rope_parameters: { rope_type: 'linear', factor: 0 } }, /"factor" is 0/],
    ['qwen2', { use_sliding_window: true }, /use_sliding_window/],
  ])('%s with %o in its config', async (name, change, says) => {
    const folder = copyOf(name, (config) => void Object.assign(config, change));
    await expect(load(folder)).rejects.toMatchObject({ name: 'LabError', message: expect.stringMatching(says) as string });
  });

  it('a file that is cut short, wherever that is', async () => {
    const folder = copyOf('qwen2');
    const path = join(folder, 'model.safetensors');
    const before = tf.memory().numTensors;
    for (let length = readFileSync(path).length - 1; length >= 0; length -= 64) {
      truncateSync(path, length);
      await expect(load(folder), `${length} bytes`).rejects.toMatchObject({ name: 'LabError' });
    }
    expect(tf.memory().numTensors).toBe(before);
  });

  it('a folder that is not there, is empty, or has only pickled weights', async () => {
    await expect(load(join(newFolder(), 'nothing'))).rejects.toThrow(/There is no folder/);
    await expect(load(newFolder())).rejects.toThrow(/There is no file .*config.json/);
    const pickled = copyOf('gpt2');
    rmSync(join(pickled, 'model.safetensors'));
    await expect(load(pickled)).rejects.toThrow(/no model.safetensors in .*Give the folder of a model/);
    writeFileSync(join(pickled, 'pytorch_model.bin'), '');
    await expect(load(pickled)).rejects.toThrow(/pytorch_model.bin is a program/);
    writeFileSync(join(pickled, 'config.json'), '{"model_type":');
    await expect(load(pickled)).rejects.toThrow(/config.json is not JSON/);
    writeFileSync(join(pickled, 'config.json'), '[]');
    await expect(load(pickled)).rejects.toThrow(/config.json does not hold a JSON object/);
  });
});

describe('shards', () => {
  type Index = { weight_map: Record<string, unknown> };
  const withIndex = (change: (map: Record<string, unknown>) => void): string => {
    const folder = copyOf('llama');
    const path = join(folder, 'model.safetensors.index.json');
    const index = JSON.parse(readFileSync(path, 'utf8')) as Index;
    change(index.weight_map);
    writeFileSync(path, JSON.stringify(index));
    return folder;
  };
  const head = 'lm_head.weight';

  it.each<[string, (map: Record<string, unknown>) => void, RegExp]>([
    ['a name that no shard has', (map) => (map['extra.weight'] = map[head]), /'extra.weight' is not in it/],
    [
      'a shard with a name too many',
      (map) => delete map['model.layers.0.input_layernorm.weight'],
      /'model.layers.0.input_layernorm.weight' is in it, too/,
    ],
    [
      'a shard outside the folder',
      (map) => (map[head] = '../model.safetensors'),
      /which is not the name of a safetensors file/,
    ],
    ['a shard that is no name', (map) => (map[head] = 3), /puts 'lm_head.weight' into 3/],
    ['no names at all', (map) => Object.keys(map).forEach((name) => delete map[name]), /has no "weight_map"/],
  ])('are refused when the index lists %s', async (_, change, says) => {
    await expect(load(withIndex(change))).rejects.toMatchObject({
      name: 'LabError',
      message: expect.stringMatching(says) as string,
    });
  });

  it('are refused when one is missing, naming it and what should be in it', async () => {
    const folder = copyOf('llama');
    rmSync(join(folder, 'model-00003-of-00006.safetensors'));
    await expect(load(folder)).rejects.toThrow(
      /model-00003-of-00006.safetensors is missing: 'model\.layers\.\d.* should be in it/,
    );
  });
});
