/**
 * @file The random numbers inside a model (dropout): found by walking its modules, saved and put back by their paths.
 */
import { LabError, Random, type RandomState } from '../base/index.ts';
import type { Trainable } from './gradients.ts';

/** Every stream of random numbers that a module of the model owns, by path: `blocks.0.dropout.random`. */
function streams(model: Trainable): Map<string, Random> {
  const found = new Map<string, Random>();
  for (const [path, module] of model.namedModules?.() ?? []) {
    for (const [name, value] of Object.entries(module)) {
      if (value instanceof Random) found.set(path === '' ? name : `${path}.${name}`, value);
    }
  }
  return found;
}

/** Plain data for a checkpoint. */
export function randomStates(model: Trainable): Record<string, RandomState> {
  return Object.fromEntries([...streams(model)].map(([path, random]) => [path, random.state]));
}

/** @throws LabError when the model has a stream that the saved states lack. */
export function restoreRandomStates(model: Trainable, states: Readonly<Record<string, RandomState>>): void {
  for (const [path, random] of streams(model)) {
    const state = states[path];
    if (!state)
      throw new LabError(`The checkpoint does not say where the random numbers of ${path} were: it fits another model.`);
    random.state = state;
  }
}
