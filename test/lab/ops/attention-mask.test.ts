/**
 * @file Masks as ranges: what a query sees and what a key is seen by are the same thing, and tiles are skipped exactly when
 * they may be.
 */
import { dropoutFactors, isVisible, tileKind, tileMap, visibility, type MaskRule } from 'lab';
import { describe, expect, it } from 'vitest';

const rules: Record<string, { rule: MaskRule; queries: number; keys: number; batch?: number }> = {
  'no mask': { rule: {}, queries: 5, keys: 7 },
  causal: { rule: { causal: true }, queries: 9, keys: 9 },
  'causal, more keys': { rule: { causal: true }, queries: 4, keys: 11 },
  'causal, more queries': { rule: { causal: true }, queries: 11, keys: 4 },
  window: { rule: { window: { left: 2, right: 1 } }, queries: 10, keys: 12 },
  'causal window': { rule: { causal: true, window: { left: 3, right: 5 } }, queries: 12, keys: 12 },
  documents: {
    rule: {
      documents: {
        queries: [
          [0, 3, 8],
          [0, 10],
        ],
      },
    },
    queries: 12,
    keys: 12,
    batch: 2,
  },
  'documents of rectangles, causal': {
    rule: { causal: true, documents: { queries: [[0, 4, 4, 9]], keys: [[0, 2, 6, 13]] } },
    queries: 10,
    keys: 14,
  },
};

const matrix = (mask: ReturnType<typeof visibility>, row = 0): string[] =>
  Array.from({ length: mask.queries }, (_, t) =>
    Array.from({ length: mask.keys }, (_, u) => (isVisible(mask, row, t, u) ? 'x' : '.')).join(''),
  );

describe('visibility', () => {
  it('draws what is meant', () => {
    expect(matrix(visibility({ causal: true }, 2, 4))).toEqual(['xxx.', 'xxxx']);
    expect(matrix(visibility({ causal: true }, 4, 2))).toEqual(['..', '..', 'x.', 'xx']);
    expect(matrix(visibility({ window: { left: 1, right: 0 } }, 3, 4))).toEqual(['xx..', '.xx.', '..xx']);
    expect(matrix(visibility({ window: { left: 0, right: 2 }, causal: true }, 3, 3))).toEqual(['x..', '.x.', '..x']);
    expect(matrix(visibility({ causal: true, documents: { queries: [[0, 2, 5]] } }, 6, 6))).toEqual(
      'x..... xx.... ..x... ..xx.. ..xxx. ......'.split(' '),
    );
    expect(matrix(visibility({ causal: true, documents: { queries: [[0, 1, 3]], keys: [[0, 2, 3]] } }, 3, 3))).toEqual([
      'xx.',
      '...',
      '..x',
    ]);
  });

  it('has a table for each row of the batch where their documents differ', () => {
    const mask = visibility(
      {
        documents: {
          queries: [
            [0, 1, 3],
            [0, 2, 3],
          ],
        },
      },
      3,
      3,
      2,
    );
    expect([matrix(mask, 0), matrix(mask, 1)]).toEqual([
      ['x..', '.xx', '.xx'],
      ['xx.', 'xx.', '..x'],
    ]);
  });

  it.each(Object.entries(rules))(
    'says the same from the side of the keys, in ranges that only move forward: %s',
    (_, { rule, queries, keys, batch }) => {
      const mask = visibility(rule, queries, keys, batch);
      for (let row = 0; row < mask.rows; row++) {
        for (let u = 0; u < keys; u++) {
          const [start, end] = mask.ofKeys.subarray(3 * (row * keys + u));
          for (let t = 0; t < queries; t++)
            expect(start! <= t && t < end!, `row ${row}, query ${t}, key ${u}`).toBe(isVisible(mask, row, t, u));
        }
        for (const [table, length] of [
          [mask.ofQueries, queries],
          [mask.ofKeys, keys],
        ] as const) {
          for (let i = 3 * (row * length + 1); i < 3 * (row + 1) * length; i += 3) {
            expect(table[i]! >= table[i - 3]! && table[i + 1]! >= table[i - 2]!, `row ${row}, ${i / 3}`).toBe(true);
          }
        }
      }
    },
  );
});

describe('tiles', () => {
  it.each(Object.entries(rules))(
    'skipped means nothing is seen, full that all is, and nothing that is seen is skipped: %s',
    (_, { rule, queries, keys, batch }) => {
      const mask = visibility(rule, queries, keys, batch);
      for (let row = 0; row < mask.rows; row++) {
        const seen = matrix(mask, row);
        for (let t = 0; t < queries; t += 3) {
          for (let u = 0; u < keys; u += 4) {
            const [tEnd, uEnd] = [Math.min(queries, t + 3), Math.min(keys, u + 4)];
            const entries = seen
              .slice(t, tEnd)
              .map((line) => line.slice(u, uEnd))
              .join('');
            const kind = tileKind(mask, row, [t, tEnd], [u, uEnd]);
            if (kind === 'skipped') expect(entries).not.toContain('x');
            expect(kind === 'full').toBe(!entries.includes('.'));
          }
        }
      }
    },
  );

  it('of a causal mask: full below the diagonal, partial on it, skipped above', () => {
    expect(tileMap(visibility({ causal: true }, 6, 6), 2, 2)).toEqual([
      ['partial', 'skipped', 'skipped'],
      ['full', 'partial', 'skipped'],
      ['full', 'full', 'partial'],
    ]);
  });
});

describe('dropoutFactors', () => {
  it('keeps the share that is asked for, and scales it up', () => {
    const factors = dropoutFactors({ rate: 0.2, seed: 1 }, 4, 50, 100);
    const kept = factors.filter((x) => x > 0);
    expect(Math.abs(kept.length / factors.length - 0.8)).toBeLessThan(0.01); // four standard deviations
    expect(new Set(kept)).toEqual(new Set([Math.fround(1.25)]));
  });

  it('knows no pattern: neighbours in every direction, and neighbouring seeds, are dropped independently', () => {
    const [heads, queries, keys] = [4, 50, 100];
    const sign = (seed: number): Float32Array => dropoutFactors({ rate: 0.5, seed }, heads, queries, keys).map((x) => x - 1);
    const [a, b] = [sign(1), sign(2)];
    const correlation = (other: Float32Array, shift: number): number =>
      a.subarray(0, a.length - shift).reduce((sum, x, i) => sum + x * other[i + shift]!, 0) / (a.length - shift);
    const limit = 4 / Math.sqrt(a.length);
    for (const shift of [1, 2, keys, keys + 1, keys * queries])
      expect(Math.abs(correlation(a, shift)), `shift ${shift}`).toBeLessThan(limit);
    expect(Math.abs(correlation(b, 0))).toBeLessThan(limit);
  });
});
