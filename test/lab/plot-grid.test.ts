/** @file Grid plots: the weights counted above, the values of each grid below, on the same scale. */
import { gridPlot, renderSvg, type BarTrace, type ScatterTrace } from 'lab';
import { describe, expect, it } from 'vitest';

const weights = [-1, -0.2, 0, 0, 0.1, 0.3, 2];
const grids = { '<fine>': [-3, -1.5, 0, 1.5, 3], coarse: [0] };

describe('a figure of grids under weights', () => {
  const figure = gridPlot(weights, grids, { title: 'Grids', bins: 12 });
  const [bars, ...rows] = figure.data as [BarTrace, ...ScatterTrace[]];
  const axisOf = (name: string) =>
    figure.layout[name] as { domain: [number, number]; range: [number, number]; anchor?: string };

  it('counts every weight once, where it lies', () => {
    const counts = bars.y as number[];
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(weights.length);
    // Bins of half a unit from -3 on.
    expect(counts).toEqual([0, 0, 0, 0, 1, 1, 4, 0, 0, 0, 1, 0]);
  });

  it('has a row of points for each grid, named, the first on top', () => {
    expect(rows.map(({ x }) => x)).toEqual([[-3, -1.5, 0, 1.5, 3], [0]]);
    expect(rows.map(({ y }) => [...new Set(y)])).toEqual([['&lt;fine&gt;'], ['coarse']]);
    expect(figure.layout['yaxis2']).toMatchObject({ type: 'category', autorange: 'reversed' });
    expect(new Set(rows.map(({ marker }) => marker?.color)).size).toBe(2);
  });

  it('shows both on the same scale, wide enough for the grids, and apart', () => {
    expect(axisOf('xaxis').range).toEqual(axisOf('xaxis2').range);
    const [low, high] = axisOf('xaxis').range;
    expect([low < -3, high > 3]).toEqual([true, true]);
    expect(axisOf('yaxis2').domain[1]).toBeLessThan(axisOf('yaxis').domain[0]);
    expect(rows.every(({ xaxis, yaxis }) => xaxis === 'x2' && yaxis === 'y2')).toBe(true);
  });

  it('leaves out what lies beyond a given range', () => {
    const near = gridPlot(weights, grids, { range: [-1, 1.6], bins: 4 });
    const [counted, first] = near.data as [BarTrace, ScatterTrace];
    expect((counted.y as number[]).reduce((sum, count) => sum + count, 0)).toBe(weights.length - 1);
    expect(first.x).toEqual([0, 1.5]);
  });

  it('takes weights that are all the same', () => {
    const [low, high] = (gridPlot([0.5, 0.5], { one: [0.5] }).layout.xaxis.range ?? []) as number[];
    expect([low! < 0.5, high! > 0.5]).toEqual([true, true]);
  });

  it('says what is missing', () => {
    expect(() => gridPlot([], grids)).toThrow(RangeError);
    expect(() => gridPlot(weights, {})).toThrow(/a weight and a grid/);
  });

  it('is drawn without Plotly, too: a bar for each bin, a circle for each value', () => {
    const svg = renderSvg(figure);
    expect(svg.match(/<circle/g)).toHaveLength(6);
    expect(svg).toContain('&lt;fine&gt;');
    expect(svg).not.toContain('NaN');
  });
});
