/**
 * @file From options to changes of a model, method by method. Whatever is bad about the options is found before anything is
 * changed.
 */
import { tf, type Tensor2D } from '../backend/index.ts';
import { LabError, Random } from '../base/index.ts';
import type { Transformer } from '../model/index.ts';
import { Dropout, Embedding, Layer, type Module, normalParameter, parameter } from '../nn/index.ts';
import { HoulsbyAdapter, ParallelAdapter } from './bottleneck.ts';
import { type Change, exchange } from './changes.ts';
import { IA3Linear } from './ia3.ts';
import { DoRALinear, LoRAEmbedding, LoRALinear, loraScale } from './lora.ts';
import type {
  AdapterOptions,
  BitFitOptions,
  IA3Options,
  LastLayersOptions,
  LoRAOptions,
  PartOptions,
  PrefixOptions,
  PromptOptions,
} from './options.ts';
import { Prefix, prefixWidth } from './prefix.ts';
import { heldBy, isBias, isTrainable, trainCopies } from './selective.ts';
import { SoftPrompt } from './soft-prompt.ts';
import { findTargets, isTarget, type Place } from './targets.ts';
import { putVirtualTokens } from './virtual-tokens.ts';
import { AdaptedLinear, isLinearLayer, type LinearLayer } from './wrapper.ts';

/** Changes that are ready to be made, checked against the model. */
export type Plan = () => Change[];

type Planner<O> = (model: Transformer, options: O) => Plan;

const planLoRA: Planner<LoRAOptions> = (model, options) => {
  const { method, rank = 8, alpha = rank, rankStabilized = false, dropout = 0, seed = 0 } = options;
  const isTable = (module: Module): module is Embedding => module instanceof Embedding && module === model.tokenEmbedding;
  const fits = (module: Module): module is LinearLayer | Embedding =>
    isLinearLayer(module) || (method === 'lora' && isTable(module));
  const kind = method === 'lora' ? 'linear layers and the token embedding' : 'linear layers';
  const places = findTargets({ model, method, targets: options.targets ?? ['query', 'value'], fits, kind });
  checkCount(method, 'rank', rank);
  if (!(Number.isFinite(alpha) && alpha > 0)) throw new LabError(`${method}: alpha must be a number above 0, got ${alpha}.`);
  if (!(dropout >= 0 && dropout < 1)) throw new LabError(`${method}: dropout must be at least 0 and below 1, got ${dropout}.`);
  for (const { path, module } of places) checkRank(method, rank, path, module);
  const random = new Random(seed);
  const low = { rank, scale: loraScale(alpha, rank, rankStabilized), dropout };
  return () => {
    checkFree(method, places);
    return places.map(({ holder, key, module }) => {
      const made = isLinearLayer(module)
        ? new (method === 'dora' ? DoRALinear : LoRALinear)(module, low, random.fork())
        : new LoRAEmbedding(module, low, random.fork());
      return exchange(holder, key, made);
    });
  };
};

/** @throws LabError when another part of a hybrid took the place of one of the layers. */
function checkFree(method: string, places: readonly Place[]): void {
  const taken = places.find(({ holder, key, module }) => (holder as Record<string, unknown>)[key] !== module);
  if (taken) throw new LabError(`hybrid: another part adapts '${taken.path}' already; give ${method} other targets.`);
}

function checkRank(method: string, rank: number, path: string, module: LinearLayer | Embedding): void {
  const [rows, columns] = isLinearLayer(module) ? [module.outputs, module.inputs] : module.weight.shape;
  const most = Math.min(rows, columns);
  if (rank <= most) return;
  throw new LabError(
    `${method}: rank ${rank} is more than '${path}' [${rows}, ${columns}] can have; choose at most ${most}, or other targets.`,
  );
}

function checkCount(method: string, name: string, value: number): void {
  if (Number.isInteger(value) && value > 0) return;
  throw new LabError(`${method}: ${name} must be a positive integer, got ${value}.`);
}

const planIA3: Planner<IA3Options> = (model, { method, targets = ['key', 'value', 'down'], feedForward = ['down'] }) => {
  const places = findTargets({ model, method, targets, fits: isLinearLayer, kind: 'linear layers' });
  const scalesInput = (path: string): boolean => feedForward.some((target) => isTarget(target, path));
  return () => {
    checkFree(method, places);
    return places.map(({ path, holder, key, module }) => exchange(holder, key, new IA3Linear(module, scalesInput(path))));
  };
};

const planAdapter: Planner<AdapterOptions> = (model, options) => {
  const { method, size = 8, scale = 1, seed = 0 } = options;
  const { targets = method === 'houlsby' ? ['attention.output', 'blocks.*.mlp'] : ['blocks.*.mlp'] } = options;
  const fits = (module: Module): module is Layer => module instanceof Layer && !(module instanceof Dropout);
  const places = findTargets({ model, method, targets, fits, kind: 'layers' });
  checkCount(method, 'size', size);
  const random = new Random(seed);
  const { width } = model.config;
  return () =>
    places.map(({ holder, key }) => {
      // What an earlier part of a hybrid put there, if one did.
      const base = (holder as Record<string, Layer>)[key]!;
      const [inputs, outputs] = isLinearLayer(base) || base instanceof AdaptedLinear ? sizesOf(base) : [width, width];
      const read = method === 'houlsby' ? outputs : inputs;
      const made = new (method === 'houlsby' ? HoulsbyAdapter : ParallelAdapter)(
        base,
        { inputs: read, outputs, size, scale },
        random,
      );
      return exchange(holder, key, made);
    });
};

