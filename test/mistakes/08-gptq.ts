/**
 * @file Chapter 08: plausible wrong answers, each under the hint that its author must be given, and right answers that are
 * written differently from the solution.
 */
import { tf, type ChapterMistakes, type ColumnBlock } from 'lab';

type Matrix = number[][];
type Quantize = (value: number, q: number) => number;
interface Average {
  hessian: tf.Tensor2D;
  tokens: number;
}

const indices = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** A cut in a loop, with its parts exchanged. */
const surgeryWith =
  ({
    factor = (w: number, d: number) => -w / d,
    column = (inverse: Matrix, i: number, q: number) => inverse[i]![q]!,
    loss = (w: number, d: number) => w ** 2 / d / 2,
    zero = true,
  }) =>
  (weights: number[], inverse: Matrix, q: number) => {
    const [w, d] = [weights[q]!, inverse[q]![q]!];
    const moved = weights.slice();
    for (let i = 0; i < moved.length; i++) if (i !== q || !zero) moved[i]! += factor(w, d) * column(inverse, i, q);
    if (zero) moved[q] = 0;
    return { weights: moved, loss: loss(w, d) };
  };

/** An elimination in loops, with its parts exchanged. */
const eliminateWith =
  ({ share = (value: number, d: number) => value / d, zero = true, sign = -1 }) =>
  (inverse: Matrix, q: number): Matrix => {
    const result = inverse.map((row) => row.slice());
    for (const i of indices(result.length)) {
      for (const j of indices(result.length)) {
        result[i]![j]! += sign * share(inverse[i]![q]! * inverse[q]![j]!, inverse[q]![q]!);
        if (zero && (i === q || j === q)) result[i]![j] = 0;
      }
    }
    return result;
  };
/** As rounding leaves it: nearly zero, never zero. */
const withoutZeros = (inverse: Matrix, q: number): Matrix =>
  eliminateWith({})(inverse, q).map((row, i) => row.map((x, j) => (i === q || j === q ? 1e-17 * (1 + j) : x)));

interface RowParts {
  next?: (inverse: Matrix, q: number) => Matrix;
  factor?: (error: number, d: number) => number;
  cost?: (error: number, d: number) => number;
  better?: (a: number, b: number) => boolean;
  settledMove?: boolean;
  ordered?: (row: number[], inverse: Matrix, quantize: Quantize) => number[] | undefined;
}

/** OBQ in loops, with its parts exchanged. */
const rowWith =
  ({
    next = eliminateWith({}),
    factor = (error, d) => error / d,
    cost = (error, d) => error ** 2 / d,
    better = (a, b) => a < b,
    settledMove = false,
    ordered = () => undefined,
  }: RowParts) =>
  (weights: number[], inverse: Matrix, quantize: Quantize, order?: number[]) => {
    const row = weights.slice();
    const given = order ?? ordered(row, inverse, quantize);
    const done: boolean[] = row.map(() => false);
    const taken: number[] = [];
    let H = inverse;
    for (let step = 0; step < row.length; step++) {
      let q = given ? given[step]! : -1;
      if (!given) {
        let least = 0;
        for (const i of indices(row.length)) {
          if (done[i]) continue;
          const price = cost(quantize(row[i]!, i) - row[i]!, H[i]![i]!);
          if (q < 0 || better(price, least)) [q, least] = [i, price];
        }
      }
      const rounded = quantize(row[q]!, q);
      const change = factor(row[q]! - rounded, H[q]![q]!);
      done[q] = true;
      for (const i of indices(row.length)) if (!done[i] || settledMove) row[i]! -= change * H[i]![q]!;
      row[q] = rounded;
      H = next(H, q);
      taken.push(q);
    }
    return { weights: row, order: taken };
  };

/** A running average with its parts exchanged. */
const averageWith =
  ({
    old = (seen: number, count: number) => seen / (seen + count),
    fresh = (seen: number, count: number) => 2 / (seen + count),
    counted = (seen: number, count: number) => seen + count,
    gram = (x: tf.Tensor2D) => tf.matMul(x, x, true, false),
  }) =>
  ({ hessian, tokens }: Average, x: tf.Tensor2D) => {
    const count = x.shape[0];
    return {
      hessian: hessian.mul(old(tokens, count)).add(gram(x).mul(fresh(tokens, count))),
      tokens: counted(tokens, count),
    };
  };

