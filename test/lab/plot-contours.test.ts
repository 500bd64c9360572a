/** @file Maps of an error of two weights, and histograms with marks: what is drawn lies where the numbers say. */
import { histogram, quadraticContours, renderSvg, type BarTrace, type ScatterTrace } from 'lab';
import { describe, expect, it } from 'vitest';

const H = [
  [2, 1.5],
  [1.5, 3],
];
const minimum = [0.7, -0.4] as const;

function errorAt(x: number, y: number): number {
  const [a, b] = [x - minimum[0], y - minimum[1]];
  return 0.5 * (H[0]![0]! * a * a + 2 * H[0]![1]! * a * b + H[1]![1]! * b * b);
}

describe('contours of a quadratic error', () => {
  const levels = [0.01, 0.5, 2];
  const cut = [
    [0.7, -0.4],
    [0, -0.4],
    [0, 0.1],
  ] as const;
  const figure = quadraticContours(H, { minimum, levels, paths: { '<cut>': cut }, x: 'first weight', y: 'second weight' });
  const traces = figure.data as readonly ScatterTrace[];

  it.each(levels.map((level, i) => [level, i] as const))('pass through points of that error alone: %d', (level, i) => {
    const { x, y } = traces[i]!;
    for (const [k, at] of x.entries()) expect(errorAt(Number(at), y[k] as number) / level).toBeCloseTo(1, 2);
    expect([x.at(-1), y.at(-1)]).toEqual([x[0], y[0]]);
  });

  it('go all the way round the minimum', () => {
    const { x, y } = traces[1]!;
    for (const quadrant of [0, 1, 2, 3]) {
      const sign = [1 - 2 * (quadrant & 1), 1 - (quadrant & 2)] as const;
      const across = x.map((at) => (Number(at) - minimum[0]) * sign[0]);
      const up = y.map((at) => ((at as number) - minimum[1]) * sign[1]);
      expect(across.some((distance, k) => distance > 0.01 && up[k]! > 0.01)).toBe(true);
    }
  });

  it('have the ways on them, by name, in the order of their points', () => {
    expect(traces[3]).toMatchObject({ name: '&lt;cut&gt;', x: [0.7, 0, 0], y: [-0.4, -0.4, 0.1], mode: 'lines+markers' });
    expect(figure.layout.showlegend).toBe(true);
    expect(traces.slice(0, 3).every(({ showlegend }) => showlegend === false)).toBe(true);
    expect(renderSvg(figure)).toContain('&lt;cut&gt;');
  });

  it.each([
    ['that has a direction without an error', [[1, 1], [1, 1]]],
    ['that falls', [[-1, 0], [0, 1]]],
    ['of one weight', [[1]]],
  ])('refuse a Hessian %s', (_, wrong) => {
    expect(() => quadraticContours(wrong, { levels })).toThrow(/positive definite/);
  });

  it('refuse a level that no point has', () => {
    expect(() => quadraticContours(H, { levels: [0.5, 0] })).toThrow(/levels must be above zero, got 0.5, 0/);
  });
});

describe('a histogram with marks', () => {
  const figure = histogram({ errors: [1, 1, 2, 4] }, { bins: 3, marks: { 'in order': 2.5, 'outside': 9 } });
  const [bars, ...marks] = figure.data as readonly [BarTrace, ...ScatterTrace[]];

  it('has a line from the bottom to the highest bar at each', () => {
    expect(bars.y).toEqual([2, 1, 1]);
    expect(marks.map(({ name, x, y }) => [name, x, y])).toEqual([
      ['in order', [2.5, 2.5], [0, 2]],
      ['outside', [9, 9], [0, 2]],
    ]);
  });

  it('gives each a colour of its own, and a place in the legend', () => {
    const colors = [bars.marker?.color, ...marks.map(({ line }) => line?.color)];
    expect(new Set(colors).size).toBe(3);
    expect(figure.layout.showlegend).toBe(true);
  });
});
