/**
 * @file A whole model: its linear layers, block by block, are quantized and replaced. With calibration data every block is
 * given what the blocks before it make of the data when they are quantized already, so that later layers make up for earlier
 * errors. Frantar et al. 2022 (GPTQ), section 4, setup.
 */
import { interruptible, LabError, Progress, type Interruption } from '../base/index.ts';
import type { Transformer } from '../model/index.ts';
import { Linear, matchesPath } from '../nn/index.ts';
import { BIT_WIDTHS } from '../ops/index.ts';
import { Streams, watchInputs, type CalibrationBatch, type InputGroup } from './calibration.ts';
import { relativeOutputError } from './hessian.ts';
import { groupLength } from './matrix.ts';
import {
  methods,
  QUANTIZATION_METHODS,
  type CalibratedInputs,
  type MadeLayer,
  type MethodOptions,
  type NamedLinear,
  type QuantizationMethod,
} from './methods.ts';
import { QuantizedLayer } from './quantized-linear.ts';
import { Replacements } from './replacements.ts';

export interface QuantizeModelOptions extends MethodOptions {
  readonly method: QuantizationMethod;
  /** 'float16' unless told here, so that a GPTQ checkpoint (`saveGPTQ`) holds the very model. */
  readonly scales?: 'float32' | 'float16';
  /**
   * Which linear layers: a pattern as in `model.replace`; those of all blocks unless told ('blocks.**'). Embeddings, norms and
   * a tied head stay as they are.
   */
  readonly layers?: string;
  /** Text that the model should do well on (`calibrationBatches`). GPTQ and AWQ need it; others measure their error with it. */
  readonly calibration?: readonly CalibrationBatch[];
  /**
   * Within a block, too, every layer is given what quantized ones make: query, key and value first, then the output, and so on.
   * A run of the data for each of them (default false, as in the paper).
   */
  readonly trueSequential?: boolean;
  /** Stops it from outside; the model is unchanged then. An interrupt (Ctrl-C, ■) does the same. */
  readonly signal?: AbortSignal;
  readonly quiet?: boolean;
}

export interface LayerReport {
  readonly path: string;
  readonly outputs: number;
  readonly inputs: number;
  /** Of the layer's output on the calibration data, or without such of the weights: ‖difference‖² / ‖original‖². */
  readonly error: number;
  readonly errorOf: 'outputs' | 'weights';
  /** Codes, and their share of scales and zero points. */
  readonly bitsPerWeight: number;
  /** GPTQ: the damping it took, as a share of the mean of diag(H). */
  readonly damping?: number;
  /** AWQ: the power of the inputs' sizes that did best. */
  readonly power?: number;
  readonly seconds: number;
}

export interface QuantizationReport {
  readonly layers: readonly LayerReport[];
  /** What the weights of these layers took, and what they take now, in bytes. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  readonly seconds: number;
}

/**
 * Quantizes a model in place: its `Linear` layers become `QuantizedLinear` (or `NF4Linear`), and their floats are freed. Either
 * all of them, or, when anything fails or it is interrupted, none: the model is unchanged then.
 *
 * @example await quantizeModel(model, { method: 'gptq', bits: 4, groupSize: 128, calibration });
 * @throws LabError naming the layer: groups that do not divide its inputs, weights that are not finite, a Hessian that cannot
 * be used; also for no calibration data, options that do not go together, and when it is interrupted.
 */
export async function quantizeModel(model: Transformer, options: QuantizeModelOptions): Promise<QuantizationReport> {
  const layers = chosenLayers(model, options);
  checkOptions(options, layers);
  const work = new Quantization(model, layers, { scales: 'float16', ...options });
  const wasTraining = model.training;
  model.eval();
  try {
    return await interruptible((signal) => work.run(signal));
  } finally {
    if (wasTraining) model.train();
  }
}

class Quantization {
  readonly #model: Transformer;
  readonly #layers: readonly NamedLinear[];
  readonly #options: QuantizeModelOptions;
  readonly #replacements: Replacements;
  readonly #progress: Progress;
  readonly #reports: LayerReport[] = [];
  #signal!: Interruption;
  #done = 0;
  #bytes = 0;

  constructor(model: Transformer, layers: readonly NamedLinear[], options: QuantizeModelOptions) {
    this.#model = model;
    this.#layers = layers;
    this.#options = options;
    this.#replacements = new Replacements(model);
    const { quiet = false } = options;
    this.#progress = new Progress({ total: sizeOf(layers), label: 'quantizing', unit: 'weights', quiet });
  }

