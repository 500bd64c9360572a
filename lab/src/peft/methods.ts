/**
 * @file From options to changes of a model, method by method. Whatever is bad about the options is found before anything is changed.
 */
import { LabError, Random } from '../base/index.ts';
import type { Transformer } from '../model/index.ts';
import { Embedding, type Module } from '../nn/index.ts';
import { type Change, exchange } from './changes.ts';
import { IA3Linear } from './ia3.ts';
import { DoRALinear, LoRAEmbedding, LoRALinear, loraScale } from './lora.ts';
import type { IA3Options, LoRAOptions, PartOptions } from './options.ts';
import { findTargets, isTarget } from './targets.ts';
import { isLinearLayer, type LinearLayer } from './wrapper.ts';

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
  return () =>
    places.map(({ holder, key, module }) => {
      const made = isLinearLayer(module)
        ? new (method === 'dora' ? DoRALinear : LoRALinear)(module, low, random.fork())
        : new LoRAEmbedding(module, low, random.fork());
      return exchange(holder, key, made);
    });
};

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
  return () => places.map(({ path, holder, key, module }) => exchange(holder, key, new IA3Linear(module, scalesInput(path))));
};

/** In the order in which they are put in: what stands around a layer comes after what replaces it. */
const planners: { readonly [M in PartOptions['method']]: Planner<Extract<PartOptions, { readonly method: M }>> } = {
  lora: planLoRA as Planner<never>,
  dora: planLoRA as Planner<never>,
  ia3: planIA3,
} as never;

/** @throws LabError for options that do not fit the model, before anything is changed. */
export function planOf(model: Transformer, options: PartOptions): Plan {
  const planner = planners[options.method] as Planner<PartOptions> | undefined;
  if (planner) return planner(model, options);
  throw new LabError(`There is no method '${options.method}'. Methods: ${Object.keys(planners).join(', ')}, hybrid.`);
}

export const methodOrder: readonly string[] = Object.keys(planners);
