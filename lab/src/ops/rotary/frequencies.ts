/**
 * @file How fast each pair of a rotary embedding turns, and what is done to that to make a context longer than the one that was
 * trained: linear scaling (Chen et al. 2023, Position Interpolation) and that of Llama 3.1 (its model card's `rope_scaling`).
 */
import { LabError } from '../../base/index.ts';

/** Every pair turns `factor` times as slowly: positions are squeezed together. */
export interface LinearScaling {
  readonly type: 'linear';
  readonly factor: number;
}

/**
 * Only the slow pairs turn `factor` times as slowly, those that make fewer than `lowFrequencyFactor` turns over the original
 * context; those that make more than `highFrequencyFactor` stay as they are; between the two there is a smooth passage.
 */
export interface Llama3Scaling {
  readonly type: 'llama3';
  readonly factor: number;
  readonly lowFrequencyFactor: number;
  readonly highFrequencyFactor: number;
  /** The context that was trained, in tokens. */
  readonly originalContextLength: number;
}

export type RotaryScaling = LinearScaling | Llama3Scaling;

/** The angle in radians by which each of the S/2 pairs turns from one position to the next: base^(−2i/S), scaled. */
export function rotaryFrequencies(headSize: number, base: number, scaling: RotaryScaling | null = null): Float64Array {
  const half = headSize / 2;
  const frequencies = Float64Array.from({ length: half }, (_, pair) => base ** (-pair / half));
  return scaling ? frequencies.map((frequency) => scaled(frequency, scaling)) : frequencies;
}

function scaled(frequency: number, scaling: RotaryScaling): number {
  if (scaling.type === 'linear') return frequency / scaling.factor;
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalContextLength } = scaling;
  const turns = (originalContextLength * frequency) / (2 * Math.PI);
  const kept = Math.min(1, Math.max(0, (turns - low) / (high - low)));
  return frequency * (kept + (1 - kept) / factor);
}

/** @throws LabError for numbers that cannot be meant. */
export function checkRotaryScaling(scaling: RotaryScaling): void {
  const refuse = (message: string): never => {
    throw new LabError(`rotaryScaling: ${message}.`);
  };
  if (scaling.type !== 'linear' && scaling.type !== 'llama3') {
    refuse(`type must be 'linear' or 'llama3', got ${JSON.stringify((scaling as { type: unknown }).type)}`);
  }
  const { type: _, ...numbers } = scaling;
  for (const [name, value] of Object.entries(numbers)) {
    if (!(Number.isFinite(value) && value > 0)) refuse(`${name} must be a positive number, got ${value}`);
  }
  if (scaling.type === 'llama3' && !(scaling.highFrequencyFactor > scaling.lowFrequencyFactor)) {
    refuse(`highFrequencyFactor must be above lowFrequencyFactor, got ${scaling.highFrequencyFactor} and ${scaling.lowFrequencyFactor}`);
  }
}
