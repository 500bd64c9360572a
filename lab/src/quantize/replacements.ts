/**
 * @file Layers that stand in for others until it is certain that they stay: put in one by one, and all taken back, or the old
 * ones let go.
 */
import type { Module, Linear } from '../nn/index.ts';
import type { QuantizedLayer } from './quantized-linear.ts';

export class Replacements {
  readonly #model: Module;
  readonly #old = new Map<string, Linear>();

  constructor(model: Module) {
    this.#model = model;
  }

  put(path: string, layer: QuantizedLayer): void {
    this.#model.replace(path, (old) => {
      this.#old.set(path, old as Linear);
      return layer;
    });
  }

  /** The model is as it was. */
  undo(): void {
    for (const [path, linear] of this.#old) {
      this.#model.replace(path, (layer) => {
        (layer as QuantizedLayer).disposeWeights();
        return linear;
      });
    }
    this.#old.clear();
  }

  /** The old weights are let go; the biases live on in the new layers. */
  keep(): void {
    for (const { weight } of this.#old.values()) weight.dispose();
    this.#old.clear();
  }
}
