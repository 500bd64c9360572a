/**
 * @file `adapt`: the one way in. The model's own parameters are frozen, and an adaptation is put beside them; it can be taken
 * out, put in again, exchanged for another, merged into the weights, and unmerged.
 */
import type { Variable } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import type { Transformer } from '../model/index.ts';
import { Module } from '../nn/index.ts';
import { type Change, disposeMade, disposeMerged, exchange, putIn, takeOut, variablesOf } from './changes.ts';
import { methodOrder, planOf, type Plan } from './methods.ts';
import type { AdaptationOptions, PartOptions } from './options.ts';
import { isMergeable, type MergeOptions } from './wrapper.ts';

/** What a name stands for. */
export interface Adaptation {
  readonly options: AdaptationOptions;
  /** The parameters that are trained, by their path in the adapted model. */
  readonly parameters: ReadonlyMap<string, Variable>;
  /** What was put into the model, by its path there. */
  readonly modules: ReadonlyMap<string, Module>;
  /** How many numbers the adapted model holds, trained or not. */
  readonly total: number;
}

interface Entry extends Adaptation {
  readonly changes: readonly Change[];
}

export interface AdaptationReport {
  /** Numbers that are trained. */
  readonly trainable: number;
  readonly total: number;
  /** trainable / total */
  readonly share: number;
}

const adapted = new WeakMap<Transformer, Adapted>();

/**
 * Freezes a model and puts an adaptation into it, in place. A second call with another name adds a second adaptation, and
 * puts it in the first one's place.
 *
 * @param options the method and its options, and the adaptation's name ('default' unless told)
 * @example const lora = adapt(model, { method: 'lora', rank: 8, alpha: 16, targets: ['query', 'value'] });
 * @throws LabError before anything is changed, when the options do not fit the model: targets that name nothing (near names are
 *   listed), a rank larger than a layer, a name that is taken.
 */
export function adapt(model: Transformer, options: AdaptationOptions & { readonly name?: string }): Adapted {
  const { name = 'default', ...rest } = options;
  return adaptBy(model, name, rest, () => plansOf(model, rest));
}

/** The same by plans of the caller's own, which are made while no adaptation is in the model: for adaptations from files. */
export function adaptBy(model: Transformer, name: string, options: AdaptationOptions, plans: () => Plan[]): Adapted {
  const handle = adapted.get(model) ?? new Adapted(model);
  handle.addPlanned(name, options, plans);
  adapted.set(model, handle);
  return handle;
}

/** A model with adaptations, of which at most one is in it. */
export class Adapted {
  readonly model: Transformer;
  readonly #entries = new Map<string, Entry>();
  /** The parameters that were frozen before. */
  readonly #frozen: ReadonlySet<Variable>;
  #active: string | null = null;
  /** What merging exchanged; null when nothing is merged. */
  #merged: readonly Change[] | null = null;
  #enabled = false;

  constructor(model: Transformer) {
    this.model = model;
    this.#frozen = new Set(model.parameters({ trainable: false }));
  }

  /** The adaptation that is in use; the one that `enable` would put in, if it is disabled. */
  get active(): string | null {
    return this.#active;
  }

