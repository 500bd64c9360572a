/**
 * @file Methods that the PEFT library lacks have a format of our own: it comes back bit for bit, and what does not fit is
 * refused by name before the model is changed.
 */
import { readFileSync, writeFileSync } from 'node:fs';
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
} from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import { newFolder } from './interop-fixture.ts';
import { floats, gpt, llama, stir, tokens } from './peft-fixture.ts';

beforeAll(() => startBackend({ backend: 'wasm', threads: 1 }));

const methods: readonly (readonly [type: string, options: AdaptationOptions])[] = [
  ['LAB_BITFIT', { method: 'bitfit' }],
  ['LAB_BITFIT', { method: 'bitfit', targets: ['query', 'down'] }],
  ['LAB_LAST_LAYERS', { method: 'last-layers', layers: 0 }],
  ['LAB_LAST_LAYERS', { method: 'last-layers', layers: 2, head: false }],
  ['LAB_HOULSBY', { method: 'houlsby', size: 3, scale: -0.5, seed: 4 }],
  ['LAB_PARALLEL', { method: 'parallel', size: 5, targets: ['mlp', 'attention.output'] }],
  [
    'LAB_HYBRID',
    {
      method: 'hybrid',
      parts: [
        { method: 'dora', rank: 3, alpha: 7, rankStabilized: true, targets: ['query', 'up'] },
        { method: 'ia3', targets: ['key', 'down'], feedForward: ['down'] },
        { method: 'bitfit' },
        { method: 'parallel', size: 2 },
        { method: 'prefix', tokens: 2, hiddenSize: 5 },
      ],
    },
  ],
  ['LAB_HYBRID', { method: 'hybrid', parts: [{ method: 'lora' }, { method: 'prompt', tokens: 3, start: [1, 2] }] }],
];

/** A saved adaptation of `gpt()`, stirred, and what the model said with it. */
async function saved(options: AdaptationOptions): Promise<{ folder: string; logits: Float32Array; numbers: Float32Array[] }> {
  const adapted = adapt(gpt(), options);
  stir(adapted.get().parameters);
  const folder = newFolder();
  await savePEFT(adapted, folder, { baseModel: 'tiny' });
  const logits = await floats(adapted.model.forward(tokens()));
  const numbers = await Promise.all([...adapted.get().parameters.values()].map(floats));
  adapted.model.dispose();
  return { folder, logits, numbers };
}

