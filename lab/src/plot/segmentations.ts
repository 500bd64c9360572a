/**
 * @file All ways to cut a word into pieces as one picture: places between letters in a row, an arc for each piece, and one path
 * from the left to the right end picked out. The lattice of Kudo 2018, section 3.2.
 */
import { invariant } from '../base/index.ts';
import { axis, color, ink, layout, markup, type Figure, type FigureAnnotation, type ScatterTrace } from './figure.ts';

/** A piece of the word: the letters `from` … `to` − 1. */
export interface WordPiece {
  readonly from: number;
  readonly to: number;
  /** Stands on the arc. */
  readonly label: string;
}

export interface SegmentationsOptions {
  readonly title?: string;
  /** What the path that is picked out is called. */
  readonly pathName?: string;
}

/** How many points make an arc look round. */
const arcPoints = 17;
/** Pixels for a letter and for a step of height: what a label needs. */
const letterWidth = 66;
const stepHeight = 40;

/**
 * @param letters of the word, one a place
 * @param pieces all that fit
 * @param path those of them, by their index, that are drawn bold
 * @throws RangeError for a piece that is not within the word
 */
export function segmentationLattice(
  letters: readonly string[],
  pieces: readonly WordPiece[],
  path: readonly number[],
  options: SegmentationsOptions = {},
): Figure {
  const n = letters.length;
  for (const { from, to, label } of pieces) {
    invariant(0 <= from && from < to && to <= n, `segmentationLattice: '${label}' (${from} to ${to}) is not within 0 to ${n}`);
  }
  const chosen = new Set(path);
  const others = pieces.filter((_, i) => !chosen.has(i));
  const best = pieces.filter((_, i) => chosen.has(i));
  const places: ScatterTrace = {
    type: 'scatter',
    mode: 'markers',
    x: Array.from({ length: n + 1 }, (_, i) => i),
    y: new Array<number>(n + 1).fill(0),
    marker: { color: ink, size: 7 },
    showlegend: false,
    hoverinfo: 'skip',
  };
  const data = [arcs('other pieces', others, '#b0b0b0', 1.2), arcs(options.pathName ?? 'best path', best, color(1), 3), places];
  return { data, layout: latticeLayout(letters, pieces, options) };
}

/** All arcs of one look in one trace, gaps between them. */
function arcs(name: string, pieces: readonly WordPiece[], lineColor: string, width: number): ScatterTrace {
  const x: number[] = [];
  const y: (number | null)[] = [];
  for (const { from, to } of pieces) {
    for (let i = 0; i < arcPoints; i++) {
      const angle = (Math.PI * i) / (arcPoints - 1);
      x.push(thousandths((from + to) / 2 - ((to - from) / 2) * Math.cos(angle)));
      y.push(thousandths((to - from) * Math.sin(angle)));
    }
    x.push(to);
    y.push(null);
  }
  return { type: 'scatter', mode: 'lines', name, x, y, line: { color: lineColor, width }, hoverinfo: 'skip' };
}

function latticeLayout(
  letters: readonly string[],
  pieces: readonly WordPiece[],
  { title }: SegmentationsOptions,
): Figure['layout'] {
  const n = letters.length;
  const highest = Math.max(1, ...pieces.map(({ from, to }) => to - from));
  const [xRange, yRange] = [[-0.3, n + 0.3] as const, [-0.8, highest + 0.7] as const];
  const at = (x: number, y: number, text: string, size: number): FigureAnnotation => ({
    text: markup(text),
    x: (x - xRange[0]) / (xRange[1] - xRange[0]),
    y: (y - yRange[0]) / (yRange[1] - yRange[0]),
    xref: 'paper',
    yref: 'paper',
    xanchor: 'center',
    yanchor: 'bottom',
    showarrow: false,
    bgcolor: 'rgba(255, 255, 255, 0.8)',
    font: { size },
  });
  const annotations = [
    ...letters.map((letter, i) => at(i + 0.5, -0.75, letter, 17)),
    ...pieces.map(({ from, to, label }) => at((from + to) / 2, to - from, label, 11)),
  ];
  const margin = { l: 16, r: 16, t: (title ? 48 : 24) + 24, b: 12 };
  return layout(
    {
      ...(title ? { title } : {}),
      width: Math.max(480, letterWidth * (n + 0.6) + margin.l + margin.r),
      height: stepHeight * (yRange[1] - yRange[0]) + margin.t + margin.b,
    },
    {
      showlegend: true,
      margin,
      annotations,
      xaxis: axis(undefined, { visible: false, range: xRange }),
      yaxis: axis(undefined, { visible: false, range: yRange }),
    },
  );
}

function thousandths(value: number): number {
  return Math.round(value * 1000) / 1000;
}
