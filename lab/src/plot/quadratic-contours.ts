/**
 * @file The error of two weights around its minimum, as a map: contours of ½ δᵀ H δ, which are ellipses, and ways that the
 * weights go on it.
 */
import { invariant } from '../base/index.ts';
import { color, layout, markup, rounded, type ChartOptions, type Figure, type ScatterTrace } from './figure.ts';

export interface QuadraticContoursOptions extends Omit<ChartOptions, 'logX' | 'logY' | 'ticksX'> {
  /** Where the error is zero; the origin unless told. */
  readonly minimum?: readonly [number, number];
  /** The errors that get a contour, each above zero. */
  readonly levels: readonly number[];
  /** Points in the order in which they are passed, by name. */
  readonly paths?: Readonly<Record<string, readonly (readonly [number, number])[]>>;
}

/** So many pieces make an ellipse. */
const PIECES = 120;
const CONTOUR_COLOR = '#9aa7b4';

/**
 * @param hessian [2][2], symmetric and positive definite
 * @throws RangeError when it is not, or for a level that is not above zero.
 * @example show(quadraticContours([[2, 1], [1, 2]], { levels: [0.5, 1], paths: { cut: [[1, 1], [0, 1]] } }))
 */
export function quadraticContours(
  hessian: readonly (readonly number[])[],
  { minimum = [0, 0], levels, paths = {}, ...options }: QuadraticContoursOptions,
): Figure {
  const [[a = NaN, b = NaN] = [], [, c = NaN] = []] = hessian;
  invariant(
    a > 0 && a * c > b * b,
    () => `quadraticContours: the Hessian must be positive definite, got ${JSON.stringify(hessian)}`,
  );
  invariant(
    levels.every((level) => level > 0),
    () => `quadraticContours: levels must be above zero, got ${levels.join(', ')}`,
  );
  // H = L Lᵀ, so δ = L⁻ᵀ u has the error ½ |u|².
  const first = Math.sqrt(a);
  const side = b / first;
  const second = Math.sqrt(c - side ** 2);
  const contours = levels.map((level): ScatterTrace => {
    const radius = Math.sqrt(2 * level);
    const points = Array.from({ length: PIECES + 1 }, (_, i) => {
      const angle = (2 * Math.PI * i) / PIECES;
      const y = (radius * Math.sin(angle)) / second;
      return [minimum[0] + (radius * Math.cos(angle) - side * y) / first, minimum[1] + y] as const;
    });
    const name = `error ${Number(level.toPrecision(3))}`;
    const hover = { text: points.map(() => name), hovertemplate: '%{text}<extra></extra>' };
    const line = { color: CONTOUR_COLOR, width: 1 };
    return { type: 'scatter', mode: 'lines', name, showlegend: false, ...coordinates(points), line, ...hover };
  });
  const ways = Object.entries(paths).map(
    ([name, points], i): ScatterTrace => ({
      type: 'scatter',
      mode: 'lines+markers',
      name: markup(name),
      ...coordinates(points),
      line: { color: color(i), width: 2.5 },
      marker: { color: color(i), size: 9 },
    }),
  );
  return { data: [...contours, ...ways], layout: layout({ width: 520, height: 460, ...options }, {}, [...ways, {}]) };
}

function coordinates(points: readonly (readonly [number, number])[]): Pick<ScatterTrace, 'x' | 'y'> {
  return { x: points.map(([x]) => rounded(x)!), y: points.map(([, y]) => rounded(y)) };
}