/** Each batch weighs as much as another. */
function everyBatchTheSame() {
  const counts = new WeakMap<tf.Tensor, number>();
  return ({ hessian, tokens }: Average, x: tf.Tensor2D) => {
    const count = tokens === 0 ? 0 : (counts.get(hessian) ?? 0);
    const mean = hessian.mul(count / (count + 1)).add(tf.matMul(x, x, true, false).mul(2 / x.shape[0] / (count + 1)));
    counts.set(mean, count + 1);
    return { hessian: mean, tokens: tokens + x.shape[0] };
  };
}

/** Keeps the true number to itself and shows another. */
function hidingTokens(show: (shown: number) => number) {
  const seen = new WeakMap<tf.Tensor, number>();
  return ({ hessian, tokens }: Average, x: tf.Tensor2D) => {
    const result = averageWith({})({ hessian, tokens: seen.get(hessian) ?? 0 }, x);
    seen.set(result.hessian, result.tokens);
    return { hessian: result.hessian, tokens: show(tokens) };
  };
}

/** Cholesky by its definition, column by column of L = Uᵀ, with its parts exchanged. */
const factorWith =
  ({ guard = true, finish = (U: Matrix) => U, start = (inverse: Matrix) => inverse, rest = true }) =>
  (inverse: Matrix): Matrix => {
    const A = start(inverse);
    const U = A.map((row) => row.map(() => 0));
    for (const i of indices(A.length)) {
      const dot = (j: number) => (rest ? indices(i).reduce((sum, k) => sum + U[k]![i]! * U[k]![j]!, 0) : 0);
      const pivot = A[i]![i]! - dot(i);
      if (guard && pivot <= 0) throw new Error('this matrix has no factor');
      U[i]![i] = Math.sqrt(pivot);
      for (let j = i + 1; j < A.length; j++) U[i]![j] = (A[i]![j]! - dot(j)) / U[i]![i]!;
    }
    return finish(U);
  };
const transposed = (matrix: Matrix): Matrix => matrix.map((_, j) => matrix.map((row) => row[j]!));
const backwards = (matrix: Matrix): Matrix => matrix.map((row) => row.slice().reverse()).reverse();
const scaledRows = (U: Matrix, factor: (d: number) => number): Matrix =>
  U.map((row, i) => row.map((x) => x * factor(U[i]![i]!)));

/** By Gauss and Jordan. */
function inverted(matrix: Matrix): Matrix {
  const rows = matrix.map((row, i) => row.concat(row.map((_, j) => (i === j ? 1 : 0))));
  rows.forEach((row, c) => {
    const pivot = row[c]!;
    for (const j of indices(row.length)) row[j]! /= pivot;
    for (const other of rows) {
      if (other === row) continue;
      const factor = other[c]!;
      for (const j of indices(row.length)) other[j]! -= factor * row[j]!;
    }
  });
  return rows.map((row) => row.slice(matrix.length));
}

/** GPTQ's step, column by column, with its parts exchanged. */
const stepWith =
  ({
    rounded = ({ quantize }: ColumnBlock, value: number, column: number, row: number) => quantize(value, column, row),
    error = (difference: number, d: number) => difference / d,
    share = ({ factor, columns }: ColumnBlock, column: number, later: number) => factor[column * columns + later]!,
    first = (column: number) => column + 1,
    end = (columns: number) => columns,
    at = ({ rows }: ColumnBlock, column: number, row: number) => column * rows + row,
    sign = -1,
    keep = true,
    keepErrors = true,
  }) =>
  (block: ColumnBlock, column: number): void => {
    const { columns, rows, weights, quantized, errors, factor } = block;
    const owed = indices(rows).map((row) => {
      const place = at(block, column, row);
      const value = rounded(block, weights[place]!, column, row);
      const made = error(weights[place]! - value, factor[column * columns + column]!);
      if (keep) quantized[place] = value;
      if (keepErrors) errors[place] = made;
      return made;
    });
    for (let later = first(column); later < end(columns); later++) {
      if (later === column) continue;
      for (const row of indices(rows)) weights[at(block, later, row)]! += sign * owed[row]! * share(block, column, later);
    }
  };

