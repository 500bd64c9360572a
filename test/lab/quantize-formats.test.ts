/**
 * @file GPTQ checkpoints: those of another program (test/oracle/gptq_checkpoints.py) load with transformers' logits, ours load
 * again, and by hand there:
 *
 *     LAB_GPTQ_SAVE=DIR npx vitest run test/lab/quantize-formats.test.ts
 *     python test/oracle/gptq_checkpoints.py --check DIR/*
 */
import { cpSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  BIT_WIDTHS,
  calibrationBatches,
  loadPretrained,
  packGPTQ,
  packMatrix,
  presets,
  QuantizedLinear,
  quantizeModel,
  Random,
  readSafetensors,
  roundToNearest,
  saveGPTQ,
  startBackend,
  tf,
  TokenDataset,
  Transformer,
  unpackGPTQ,
  type QuantizedMatrix,
  type SaveGPTQOptions,
  type StoredTensor,
  type QuantizeModelOptions,
  type Tensor2D,
  type TransformerConfig,
} from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectNear, relativeError, tensorOf, type FixtureTensor } from './core-fixture.ts';
import { changeTensors, newFolder } from './interop-fixture.ts';

beforeAll(() => startBackend({ backend: 'wasm', threads: 1 }));

const random = new Random(31);
const quiet = { quiet: true } as const;
const root = fileURLToPath(new URL('../fixtures/gptq/checkpoints/', import.meta.url));
const names = readdirSync(root);
const hexadecimal = (words: Int32Array): string[] => [...words].map((word) => (word >>> 0).toString(16).padStart(8, '0'));

describe('packing for checkpoints', () => {
  it.each(BIT_WIDTHS)('%i bits: exact, in both formats, with dealt-out groups and zero points of every value', (bits) => {
    const [outputs, inputs] = [32, 64];
    const matrix = roundToNearest(random.normals(outputs * inputs).map((w, i) => w + (i % 5) - 2), { outputs, inputs }, { bits, groupSize: 16 });
    matrix.zeros.forEach((_, i) => (matrix.zeros[i] = i % 2 ** bits));
    const fromOne = { ...matrix, zeros: matrix.zeros.map((zero) => Math.max(1, zero)) };
    const groupIndex = Int32Array.from(random.shuffle(Array.from({ length: inputs }, (_, i) => i % 4)));
    const cases: readonly (readonly [QuantizedMatrix, 'gptq' | 'gptq_v2'])[] = [
      [fromOne, 'gptq'],
      [matrix, 'gptq_v2'],
      [{ ...fromOne, groupIndex }, 'gptq'],
      [{ ...matrix, groupIndex }, 'gptq_v2'],
    ];
    for (const [one, format] of cases) {
      const arrays = packGPTQ(one, format);
      expect(arrays.qweight.length).toBe((inputs * bits * outputs) / 32);
      expect(arrays.qzeros.length).toBe((4 * outputs * bits) / 32);
      expect(unpackGPTQ(arrays, one, format)).toEqual(one);
    }
  });

  it('4 bits: codes 0 … 7 make 0x76543210, along the inputs of one output', () => {
    const matrix: QuantizedMatrix = {
      outputs: 8,
      inputs: 8,
      bits: 4,
      groupSize: 8,
      codes: Uint8Array.from({ length: 64 }, (_, at) => (at % 8) + (at < 8 ? 0 : 8)),
      scales: new Float32Array(8).fill(1),
      zeros: Float32Array.from({ length: 8 }, (_, i) => i + 1),
      groupIndex: null,
    };
    const { qweight, qzeros, g_idx } = packGPTQ(matrix, 'gptq');
    expect(hexadecimal(qweight)).toEqual(['76543210', ...new Array<string>(7).fill('fedcba98')]);
    expect(hexadecimal(qzeros)).toEqual(['76543210']);
    expect([...g_idx]).toEqual(new Array(8).fill(0));
    expect(hexadecimal(packGPTQ(matrix, 'gptq_v2').qzeros)).toEqual(['87654321']);
  });

  it('symmetric zero points are the words that everybody knows', () => {
    for (const [bits, v1, v2] of [[2, '55555555', 'aaaaaaaa'], [4, '77777777', '88888888'], [8, '7f7f7f7f', '80808080']] as const) {
      const matrix = roundToNearest(random.normals(32 * 32), { outputs: 32, inputs: 32 }, { bits, symmetric: true });
      expect(new Set(hexadecimal(packGPTQ(matrix, 'gptq').qzeros))).toEqual(new Set([v1]));
      expect(new Set(hexadecimal(packGPTQ(matrix, 'gptq_v2').qzeros))).toEqual(new Set([v2]));
    }
  });

  it('3 bits: 32 codes are a stream over three words', () => {
    const codes = Uint8Array.from({ length: 32 * 32 }, (_, at) => (at === 10 ? 0b110 : at === 21 ? 0b011 : 0));
    const matrix = { ...roundToNearest(random.normals(1024), { outputs: 32, inputs: 32 }, { bits: 3 }), codes };
    const { qweight } = packGPTQ(matrix, 'gptq');
    // Code 10 has bits 30 … 32, code 21 bits 63 … 65.
    expect(hexadecimal(Int32Array.of(qweight[0]!, qweight[32]!, qweight[64]!))).toEqual(['80000000', '80000001', '00000001']);
  });

  it('a zero point of 0 is not written in v1, where programs disagree; the highest code is read as one', () => {
    const matrix = roundToNearest(random.normals(64), { outputs: 8, inputs: 8 }, { bits: 4 });
    matrix.zeros.set([5, 0, 5, 0, 0, 5, 5, 0]);
    expect(() => packGPTQ(matrix, 'gptq')).toThrow(/a zero point of 0 has no place in checkpointFormat 'gptq'.*'gptq_v2' can hold it/);
    const arrays = packGPTQ(matrix, 'gptq_v2');
    expect(hexadecimal(arrays.qzeros)).toEqual(['05500505']);
    expect(unpackGPTQ({ ...arrays, qzeros: Int32Array.of(0xf44ff4f4) }, matrix, 'gptq')).toEqual(matrix);
  });

  it('says what the format cannot hold', () => {
    const matrix = roundToNearest(random.normals(8 * 12), { outputs: 8, inputs: 12 }, { bits: 4 });
    expect(() => packGPTQ(matrix, 'gptq')).toThrow(/4-bit codes into words of 32 bits, which 12 of them do not fill/);
    const even = roundToNearest(random.normals(64), { outputs: 8, inputs: 8 }, { bits: 4 });
    expect(() => packGPTQ({ ...even, zeros: even.zeros.with(3, 2.5) }, 'gptq')).toThrow(/zero points are codes 0 … 15, but one is 2.5/);
    expect(() => packGPTQ({ ...even, zeros: even.zeros.with(3, 16) }, 'gptq_v2')).toThrow(/but one is 16/);
  });
});

