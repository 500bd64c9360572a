/**
 * @file Table programs as text: `subtract(206588, 181001), divide(#0, 181001)`, the language of FinQA (Chen et al. 2021,
 * section 3.3) and ConvFinQA (Chen et al. 2022).
 *
 * A program is one number, or steps of an operation with two arguments: a number, a constant such as `const_100` or `const_m1`
 * (−1), or `#k`, the result of step k. `table_max`, `table_min`, `table_sum` and `table_average` take the name of a row, and
 * `none`.
 */

export const PROGRAM_OPERATIONS = [
  'add',
  'subtract',
  'multiply',
  'divide',
  'exp',
  'greater',
  'table_max',
  'table_min',
  'table_sum',
  'table_average',
] as const;

export type ProgramOperation = (typeof PROGRAM_OPERATIONS)[number];

export interface ProgramStep {
  readonly operation: ProgramOperation;
  readonly arguments: readonly [string, string];
}

/** What a program's text says: one number, or steps; or what is wrong with it. */
export type ParsedProgram =
  | { readonly kind: 'number'; readonly text: string }
  | { readonly kind: 'steps'; readonly steps: readonly ProgramStep[] }
  | { readonly kind: 'broken'; readonly error: string };

/**
 * The tokens `subtract(`, `206588`, `181001`, `)`, … of the public evaluator: a comma and a blank divide arguments, a comma
 * alone belongs to a number. Tokens that are divided by `|` already, as models are made to write them, are taken as they are.
 */
export function programTokens(program: string): string[] {
  if (program.includes('|')) {
    return program
      .split('|')
      .map((token) => token.trim())
      .filter((token) => token !== '');
  }
  const tokens: string[] = [];
  for (const part of program.split(', ')) {
    let current = '';
    const flush = (): void => {
      if (current !== '') tokens.push(current);
      current = '';
    };
    for (const character of part) {
      if (character === ')') flush();
      current += character;
      if (character === '(' || character === ')') flush();
    }
    flush();
  }
  return tokens;
}

/**
 * As strict, and as lenient, as the public evaluator: every fourth token is an operation, every fourth one from the third on a
 * closing parenthesis; a last step that was not finished is left out, and so is the `EOF` that models end with.
 */
export function parseProgram(program: string | readonly string[]): ParsedProgram {
  const given = typeof program === 'string' ? programTokens(program) : program;
  const tokens = given.at(-1) === 'EOF' ? given.slice(0, -1) : given;
  if (tokens.length === 1) return { kind: 'number', text: tokens[0]! };
  const steps: ProgramStep[] = [];
  for (let at = 0; at < tokens.length; at += 4) {
    const [opening = '', first = '', second = '', closing] = tokens.slice(at, at + 4);
    const operation = opening.replace(/^\(+|\(+$/g, '');
    if (!isOperation(operation)) return { kind: 'broken', error: `${JSON.stringify(opening)} is no operation` };
    if (closing === undefined) break;
    if (closing !== ')') return { kind: 'broken', error: `${operation} must have two arguments and then ), not ${closing}` };
    if (opening !== `${operation}(`) return { kind: 'broken', error: `${operation} has no opening parenthesis` };
    const badArgument = [first, second].find((argument) => /[()]/.test(argument));
    if (badArgument !== undefined) return { kind: 'broken', error: `${operation} has the argument ${badArgument}` };
    steps.push({ operation, arguments: [first.trim(), second.trim()] });
  }
  if (steps.length === 0) return { kind: 'broken', error: 'there is no finished step' };
  return { kind: 'steps', steps };
}

/**
 * The nested form, in which FinQA also writes programs (`program_re`), as steps:
 * `divide(72, multiply(6, 210))` → `multiply(6, 210), divide(72, #0)`. One that is not well formed comes out broken.
 */
export function flattenProgram(nested: string): string {
  const open: string[] = [];
  const steps: string[] = [];
  const tokens = programTokens(nested);
  for (const token of tokens) {
    if (token !== ')') {
      open.push(token);
      continue;
    }
    const [opening, first, second] = open.splice(-3);
    if (second === undefined) return nested;
    steps.push(`${opening}${first}, ${second})`);
    open.push(`#${steps.length - 1}`);
  }
  return steps.length === 0 || open.length !== 1 ? nested : steps.join(', ');
}

function isOperation(name: string): name is ProgramOperation {
  return (PROGRAM_OPERATIONS as readonly string[]).includes(name);
}