  get names(): string[] {
    return [...this.#entries.keys()];
  }

  get isMerged(): boolean {
    return this.#merged !== null;
  }

  get isEnabled(): boolean {
    return this.#enabled;
  }

  /**
   * Adds an adaptation, and puts it in.
   *
   * @throws LabError for options that do not fit the model; it is unchanged then.
   */
  add(name: string, options: AdaptationOptions): void {
    this.addPlanned(name, options, () => plansOf(this.model, options));
  }

  /** The same by plans of the caller's own: see `adaptBy`. */
  addPlanned(name: string, options: AdaptationOptions, makePlans: () => Plan[]): void {
    if (this.#entries.has(name))
      throw new LabError(`There is an adaptation '${name}' already. Remove it, or choose another name.`);
    if (this.isMerged) throw new LabError(`'${this.#active}' is merged. Unmerge it before adding another adaptation.`);
    const wasEnabled = this.#enabled;
    this.#leave();
    const { model } = this;
    const made: Change[] = [];
    try {
      const plans = makePlans();
      model.freeze();
      for (const plan of plans) made.push(...plan());
    } catch (error) {
      takeOut(made);
      disposeMade(made, new Set(model.parameters()));
      if (this.#entries.size === 0) this.#thaw();
      if (wasEnabled) this.enable();
      throw error;
    }
    const parameters = new Map([...model.namedParameters()].filter(([, variable]) => variable.trainable));
    const put = new Set(made.map(({ after }) => after));
    const modules = new Map([...model.namedModules()].filter(([, module]) => put.has(module)));
    this.#entries.set(name, { options, changes: made, parameters, modules, total: model.parameterCount() });
    this.#active = name;
    this.#enabled = true;
    this.#followTraining();
  }

  /** @throws LabError when there is no such adaptation. */
  get(name = this.#active): Adaptation {
    return this.#entry(name);
  }

  /** How many numbers an adaptation trains, and of how many. */
  report(name = this.#active): AdaptationReport {
    const { parameters, total } = this.#entry(name);
    const trainable = [...parameters.values()].reduce((sum, { size }) => sum + size, 0);
    return { trainable, total, share: trainable / total };
  }

  /** Puts another adaptation in; one that is merged is unmerged first. */
  switch(name: string): void {
    this.#entry(name);
    this.#leave();
    this.#active = name;
    this.enable();
  }

  /** Takes the adaptation out, and keeps it: the model computes what it did before, to the bit. */
  disable(): void {
    this.#leave();
  }

  /** Puts the adaptation in again. */
  enable(): void {
    const { changes } = this.#entry(this.#active);
    if (this.#enabled) return;
    putIn(changes);
    this.#enabled = true;
    this.#followTraining();
  }

  /**
   * Writes the adaptation into the weights: the model computes the same without extra work. The old weights are kept for
   * `unmerge`, which gives them back to the bit.
   *
   * @throws LabError when it is merged already or disabled, for quantized weights (unless `dequantize`), and for methods that
   *   are no change of weights: adapters, soft prompts; the model is unchanged then.
   */
  merge(options: MergeOptions = {}): void {
    const name = this.#active;
    const { changes } = this.#entry(name);
    if (this.#merged) throw new LabError(`'${name}' is merged already: merging twice would add it twice. Unmerge it first.`);
    if (!this.#enabled) throw new LabError(`'${name}' is disabled. Enable it before merging.`);
    this.#checkMerge(changes);
    const made: Change[] = [];
    try {
      for (const { holder, key, after } of changes) {
        if (isMergeable(after)) made.push(exchange(holder, key, after.merged(options)));
      }
    } catch (error) {
      takeOut(made);
      disposeMerged(made);
      throw error;
    }
    this.#merged = made;
    this.#followTraining();
  }

  /** @throws LabError when nothing is merged. */
  unmerge(): void {
    if (!this.#merged) throw new LabError('There is nothing to unmerge: no adaptation is merged.');
    takeOut(this.#merged);
    disposeMerged(this.#merged);
    this.#merged = null;
    this.#followTraining();
  }

  /**
   * Frees an adaptation. Without the last one the model is as it was before `adapt`, and trains what it trained then.
   *
   * @param name the active one unless told
   */
  remove(name = this.#active): void {
    const entry = this.#entry(name);
    if (name === this.#active) {
      this.#leave();
      this.#active = null;
    }
    for (const variable of entry.parameters.values()) variable.dispose();
    this.#entries.delete(name!);
    if (this.#entries.size > 0) return;
    this.#thaw();
    adapted.delete(this.model);
  }

  /**
   * Merges, and lets the adaptation and the old weights go: the model is an ordinary one, which can be saved, quantized or
   * adapted again.
   *
   * @throws LabError as `merge` does, and when there are other adaptations, which are made for the old weights.
   */
  mergeForGood(options: MergeOptions = {}): void {
    const others = this.names.filter((name) => name !== this.#active);
    if (others.length > 0)
      throw new LabError(`Other adaptations were made for the old weights: ${others.join(', ')}. Remove them.`);
    if (!this.#merged) this.merge(options);
    const { model } = this;
    const all = new Set<Variable>(this.get().parameters.values());
    for (const { before, after } of [...this.#entry(this.#active).changes, ...this.#merged!]) {
      for (const value of [before, after]) for (const variable of variablesOf(value)) all.add(variable);
    }
    const kept = new Set(model.parameters());
    for (const variable of all) if (!kept.has(variable)) variable.dispose();
    this.#entries.clear();
    [this.#merged, this.#active, this.#enabled] = [null, null, false];
    this.#thaw();
    adapted.delete(model);
  }

  #entry(name: string | null): Entry {
    const entry = name === null ? undefined : this.#entries.get(name);
    if (entry) return entry;
    const known = this.names.map((other) => `'${other}'`).join(', ') || 'none';
    const what = name === null ? 'No adaptation is in use' : `There is no adaptation '${name}'`;
    throw new LabError(`${what}. There are: ${known}.`);
  }

  #leave(): void {
    if (this.#merged) this.unmerge();
    if (!this.#enabled) return;
    takeOut(this.#entry(this.#active).changes);
    this.#enabled = false;
    this.#followTraining();
  }

  #thaw(): void {
    for (const variable of this.model.parameters()) variable.trainable = !this.#frozen.has(variable);
  }

  /** What was put in drops out or not as the rest of the model does. */
  #followTraining(): void {
    if (this.model.training) this.model.train();
    else this.model.eval();
  }

  #checkMerge(changes: readonly Change[]): void {
    const stranger = changes.find(({ after }) => after instanceof Module && !isMergeable(after));
    if (stranger) {
      const what = stranger.after!.constructor.name;
      throw new LabError(`A ${what} is not a change of weights, so it cannot be merged. It stays beside the model.`);
    }
    const table = changes.find(({ holder, key }) => holder === this.model && key === 'tokenEmbedding');
    if (table && !this.model.head) {
      throw new LabError(
        'The head is tied to the token embedding: merging would change it, too. Adapt other layers, or do not merge.',
      );
    }
  }
}

/** How a model is adapted by these options. @throws LabError for options that do not fit it; nothing is changed yet. */
export function plansOf(model: Transformer, options: AdaptationOptions): Plan[] {
  return partsOf(options).map((part) => planOf(model, part));
}

/** The parts of a hybrid, those that replace a layer before those that stand around one. */
function partsOf(options: AdaptationOptions): PartOptions[] {
  if (options.method !== 'hybrid') return [options];
  if (options.parts.length === 0) throw new LabError('hybrid: there are no parts.');
  const virtual = options.parts.filter(({ method }) => method === 'prompt' || method === 'prefix');
  if (virtual.length > 1) throw new LabError('hybrid: a model can have one soft prompt or one prefix, not two of them.');
  return options.parts.toSorted((a, b) => methodOrder.indexOf(a.method) - methodOrder.indexOf(b.method));
}