function sizesOf(layer: LinearLayer | AdaptedLinear): [inputs: number, outputs: number] {
  const { inputs, outputs } = layer instanceof AdaptedLinear ? layer.base : layer;
  return [inputs, outputs];
}

const planBitFit: Planner<BitFitOptions> = (model, { method, targets }) => {
  const hasBias = (module: Module): module is Module => heldBy(module).some(isBias);
  const question = { model, method, fits: hasBias, kind: 'layers with biases' };
  const modules = targets ? findTargets({ ...question, targets }).map((place) => place.module) : [model];
  const biases = new Map(
    modules
      .flatMap(heldBy)
      .filter(isBias)
      .map((held) => [held.variable, held]),
  );
  if (biases.size === 0)
    throw new LabError('bitfit: this model has no biases. Choose another method, or a model with bias: true.');
  return () => trainCopies([...biases.values()]);
};

const planLastLayers: Planner<LastLayersOptions> = (model, { method, layers = 1, head = true }) => {
  if (!(Number.isInteger(layers) && layers >= 0 && layers <= model.blocks.length)) {
    throw new LabError(`${method}: layers must be 0 … ${model.blocks.length}, the blocks of the model, got ${layers}.`);
  }
  const modules = [
    ...model.blocks.slice(model.blocks.length - layers),
    model.finalNorm,
    ...(head && model.head ? [model.head] : []),
  ];
  const parameters = new Map(
    modules
      .flatMap(heldBy)
      .filter(isTrainable)
      .map((held) => [held.variable, held]),
  );
  return () => trainCopies([...parameters.values()]);
};

const planPrompt: Planner<PromptOptions> = (model, { method, tokens = 8, start = 'random', seed = 0 }) => {
  checkCount(method, 'tokens', tokens);
  checkRoom(method, tokens, model);
  const { vocabSize, width } = model.config;
  const random = new Random(seed);
  if (start === 'random') return () => putVirtualTokens(model, new SoftPrompt(normalParameter([tokens, width], 1, random)));
  const given = start === 'vocabulary' ? Array.from({ length: tokens }, () => random.integer(vocabSize)) : start;
  const bad = given.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabSize));
  if (given.length === 0 || bad !== undefined) {
    throw new LabError(
      `${method}: start must be token ids from 0 to ${vocabSize - 1}, at least one, got [${given.join(', ')}].`,
    );
  }
  const ids = Array.from({ length: tokens }, (_, i) => given[i % given.length]!);
  const vectors = (): Tensor2D => tf.tidy(() => model.tokenEmbedding.forward<Tensor2D>(tf.tensor1d(ids, 'int32')));
  return () => putVirtualTokens(model, new SoftPrompt(parameter(vectors())));
};

const planPrefix: Planner<PrefixOptions> = (model, { method, tokens = 8, hiddenSize, seed = 0 }) => {
  checkCount(method, 'tokens', tokens);
  checkRoom(method, tokens, model);
  if (hiddenSize !== undefined) checkCount(method, 'hiddenSize', hiddenSize);
  const random = new Random(seed);
  const outputs = prefixWidth(model.config);
  return () => {
    const inputs = hiddenSize === undefined ? outputs : model.config.width;
    const prefix = new Prefix(normalParameter([tokens, inputs], 1, random));
    return putVirtualTokens(model, hiddenSize === undefined ? prefix : prefix.withMLP(hiddenSize, outputs, random));
  };
};

function checkRoom(method: string, tokens: number, { config: { contextLength } }: Transformer): void {
  if (tokens < contextLength) return;
  throw new LabError(`${method}: ${tokens} virtual tokens leave no room in a context of ${contextLength}; choose fewer.`);
}

/** In the order in which they are put in: what stands around a layer comes after what replaces it. */
const planners: { readonly [M in PartOptions['method']]: Planner<Extract<PartOptions, { readonly method: M }>> } = {
  lora: planLoRA as Planner<never>,
  dora: planLoRA as Planner<never>,
  ia3: planIA3,
  bitfit: planBitFit,
  'last-layers': planLastLayers,
  houlsby: planAdapter as Planner<never>,
  parallel: planAdapter as Planner<never>,
  prompt: planPrompt,
  prefix: planPrefix,
};

/** @throws LabError for options that do not fit the model, before anything is changed. */
export function planOf(model: Transformer, options: PartOptions): Plan {
  const planner = planners[options.method] as Planner<PartOptions> | undefined;
  if (planner) return planner(model, options);
  throw new LabError(`There is no method '${options.method}'. Methods: ${Object.keys(planners).join(', ')}, hybrid.`);
}

export const methodOrder: readonly string[] = Object.keys(planners);
