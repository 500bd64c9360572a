import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  attentionMap,
  barChart,
  heatmap,
  histogram,
  LabError,
  lineChart,
  Random,
  renderSvg,
  saveFigure,
  scatter,
  show,
  sparkline,
  visibleToken,
  type BarTrace,
  type Figure,
  type HeatmapTrace,
  type ScatterTrace,
} from 'lab';
import { kernel } from './fake-kernel.ts';

afterEach(() => {
  kernel.stop();
  vi.restoreAllMocks();
});

const random = new Random(3);
const tokens = ['the', ' cat', ' sat', '\n', 'the', '<s>', 'a&b', '\t'];
/** Causal weights [T, T] with rows that sum to one. */
function causal(T: number): number[][] {
  return Array.from({ length: T }, (_, t) => {
    const scores = Array.from({ length: T }, (__, u) => (u <= t ? Math.exp(random.normal()) : 0));
    const sum = scores.reduce((a, b) => a + b);
    return scores.map((score) => score / sum);
  });
}
const figures: Record<string, Figure> = {
  lines: lineChart(
    { a: [3, 2, NaN, 1], 'b < c & "d"': { x: [0, 5], y: [1, 1], dash: true } },
    { title: 'T <b>', x: 'x (m)', y: 'y (s)' },
  ),
  logarithmic: lineChart({ a: { x: [1, 10, 1e6], y: [0, 1e-9, 1], points: true } }, { logX: true, logY: true, ticksX: [1, 10] }),
  empty: lineChart({ nothing: [] }),
  bars: barChart({ one: 1, two: -2 }, { y: 'count' }),
  lying: barChart({ s: { 'a long name of a layer': 1, b: 2 }, t: { 'a long name of a layer': 3, b: 4 } }, { horizontal: true }),
  stacked: barChart({ s: { a: 1 }, t: { a: 2 } }, { stacked: true }),
  histogram: histogram({ values: random.normals(500), same: [1, 1] }),
  scatter: scatter({ points: { x: [1, 2], y: [2, 1], labels: ['<1>', 'two'] } }),
  'written labels': scatter({ points: { x: [1, 20], y: [2, 1], labels: ['<1>', 'two'] } }, { logX: true, written: true }),
  heatmap: heatmap(
    [
      [1, -2],
      [0, NaN],
    ],
    { columns: ['a', 'a'], rows: ['r', 's'], value: 'v' },
  ),
  attention: attentionMap([causal(8), causal(8), causal(8)], tokens, { title: 'Three heads' }),
};

it('writes the labels of points where it is told to, and only there', () => {
  expect(renderSvg(figures['written labels']!)).toMatch(/>&lt;1&gt;<.*>two</);
  expect(renderSvg(figures['scatter']!)).not.toContain('>two<');
});

describe('every figure', () => {
  it.each(Object.entries(figures))('%s is plain data', (_, figure) => {
    expect(JSON.parse(JSON.stringify(figure))).toEqual(figure);
  });

  it.each(Object.entries(figures))('%s is drawn as well-formed SVG without a NaN', (_, figure) => {
    const svg = renderSvg(figure);
    expect(openElements(svg)).toEqual([]);
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
    expect(svg).toContain(`width="${figure.layout.width}"`);
  });

  it('makes room for every row of the legend', () => {
    const top = (count: number): number => {
      const curves = Array.from({ length: count }, (_, i) => [`a curve with a long name, number ${i}`, [1, 2]] as const);
      return lineChart(Object.fromEntries(curves)).layout.margin.t;
    };
    const row = top(2) - top(1);
    expect(row).toBeGreaterThan(0);
    expect([top(3) - top(2), top(5) - top(2)]).toEqual([row, 2 * row]);
  });

  it('shows names and titles as they were given', () => {
    const svg = renderSvg(figures['lines']!);
    expect(svg).toContain('>T &lt;b&gt;<');
    expect(svg).toContain('>b &lt; c &amp; &quot;d&quot;<');
    expect(figures['lines']!.layout.title!.text).toBe('T &lt;b&gt;');
  });
});

