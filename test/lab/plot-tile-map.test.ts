/** @file Tile maps: every tile in the colour of its kind, at its place, and square. */
import { renderSvg, tileMap, tileMapPlot, visibility, type HeatmapTrace, type ScatterTrace } from 'lab';
import { describe, expect, it } from 'vitest';

const maps = {
  causal: tileMap(visibility({ causal: true }, 8, 8), 2, 2),
  'two by four': tileMap(visibility({}, 4, 8), 2, 2),
  window: tileMap(visibility({ window: { left: 0, right: 0 } }, 6, 6), 2, 2),
  '<last>': tileMap(visibility({}, 2, 2), 2, 2),
};

describe('a figure of tile maps', () => {
  const figure = tileMapPlot(maps, { title: 'Masks' });
  const heatmaps = figure.data.filter((trace): trace is HeatmapTrace => trace.type === 'heatmap');

  it('has a number for each kind', () => {
    expect(heatmaps.map(({ z }) => z)).toEqual([
      [
        [1, 0, 0, 0],
        [2, 1, 0, 0],
        [2, 2, 1, 0],
        [2, 2, 2, 1],
      ],
      [
        [2, 2, 2, 2],
        [2, 2, 2, 2],
      ],
      [
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
      ],
      [[2]],
    ]);
    expect(heatmaps.every(({ zmin, zmax }) => zmin === 0 && zmax === 2)).toBe(true);
  });

  it('has a legend of the same colours', () => {
    const legend = figure.data.filter((trace): trace is ScatterTrace => trace.type === 'scatter');
    const colors = Object.fromEntries(legend.map(({ name, marker }) => [name, marker?.color]));
    const scale = heatmaps[0]!.colorscale;
    expect(colors).toEqual({ skipped: scale[0]![1], partial: scale[1]![1], full: scale[2]![1] });
    expect(legend.every(({ y }) => y.every((value) => value === null))).toBe(true);
  });

  it('makes all tiles of a map square, and the maps stand apart', () => {
    const { width, height, margin } = figure.layout;
    const boxes = heatmaps.map((trace) => {
      const axisOf = (letter: 'x' | 'y') =>
        figure.layout[`${letter}axis${(trace.xaxis ?? 'x').slice(1)}`] as { domain: [number, number] };
      const [x, y] = [axisOf('x').domain, axisOf('y').domain];
      const tile = [
        ((x[1] - x[0]) * (width - margin.l - margin.r)) / trace.x.length,
        ((y[1] - y[0]) * (height - margin.t - margin.b)) / trace.y.length,
      ];
      expect(tile[0]).toBeCloseTo(tile[1]!, 6);
      return { x, y };
    });
    for (const [i, a] of boxes.entries()) {
      for (const b of boxes.slice(i + 1)) {
        expect(a.x[1] < b.x[0] || b.x[1] < a.x[0] || a.y[1] < b.y[0] || b.y[1] < a.y[0]).toBe(true);
      }
    }
  });

  it('names every map above it, and is drawn without a browser, too', () => {
    expect(figure.layout.annotations!.map(({ text }) => text)).toEqual(['causal', 'two by four', 'window', '&lt;last&gt;']);
    const svg = renderSvg(figure);
    for (const word of ['skipped', 'partial', 'full', 'causal', 'tile of keys', 'Masks']) expect(svg).toContain(word);
  });

  it('refuses rows of different lengths, and none', () => {
    expect(() => tileMapPlot({ ragged: [['full'], ['full', 'full']] })).toThrow(/'ragged' must have rows of equal length/);
    expect(() => tileMapPlot({ empty: [] })).toThrow(/'empty'/);
  });
});
