import { afterEach, describe, expect, it, vi } from 'vitest';
import { renderSvg, segmentationLattice, showTokens, tokensHtml, tokensText, utf8Bytes, type ScatterTrace } from 'lab';
import { kernel } from './fake-kernel.ts';

afterEach(() => {
  kernel.stop();
  vi.restoreAllMocks();
});

/** What a browser would show: tags away, entities resolved. */
const shownText = (html: string): string =>
  html
    .replace(/<[^>]*>/g, '')
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>')
    .replace(/&quot;/g, '"')
    .replace(/&amp;/g, '&');
const backgroundsIn = (html: string): string[] => [...html.matchAll(/background:(#\w+)/g)].map((match) => match[1]!);

describe('tokens coloured in text', () => {
  it('shows the text as it is, spaces kept, line breaks made visible and kept', () => {
    const html = tokensHtml(['the', ' cat', '\n', '\t', 'sat  down']);
    expect(shownText(html)).toBe('5 tokensthe cat⏎\n⇥sat  down');
    expect(html).toContain('white-space:pre-wrap');
  });

  it('takes nothing in a token or a title for markup', () => {
    const nasty = '<img src=x onerror="alert(1)">&amp;';
    const html = tokensHtml([nasty, '</span>'], { title: '<b>"' });
    expect(html).not.toMatch(/<img|&amp;amp;amp;|<b>"/);
    expect(html.match(/<\/span>/g)).toHaveLength(2);
    expect(shownText(html)).toBe(`<b>": 2 tokens${nasty}</span>`);
    // Attributes hold no bare quote or bracket.
    for (const [, title] of html.matchAll(/title="([^"]*)"/g)) expect(title).not.toMatch(/[<>]/);
    expect(html.match(/<span title="[^"]*" style="[^"]*">/g)).toHaveLength(2);
  });

  it('gives neighbours different colours, and says text and id under the mouse', () => {
    const html = tokensHtml(
      Array.from({ length: 12 }, () => ' a'),
      { ids: Array.from({ length: 12 }, (_, i) => 300 + i) },
    );
    const colors = backgroundsIn(html);
    expect(colors).toHaveLength(12);
    colors.slice(1).forEach((color, i) => expect(color).not.toBe(colors[i]));
    expect(html).toContain('title="␣a · 307"');
  });

  it('shows bytes that are no whole character as numbers, and whole ones as characters', () => {
    const [first, last] = [utf8Bytes('語').subarray(0, 2), utf8Bytes('語').subarray(2)];
    expect(tokensText([utf8Bytes('語'), first, last, Uint8Array.of(0x20, 0xe8)])).toBe('4 tokens\n語|\\xE8\\xAA|\\x9E|␣\\xE8');
    expect(shownText(tokensHtml([first]))).toContain('\\xE8\\xAA');
  });

  it('shows what has no shape: nothing, control characters, a byte order mark', () => {
    expect(tokensText(['', '\0', utf8Bytes('\ufeff')])).toBe('3 tokens\n∅|\\u{0}|\\u{feff}');
    expect(shownText(tokensHtml(['', '\u200b']))).toBe('2 tokens∅\\u{200b}');
  });

  it('counts', () => {
    expect(tokensText([])).toBe('0 tokens\n');
    expect(tokensText(['a'], { title: 'BPE' })).toBe('BPE: 1 token\na');
  });

  it('refuses ids that do not fit', () => {
    expect(() => tokensHtml(['a', 'b'], { ids: [1] })).toThrow('1 ids for 2 tokens');
  });

  it('is HTML and text in a notebook, text in a terminal', () => {
    const log = vi.spyOn(console, 'log').mockReturnValue();
    showTokens(['a', ' b']);
    expect(log.mock.calls).toEqual([['2 tokens\na|␣b']]);
    const messages = kernel.start();
    showTokens(['a', ' b'], { title: 'x' });
    expect(log).toHaveBeenCalledTimes(1);
    expect(messages.map(({ data }) => data)).toEqual([
      { 'text/html': tokensHtml(['a', ' b'], { title: 'x' }), 'text/plain': 'x: 2 tokens\na|␣b' },
    ]);
  });
});

describe('the lattice of segmentations', () => {
  const letters = ['h', 'u', 'g', '<'];
  const pieces = [
    { from: 0, to: 2, label: 'hu −3' },
    { from: 2, to: 3, label: 'g −2' },
    { from: 0, to: 3, label: 'hug −9' },
    { from: 3, to: 4, label: '< −1' },
  ];
  const figure = segmentationLattice(letters, pieces, [0, 1, 3], { title: 'T', pathName: 'Viterbi' });

  it('draws an arc from the beginning of each piece to its end, as high as the piece is long', () => {
    const [others, path] = figure.data as readonly ScatterTrace[];
    expect(path!.name).toBe('Viterbi');
    const arcsOf = ({ x, y }: ScatterTrace): [number, number, number][] => {
      const arcs: [number, number, number][] = [];
      let from = 0;
      y.forEach((value, i) => {
        if (value !== null) return;
        const heights = y.slice(from, i) as number[];
        arcs.push([Number(x[from]), Number(x[i - 1]), Math.max(...heights)]);
        expect([heights[0], heights.at(-1)]).toEqual([0, 0]);
        from = i + 1;
      });
      return arcs;
    };
    expect(arcsOf(others!)).toEqual([[0, 3, 3]]);
    expect(arcsOf(path!)).toEqual([
      [0, 2, 2],
      [2, 3, 1],
      [3, 4, 1],
    ]);
  });

  it('names every piece and every letter, as text, in the drawing, too', () => {
    const svg = renderSvg(figure);
    for (const text of ['hu −3', 'g −2', 'hug −9', '&lt; −1', '&lt;']) expect(svg).toContain(`>${text}</text>`);
    expect(svg).not.toContain('#888888'); // no axes
    expect(figure.layout.annotations!.map(({ text }) => text)).toContain('&lt; −1'); // as Plotly wants it
    expect(svg).not.toMatch(/NaN|undefined/);
    expect(JSON.parse(JSON.stringify(figure))).toEqual(figure);
  });

  it('puts names where their arcs are, in Plotly and in the drawing alike', () => {
    const { annotations, xaxis, yaxis } = figure.layout;
    const hug = annotations!.find(({ text }) => text === 'hug −9')!;
    const [left, right] = xaxis.range!;
    const [low, high] = yaxis.range!;
    expect(left + hug.x * (right - left)).toBeCloseTo(1.5);
    expect(low + hug.y * (high - low)).toBeCloseTo(3);
    for (const { x, y } of annotations!) {
      expect(x).toBeGreaterThan(0);
      expect(x).toBeLessThan(1);
      expect(y).toBeGreaterThan(0);
      expect(y).toBeLessThan(1);
    }
  });

  it('refuses a piece that is not within the word', () => {
    expect(() => segmentationLattice(['a'], [{ from: 0, to: 2, label: 'aa' }], [])).toThrow(
      "'aa' (0 to 2) is not within 0 to 1",
    );
    expect(() => segmentationLattice(['a'], [{ from: 1, to: 1, label: '' }], [])).toThrow(RangeError);
  });

  it('draws a word without pieces', () => {
    expect(renderSvg(segmentationLattice([], [], []))).not.toMatch(/NaN|undefined/);
  });
});
