/**
 * @file A model is a tree: modules hold parameters and further modules, and everything in it has a path such as
 * `blocks.0.attention.query.weight`. Whoever knows the paths can save, load, freeze or exchange any part. (PyTorch's nn.Module.)
 *
 * Children and parameters are found by walking a module's own properties: `weight = parameter(…)` is all that it takes.
 */
import { tf, type Tensor, type Variable } from '../backend/index.ts';
import { invariant, LabError } from '../base/index.ts';
import { join, listed, matchesPath } from './path.ts';

/** Choose among parameters. */
export interface ParameterFilter {
  /** true: only those that are trained; false: only the frozen ones; both unless told. */
  readonly trainable?: boolean;
}

export interface LoadStateOptions {
  /** Refuse a state that lacks a parameter or has one too many (default true). */
  readonly strict?: boolean;
}

/** What did not belong together when a state was loaded. */
export interface LoadStateResult {
  /** Parameters of the module that the state does not have. */
  readonly missing: string[];
  /** Names in the state that the module does not have. */
  readonly unexpected: string[];
}

/** One line of a parameter budget. */
export interface ParameterRow {
  readonly path: string;
  readonly shape: readonly number[];
  readonly count: number;
  /** Of all parameters of the module: 0 … 1. */
  readonly share: number;
  readonly trainable: boolean;
}

export abstract class Module {
  /** Whether dropout drops: set through the whole tree by `train()` and `eval()`. */
  training = true;

  /** This module and every one below it with its path, parents first; the path of the module itself is `prefix`. */
  *namedModules(prefix = ''): IterableIterator<[path: string, module: Module]> {
    yield [prefix, this];
    for (const { name, module } of children(this)) yield* module.namedModules(join(prefix, name));
  }

  /** Every parameter with its path. One that is reached by two paths appears once, under the first. */
  namedParameters(): Map<string, Variable> {
    const found = new Map<string, Variable>();
    const seen = new Set<Variable>();
    for (const [path, module] of this.namedModules()) {
      for (const [name, value] of Object.entries(module)) {
        if (!(value instanceof tf.Variable) || seen.has(value)) continue;
        seen.add(value);
        found.set(join(path, name), value);
      }
    }
    return found;
  }

  parameters(filter: ParameterFilter = {}): Variable[] {
    const all = [...this.namedParameters().values()];
    return filter.trainable === undefined ? all : all.filter((variable) => variable.trainable === filter.trainable);
  }

  /** How many numbers the parameters hold. */
  parameterCount(filter: ParameterFilter = {}): number {
    return this.parameters(filter).reduce((sum, variable) => sum + variable.size, 0);
  }

  /** The parameter budget: a row for each parameter, in the order of the tree. */
  parameterTable(): ParameterRow[] {
    const total = this.parameterCount();
    const row = ([path, { shape, size, trainable }]: [string, Variable]) => ({
      path,
      shape: [...shape],
      count: size,
      share: size / total,
      trainable,
    });
    return [...this.namedParameters()].map(row);
  }

