/**
 * @file Some of the model's own parameters are trained, in copies: all biases (Ben Zaken et al. 2022, BitFit), or the last
 * layers.
 */
import { tf, type Variable } from '../backend/index.ts';
import type { Module } from '../nn/index.ts';
import { parameter } from '../nn/index.ts';
import { type Change, exchange } from './changes.ts';
import { isLinearLayer } from './wrapper.ts';

/** A parameter and the module that holds it. */
export interface Held {
  readonly holder: Module;
  readonly key: string;
  readonly variable: Variable;
}

/** The parameters of a module and of all below it. */
export function heldBy(module: Module): Held[] {
  return [...module.namedModules()].flatMap(([, holder]) =>
    Object.entries(holder).flatMap(([key, variable]) => (variable instanceof tf.Variable ? [{ holder, key, variable }] : [])),
  );
}

export const isBias = ({ key }: Held): boolean => key === 'bias';

/** Whether a parameter can be trained: floats, and not a size or a table of quantized weights. */
export const isTrainable = (held: Held): boolean =>
  held.variable.dtype === 'float32' && (isBias(held) || !isLinearLayer(held.holder) || held.key === 'weight');

/** Copies in the place of parameters; each once, however many hold it. */
export function trainCopies(parameters: readonly Held[]): Change[] {
  return parameters.map(({ holder, key, variable }) => exchange(holder, key, parameter(variable)));
}