  async run(signal: Interruption): Promise<QuantizationReport> {
    const started = performance.now();
    this.#signal = signal;
    try {
      if (this.#options.calibration) await this.#quantizeBlocks(this.#options.calibration);
      else await this.#quantizeLayers(this.#layers, null);
    } catch (error) {
      this.#replacements.undo();
      throw error;
    }
    this.#replacements.keep();
    this.#progress.done();
    const seconds = (performance.now() - started) / 1000;
    return { layers: this.#reports, bytesBefore: 4 * sizeOf(this.#layers), bytesAfter: this.#bytes, seconds };
  }

  async #quantizeBlocks(calibration: readonly CalibrationBatch[]): Promise<void> {
    const streams = new Streams(this.#model, calibration);
    try {
      for (let block = 0; block < this.#model.blocks.length; block++) {
        const layers = this.#layers.filter(({ path }) => path.startsWith(`blocks.${block}.`));
        if (layers.length > 0) await this.#quantizeBlock(streams, block, layers);
        if (block === this.#model.blocks.length - 1) break;
        for (let batch = 0; batch < streams.length; batch++) {
          streams.replace(batch, streams.through(block, batch));
          await this.#breathe();
        }
      }
    } finally {
      streams.dispose();
    }
  }

  async #quantizeBlock(streams: Streams, block: number, layers: readonly NamedLinear[]): Promise<void> {
    const runs = Array.from({ length: streams.length }, (_, batch) => async () => {
      streams.through(block, batch).dispose();
      await this.#breathe();
    });
    const paths = layers.map(({ path }) => path);
    if (!this.#options.trueSequential) return this.#quantizeGroups(await watchInputs(this.#model, paths, runs));
    // One batch tells which layers go together.
    const together = await watchInputs(this.#model, paths, runs.slice(0, 1));
    for (const { statistics } of together) statistics.dispose();
    for (const group of together) await this.#quantizeGroups(await watchInputs(this.#model, group.paths, runs));
  }

  async #quantizeGroups(groups: readonly InputGroup[]): Promise<void> {
    try {
      for (const { paths, statistics } of groups) {
        const inputs = { hessian: await statistics.values(), meanSizes: await statistics.meanSizes() };
        await this.#quantizeLayers(
          paths.map((path) => this.#layers.find((layer) => layer.path === path)!),
          inputs,
        );
      }
    } finally {
      for (const { statistics } of groups) statistics.dispose();
    }
  }

  async #quantizeLayers(layers: readonly NamedLinear[], inputs: CalibratedInputs | null): Promise<void> {
    for await (const made of methods[this.#options.method](layers, this.#options, inputs)) {
      this.#replacements.put(made.path, made.layer);
      this.#reports.push(await reportOf(made, inputs));
      this.#bytes += made.layer.bytes;
      this.#progress.update((this.#done += made.weights.length), made.path);
      await this.#breathe();
    }
  }

  async #breathe(): Promise<void> {
    await this.#signal.breathe();
    if (this.#signal.stopped || this.#options.signal?.aborted) {
      throw new LabError('Quantization was interrupted; the model is unchanged.');
    }
  }
}

async function reportOf(made: MadeLayer, inputs: CalibratedInputs | null): Promise<LayerReport> {
  const { path, layer, weights, quantized, seconds, damping, power } = made;
  return {
    path,
    outputs: layer.outputs,
    inputs: layer.inputs,
    error: inputs ? await relativeOutputError(weights, quantized, inputs.hessian) : relativeError(quantized, weights),
    errorOf: inputs ? 'outputs' : 'weights',
    bitsPerWeight: layer.bitsPerWeight,
    ...(damping !== undefined && { damping }),
    ...(power !== undefined && { power }),
    seconds,
  };
}

function relativeError(found: Float32Array, original: Float32Array): number {
  let [noise, signal] = [0, 0];
  for (let i = 0; i < original.length; i++) {
    noise += (found[i]! - original[i]!) ** 2;
    signal += original[i]! ** 2;
  }
  return signal > 0 ? noise / signal : 0;
}

const sizeOf = (layers: readonly NamedLinear[]): number =>
  layers.reduce((sum, { linear }) => sum + linear.outputs * linear.inputs, 0);

function chosenLayers(model: Transformer, { layers = 'blocks.**' }: QuantizeModelOptions): NamedLinear[] {
  const chosen: NamedLinear[] = [];
  for (const [path, module] of model.namedModules()) {
    if (!matchesPath(layers, path)) continue;
    if (module instanceof QuantizedLayer) throw new LabError(`'${path}' is quantized already; begin with a model of floats.`);
    if (module.constructor === Linear) chosen.push({ path, linear: module as Linear });
  }
  if (chosen.length === 0) throw new LabError(`There is no Linear layer to quantize at '${layers}'.`);
  return chosen;
}

/** @throws LabError for what can be known to fail before anything is done. */
function checkOptions(options: QuantizeModelOptions, layers: readonly NamedLinear[]): void {
  const { method, bits = 4, groupSize = method === 'nf4' ? 64 : 'row', calibration, trueSequential } = options;
  const refuse = (message: string): never => {
    throw new LabError(`quantizeModel: ${message}`);
  };
  const known = QUANTIZATION_METHODS.join(', ');
  if (!QUANTIZATION_METHODS.includes(method)) refuse(`method must be ${known}, got '${method as string}'.`);
  if (!BIT_WIDTHS.includes(bits)) refuse(`bits must be one of ${BIT_WIDTHS.join(', ')}, got ${bits}.`);
  if (method === 'nf4' && bits !== 4) refuse(`NF4 has 4 bits, got ${bits}.`);
  if (groupSize === 'tensor' && method !== 'rtn') refuse("groupSize 'tensor' is for method 'rtn' alone.");
  for (const { path, linear } of layers) {
    try {
      groupLength(groupSize, linear.inputs);
    } catch (error) {
      throw new LabError(`'${path}' cannot be quantized: ${(error as Error).message}.`, { cause: error });
    }
  }
  const tokens = calibration?.reduce((sum, { inputs }) => sum + inputs.length, 0);
  if (tokens === 0) refuse('the calibration data is empty. Give some text: calibrationBatches(dataset, …).');
  if (calibration === undefined && (method === 'gptq' || method === 'awq')) {
    refuse(`method '${method}' needs calibration data: calibrationBatches(dataset, …).`);
  }
  if (calibration === undefined && trueSequential) refuse('trueSequential needs calibration data.');
  const stray = calibration && layers.find(({ path }) => !/^blocks\.\d+\./.test(path));
  if (stray) {
    const advice = "leave it out, or use 'rtn' or 'nf4' without calibration";
    refuse(`'${stray.path}' is not in a block, so it cannot be calibrated; ${advice}.`);
  }
}
