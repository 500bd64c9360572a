/** @file Attention over blocks and writing into slots: against float64, on every backend, the same bits in any company. */
import {
  NO_SLOT,
  pagedAttention,
  pagedAttentionReference,
  Random,
  scatterRows,
  scatterRowsReference,
  tf,
  type PagedRow,
  type Tensor3D,
  type Tensor4D,
} from 'lab';
import { describe, expect, it } from 'vitest';
import { onEveryBackend, relativeError } from './core-fixture.ts';

interface Case {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly blockSize: number;
  readonly blocks: number;
  /** How many keys each row sees. */
  readonly keys: readonly number[];
  readonly scale?: number;
}

const cases: Record<string, Case> = {
  'one row, one key': { heads: 1, keyValueHeads: 1, headSize: 4, blockSize: 4, blocks: 2, keys: [1] },
  'rows of every length': {
    heads: 2,
    keyValueHeads: 2,
    headSize: 16,
    blockSize: 4,
    blocks: 9,
    keys: [1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 32, 33],
  },
  'grouped queries': { heads: 6, keyValueHeads: 2, headSize: 8, blockSize: 16, blocks: 12, keys: [17, 150, 16] },
  'one key/value head': { heads: 5, keyValueHeads: 1, headSize: 20, blockSize: 8, blocks: 6, keys: [40, 13] },
  'odd head size': { heads: 2, keyValueHeads: 1, headSize: 5, blockSize: 4, blocks: 6, keys: [11, 24] },
  'more keys than a split': { heads: 2, keyValueHeads: 1, headSize: 16, blockSize: 16, blocks: 50, keys: [255, 256, 257, 700] },
  'blocks as large as a split': { heads: 1, keyValueHeads: 1, headSize: 8, blockSize: 256, blocks: 3, keys: [300, 5] },
  'rows that see nothing': { heads: 2, keyValueHeads: 2, headSize: 8, blockSize: 4, blocks: 3, keys: [0, 7, 0] },
  'a block size without a kernel': { heads: 2, keyValueHeads: 1, headSize: 8, blockSize: 6, blocks: 5, keys: [13, 29] },
  'a scale, also a negative one': {
    heads: 2,
    keyValueHeads: 1,
    headSize: 8,
    blockSize: 4,
    blocks: 5,
    keys: [13, 17],
    scale: -0.7,
  },
};

interface Inputs {
  readonly q: Tensor3D;
  readonly room: { readonly k: Tensor4D; readonly v: Tensor4D };
  readonly rows: PagedRow[];
}

function inputsOf({ heads, keyValueHeads, headSize, blockSize, blocks, keys }: Case, seed = 1): Inputs {
  const random = new Random(seed);
  const room = (): Tensor4D => {
    const values = random.normals(keyValueHeads * blocks * blockSize * headSize, 2);
    return tf.tensor4d(values, [1, keyValueHeads, blocks * blockSize, headSize]);
  };
  const rows = keys.map((count) => {
    const table = random.shuffle(Array.from({ length: blocks }, (_, block) => block));
    return { keys: count, table: table.slice(0, Math.ceil(count / blockSize)) };
  });
  return {
    q: tf.tensor3d(random.normals(keys.length * heads * headSize, 2), [keys.length, heads, headSize]),
    room: { k: room(), v: room() },
    rows,
  };
}

/** In float64, by the definition. */
function exact(
  { heads, keyValueHeads, headSize, blockSize, blocks, scale = 1 / Math.sqrt(headSize) }: Case,
  { q, room, rows }: Inputs,
): number[] {
  const [queries, keys, values] = [q.dataSync(), room.k.dataSync(), room.v.dataSync()];
  return rows.flatMap((row, n) =>
    Array.from({ length: heads }, (_, head) => {
      const shared = Math.floor(head / (heads / keyValueHeads));
      const at = Array.from({ length: row.keys }, (_k, u) => {
        const slot = row.table[Math.floor(u / blockSize)]! * blockSize + (u % blockSize);
        return (shared * blocks * blockSize + slot) * headSize;
      });
      const scores = at.map((from) => {
        let product = 0;
        for (let d = 0; d < headSize; d++) product += queries[(n * heads + head) * headSize + d]! * keys[from + d]!;
        return product * scale;
      });
      const most = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - most));
      const mass = weights.reduce((a, b) => a + b, 0) || 1;
      return Array.from({ length: headSize }, (_d, d) =>
        weights.reduce((sum, weight, u) => sum + (weight / mass) * values[at[u]! + d]!, 0),
      );
    }).flat(),
  );
}

