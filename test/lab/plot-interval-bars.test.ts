/** @file Bars with intervals: every bar has its own, at its place. */
import { intervalChart, renderSvg, type BarTrace, type ScatterTrace } from 'lab';
import { expect, it } from 'vitest';

const bars = { '<first>': { value: 0.5, low: 0.4, high: 0.55 }, second: { value: 0.8, low: 0.7, high: 0.9 } };
const figure = intervalChart(bars, { title: 'Wins', x: 'method', y: 'share', mark: 0.5 });

it('draws a bar and an interval for each name, and a broken line to compare with', () => {
  const [bar, ...rest] = figure.data as [BarTrace, ...ScatterTrace[]];
  expect(bar.orientation).toBe('h');
  expect(bar.x).toEqual([0.5, 0.8]);
  const [first, second, mark] = rest;
  expect([first!.x, first!.y]).toEqual([[0.4, 0.55], ['&lt;first&gt;', '&lt;first&gt;']]);
  expect([second!.x, second!.y]).toEqual([[0.7, 0.9], ['second', 'second']]);
  expect([mark!.x, mark!.y]).toEqual([[0.5, 0.5], ['&lt;first&gt;', 'second']]);
  expect(mark!.line!.dash).toBe('dash');
  expect(intervalChart(bars).data).toHaveLength(3);
});

it('is drawn as SVG, with its names, and needs no legend', () => {
  const svg = renderSvg(figure);
  expect(svg).toContain('&lt;first&gt;');
  expect(svg).not.toContain('NaN');
  expect(figure.layout.showlegend).toBe(false);
});

it('refuses a value outside of its interval', () => {
  expect(() => intervalChart({ odd: { value: 1, low: 2, high: 3 } })).toThrow("'odd' has 1 outside of 2 … 3");
});