const expectedOf = (folder: string) =>
  JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as Readonly<Record<'tokens' | 'logits', FixtureTensor>>;

describe('checkpoints of another program', () => {
  it.each(names)("%s: transformers' logits", async (name) => {
    const { model } = await loadPretrained(root + name, quiet);
    expect(model.get('blocks.1.mlp.down')).toBeInstanceOf(QuantizedLinear);
    const { tokens, logits } = expectedOf(root + name);
    await expectNear(model.forward(tensorOf<Tensor2D>(tokens)), logits, 1e-5);
  });

  it('without g_idx neighbours share a group; with config.json or quantize_config.json alone all is known', async () => {
    const name = 'gpt2-3-v2';
    const folder = newFolder();
    cpSync(root + name, folder, { recursive: true });
    await changeTensors(folder, (tensors) => {
      for (const key of tensors.keys()) if (key.endsWith('.g_idx')) tensors.delete(key);
    });
    const path = join(folder, 'config.json');
    const config = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    delete config['quantization_config'];
    writeFileSync(path, JSON.stringify(config));
    const { model } = await loadPretrained(folder, quiet);
    const { tokens, logits } = expectedOf(root + name);
    await expectNear(model.forward(tensorOf<Tensor2D>(tokens)), logits, 1e-5);
  });
});

const sizes = { vocabSize: 61, contextLength: 32, layers: 2, width: 32, heads: 4 } as const;
const own: Readonly<Record<string, TransformerConfig>> = {
  gpt2: sizes,
  llama: { ...presets.llama, ...sizes, keyValueHeads: 2, hiddenSize: 64, tiedHead: false },
  qwen2: { ...presets.llama, ...sizes, hiddenSize: 64, attentionBias: 'inputs' },
};
const dataset = new TokenDataset(Array.from({ length: 300 }, () => random.integer(61)), 61);
const calibration = calibrationBatches(dataset, { sequences: 8, contextLength: 32 });
const someTokens = () => tf.tensor2d(dataset.ids.slice(0, 20), [2, 10], 'int32');