onEveryBackend(() => {
  for (const [name, one] of Object.entries(cases)) {
    it(`attention over blocks: ${name}`, () => {
      const inputs = inputsOf(one);
      const options = { blockSize: one.blockSize, ...(one.scale !== undefined && { scale: one.scale }) };
      const expected = exact(one, inputs);
      for (const f of [pagedAttention, pagedAttentionReference]) {
        const received = f(inputs.q, inputs.room, inputs.rows, options);
        expect(received.shape).toEqual(inputs.q.shape);
        expect(relativeError(received.dataSync(), expected), f.name).toBeLessThanOrEqual(1e-5);
      }
      const [a, b] = [0, 1].map(() => pagedAttention(inputs.q, inputs.room, inputs.rows, options).dataSync());
      expect(a).toEqual(b);
    });
  }

  it('what a row gets is the same bits in any company', () => {
    const one = cases['more keys than a split']!;
    const { q, room, rows } = inputsOf(one);
    const together = pagedAttention(q, room, rows, one).dataSync();
    for (const [n, row] of rows.entries()) {
      const alone = pagedAttention(tf.slice(q, [n, 0, 0], [1, 2, 16]), room, [row], one).dataSync();
      expect(alone).toEqual(together.slice(n * 32, (n + 1) * 32));
    }
  });

  it('NaN stays in its row', () => {
    const one = { ...cases['grouped queries']!, keys: [20, 33, 20] };
    const { q, room, rows } = inputsOf(one);
    const broken = q.dataSync().slice();
    broken[6 * 8 + 3] = NaN; // row 1, head 0
    const received = pagedAttention(tf.tensor3d(broken, q.shape), room, rows, one).dataSync();
    const whole = pagedAttention(q, room, rows, one).dataSync();
    expect(received.slice(48, 56).every(Number.isNaN)).toBe(true);
    expect([...received.slice(0, 48), ...received.slice(96)]).toEqual([...whole.slice(0, 48), ...whole.slice(96)]);
  });

  it('rows are written to their slots, and nothing else is', () => {
    const random = new Random(3);
    const rows = (): Tensor3D => tf.tensor3d(random.normals(7 * 3 * 5), [7, 3, 5]);
    for (const slots of [
      [4, 5, 6, 0, NO_SLOT, 11, 1],
      [0, 1, 2, 3, 4, 5, 6],
      [11, 9, 7, 5, 3, 1, 0],
      new Array<number>(7).fill(NO_SLOT),
    ]) {
      const [k, v] = [rows(), rows()];
      const make = (): Tensor4D => tf.tensor4d(new Random(8).normals(3 * 12 * 5), [1, 3, 12, 5]);
      const room = { k: make(), v: make() };
      const expected = scatterRowsReference({ k: make(), v: make() }, k, v, slots);
      const written = scatterRows(room, k, v, slots);
      expect(written.k.dataSync()).toEqual(expected.k.dataSync());
      expect(written.v.dataSync()).toEqual(expected.v.dataSync());
      const before = make().arraySync()[0]!;
      for (const [head, kept] of written.k.arraySync()[0]!.entries()) {
        for (const [slot, values] of kept.entries()) {
          const row = slots.indexOf(slot);
          expect(values).toEqual(row < 0 ? before[head]![slot] : k.arraySync()[row]![head]);
        }
      }
      // A room that somebody else holds, too, is left as it is.
      const [shared, clone] = [{ k: make(), v: make() }, make()];
      const other = tf.clone(shared.k);
      scatterRows(shared, k, v, slots);
      expect(other.dataSync()).toEqual(clone.dataSync());
    }
  });
});

describe('what does not belong together', () => {
  const one = cases['grouped queries']!;

  it('is refused by name', () => {
    const { q, room, rows } = inputsOf(one);
    expect(() => pagedAttention(q, room, rows.slice(1), one)).toThrow(/queries are \[3,6,8\], but there are 2 rows/);
    expect(() => pagedAttention(q, room, rows, { blockSize: 7 })).toThrow(/in blocks of 7 do not belong together/);
    expect(() => pagedAttention(q, room, [rows[0]!, { keys: 17, table: [1] }, rows[2]!], one)).toThrow(
      /row 1 sees 17 keys, but has 1 blocks of 16/,
    );
    expect(() => pagedAttention(q, room, [rows[0]!, rows[1]!, { keys: 3, table: [12] }], one)).toThrow(
      /row 2 has block 12, but there are 12/,
    );
    const k = tf.zeros<tf.Rank.R3>([2, 2, 8]);
    expect(() => scatterRows(room, k, k, [1])).toThrow(/must be \[1,2,8\], for 1 slots/);
    expect(() => scatterRows(room, k, k, [1, 192])).toThrow(/slot 192 is none of 0 … 191/);
    expect(() => tf.grads((x) => pagedAttention(x as Tensor3D, room, rows, one))([q])).toThrow(/no gradient/);
  });
});
