/**
 * @file Running a table program by the rules of the public evaluators of FinQA and ConvFinQA: float64 arithmetic, the answer
 * rounded to 5 digits behind the point, `yes` or `no` for comparisons, and `n/a` for whatever cannot be computed.
 */
import { roundToDecimals } from '../../base/index.ts';
import { type ProgramOperation, parseProgram, type ProgramStep } from './tokens.ts';

/** Rows of cells; the first cell of a row is its name. */
export type ProgramTable = readonly (readonly string[])[];

export type ProgramValue = number | 'yes' | 'no';

export interface ProgramRun {
  /** Rounded to 5 digits; 'n/a' when the program is broken or cannot run on this table. */
  readonly answer: ProgramValue | 'n/a';
  /** The steps as far as they ran, with what each gave, not rounded. */
  readonly steps: readonly (ProgramStep & { readonly result: ProgramValue })[];
  /** Why there is no answer. */
  readonly error?: string;
}

/**
 * @param program its text or its tokens
 * @param table only looked at by the operations `table_…`
 */
export function runProgram(program: string | readonly string[], table: ProgramTable = []): ProgramRun {
  const parsed = parseProgram(program);
  if (parsed.kind === 'broken') return { answer: 'n/a', steps: [], error: parsed.error };
  const steps: (ProgramStep & { readonly result: ProgramValue })[] = [];
  try {
    if (parsed.kind === 'number') return { answer: answerOf(numberOf(parsed.text)), steps };
    for (const step of parsed.steps) {
      const result = step.operation.startsWith('table_')
        ? overRow(step.operation, step.arguments[0], table)
        : ofTwo(step.operation, ...valuesOf(step, steps));
      steps.push({ ...step, result });
    }
    return { answer: answerOf(steps.at(-1)!.result), steps };
  } catch (error) {
    if (!(error instanceof CannotRun)) throw error;
    return { answer: 'n/a', steps, error: error.message };
  }
}

/** What makes an answer 'n/a'. */
class CannotRun extends Error {}

function answerOf(value: ProgramValue): ProgramValue {
  if (typeof value !== 'number') return value;
  if (Number.isNaN(value)) throw new CannotRun('the result is not a real number');
  return roundToDecimals(value, 5);
}

/**
 * A number as tables and programs write it: `1,234.5`, `12%` (0.12), `const_100`, `const_m1` (−1), and whatever else Python's
 * `float` reads.
 *
 * @throws CannotRun for anything else
 */
function numberOf(text: string): number {
  const plain = text.replaceAll(',', '');
  const asItIs = pythonFloat(plain);
  if (asItIs !== undefined) return asItIs;
  const [form, scale] = plain.includes('%') ? [plain.replaceAll('%', ''), 100] : [plain.replaceAll('const_', ''), 1];
  const isConstant = scale === 1 && plain.includes('const_');
  const value = isConstant && form === 'm1' ? -1 : scale === 100 || isConstant ? pythonFloat(form) : undefined;
  if (value === undefined) throw new CannotRun(`${JSON.stringify(text)} is not a number`);
  return value / scale;
}

const PYTHON_FLOAT = /^[+-]?(?:\d+(?:_\d+)*\.?(?:\d+(?:_\d+)*)?|\.\d+(?:_\d+)*)(?:e[+-]?\d+(?:_\d+)*)?$/i;

function pythonFloat(text: string): number | undefined {
  const trimmed = text.trim();
  if (PYTHON_FLOAT.test(trimmed)) return Number(trimmed.replaceAll('_', ''));
  const named = /^([+-]?)(?:(inf|infinity)|nan)$/i.exec(trimmed);
  if (!named) return undefined;
  return named[2] === undefined ? Number.NaN : named[1] === '-' ? -Infinity : Infinity;
}

function valuesOf({ operation, arguments: names }: ProgramStep, earlier: ProgramRun['steps']): [ProgramValue, ProgramValue] {
  const [a, b] = names.map((name) => {
    if (!name.includes('#')) return numberOf(name);
    const index = name.replaceAll('#', '').trim();
    const step = /^\d+$/.test(index) ? earlier[Number(index)] : undefined;
    if (!step) throw new CannotRun(`${operation} needs ${name}, but only ${earlier.length} steps come before it`);
    return step.result;
  });
  return [a!, b!];
}

function ofTwo(operation: ProgramOperation, a: ProgramValue, b: ProgramValue): ProgramValue {
  const comparable = typeof a === typeof b && !Number.isNaN(a) && !Number.isNaN(b);
  // Of words, as Python compares them: by the alphabet.
  if (operation === 'greater' && comparable) return a > b ? 'yes' : 'no';
  if (operation === 'greater' || typeof a !== 'number' || typeof b !== 'number') {
    throw new CannotRun(`${operation} cannot work on ${a} and ${b}`);
  }
  switch (operation) {
    case 'add':
      return a + b;
    case 'subtract':
      return a - b;
    case 'multiply':
      return a * b;
    case 'divide':
      if (b === 0) throw new CannotRun(`${a} is divided by 0`);
      return a / b;
    default:
      return power(a, b);
  }
}

/** Python refuses what is infinite; what is not real it computes, but that is no answer. */
function power(a: number, b: number): number {
  const result = a ** b;
  if (Math.abs(result) === Infinity && Number.isFinite(a) && Number.isFinite(b)) {
    throw new CannotRun(`${a} to the power of ${b} is infinite`);
  }
  return result;
}

/** The last row of that name counts; `$` and whatever follows a parenthesis are not read, as in `$ -97 ( 97 )`. */
function overRow(operation: ProgramOperation, name: string, table: ProgramTable): number {
  const row = table.findLast(([first]) => first === name);
  if (!row) throw new CannotRun(`the table has no row ${JSON.stringify(name)}`);
  const values = row.slice(1).map((cell) => numberOf(cell.replaceAll('$', '').trim().split('(')[0]!.trim()));
  const sum = values.reduce((total, value) => total + value, 0);
  if (operation === 'table_sum') return sum;
  if (values.length === 0) throw new CannotRun(`the row ${JSON.stringify(name)} has no cells`);
  if (operation === 'table_average') return sum / values.length;
  return values.reduce((best, value) => ((operation === 'table_max' ? value > best : value < best) ? value : best));
}