/** What is not closed, or closed in the wrong order; stray `<` and `&` too. */
function openElements(xml: string): string[] {
  const open: string[] = [];
  const rest = xml.replace(
    /<(\/?)([a-zA-Z]+)(?:\s+[\w:-]+="[^"<>]*")*\s*(\/?)>/g,
    (tag, closing: string, name: string, empty: string) => {
      if (closing) return open.pop() === name ? '' : tag;
      if (!empty) open.push(name);
      return '';
    },
  );
  return [...open, ...(rest.replace(/&(amp|lt|gt|quot);/g, '').match(/[<>&].{0,20}/g) ?? [])];
}

describe('lineChart', () => {
  it('keeps the peaks of a long curve', () => {
    const values = random.normals(100_000);
    values[77_777] = 50;
    values[3] = -50;
    const { y } = lineChart({ values }).data[0] as ScatterTrace;
    expect(y.length).toBeLessThan(2100);
    expect(y).toContain(50);
    expect(y).toContain(-50);
  });

  it('leaves gaps where a value is not finite, and rounds the others', () => {
    const { x, y } = lineChart({ a: [1 / 3, NaN, Infinity, 2] }).data[0] as ScatterTrace;
    expect(x).toEqual([0, 1, 2, 3]);
    expect(y).toEqual([0.33333, null, null, 2]);
    expect(renderSvg(lineChart({ a: [1 / 3, NaN, Infinity, 2] })).match(/d="M[^"]*M[^"]*" fill="none"/)).not.toBeNull();
  });

  it('refuses x and y of different lengths, naming the curve', () => {
    expect(() => lineChart({ loss: { x: [1, 2], y: [1, 2, 3] } })).toThrow("'loss' has 2 x values but 3 y values");
  });

  it('puts points in proportion, upwards', () => {
    const points = [
      ...renderSvg(lineChart({ a: { y: [0, 1, 4], points: true } })).matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g),
    ];
    const [x, y] = [1, 2].map((group) => points.map((match) => Number(match[group]))) as [number[], number[]];
    expect((x[2]! - x[0]!) / (x[1]! - x[0]!)).toBeCloseTo(2, 1);
    expect((y[0]! - y[2]!) / (y[0]! - y[1]!)).toBeCloseTo(4, 1);
    expect(y[0]).toBeGreaterThan(y[2]!);
  });

  it('puts equal factors at equal distances on a logarithmic axis, and leaves out what is not positive', () => {
    const figure = lineChart({ a: { y: [0, 1, 100, 10_000], points: true } }, { logY: true });
    const y = [...renderSvg(figure).matchAll(/cy="([\d.]+)"/g)].map((match) => Number(match[1]));
    expect(y).toHaveLength(3);
    expect(y[0]! - y[1]!).toBeCloseTo(y[1]! - y[2]!, 0);
  });
});

