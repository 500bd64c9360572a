/** @file Adapters in the PEFT library's format: out, in again, and what does not fit is refused before anything is changed. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  adapt,
  loadPEFT,
  readSafetensors,
  savePEFT,
  startBackend,
  tf,
  writeSafetensors,
  type AdaptationOptions,
  type StoredTensor,
  type Tensor2D,
} from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectNear, tensorOf } from './core-fixture.ts';
import { newFolder } from './interop-fixture.ts';
import { baseOf, floats, gpt, llama, peftFixture, peftPath, stir } from './peft-fixture.ts';

beforeAll(() => startBackend({ backend: 'wasm', threads: 1 }));

/** LAB_PEFT_OUT=DIR leaves the adapters there, for `python test/oracle/peft_adapters.py --check DIR/*`. */
const out = (name: string): string => (process.env['LAB_PEFT_OUT'] ? join(process.env['LAB_PEFT_OUT'], name) : newFolder());

const theirs = [
  'lora-gpt2',
  'lora-llama',
  'rslora-llama',
  'dora-gpt2',
  'dora-llama',
  'ia3-gpt2',
  'ia3-llama',
  'prompt-gpt2',
  'prompt-llama',
  'prefix-gpt2',
  'prefix-llama',
];

const ours: readonly (readonly [name: string, base: string, options: AdaptationOptions])[] = [
  ['two of three that are one of theirs', 'gpt2', { method: 'lora', rank: 3, alpha: 5 }],
  [
    'all three, and the rest, rank-stabilized',
    'gpt2',
    { method: 'lora', rank: 2, alpha: 5, rankStabilized: true, targets: ['attention.*', 'mlp.*'] },
  ],
  ['DoRA on one of three', 'gpt2', { method: 'dora', rank: 3, alpha: 4, targets: ['key', 'up'] }],
  ['the embedding', 'gpt2', { method: 'lora', rank: 4, targets: ['tokenEmbedding'] }],
  ['(IA)³', 'gpt2', { method: 'ia3' }],
  ['LoRA on Llama', 'llama', { method: 'lora', rank: 3, alpha: 9, targets: ['query', 'gate', 'head'] }],
  ['DoRA on Qwen2', 'qwen2', { method: 'dora', rank: 3, targets: ['attention.*', 'down'] }],
  ['(IA)³ on Llama', 'llama', { method: 'ia3' }],
  ['a soft prompt', 'gpt2', { method: 'prompt', tokens: 4 }],
  ['a prefix by an MLP', 'llama-biased', { method: 'prefix', tokens: 4, hiddenSize: 9 }],
];

describe('out and in again', () => {
  it.each(theirs)('%s: the tensors are those that were loaded', async (name) => {
    const adapted = await loadPEFT(await baseOf(peftFixture(name).base), peftPath(name));
    const folder = newFolder();
    await savePEFT(adapted, folder);
    const [before, after] = await Promise.all(
      [peftPath(name), folder].map(async (place) => (await readSafetensors(join(place, 'adapter_model.safetensors'))).tensors),
    );
    expect([...after!.keys()].toSorted()).toEqual([...before!.keys()].toSorted());
    for (const [key, { shape, data }] of before!) expect(after!.get(key), key).toMatchObject({ shape: [...shape], data });
    adapted.model.dispose();
  });

  it.each(ours)('%s', async (name, base, options) => {
    const model = await baseOf(base);
    const { tokens } = peftFixture('lora-gpt2');
    const ids = tensorOf<Tensor2D>(tokens);
    const adapted = adapt(model, options);
    stir(adapted.get().parameters);
    const logits = model.forward(ids);
    const folder = out(name.replace(/\W+/g, '-'));
    await savePEFT(adapted, folder, { baseModel: base });
    const again = await loadPEFT(await baseOf(base), folder);
    await expectNear(again.model.forward(ids), logits, 1e-5, name);
    const data = Buffer.from((await floats(logits)).buffer).toString('base64');
    writeFileSync(join(folder, 'expected.json'), JSON.stringify({ base, tokens, logits: { shape: logits.shape, data } }));
    model.dispose();
  });
});

describe('bad input', () => {
  const copy = (name: string, change: (config: Record<string, unknown>) => void = () => undefined): string => {
    const folder = newFolder();
    cpSync(peftPath(name), folder, { recursive: true });
    const path = join(folder, 'adapter_config.json');
    const config = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    change(config);
    writeFileSync(path, JSON.stringify(config));
    return folder;
  };
  const withTensors = async (name: string, change: (tensors: Map<string, StoredTensor>) => void): Promise<string> => {
    const folder = copy(name);
    const path = join(folder, 'adapter_model.safetensors');
    const tensors = new Map((await readSafetensors(path)).tensors);
    change(tensors);
    await writeSafetensors(path, tensors, { format: 'pt' });
    return folder;
  };
  const query = 'base_model.model.model.layers.1.self_attn.q_proj';

  it.each<[string, () => string | Promise<string>, RegExp]>([
    ['another method', () => copy('lora-llama', (config) => (config['peft_type'] = 'ADALORA')), /"peft_type" is "ADALORA"/],
    ['trained biases', () => copy('lora-llama', (config) => (config['bias'] = 'all')), /"bias" is "all"/],
    [
      'saved modules',
      () => copy('lora-llama', (config) => (config['modules_to_save'] = ['lm_head'])),
      /asks for "modules_to_save"/,
    ],
    [
      'a tensor that is missing',
      () => withTensors('lora-llama', (t) => t.delete(`${query}.lora_B.weight`)),
      /lacks '.*q_proj.lora_B.weight' \[32, 3\]/,
    ],
    [
      'a stranger',
      () => withTensors('lora-llama', (t) => t.set('base_model.model.x.lora_A.weight', [...t.values()][0]!)),
      /'base_model.model.x.lora_A.weight' has no place/,
    ],
    [
      'a prompt of another width',
      () => copy('prompt-gpt2', (config) => (config['num_virtual_tokens'] = 9)),
      /'prompt_embeddings' is \[5, 24\], but this model needs \[9, 24\]/,
    ],
    ['no folder', () => join(newFolder(), 'none'), /none/],
  ])('%s', async (_, folder, message) => {
    const model = await baseOf('llama');
    const count = tf.memory().numTensors;
    await expect(loadPEFT(model, await folder())).rejects.toThrow(message);
    expect(tf.memory().numTensors).toBe(count);
    expect(model.parameterCount({ trainable: false })).toBe(0);
    model.dispose();
  });

  it('an adapter for another shape, or another kind of model', async () => {
    await expect(loadPEFT(gpt(), peftPath('lora-gpt2'))).rejects.toThrow(
      /is \[4, 24\], but this model needs \[4, 12\]; the adapter is for another/,
    );
    await expect(loadPEFT(llama(), peftPath('lora-gpt2'))).rejects.toThrow(
      /has no place in this model. Is the adapter for another kind/,
    );
    await expect(loadPEFT(gpt(), peftPath('prefix-gpt2'))).rejects.toThrow(/\[5, 96\], but this model needs \[5, 48\]/);
  });
});
