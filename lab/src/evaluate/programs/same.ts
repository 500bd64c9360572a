/**
 * @file Whether two programs compute the same whatever the numbers are, the "program accuracy" of FinQA: `add(a, b)` and
 * `add(b, a)` do, `add(2, 2)` and `multiply(2, 2)` do not.
 *
 * As in the public evaluator, every number, constant and table step of the gold program is a variable, named by its text, and
 * the predicted program may use no other. The public one then asks sympy to simplify both. Here both are computed with
 * random values of the variables in the integers modulo a large prime, where rational functions are equal if, and but for a
 * chance of about 1e-17, only if, their values are (Schwartz 1980, Zippel 1979). A power or a comparison is the same when both
 * of its sides are.
 */
import { parseProgram, type ProgramStep } from './tokens.ts';

const PRIME = 2n ** 61n - 1n;

/** @param gold the right program; the public evaluator is not symmetric */
export function sameProgram(gold: string | readonly string[], predicted: string | readonly string[]): boolean {
  const [right, given] = [parseProgram(gold), parseProgram(predicted)];
  if (right.kind === 'number') return given.kind === 'number' && given.text === right.text;
  if (right.kind !== 'steps' || given.kind !== 'steps') return false;
  const known = new Set(right.steps.flatMap(variables));
  if (!given.steps.every((step) => variables(step).every((name) => known.has(name)))) return false;
  const [a, b] = [valueOf(right.steps), valueOf(given.steps)];
  return a !== undefined && a === b;
}

function variables(step: ProgramStep): string[] {
  if (isTable(step)) return [nameOf(step)];
  return step.arguments.filter((argument) => !argument.includes('#'));
}

function isTable({ operation }: ProgramStep): boolean {
  return operation.startsWith('table_');
}

function nameOf({ operation, arguments: names }: ProgramStep): string {
  return `${operation}(${names.join('|')})`;
}

/** The value of the last step modulo the prime; undefined when a step refers forwards or divides by what is always 0. */
function valueOf(steps: readonly ProgramStep[]): bigint | undefined {
  const results: (bigint | undefined)[] = [];
  for (const step of steps) {
    const value = (argument: string): bigint | undefined =>
      argument.includes('#') ? results[Number(argument.replaceAll('#', ''))] : drawn(argument);
    const [a, b] = step.arguments.map(value);
    if (isTable(step)) results.push(drawn(nameOf(step)));
    else results.push(a === undefined || b === undefined ? undefined : combined(step, a, b));
  }
  return results.at(-1);
}

function combined({ operation }: ProgramStep, a: bigint, b: bigint): bigint | undefined {
  switch (operation) {
    case 'add':
      return (a + b) % PRIME;
    case 'subtract':
      return (a - b + PRIME) % PRIME;
    case 'multiply':
      return (a * b) % PRIME;
    case 'divide':
      return b === 0n ? undefined : (a * toThePower(b, PRIME - 2n)) % PRIME;
    default:
      return drawn(`${operation} ${a} ${b}`);
  }
}

function toThePower(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let square = base, left = exponent; left > 0n; left >>= 1n, square = (square * square) % PRIME) {
    if (left & 1n) result = (result * square) % PRIME;
  }
  return result;
}

/** A number that a name always has, and that looks like any other: FNV-1a over 64 bits, stirred at the end. */
function drawn(name: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(name)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  hash = BigInt.asUintN(64, (hash ^ (hash >> 32n)) * 0x9e3779b97f4a7c15n);
  return (hash ^ (hash >> 29n)) % PRIME;
}