/** An order of the inputs, and the groups in it. */
const orderWith =
  ({
    compare = (a: number, b: number) => b - a,
    finish = (order: number[], _diagonal: number[]) => order,
    groups = (order: number[], size: number) => order.map((_, input) => Math.floor(order.indexOf(input) / size)),
  }) =>
  (diagonal: number[], size: number) => {
    const order = indices(diagonal.length).sort((a, b) => compare(diagonal[a]!, diagonal[b]!));
    return { order: finish(order, diagonal), groupIndex: groups(order, size) };
  };

export default {
  '8.1': {
    mistakes: {
      'two-missing': { addInputs: averageWith({ fresh: (seen, count) => 1 / (seen + count) }) },
      'sum-instead-of-average': { addInputs: averageWith({ old: () => 1, fresh: () => 2 }) },
      'every-batch-counts-the-same': { addInputs: everyBatchTheSame() },
      'newest-batch-alone': { addInputs: averageWith({ old: () => 0, fresh: (_, count) => 2 / count }) },
      'old-average-not-shrunk': { addInputs: averageWith({ old: () => 1 }) },
      'tokens-by-tokens': { addInputs: averageWith({ gram: (x) => tf.matMul(x, x, false, true) }) },
      'tokens-not-counted': { addInputs: hidingTokens((shown) => shown) },
      'counts-batches': { addInputs: hidingTokens((shown) => shown + 1) },
      'changes-its-inputs': {
        addInputs: (average: Average, x: tf.Tensor2D) => Object.assign(average, averageWith({})(average, x)),
      },
    },
    right: [
      { addInputs: averageWith({}) },
      {
        addInputs: ({ hessian, tokens }: Average, x: tf.Tensor2D) => {
          const weights = [tokens, x.shape[0]].map((count) => count / (tokens + x.shape[0]));
          const own = tf.matMul(x.transpose(), x).mul(2 / x.shape[0]);
          return { hessian: tf.add(hessian.mul(weights[0]!), own.mul(weights[1]!)), tokens: x.shape[0] + tokens };
        },
      },
    ],
  },
  '8.2': {
    mistakes: {
      'half-missing': { damage: (w: number[], H: Matrix) => w.map((x, q) => H[q]![q]! * x * x) },
      'not-squared': { damage: (w: number[], H: Matrix) => w.map((x, q) => 0.5 * H[q]![q]! * Math.abs(x)) },
      'keeps-the-sign': { damage: (w: number[], H: Matrix) => w.map((x, q) => 0.5 * H[q]![q]! * x) },
      'size-alone': { damage: (w: number[]) => w.map((x) => x ** 2 / 2) },
      'sum-of-the-row': { damage: (w: number[], H: Matrix) => w.map((x, q) => 0.5 * H[q]!.reduce((a, b) => a + b) * x * x) },
      'divided-by-the-curvature': { damage: (w: number[], H: Matrix) => w.map((x, q) => x ** 2 / (2 * H[q]![q]!)) },
    },
    right: [
      { damage: (w: number[], H: Matrix) => H.map((row, q) => (row[q]! * w[q]! * w[q]!) / 2) },
      { damage: (w: number[], H: Matrix) => Float64Array.from(w, (x, q) => (Math.sqrt(0.5 * H[q]![q]!) * x) ** 2) },
    ],
  },
  '8.3': {
    mistakes: {
      'nobody-reacts': { surgery: surgeryWith({ factor: () => 0 }) },
      'wrong-direction': { surgery: surgeryWith({ factor: (w, d) => w / d }) },
      'not-divided': { surgery: surgeryWith({ factor: (w) => -w }) },
      'weight-forgotten': { surgery: surgeryWith({ factor: (_, d) => -1 / d }) },
      'cut-moves-all': { surgery: surgeryWith({ column: (inverse, i) => inverse[i]![i]! }) },
      'loss-half-missing': { surgery: surgeryWith({ loss: (w, d) => w ** 2 / d }) },
      'loss-of-brain-damage': {
        surgery: (weights: number[], inverse: Matrix, q: number) => ({
          ...surgeryWith({})(weights, inverse, q),
          loss: 0.5 * inverted(inverse)[q]![q]! * weights[q]! ** 2,
        }),
      },
      'loss-multiplied': { surgery: surgeryWith({ loss: (w, d) => 0.5 * w ** 2 * d }) },
      'nearly-zero': { surgery: surgeryWith({ zero: false, factor: (w, d) => (-w / d) * (1 - 1e-14) }) },
      'changes-its-inputs': {
        surgery: (weights: number[], inverse: Matrix, q: number) => {
          const { weights: moved, loss } = surgeryWith({})(weights, inverse, q);
          moved.forEach((w, i) => (weights[i] = w));
          return { weights, loss };
        },
      },
    },
    right: [
      { surgery: surgeryWith({}) },
      {
        surgery: (weights: number[], inverse: Matrix, q: number) => {
          const row = inverse[q]!; // symmetric: a row is a column
          const multiplier = weights[q]! / row[q]!;
          const moved = Float64Array.from(weights, (w, i) => w - multiplier * row[i]!);
          moved[q] = 0;
          return { weights: moved, loss: 0.5 * multiplier * weights[q]! };
        },
      },
    ],
  },
  '8.4': {
    mistakes: {
      'only-struck-out': { eliminate: eliminateWith({ share: () => 0 }) },
      'not-divided': { eliminate: eliminateWith({ share: (value) => value }) },
      'added': { eliminate: eliminateWith({ sign: 1 }) },
      'divided-by-the-root': { eliminate: eliminateWith({ share: (value, d) => value / Math.sqrt(d) }) },
      'row-changed-while-it-was-read': {
        eliminate: (inverse: Matrix, q: number) => {
          const M = inverse.map((row) => row.slice());
          const d = M[q]![q]!;
          for (const i of indices(M.length)) {
            const factor = M[i]![q]! / d;
            for (const j of indices(M.length)) M[i]![j]! -= factor * M[q]![j]!;
          }
          return M.map((row, i) => row.map((x, j) => (i === q || j === q ? 0 : x)));
        },
      },
      'nearly-zero': { eliminate: withoutZeros },
      'changes-its-inputs': {
        eliminate: (inverse: Matrix, q: number) => {
          eliminateWith({})(inverse, q).forEach((row, i) => (inverse[i] = row));
          return inverse;
        },
      },
    },
    right: [
      { eliminate: eliminateWith({}) },
      {
        // The inverse of the inverse, without q, inverted again.
        eliminate: (inverse: Matrix, q: number) => {
          const left = indices(inverse.length).filter((i) => i !== q && inverse[i]![i] !== 0);
          const H = inverted([...left, q].map((i) => [...left, q].map((j) => inverse[i]![j]!)));
          const small = inverted(H.slice(0, -1).map((row) => row.slice(0, -1)));
          const result = inverse.map((row) => row.map(() => 0));
          left.forEach((i, a) => left.forEach((j, b) => (result[i]![j] = small[a]![b]!)));
          return result;
        },
      },
    ],
  },
  '8.5': {
    mistakes: {
      'nobody-reacts': { quantizeRow: rowWith({ factor: () => 0 }) },
      'wrong-direction': { quantizeRow: rowWith({ factor: (error, d) => -error / d }) },
      'not-divided': { quantizeRow: rowWith({ factor: (error) => error }) },
      'inverse-stays': { quantizeRow: rowWith({ next: (inverse) => inverse }) },
      'settled-weights-move': { quantizeRow: rowWith({ next: (inverse) => inverse, settledMove: true }) },
      'first-to-last': { quantizeRow: rowWith({ ordered: (row) => indices(row.length) }) },
      'most-expensive-first': { quantizeRow: rowWith({ better: (a, b) => a > b }) },
      'cost-without-the-inverse': { quantizeRow: rowWith({ cost: (error) => Math.abs(error) }) },
      'cost-times-the-inverse': { quantizeRow: rowWith({ cost: (error, d) => error ** 2 * d }) },
      'order-decided-at-the-start': {
        quantizeRow: rowWith({
          ordered: (row, inverse, quantize) => {
            const cost = (q: number) => (quantize(row[q]!, q) - row[q]!) ** 2 / inverse[q]![q]!;
            return indices(row.length).sort((a, b) => cost(a) - cost(b));
          },
        }),
      },
      'changes-its-inputs': {
        quantizeRow: (weights: number[], inverse: Matrix, quantize: Quantize, order?: number[]) => {
          const result = rowWith({})(weights, inverse, quantize, order);
          result.weights.forEach((w, i) => (weights[i] = w));
          return result;
        },
      },
    },
    right: [
      { quantizeRow: rowWith({}) },
      {
        // Every step with the inverse of what is left, made anew.
        quantizeRow: (weights: number[], inverse: Matrix, quantize: Quantize, order?: number[]) => {
          const H = inverted(inverse);
          const row = weights.slice();
          let left = indices(row.length);
          const taken: number[] = [];
          while (left.length > 0) {
            const current = left;
            const small = inverted(current.map((i) => current.map((j) => H[i]![j]!)));
            const costs = current.map((q, a) => (quantize(row[q]!, q) - row[q]!) ** 2 / small[a]![a]!);
            const a = order ? current.indexOf(order[taken.length]!) : costs.indexOf(Math.min(...costs));
            const q = current[a]!;
            const error = quantize(row[q]!, q) - row[q]!;
            current.forEach((i, b) => (row[i]! += (error * small[a]![b]!) / small[a]![a]!));
            row[q] = quantize(row[q]!, q);
            left = current.filter((i) => i !== q);
            taken.push(q);
          }
          return { weights: row, order: taken };
        },
      },
    ],
  },
  '8.6': {
    mistakes: {
      'lower': { upperFactor: factorWith({ finish: transposed }) },
      'factor-the-other-way-round': { upperFactor: factorWith({ start: backwards, finish: (U) => backwards(transposed(U)) }) },
      'factor-of-h': { upperFactor: factorWith({ start: inverted }) },
      'not-eliminated': { upperFactor: factorWith({ rest: false }) },
      'divided-by-the-diagonal': { upperFactor: factorWith({ finish: (U) => scaledRows(U, (d) => 1 / d) }) },
      'not-divided': { upperFactor: factorWith({ finish: (U) => scaledRows(U, (d) => d) }) },
      'no-error': { upperFactor: factorWith({ guard: false }) },
      'changes-its-inputs': {
        upperFactor: (inverse: Matrix) => {
          const U = factorWith({})(inverse);
          U.forEach((row, i) => (inverse[i] = row.slice()));
          return U;
        },
      },
    },
    right: [
      { upperFactor: factorWith({}) },
      {
        // By the steps of elimination, a new matrix for each.
        upperFactor: (inverse: Matrix) => {
          let rest = inverse;
          return indices(inverse.length).map((q) => {
            const d = rest[q]![q]!;
            if (d <= 0 || Number.isNaN(d)) throw new RangeError('no factor');
            const row = rest[q]!.map((x) => x / Math.sqrt(d));
            rest = eliminateWith({})(rest, q);
            return row;
          });
        },
      },
    ],
  },
  '8.7': {
    mistakes: {
      'not-stored': { gptqStep: stepWith({ keep: false }) },
      'errors-not-stored': { gptqStep: stepWith({ keepErrors: false }) },
      'another-layout': { gptqStep: stepWith({ at: ({ columns }, column, row) => row * columns + column }) },
      'row-and-column-swapped': {
        gptqStep: stepWith({ rounded: ({ quantize }, value, column, row) => quantize(value, row, column) }),
      },
      'rounded-without-the-grid': { gptqStep: stepWith({ rounded: (_, value) => Math.round(value) }) },
      'error-inverted': { gptqStep: stepWith({ error: (e, d) => -e / d, sign: 1 }) },
      'nobody-reacts': { gptqStep: stepWith({ share: () => 0 }) },
      'error-not-divided': { gptqStep: stepWith({ error: (e) => e }) },
      'error-divided-by-the-square': { gptqStep: stepWith({ error: (e, d) => e / d ** 2 }) },
      'wrong-direction': { gptqStep: stepWith({ sign: 1 }) },
      'reads-a-column-of-u': {
        gptqStep: stepWith({ share: ({ factor, columns }, column, later) => factor[later * columns + column]! }),
      },
      'all-columns-move': {
        gptqStep: stepWith({
          first: () => 0,
          share: ({ factor, columns }, a, b) => factor[Math.min(a, b) * columns + Math.max(a, b)]!,
        }),
      },
      'last-column-forgotten': { gptqStep: stepWith({ end: (columns) => columns - 1 }) },
      'changes-the-factor': {
        gptqStep: (block: ColumnBlock, column: number) => {
          stepWith({})(block, column);
          for (let j = column; j < block.columns; j++) block.factor[column * block.columns + j]! *= 2;
        },
      },
    },
    right: [
      { gptqStep: stepWith({}) },
      {
        // A row of the matrix at a time.
        gptqStep: ({ columns, rows, weights, quantized, errors, factor, quantize }: ColumnBlock, column: number) => {
          const U = factor.subarray(column * columns, (column + 1) * columns);
          for (let place = column * rows, row = 0; row < rows; place++, row++) {
            quantized[place] = quantize(weights[place]!, column, row);
            errors[place] = (weights[place]! - quantized[place]!) / U[column]!;
            U.forEach((share, later) => {
              if (later > column) weights[later * rows + row]! -= share * errors[place]!;
            });
          }
        },
      },
    ],
  },
  '8.8': {
    mistakes: {
      'weakest-first': { actOrder: orderWith({ compare: (a, b) => a - b }) },
      'sorted-as-text': {
        actOrder: (diagonal: number[], size: number) => {
          const order = [...diagonal.keys()].sort((a, b) => (`${diagonal[b]}` > `${diagonal[a]}` ? 1 : -1));
          return { order, groupIndex: orderWith({})(diagonal, size).groupIndex };
        },
      },
      'ranks-instead-of-inputs': { actOrder: orderWith({ finish: (order) => order.map((_, input) => order.indexOf(input)) }) },
      'values-instead-of-inputs': {
        actOrder: orderWith({ finish: (order, diagonal) => order.map((input) => diagonal[input]!) }),
      },
      'later-of-equals-first': {
        actOrder: (diagonal: number[], size: number) => {
          const order = indices(diagonal.length).sort((a, b) => diagonal[b]! - diagonal[a]! || b - a);
          return { order, groupIndex: orderWith({})(diagonal, size).groupIndex };
        },
      },
      'groups-of-neighbours': { actOrder: orderWith({ groups: (order, size) => order.map((_, i) => Math.floor(i / size)) }) },
      'groups-by-step': { actOrder: orderWith({ groups: (order, size) => order.map((input) => Math.floor(input / size)) }) },
      'step-instead-of-group': { actOrder: orderWith({ groups: (order) => order.map((_, input) => order.indexOf(input)) }) },
      'not-undone': { undoOrder: (swept: number[]) => [...swept] },
      'ordered-twice': { undoOrder: (swept: number[], order: number[]) => order.map((input) => swept[input]!) },
      'sorted': { undoOrder: (swept: number[]) => [...swept].sort((a, b) => b - a) },
      'changes-its-inputs': {
        actOrder: (diagonal: number[], size: number) => {
          const result = orderWith({})([...diagonal], size);
          diagonal.sort((a, b) => b - a);
          return result;
        },
      },
    },
    right: [
      {
        actOrder: orderWith({}),
        undoOrder: (swept: number[], order: number[]) => indices(order.length).map((i) => swept[order.indexOf(i)]!),
      },
      {
        actOrder: (diagonal: number[], size: number) => {
          const left = new Set(diagonal.keys());
          const order: number[] = [];
          const groupIndex: number[] = [];
          while (left.size > 0) {
            let best = -1;
            for (const i of left) if (best < 0 || diagonal[i]! > diagonal[best]!) best = i;
            groupIndex[best] = Math.trunc(order.length / size);
            order.push(best);
            left.delete(best);
          }
          return { order, groupIndex };
        },
        undoOrder: (swept: number[], order: number[]) => {
          const values = new Float64Array(swept.length);
          for (let step = 0; step < order.length; step++) values[order[step]!] = swept[step]!;
          return values;
        },
      },
    ],
  },
} satisfies ChapterMistakes;
