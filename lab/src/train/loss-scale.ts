/**
 * @file Loss scaling: in float16 a gradient below 2⁻²⁴ is zero. The loss times a large number has gradients that are as much
 * larger; they are divided by it once they are float32. The number is as large as nothing overflows: a step that does is skipped.
 * Micikevicius et al. 2018, section 3.2.
 */
import { invariant, LabError } from '../base/index.ts';

export interface LossScaleOptions {
  /** The first scale, a power of two (default 2¹⁶). */
  readonly initial?: number;
  /** So many steps without overflow double it (default 2000, PyTorch's). */
  readonly growAfter?: number;
}

/** What a checkpoint remembers. */
export interface LossScaleState {
  readonly scale: number;
  /** Steps without overflow since it last changed. */
  readonly goodSteps: number;
}

/** Beyond that the scaled loss itself may overflow. */
const HIGHEST = 2 ** 24;

export class LossScale {
  readonly #growAfter: number;
  #state: LossScaleState;

  /** @throws RangeError for numbers that make no sense */
  constructor({ initial = 2 ** 16, growAfter = 2000 }: LossScaleOptions = {}) {
    invariant(
      Number.isInteger(Math.log2(initial)) && initial >= 1 && initial <= HIGHEST,
      `lossScale: initial must be a power of two from 1 to 2^24, got ${initial}`,
    );
    const counts = Number.isInteger(growAfter) && growAfter > 0;
    invariant(counts, `lossScale: growAfter must be a positive integer, got ${growAfter}`);
    this.#growAfter = growAfter;
    this.#state = { scale: initial, goodSteps: 0 };
  }

  /** What the loss is to be multiplied by. */
  get scale(): number {
    return this.#state.scale;
  }

  get state(): LossScaleState {
    return this.#state;
  }

  set state({ scale, goodSteps }: LossScaleState) {
    invariant(scale >= 1 && Number.isInteger(goodSteps), 'lossScale: not a saved state');
    this.#state = { scale, goodSteps };
  }

  /**
   * Adapts the scale to what came of it: halved after an overflow, doubled after many steps without.
   *
   * @param finite whether all gradients of the step are finite numbers
   * @returns whether the step may be taken
   * @throws LabError when they are not although nothing was scaled up
   */
  update(finite: boolean): boolean {
    const { scale, goodSteps } = this.#state;
    if (!finite) {
      if (scale === 1) {
        throw new LabError(
          'The gradients are not finite, and not for their scale: the loss was multiplied by 1. Try a lower learning rate or ' +
            "precision: 'float32'; checkNumerics(() => train(…)) finds the operation.",
        );
      }
      this.#state = { scale: scale / 2, goodSteps: 0 };
    } else if (goodSteps + 1 === this.#growAfter) {
      this.#state = { scale: Math.min(2 * scale, HIGHEST), goodSteps: 0 };
    } else {
      this.#state = { scale, goodSteps: goodSteps + 1 };
    }
    return finite;
  }
}
