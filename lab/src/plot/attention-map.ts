/**
 * @file Attention maps: who looks at whom, heads side by side. The picture of Vaswani et al. 2017, figures 3 to 5, as a matrix.
 */
import { invariant } from '../base/index.ts';
import {
  axis,
  layout,
  markup,
  sequentialColors,
  type Figure,
  type FigureAnnotation,
  type FigureAxis,
  type FigureLayout,
  type HeatmapTrace,
} from './figure.ts';
import { uniqueLabels, type Grid } from './heatmap.ts';

export interface AttentionMapOptions {
  readonly title?: string;
  /** The tokens that are looked at, where they are others than those that look. */
  readonly keys?: readonly string[];
  readonly headNames?: readonly string[];
  /** How many maps stand side by side; at most four unless told. */
  readonly columns?: number;
}

/**
 * Attention weights as a map for each head: a row for each token that looks, a column for each that is looked at. The mouse says
 * "`the` looks at `cat`: 0.42".
 *
 * @param weights [T][T] for one head, or [heads][T][T], with rows that sum to one
 * @param tokens the text of each token; spaces and line breaks are made visible
 */
export function attentionMap(
  weights: Grid | ArrayLike<Grid>,
  tokens: readonly string[],
  options: AttentionMapOptions = {},
): Figure {
  const heads = (isGrid(weights) ? [weights] : Array.from(weights)).map((head) => thousandths(head));
  const keys = options.keys ?? tokens;
  for (const head of heads) {
    const sizes = `${head.length} × ${head[0]?.length ?? 0}`;
    const fits = head.length === tokens.length && head.every((row) => row.length === keys.length);
    invariant(fits, `attentionMap: the weights are ${sizes}, but there are ${tokens.length} × ${keys.length} tokens`);
  }
  const x = uniqueLabels(keys.map(visibleToken), keys.length, 'attentionMap');
  const y = uniqueLabels(tokens.map(visibleToken), tokens.length, 'attentionMap');
  const data = heads.map((z, i): HeatmapTrace => ({
    type: 'heatmap',
    x,
    y,
    z,
    zmin: 0,
    zmax: 1,
    colorscale: sequentialColors,
    showscale: i === heads.length - 1,
    colorbar: { title: { text: 'weight' }, thickness: 14 },
    ...(i > 0 ? { xaxis: `x${i + 1}`, yaxis: `y${i + 1}` } : {}),
    hovertemplate: '`%{y}` looks at `%{x}`: %{z:.2f}<extra></extra>',
  }));
  const names = heads.map((_, i) => options.headNames?.[i] ?? (heads.length > 1 ? `head ${i}` : ''));
  return { data, layout: panels(names, keys.length, options) };
}

/** A token as it can be seen: `␣cat`, `⏎`, `⇥`, and a name for what has no shape. */
export function visibleToken(token: string): string {
  if (token === '') return '∅';
  return token
    .replace(/ /g, '␣')
    .replace(/\n/g, '⏎')
    .replace(/\t/g, '⇥')
    .replace(/\r/g, '␍')
    .replace(
      /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\ufeff]/g,
      (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`,
    );
}

function isGrid(weights: Grid | ArrayLike<Grid>): weights is Grid {
  return typeof weights[0]?.[0] !== 'object';
}

function thousandths(values: Grid): (number | null)[][] {
  return Array.from(values, (row) =>
    Array.from(row, (value) => (Number.isFinite(value) ? Math.round(value * 1000) / 1000 : null)),
  );
}

/** Square maps in rows; those at the left name the tokens that look, those at the bottom the tokens looked at. */
function panels(names: readonly string[], keys: number, options: AttentionMapOptions): FigureLayout {
  const columns = Math.max(1, Math.min(options.columns ?? 4, names.length));
  const rows = Math.ceil(names.length / columns);
  const side = columns === 1 ? 380 : columns === 2 ? 300 : 200;
  const margin = { l: 96, r: 84, t: (options.title ? 48 : 16) + 20, b: 92 };
  const [width, gapX, gapY] = [columns * side + (columns - 1) * 16, 16, 34];
  const height = rows * side + (rows - 1) * gapY;
  const axes: Record<string, FigureAxis> = {};
  const annotations: FigureAnnotation[] = [];
  const look = {
    type: 'category',
    showgrid: false,
    ticks: '',
    tickfont: { size: keys > 24 ? 9 : 11 },
    automargin: false,
  } as const;
  names.forEach((text, i) => {
    const [row, column, key] = [Math.floor(i / columns), i % columns, i === 0 ? '' : String(i + 1)];
    const [left, top] = [column * (side + gapX), height - row * (side + gapY)];
    const across: FigureAxis = { ...look, domain: [left / width, (left + side) / width], anchor: `y${key}`, tickangle: -90 };
    const up: FigureAxis = { ...look, domain: [(top - side) / height, top / height], anchor: `x${key}`, autorange: 'reversed' };
    const lowest = i + columns >= names.length;
    axes[`xaxis${key}`] = axis(lowest ? 'looked at' : undefined, { ...across, showticklabels: lowest });
    axes[`yaxis${key}`] = axis(column === 0 ? 'looking' : undefined, { ...up, showticklabels: column === 0 });
    const place = { x: (left + side / 2) / width, y: top / height, xref: 'paper', yref: 'paper' };
    if (text) annotations.push({ text: markup(text), ...place, xanchor: 'center', yanchor: 'bottom', showarrow: false });
  });
  const size = { width: width + margin.l + margin.r, height: height + margin.t + margin.b };
  return layout({ ...(options.title ? { title: options.title } : {}), ...size }, { ...axes, annotations, margin });
}