  /** The parameter budget as text, a line for each parameter. */
  summary(): string {
    const cells = this.parameterTable().map(({ path, shape, count, share, trainable }) => [
      path,
      `[${shape}]`,
      count.toLocaleString('en'),
      `${(100 * share).toFixed(1)} %`,
      trainable ? '' : 'frozen',
    ]);
    cells.push(['total', '', this.parameterCount().toLocaleString('en'), '', '']);
    const widths = cells[0]!.map((_, column) => Math.max(...cells.map((line) => line[column]!.length)));
    const align = (cell: string, column: number) =>
      column < 2 || column > 3 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!);
    return cells.map((line) => line.map(align).join('  ').trimEnd()).join('\n');
  }

  /**
   * The module at a path, `blocks.0.attention`; '' is this one.
   *
   * @throws LabError when there is none, listing what there is.
   */
  get(path: string): Module {
    const modules = new Map(this.namedModules());
    const found = modules.get(path);
    if (!found) throw new LabError(`There is no module at '${path}'. Modules here: ${listed([...modules.keys()])}`);
    return found;
  }

  /**
   * Puts another module wherever the pattern fits: adapters, quantized layers. The old module is handed to the maker and is
   * not disposed of: an adapter wraps it, a quantized layer disposes of it.
   *
   * @param pattern `blocks.*.attention.query`: `*` is any one step, `**` any number of steps
   * @returns the paths that were replaced
   * @throws LabError when nothing fits.
   */
  replace(pattern: string, make: (old: Module, path: string) => Module): string[] {
    const places = [...descendants(this, '')].filter(({ path }) => matchesPath(pattern, path));
    if (places.length === 0) {
      throw new LabError(
        `Nothing to replace at '${pattern}'. Modules here: ${listed([...this.namedModules()].map(([path]) => path))}`,
      );
    }
    // Inner ones first, so that an outer one is made from what it will hold.
    for (const { path, holder, key, module } of places.toReversed()) {
      const made = make(module, path);
      invariant(made instanceof Module, `replace: what was made for '${path}' is not a Module`);
      holder[key] = module.training ? made.train() : made.eval();
    }
    return places.map(({ path }) => path);
  }

  /**
   * Takes parameters out of training.
   *
   * @param pattern paths of parameters or of modules, then with all below them: `blocks.0`, `**.bias`; everything unless told
   * @returns the paths of the parameters
   * @throws LabError when nothing fits.
   */
  freeze(pattern = '**'): string[] {
    return this.#setTrainable(pattern, false);
  }

  /** Puts parameters back into training; the pattern as in `freeze`. Parameters that are not float32 stay frozen. */
  unfreeze(pattern = '**'): string[] {
    return this.#setTrainable(pattern, true);
  }

  #setTrainable(pattern: string, trainable: boolean): string[] {
    const parameters = [...this.namedParameters()];
    const chosen = parameters.filter(([path]) => matchesPath(pattern, path) || matchesPath(`${pattern}.**`, path));
    if (chosen.length === 0) {
      throw new LabError(`No parameter at '${pattern}'. Parameters here: ${listed(parameters.map(([path]) => path))}`);
    }
    for (const [, variable] of chosen) variable.trainable = trainable && variable.dtype === 'float32';
    return chosen.map(([path]) => path);
  }

  /** Path → the parameter itself, not a copy: what is written into a checkpoint. */
  stateDict(): Map<string, Tensor> {
    return new Map<string, Tensor>(this.namedParameters());
  }

  /**
   * Copies values into the parameters of the same name. Everything is checked before anything is changed.
   *
   * @throws LabError for shapes or types that differ and, when strict, for missing and unexpected names.
   */
  loadStateDict(state: ReadonlyMap<string, Tensor>, { strict = true }: LoadStateOptions = {}): LoadStateResult {
    const parameters = this.namedParameters();
    const missing = [...parameters.keys()].filter((path) => !state.has(path));
    const unexpected = [...state.keys()].filter((path) => !parameters.has(path));
    const problems = strict ? stateProblems(missing, unexpected) : [];
    for (const [path, { shape, dtype }] of parameters) {
      const value = state.get(path);
      if (value && (value.shape.join() !== shape.join() || value.dtype !== dtype)) {
        problems.push(`'${path}' is ${dtype} [${shape}] here, but ${value.dtype} [${value.shape}] in the state`);
      }
    }
    if (problems.length > 0) throw new LabError(`These parameters do not fit this model: ${listed(problems, '; ')}`);
    for (const [path, variable] of parameters) {
      const value = state.get(path);
      // A product, because assigning or cloning would share memory with the state.
      if (value) tf.tidy(() => variable.assign(tf.mul(value, tf.scalar(1, value.dtype as 'float32'))));
    }
    return { missing, unexpected };
  }

  /** Everything below from now on behaves as in training. */
  train(): this {
    return this.#setTraining(true);
  }

  /** Everything below from now on behaves as in use: dropout does nothing. */
  eval(): this {
    return this.#setTraining(false);
  }

  #setTraining(training: boolean): this {
    for (const [, module] of this.namedModules()) module.training = training;
    return this;
  }

  /** Frees every parameter of the tree. */
  dispose(): void {
    for (const variable of this.parameters()) variable.dispose();
  }
}

/** A module that turns one tensor into another: what can stand where a `Linear`, a norm or an MLP stands. */
export abstract class Layer extends Module {
  abstract forward<T extends Tensor>(x: T): T;
}

/** A place in the tree: `holder[key]` is the module. */
interface Place {
  readonly name: string;
  readonly holder: Record<string, Module>;
  readonly key: string;
  readonly module: Module;
}

function* children(parent: Module): Generator<Place> {
  for (const [name, value] of Object.entries(parent)) {
    if (value instanceof Module) {
      yield { name, holder: parent as unknown as Record<string, Module>, key: name, module: value };
    } else if (Array.isArray(value)) {
      for (const [key, item] of Object.entries(value as unknown[])) {
        if (item instanceof Module)
          yield { name: `${name}.${key}`, holder: value as unknown as Record<string, Module>, key, module: item };
      }
    }
  }
}

function* descendants(parent: Module, prefix: string): Generator<Place & { readonly path: string }> {
  for (const place of children(parent)) {
    const path = join(prefix, place.name);
    yield { ...place, path };
    yield* descendants(place.module, path);
  }
}

function stateProblems(missing: readonly string[], unexpected: readonly string[]): string[] {
  return [
    ...missing.map((path) => `'${path}' is missing in the state`),
    ...unexpected.map((path) => `'${path}' is not in this model`),
  ];
}