const configOf = (folder: string): Record<string, unknown> =>
  JSON.parse(readFileSync(join(folder, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;

describe('out and in again', () => {
  it.each(methods)('%s %j: the same numbers and the same logits, bit for bit', async (type, options) => {
    const { folder, logits, numbers } = await saved(options);
    expect(configOf(folder)).toMatchObject({
      peft_type: type,
      base_model_name_or_path: 'tiny',
      lab_note: expect.stringContaining('PEFT library does not') as unknown,
    });
    const model = gpt();
    const before = await floats(model.forward(tokens()));
    const again = await loadPEFT(model, folder, { name: 'again' });
    expect(again.active).toBe('again');
    expect(await Promise.all([...again.get().parameters.values()].map(floats))).toEqual(numbers);
    expect(await floats(model.forward(tokens()))).toEqual(logits);
    again.disable();
    expect(await floats(model.forward(tokens()))).toEqual(before);
  });

  it('beside another adaptation that is in the model', async () => {
    const { folder, logits } = await saved({ method: 'parallel' });
    const model = gpt();
    adapt(model, { method: 'lora', name: 'first' });
    const adapted = await loadPEFT(model, folder, { name: 'second' });
    expect(adapted.names).toEqual(['first', 'second']);
    expect(await floats(model.forward(tokens()))).toEqual(logits);
  });

  it('an adaptation that is disabled', async () => {
    const adapted = adapt(gpt(), { method: 'houlsby' });
    stir(adapted.get().parameters);
    const logits = await floats(adapted.model.forward(tokens()));
    adapted.disable();
    const folder = newFolder();
    await savePEFT(adapted, folder);
    expect(await floats((await loadPEFT(gpt(), folder)).model.forward(tokens()))).toEqual(logits);
  });
});

describe('bad input', () => {
  const houlsby: AdaptationOptions = { method: 'houlsby', size: 3 };
  const withConfig = async (change: (config: Record<string, unknown>) => void): Promise<string> => {
    const { folder } = await saved(houlsby);
    const config = configOf(folder);
    change(config);
    writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify(config));
    return folder;
  };
  const withOptions = (change: object): Promise<string> =>
    withConfig((config) => (config['lab_options'] = { ...(config['lab_options'] as object), ...change }));
  const withTensors = async (change: (tensors: Map<string, StoredTensor>) => void): Promise<string> => {
    const { folder } = await saved(houlsby);
    const path = join(folder, 'adapter_model.safetensors');
    const all = new Map((await readSafetensors(path)).tensors);
    change(all);
    await writeSafetensors(path, all);
    return folder;
  };
  const up = 'blocks.1.mlp.up.bias';

  it.each<[string, () => Promise<string>, RegExp]>([
    ['no options', () => withConfig((config) => delete config['lab_options']), /has no "lab_options"/],
    [
      'another method than its type',
      () => withOptions({ method: 'bitfit' }),
      /is "LAB_HOULSBY", but the options are those of 'bitfit'/,
    ],
    ['an option that is not known', () => withOptions({ gain: 3 }), /asks for "gain", which is not known/],
    ['a width of no number', () => withOptions({ size: '3' }), /"size" is "3", but here it must be a whole number/],
    ['a factor of no number', () => withOptions({ scale: 'much' }), /"scale" is "much", but here it must be a number/],
    [
      'targets that are no list',
      () => withOptions({ targets: 'mlp' }),
      /"targets" is "mlp", but here it must be a list of texts/,
    ],
    ['targets that name nothing', () => withOptions({ targets: ['mpl'] }), /no module fits the target 'mpl'/],
    [
      'parts that are no list',
      () =>
        withConfig((config) => {
          config['peft_type'] = 'LAB_HYBRID';
          config['lab_options'] = { method: 'hybrid', parts: 3 };
        }),
      /"parts" must be a list of objects/,
    ],
    ['a tensor that is missing', () => withTensors((all) => all.delete(up)), /lacks 'blocks.1.mlp.up.bias' \[12\]/],
    [
      'one too many',
      () => withTensors((all) => all.set('blocks.7.mlp.up.bias', all.get(up)!)),
      /'blocks.7.mlp.up.bias' has no place in this model/,
    ],
    [
      'another shape',
      () => withTensors((all) => all.set(up, { dtype: 'F32', shape: [5], data: new Float32Array(5) })),
      /'blocks.1.mlp.up.bias' is \[5\], but this model needs \[12\]/,
    ],
  ])('%s', async (_, folder, message) => {
    const place = await folder();
    const model = gpt();
    const before = await floats(model.forward(tokens()));
    const count = tf.memory().numTensors;
    await expect(loadPEFT(model, place)).rejects.toThrow(message);
    expect(tf.memory().numTensors).toBe(count);
    expect(model.parameterCount({ trainable: false })).toBe(0);
    expect(await floats(model.forward(tokens()))).toEqual(before);
  });

  it('a model of another width, of fewer layers, or without biases', async () => {
    const { folder } = await saved(houlsby);
    await expect(loadPEFT(gpt({ width: 18 }), folder)).rejects.toThrow(/is \[3, 12\], but this model needs \[3, 18\]/);
    await expect(loadPEFT(gpt({ layers: 1 }), folder)).rejects.toThrow(/'blocks.1\..*' has no place in this model/);
    const biases = (await saved({ method: 'bitfit' })).folder;
    await expect(loadPEFT(llama(), biases)).rejects.toThrow(/this model has no biases/);
  });
});