function ownModel(name: string): Transformer {
  const model = new Transformer(own[name]!).eval();
  const stream = new Random(5);
  for (const [path, variable] of model.namedParameters()) {
    const [std, shift] = variable.rank === 1 ? [0.2, path.endsWith('weight') ? 1 : 0] : [0.25, 0];
    variable.assign(tf.tensor(stream.normals(variable.size, std).map((v) => v + shift), variable.shape));
  }
  return model;
}

const saves: readonly (readonly [string, Omit<QuantizeModelOptions, 'method'>, SaveGPTQOptions])[] = [
  ['gpt2', { bits: 4, groupSize: 16, actOrder: true }, { checkpointFormat: 'gptq' }],
  ['gpt2', { bits: 3, groupSize: 32 }, { checkpointFormat: 'gptq_v2' }],
  // Some of its groups have a zero point of 0, so v2 is chosen.
  ['llama', { bits: 2, groupSize: 16, actOrder: true }, {}],
  ['llama', { bits: 4, groupSize: 16, actOrder: true }, {}],
  ['llama', { bits: 8, groupSize: 'row', symmetric: true }, { checkpointFormat: 'gptq_v2' }],
  ['qwen2', { bits: 4, groupSize: 'row' }, {}],
];

describe('checkpoints of ours', () => {
  it.each(saves)('%s, %o, %o: saved and loaded again', async (name, options, saveOptions) => {
    const model = ownModel(name);
    await quantizeModel(model, { method: 'gptq', calibration, ...options, ...quiet });
    const label = `${name}-${options.bits}-${saveOptions.checkpointFormat ?? 'default'}`;
    const keep = process.env['LAB_GPTQ_SAVE'];
    const folder = keep ? join(keep, label) : newFolder();
    const config = await saveGPTQ(model, folder, saveOptions);
    expect(config).toEqual({
      bits: options.bits,
      groupSize: options.groupSize === 'row' ? -1 : options.groupSize,
      actOrder: options.actOrder ?? false,
      symmetric: options.symmetric ?? false,
      format: saveOptions.checkpointFormat ?? (options.bits === 2 ? 'gptq_v2' : 'gptq'),
    });
    const logits = model.forward(someTokens());
    if (keep) {
      writeFileSync(join(folder, 'expected.json'), JSON.stringify({ tokens: await someTokens().array(), logits: await logits.array() }));
    }
    const { model: again } = await loadPretrained(folder, quiet);
    await expectNear(again.forward(someTokens()), logits, 1e-6);
    for (const [path, layer] of model.namedModules()) {
      if (layer instanceof QuantizedLinear) expect(await (again.get(path) as QuantizedLinear).packed()).toEqual(await layer.packed());
    }
    // From then on nothing changes any more.
    const second = newFolder();
    await saveGPTQ(again, second, saveOptions);
    expect(readFileSync(join(second, 'model.safetensors'))).toEqual(readFileSync(join(folder, 'model.safetensors')));
    const written = JSON.parse(readFileSync(join(folder, 'quantize_config.json'), 'utf8')) as object;
    expect((JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>)['quantization_config']).toEqual(written);
  });

  it('scales in float32 are rounded to float16 by the file', async () => {
    const model = ownModel('llama');
    await quantizeModel(model, { method: 'rtn', scales: 'float32', ...quiet });
    const folder = newFolder();
    await saveGPTQ(model, folder);
    const { model: again } = await loadPretrained(folder, quiet);
    const scales = async (one: Transformer): Promise<Float32Array> => (await (one.get('blocks.1.mlp.up') as QuantizedLinear).packed()).scales;
    const error = relativeError(await scales(again), await scales(model));
    expect(error > 0 && error < 5e-4).toBe(true);
  });

  it('refuses what the format cannot hold, before anything is written', async () => {
    const folder = newFolder();
    const expectRefused = async (model: Transformer, message: RegExp): Promise<void> => {
      await expect(saveGPTQ(model, folder)).rejects.toThrow(message);
      expect(readdirSync(folder)).toEqual([]);
    };
    await expectRefused(ownModel('gpt2'), /'blocks.0.attention.query' is not quantized/);
    const some = ownModel('gpt2');
    await quantizeModel(some, { method: 'rtn', layers: 'blocks.0.**', ...quiet });
    await expectRefused(some, /'blocks.1.attention.query' is not quantized/);
    await quantizeModel(some, { method: 'rtn', bits: 8, layers: 'blocks.1.**', ...quiet });
    await expectRefused(some, /one number of bits and one size of groups/);
    const nf4 = ownModel('llama');
    await quantizeModel(nf4, { method: 'nf4', groupSize: 32, ...quiet });
    await expectRefused(nf4, /is not on a uniform grid \(NF4\)/);
    const awq = ownModel('llama');
    await quantizeModel(awq, { method: 'awq', calibration, ...quiet });
    await expectRefused(awq, /has factors for its inputs \(AWQ\)/);
    const head = ownModel('llama');
    await quantizeModel(head, { method: 'rtn', layers: '**', ...quiet });
    await expectRefused(head, /'head' is quantized but in no block/);
    const odd = new Transformer({ ...sizes, width: 20, heads: 2, hiddenSize: 40 });
    await quantizeModel(odd, { method: 'rtn', ...quiet });
    await expectRefused(odd, /has no place in a GPTQ checkpoint: .* which 20 of them do not fill/);
    const large = ownModel('gpt2');
    const layer = await quantizeModel(large, { method: 'rtn', ...quiet }).then(() => large.get('blocks.0.mlp.up') as QuantizedLinear);
    layer.scales.assign(tf.mul(layer.scales, 1e8));
    await expectRefused(large, /has a scale of .* which float16 cannot hold/);
    const low = ownModel('gpt2');
    await quantizeModel(low, { method: 'rtn', bits: 2, groupSize: 8, ...quiet });
    await expect(saveGPTQ(low, folder, { checkpointFormat: 'gptq' })).rejects.toThrow(/'transformer.h.0.attn.c_attn' has no place .* a zero point of 0/);
    const mixed = ownModel('gpt2');
    await quantizeModel(mixed, { method: 'rtn', groupSize: 16, ...quiet });
    const dealt = Int32Array.from({ length: 32 }, (_, i) => i % 2);
    const matrix = { ...roundToNearest(random.normals(1024), { outputs: 32, inputs: 32 }, { bits: 4, groupSize: 16 }), groupIndex: dealt };
    mixed.replace('blocks.0.attention.key', () => new QuantizedLinear(packMatrix(matrix)));
    await expectRefused(mixed, /c_attn.weight' holds .* together, so these must have the same bits and groups/);
  });
});

describe('damaged checkpoints', () => {
  const name = 'llama-4-act';
  const query = 'model.layers.0.self_attn.q_proj';
  const copy = (): string => {
    const folder = newFolder();
    cpSync(root + name, folder, { recursive: true });
    return folder;
  };
  const expectRefused = async (folder: string, message: RegExp): Promise<void> => {
    const tensors = tf.memory().numTensors;
    await expect(loadPretrained(folder, quiet), message.source).rejects.toThrow(message);
    expect(tf.memory().numTensors, message.source).toBe(tensors);
  };

  it.each<readonly [string, unknown, RegExp]>([
    ['bits', 5, /"bits" is 5, but here it must be 2 or 3 or 4 or 8/],
    ['bits', 8, /has qweight \[4, 32\], but with 8 bits and groups of 16 it is \[8, 32\]/],
    ['bits', undefined, /has no "bits"/],
    ['bits', '4', /"bits" is "4"/],
    ['group_size', 32, /has qzeros \[2, 4\], but with 4 bits and groups of 32 it is \[1, 4\]/],
    ['group_size', 24, /has 32 inputs, which groups of 24 do not divide/],
    ['group_size', 0, /"group_size" is 0/],
    ['group_size', -2, /"group_size" is -2/],
    ['group_size', undefined, /has no "group_size"/],
    ['sym', true, /zero point of .*, but symmetric weights \("sym": true\) of 4 bits have 8/],
    ['sym', 'no', /"sym" is "no"/],
    ['desc_act', 1, /"desc_act" is 1/],
    ['checkpoint_format', 'marlin', /"checkpoint_format" is "marlin"/],
    ['quant_method', 'awq', /"quant_method" is "awq"/],
  ])('config: %s becomes %o', async (field, value, message) => {
    const folder = copy();
    for (const [file, inside] of [['config.json', true], ['quantize_config.json', false]] as const) {
      const path = join(folder, file);
      const json = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
      const target = inside ? (json['quantization_config'] as Record<string, unknown>) : json;
      if (value === undefined) delete target[field];
      else target[field] = value;
      writeFileSync(path, JSON.stringify(json));
    }
    await expectRefused(folder, message);
  });

  it('two configs that contradict each other', async () => {
    const folder = copy();
    const path = join(folder, 'quantize_config.json');
    writeFileSync(path, readFileSync(path, 'utf8').replace('"checkpoint_format": "gptq"', '"checkpoint_format": "gptq_v2"'));
    await expectRefused(folder, /says that "checkpoint_format" is "gptq_v2", .* that it is "gptq"/);
  });

  it('symmetric zero points that are one off: the format is not what the config says', async () => {
    const folder = newFolder();
    cpSync(`${root}gpt2-4-sym`, folder, { recursive: true });
    for (const file of ['config.json', 'quantize_config.json']) {
      const path = join(folder, file);
      writeFileSync(path, readFileSync(path, 'utf8').replace('"checkpoint_format": "gptq"', '"checkpoint_format": "gptq_v2"'));
    }
    await expectRefused(folder, /c_attn' has a zero point of 7, .* have 8. One off means that "checkpoint_format" is not "gptq_v2"/);
  });

  const changes: readonly (readonly [string, (tensors: Map<string, StoredTensor>) => void, RegExp])[] = [
    ...(['qweight', 'qzeros', 'scales'] as const).map((part) => [
      `without ${part}`,
      (tensors: Map<string, StoredTensor>) => void tensors.delete(`${query}.${part}`),
      new RegExp(`q_proj' lacks ${part}`),
    ] as const),
    ...(['qweight', 'qzeros', 'scales', 'g_idx'] as const).map((part) => [
      `${part} cut short`,
      (tensors: Map<string, StoredTensor>) => {
        const { dtype, shape, data } = tensors.get(`${query}.${part}`)!;
        const short = [shape[0]! - 1, ...shape.slice(1)];
        tensors.set(`${query}.${part}`, { dtype, shape: short, data: data.slice(0, short.reduce((a, b) => a * b, 1)) });
      },
      new RegExp(`q_proj' has ${part} \\[.*\\], but`),
    ] as const),
    ['scales of another type', (tensors) => {
      const { shape } = tensors.get(`${query}.scales`)!;
      tensors.set(`${query}.scales`, { dtype: 'I32', shape, data: new Int32Array(shape[0]! * shape[1]!) });
    }, /has scales of type I32, not F16/],
    ['a group that there is not', (tensors) => void (tensors.get(`${query}.g_idx`)!.data[3] = 2), /q_proj' is damaged: .*input 3 is in group 2, but there are 2/],
    ['groups of unequal size', (tensors) => void (tensors.get(`${query}.g_idx`)!.data as Int32Array).fill(0), /is damaged: .*group 0 has 32 inputs/],
    ['a scale that is infinite', (tensors) => void (tensors.get(`${query}.scales`)!.data[5] = 0x7c00), /is damaged: .*scale of output 5, group 0 is Infinity/],
    ['a quantized layer that is none of the model', (tensors) => {
      tensors.set('model.layers.7.mlp.up_proj.qweight', { dtype: 'I32', shape: [1], data: new Int32Array(1) });
    }, /'model.layers.7.mlp.up_proj.qweight' is not a part of such a model/],
    ['a norm less', (tensors) => void tensors.delete('model.norm.weight'), /'model.norm.weight' \[32\] is missing/],
    ['no quantized layer at all', (tensors) => {
      for (const key of tensors.keys()) if (/qweight|qzeros|scales|g_idx/.test(key)) tensors.delete(key);
    }, /is quantized, says its config, but has no layer/],
  ];
  it.each(changes)('%s', async (_, change, message) => {
    await expectRefused(await changeTensors(copy(), change), message);
  });

  it('a file cut short', async () => {
    const folder = copy();
    truncateSync(join(folder, 'model.safetensors'), 20000);
    await expectRefused(folder, /model.safetensors/);
  });

  it('without its config it is refused as a model of floats', async () => {
    const folder = copy();
    const { tensors } = await readSafetensors(join(folder, 'model.safetensors'));
    expect(tensors.has(`${query}.qweight`)).toBe(true);
    writeFileSync(join(folder, 'quantize_config.json'), '[]');
    await expectRefused(folder, /does not hold a JSON object/);
  });
});
