/** @file Estimates with their intervals: what is drawn apart from the line, and in which order. */
import { intervalPlot, renderSvg, type ScatterTrace } from 'lab';
import { describe, expect, it } from 'vitest';

const estimates = [
  { name: 'helps', value: -3, low: -4, high: -2 },
  { name: 'nil', value: 1, low: -1, high: 3 },
  { name: 'harms', value: 5, low: 0.5, high: 9 },
];

describe('the plot of intervals', () => {
  const traces = (options = {}) => intervalPlot(estimates, options).data as readonly ScatterTrace[];
  const dots = (options = {}) => traces(options).filter(({ mode, name }) => mode === 'markers' && name !== undefined);

  it('parts what the line does not cross from what it crosses', () => {
    expect(dots().map(({ name, y }) => [name, y])).toEqual([
      ['differs', ['helps', 'harms']],
      ['may be chance', ['nil']],
    ]);
    expect(dots({ reference: 2 }).map(({ y }) => y)).toEqual([['helps'], ['nil', 'harms']]);
    expect(dots({ reference: 20, names: ['a', 'b'] }).map(({ name }) => name)).toEqual(['a']);
  });

  it('draws each interval from its low to its high end, and nothing between two of them', () => {
    const lines = traces().find(({ mode, name }) => mode === 'lines' && name === 'differs')!;
    expect(lines.x).toEqual([-4, -2, -2, 0.5, 9, 9]);
    expect(lines.y).toEqual(['helps', 'helps', null, 'harms', 'harms', null]);
  });

  it('keeps the order in which they were given, the first on top', () => {
    const [order] = traces();
    expect(order!.y).toEqual(['helps', 'nil', 'harms']);
    const svg = renderSvg(intervalPlot(estimates));
    const heights = estimates.map(({ name }) => Number(new RegExp(`<text[^>]* y="([\\d.]+)"[^>]*>${name}<`).exec(svg)![1]));
    expect(heights[0]).toBeLessThan(heights[1]!);
    expect(heights[1]).toBeLessThan(heights[2]!);
  });

  it('refuses what has no ends, naming it', () => {
    expect(() => intervalPlot([{ name: 'one run', value: 0, low: -Infinity, high: Infinity }])).toThrow(/'one run' has the value 0/);
    expect(() => intervalPlot([{ name: 'x', value: 0, low: 1, high: -1 }])).toThrow(/interval 1 … -1/);
    expect(() => intervalPlot([])).toThrow(/nothing to draw/);
  });
});
