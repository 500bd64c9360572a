/**
 * @file The loss curve that draws itself: SVG while the training runs (an output that is overwritten, and Plotly's renderer
 * ignores updates), Plotly once it is over.
 */
import { notebook, type NotebookDisplay } from '../base/index.ts';
import { lineChart, type CurvePoints } from './charts.ts';
import { color, rounded, type Figure, type ScatterTrace } from './figure.ts';
import { describeFigure, figureBundle } from './show.ts';
import { renderSvg } from './svg.ts';

export interface LiveLossOptions {
  readonly title?: string;
  /** What is drawn over the steps; `loss (nats per token)` unless told. */
  readonly y?: string;
  readonly logY?: boolean;
  /** Draw nothing. */
  readonly quiet?: boolean;
}

interface Curve {
  readonly steps: number[];
  readonly values: number[];
}

const redrawMs = 100;
/** Drawing may take this share of the time at most. */
const drawingShare = 0.05;
/** Curves with fewer points than this are drawn as they are, with their points. */
const fewPoints = 50;

/**
 * Collects values by name and step and, in a notebook, redraws their curves at most ten times a second. A noisy curve of many
 * points is drawn faintly, with its running mean on top.
 *
 * @example const live = new LiveLoss(); live.update(step, { train: 2.31 }); live.finish();
 */
export class LiveLoss {
  readonly #options: LiveLossOptions;
  readonly #curves = new Map<string, Curve>();
  readonly #display: NotebookDisplay | undefined;
  #nextDrawing = 0;

  constructor(options: LiveLossOptions = {}) {
    this.#options = options;
    this.#display = options.quiet ? undefined : notebook()?.newDisplay();
  }

  /** @param values the curves that have a value at this step: `{ train: 2.31 }`, sometimes `{ train: 2.28, validation: 2.4 }` */
  update(step: number, values: Readonly<Record<string, number>>): void {
    for (const [name, value] of Object.entries(values)) {
      const curve = this.#curves.get(name) ?? { steps: [], values: [] };
      this.#curves.set(name, curve);
      curve.steps.push(step);
      curve.values.push(value);
    }
    this.#redraw();
  }

  /** Replaces the drawing by the final figure, and returns that figure. */
  finish(): Figure {
    const figure = this.figure();
    if (this.#curves.size > 0) this.#display?.bundle(figureBundle(figure));
    return figure;
  }

  /** The curves as they are now. */
  figure(): Figure {
    const curves: Record<string, CurvePoints> = {};
    for (const [name, { steps, values }] of this.#curves) {
      const noisy = values.length > fewPoints;
      curves[name] = { x: steps, y: noisy ? runningMean(values) : values, points: !noisy };
    }
    const { title, y = 'loss (nats per token)', logY } = this.#options;
    const chart = lineChart(curves, { x: 'step', y, ...(title ? { title } : {}), ...(logY ? { logY } : {}) });
    return { ...chart, data: [...this.#faintTraces(), ...chart.data] };
  }

  #faintTraces(): ScatterTrace[] {
    return [...this.#curves].flatMap(([name, { steps, values }], i) => {
      if (values.length <= fewPoints) return [];
      const raw = lineChart({ [`${name}, each`]: { x: steps, y: values } }).data[0] as ScatterTrace;
      return [{ ...raw, opacity: 0.3, line: { color: color(i), width: 1 }, showlegend: false, hoverinfo: 'skip' as const }];
    });
  }

  #redraw(): void {
    const begun = performance.now();
    if (!this.#display || begun < this.#nextDrawing) return;
    const figure = this.figure();
    this.#display.svg(renderSvg(figure), describeFigure(figure));
    const took = performance.now() - begun;
    this.#nextDrawing = begun + Math.max(redrawMs, took / drawingShare);
  }
}

/** The mean over a window of a fiftieth of the curve, centred, narrower at its ends. */
function runningMean(values: readonly number[]): number[] {
  const reach = Math.max(2, Math.floor(values.length / 100));
  const sums = [0];
  for (const value of values) sums.push(sums.at(-1)! + value);
  return values.map((value, i) => {
    const half = Math.min(reach, i, values.length - 1 - i);
    const mean = (sums[i + half + 1]! - sums[i - half]!) / (2 * half + 1);
    return rounded(Number.isFinite(mean) ? mean : value) ?? NaN;
  });
}