describe('barChart', () => {
  it('draws bars as long as their values, from zero', () => {
    const svg = renderSvg(barChart({ a: 1, b: 3, c: -2 }));
    const bars = [...svg.matchAll(/<rect x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"\/>/g)].slice(-3);
    const [top, height] = [1, 2].map((group) => bars.map((match) => Number(match[group]))) as [number[], number[]];
    expect(height[1]! / height[0]!).toBeCloseTo(3, 1);
    expect(height[2]! / height[0]!).toBeCloseTo(2, 1);
    expect(top[2]).toBeCloseTo(top[0]! + height[0]!, 0); // a negative bar hangs where the others stand
  });
});

describe('histogram', () => {
  it('counts every value once, as counting one by one does', () => {
    const values = random.normals(10_000);
    const { x, y, width } = histogram({ values }, { bins: 20 }).data[0] as BarTrace;
    expect((y as number[]).reduce((a, b) => a + b)).toBe(10_000);
    const middle = Number(x[9]);
    const direct = values.filter((value) => Math.abs(value - middle) < width! / 2).length;
    expect(Math.abs(Number(y[9]) - direct)).toBeLessThanOrEqual(2); // bin edges are rounded in x
  });

  it('counts the edges of its range, and nothing outside', () => {
    const { y } = histogram({ a: [0, 0.5, 1, -0.1, 1.1, NaN] }, { range: [0, 1], bins: 2 }).data[0] as BarTrace;
    expect(y).toEqual([1, 2]);
  });
});

describe('heatmap', () => {
  it('gives zero the white in the middle where there are negative values, and the lightest colour elsewhere', () => {
    const signed = heatmap([[-1, 3]]).data[0] as HeatmapTrace;
    expect([signed.zmin, signed.zmax, signed.colorscale[2]]).toEqual([-3, 3, [0.5, '#ffffff']]);
    const deep = heatmap([[-3, 1]]).data[0] as HeatmapTrace;
    expect([deep.zmin, deep.zmax]).toEqual([-3, 3]);
    const positive = heatmap([[0, 3]]).data[0] as HeatmapTrace;
    expect([positive.zmin, positive.zmax, positive.colorscale[0]]).toEqual([0, 3, [0, '#ffffff']]);
  });

  it('draws its cells as a picture with the first row on top', () => {
    const svg = renderSvg(
      heatmap([
        [0, 1, 1],
        [0, 0, 1],
      ]),
    );
    const { width, height, rows } = decodePng(Buffer.from(/png;base64,([^"]*)/.exec(svg)![1]!, 'base64'));
    const scale = width / 3;
    expect(height).toBe(2 * scale);
    const cell = (row: number, column: number): number => rows[row * scale + 1]![column * scale + 1]!;
    expect([0, 1].map((row) => [0, 1, 2].map((column) => cell(row, column)))).toEqual([
      [0, 63, 63],
      [0, 0, 63],
    ]);
  });

  it('refuses rows of different lengths and the wrong number of names', () => {
    expect(() => heatmap([[1, 2], [1]])).toThrow('equally long');
    expect(() => heatmap([[1, 2]], { columns: ['a'] })).toThrow('1 labels for 2 places');
  });
});

interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly rows: Buffer[];
}

/** Palette indices of an unfiltered eight-bit PNG. */
function decodePng(png: Buffer): Pixels {
  expect(png.subarray(0, 8).toString('latin1')).toBe('\x89PNG\r\n\x1a\n');
  const data: Buffer[] = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT') data.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  }
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  const bytes = inflateSync(Buffer.concat(data));
  const rows = Array.from({ length: height }, (_, y) => bytes.subarray(y * (width + 1) + 1, (y + 1) * (width + 1)));
  return { width, height, rows };
}

describe('attentionMap', () => {
  it('says who looks at whom', () => {
    const { data } = attentionMap(causal(8), tokens);
    expect((data[0] as HeatmapTrace).hovertemplate).toContain('`%{y}` looks at `%{x}`: %{z:.2f}');
  });

  it('makes tokens visible and tells equal ones apart', () => {
    const { x, y } = attentionMap(causal(8), tokens).data[0] as HeatmapTrace;
    expect(x).toEqual(y);
    expect(x).toEqual(['the', '␣cat', '␣sat', '⏎', 'the\u200b', '&lt;s&gt;', 'a&amp;b', '⇥']);
    expect(new Set(x).size).toBe(8);
  });

  it('takes one head or several, each on axes of its own', () => {
    expect(attentionMap(causal(8), tokens).data).toHaveLength(1);
    const { data, layout } = attentionMap([causal(8), causal(8)], tokens);
    expect(data.map(({ xaxis, yaxis }) => [xaxis, yaxis])).toEqual([
      [undefined, undefined],
      ['x2', 'y2'],
    ]);
    expect(layout).toHaveProperty('xaxis2.anchor', 'y2');
    expect(layout.xaxis.domain![1]).toBeLessThan((layout['xaxis2'] as { domain: number[] }).domain[0]!);
  });

  it('names the sizes that do not fit', () => {
    expect(() => attentionMap(causal(3), ['a', 'b'])).toThrow('the weights are 3 × 3, but there are 2 × 2 tokens');
    expect(() => attentionMap([[0.5, 0.5]], ['a'], { keys: ['x'] })).toThrow('1 × 2, but there are 1 × 1 tokens');
  });

  it('takes keys that are others than the queries', () => {
    const { x, y } = attentionMap([[0.5, 0.25, 0.25]], ['q'], { keys: ['a', 'b', 'c'] }).data[0] as HeatmapTrace;
    expect([x, y]).toEqual([['a', 'b', 'c'], ['q']]);
  });

  it('stays small: eight heads over 64 tokens', () => {
    const figure = attentionMap(
      Array.from({ length: 8 }, () => causal(64)),
      Array.from({ length: 64 }, (_, i) => tokens[i % 8]!),
    );
    expect(JSON.stringify(figure).length).toBeLessThan(250_000);
    expect(renderSvg(figure).length).toBeLessThan(120_000);
  });

  it.each([
    ['', '∅'],
    ['  x', '␣␣x'],
    ['\r\n', '␍⏎'],
    ['\u200b', '\\u{200b}'],
    ['\u0007', '\\u{7}'],
    ['é', 'é'],
  ])('makes %j visible as %s', (token, seen) => {
    expect(visibleToken(token)).toBe(seen);
  });
});

describe('show', () => {
  it('gives a notebook the figure as Plotly data, as an image and as text', () => {
    const messages = kernel.start();
    show(figures['lines']!);
    expect(messages).toHaveLength(1);
    const { data } = messages[0]!;
    expect(Object.keys(data)).toEqual(['application/vnd.plotly.v1+json', 'text/html', 'text/plain']);
    expect(data['application/vnd.plotly.v1+json']).toMatchObject({ data: figures['lines']!.data, layout: { width: 720 } });
    expect(data['text/html']).toMatch(/^<img alt="[^"]*" src="data:image\/svg\+xml;base64,[\w+/=]+">$/);
  });

  it('writes a summary in a terminal', () => {
    const log = vi.spyOn(console, 'log').mockReturnValue();
    show(lineChart({ loss: [4, 3, 2, 1] }, { title: 'Run', x: 'step', y: 'nats' }));
    expect(log.mock.calls).toEqual([['Run: nats over step\nloss █▆▃▁ 1 … 4']]);
  });

  it('draws a long curve in a short line', () => {
    expect(
      sparkline(
        Array.from({ length: 1000 }, (_, i) => i),
        8,
      ),
    ).toBe('▁▂▃▄▅▆▇█');
    expect(sparkline([])).toBe('');
    expect(sparkline([2, 2])).toBe('▁▁');
  });
});

describe('saveFigure', () => {
  it('writes a page that needs no network, a drawing, and the data', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'figure-'));
    const chart = lineChart({ loss: [1, 2] }, { title: '</title>' });
    const figure: Figure = { ...chart, data: chart.data.map((trace) => ({ ...trace, name: '</script><script>alert(1)' })) };
    for (const ending of ['html', 'svg', 'json']) await saveFigure(figure, join(folder, `f.${ending}`));
    const page = await readFile(join(folder, 'f.html'), 'utf8');
    expect(page.match(/<\/script>/g)).toHaveLength(2);
    const ends = page.slice(0, 500) + page.slice(-5000); // without the library in between, which has such strings
    expect(ends).not.toMatch(/<(script|link|img)[^>]* (src|href)=/);
    expect(page.length).toBeGreaterThan(1e6);
    expect(await readFile(join(folder, 'f.svg'), 'utf8')).toBe(renderSvg(figure));
    expect(JSON.parse(await readFile(join(folder, 'f.json'), 'utf8'))).toEqual(figure);
    await expect(saveFigure(figure, join(folder, 'f.png'))).rejects.toThrow(LabError);
    expect((await readdir(folder)).sort()).toEqual(['f.html', 'f.json', 'f.svg']);
    await rm(folder, { recursive: true });
  });

  it('holds the Plotly of the major version that draws in JupyterLab', () => {
    const { version } = createRequire(createRequire(import.meta.url).resolve('lab'))('plotly.js-dist-min/package.json') as {
      version: string;
    };
    expect(version).toMatch(/^4\./);
  });
});
