/** @file The angles of rotary positions, kept as cosines and sines: the same for every layer, head and text. */

/** For every position S/2 cosines and behind them S/2 sines. */
export interface AngleTable {
  readonly positions: number;
  readonly values: Float32Array;
}

const tables = new Map<string, AngleTable>();

/** At least that many positions; pair i of S/2 turns by position · base^(−2i/S) radians. */
export function angleTable(base: number, headSize: number, positions: number): AngleTable {
  const key = `${base} ${headSize}`;
  const known = tables.get(key);
  if (known && known.positions >= positions) return known;
  const made = makeTable(base, headSize, 2 ** Math.ceil(Math.log2(positions)));
  tables.set(key, made);
  return made;
}

function makeTable(base: number, headSize: number, positions: number): AngleTable {
  const half = headSize / 2;
  const values = new Float32Array(positions * headSize);
  for (let position = 0; position < positions; position++) {
    for (let pair = 0; pair < half; pair++) {
      const angle = position * base ** (-pair / half);
      values[position * headSize + pair] = Math.cos(angle);
      values[position * headSize + half + pair] = Math.sin(angle);
    }
  }
  return { positions, values };
}
