/** @file The angles of rotary positions, kept as cosines and sines: the same for every layer, head and text. */
import { rotaryFrequencies, type RotaryScaling } from './frequencies.ts';

/** For every position S/2 cosines and behind them S/2 sines. */
export interface AngleTable {
  readonly positions: number;
  readonly values: Float32Array;
}

const tables = new Map<string, AngleTable>();

/** At least that many positions. */
export function angleTable(base: number, headSize: number, positions: number, scaling: RotaryScaling | null = null): AngleTable {
  const key = JSON.stringify([base, headSize, scaling]);
  const known = tables.get(key);
  if (known && known.positions >= positions) return known;
  const made = makeTable(rotaryFrequencies(headSize, base, scaling), 2 ** Math.ceil(Math.log2(positions)));
  tables.set(key, made);
  return made;
}

function makeTable(frequencies: Float64Array, positions: number): AngleTable {
  const half = frequencies.length;
  const values = new Float32Array(positions * 2 * half);
  for (let position = 0; position < positions; position++) {
    for (let pair = 0; pair < half; pair++) {
      const angle = position * frequencies[pair]!;
      values[position * 2 * half + pair] = Math.cos(angle);
      values[position * 2 * half + half + pair] = Math.sin(angle);
    }
  }
  return { positions, values };
}
