/**
 * @file Table programs: what the public evaluator of ConvFinQA makes of them, the cases of the papers, mathjs, and by hand.
 */
import { readFileSync } from 'node:fs';
import {
  flattenProgram,
  LabError,
  parseProgram,
  programTokens,
  Random,
  runProgram,
  sameProgram,
  scorePrograms,
  roundToDecimals,
  type ProgramTable,
} from 'lab';
import { evaluate } from 'mathjs';
import { describe, expect, it } from 'vitest';

interface Fixture {
  readonly table: ProgramTable;
  readonly runs: readonly (readonly [program: string, answer: number | string])[];
  readonly pairs: readonly (readonly [gold: string, predicted: string[], same: boolean])[];
}
const fixture = JSON.parse(readFileSync(new URL('../fixtures/programs.json', import.meta.url), 'utf8')) as Fixture;
const { table } = fixture;

describe('running', () => {
  it('gives what the public evaluator gives, for good programs and broken ones', () => {
    for (const [program, answer] of fixture.runs) {
      // A NaN is equal to nothing there, so that it is never right.
      const wanted = answer === 'nan' ? 'n/a' : answer === 'inf' ? Infinity : answer === '-inf' ? -Infinity : answer;
      const found = runProgram(program, table).answer;
      if (wanted === 0) expect(Math.abs(found as number), program).toBe(0);
      else expect(found, program).toBe(wanted);
    }
  });

  it.each([
    // A conversation of the ConvFinQA training set (JKHY/2009/page_28.pdf).
    ['206588', 206588],
    ['181001', 181001],
    ['subtract(206588, 181001)', 25587],
    ['subtract(206588, 181001), divide(#0, 181001)', 0.14136],
    // FinQA, figure 1: about −400.
    ['divide(9413, 20.01), divide(8249, 9.48), subtract(#0, #1)', -399.73289],
    // The README of FinQA's evaluator.
    ['subtract(5829, 5735)', 94],
    ['divide(8.1, 56.0)', 0.14464],
    // By hand.
    ['add(1, 2), multiply(#0, const_100)', 300],
    ['multiply(const_m1, 3)', -3],
    ['exp(2, 10)', 1024],
    ['add(12%, 3%)', 0.15],
    ['divide(1, 64)', 0.01562],
    ['divide(3, 64)', 0.04688],
    ['divide(-1, 64)', -0.01562],
    ['greater(2, 3)', 'no'],
    ['greater(3, 2)', 'yes'],
    ['add(1,000, 1)', 1001],
    ['table_max(net income, none)', 206588],
    ['table_min(change, none)', -97],
    ['table_sum(rate, none)', 0.115],
    ['table_average(twice, none)', 1000.33333],
    ['table_max(net income, none), table_min(net income, none), subtract(#0, #1)', 32341],
    ['add(|1|2|)|multiply(|#0|const_3|)|EOF', 9],
    // What was not finished is left out.
    ['add(1, 2), divide(#0', 3],
  ] as const)('%s = %s', (program, answer) => expect(runProgram(program, table).answer).toBe(answer));

  it.each([
    ['', /there is no finished step|is not a number/],
    ['plus(1, 2)', /"plus\(" is no operation/],
    ['add(1, 2', /no finished step/],
    ['add(1, 2, 3)', /must have two arguments and then \), not 3/],
    ['add(1,2)', /no finished step/],
    ['add 1', /"add 1" is not a number/],
    ['add(1, two)', /"two" is not a number/],
    ['add(1, const_x)', /"const_x" is not a number/],
    ['divide(1, 0)', /1 is divided by 0/],
    ['subtract(2, 2), divide(5, #0)', /5 is divided by 0/],
    ['exp(-4, .5)', /not a real number/],
    ['exp(10, 400)', /is infinite/],
    ['add(#0, 1)', /add needs #0, but only 0 steps come before it/],
    ['add(1, 2), add(#1, 1)', /needs #1, but only 1 steps/],
    ['greater(1, 2), add(#0, 1)', /add cannot work on no and 1/],
    ['table_sum(gross income, none)', /no row "gross income"/],
    ['table_sum(text, none)', /"high" is not a number/],
    ['table_sum(gap, none)', /"-" is not a number/],
    ['table_sum(negative, none)', /"" is not a number/],
    ['table_max(empty, none)', /row "empty" has no cells/],
    ['table_sum(loss (income), none)', /table_sum/],
  ])('n/a: %s', (program, reason) => {
    const run = runProgram(program, table);
    expect(run.answer).toBe('n/a');
    expect(run.error).toMatch(reason);
  });

  it('shows the steps as far as they ran', () => {
    const run = runProgram('subtract(206588, 181001), divide(#0, 181001), add(#1, none)');
    expect(run.steps.map(({ operation, result }) => [operation, result])).toEqual([
      ['subtract', 25587],
      ['divide', 25587 / 181001],
    ]);
    expect(run.error).toMatch(/"none" is not a number/);
  });

  it('computes what mathjs computes for random programs', () => {
    const random = new Random(12);
    const operators = { add: '+', subtract: '-', multiply: '*', divide: '/', exp: '^' } as const;
    let compared = 0;
    for (let trial = 0; trial < 400; trial++) {
      const expressions: string[] = [];
      const steps: string[] = [];
      const argument = (): readonly [program: string, expression: string] => {
        if (expressions.length > 0 && random.integer(2) === 0) {
          const k = random.integer(expressions.length);
          return [`#${k}`, expressions[k]!];
        }
        const number = (random.integer(40_001) - 20_000) / 100;
        return random.integer(5) === 0 ? ['const_100', '100'] : [String(number), `(${number})`];
      };
      for (let step = 0; step <= random.integer(5); step++) {
        const name = random.pick(Object.keys(operators) as (keyof typeof operators)[]);
        const [a, b] = name === 'exp' ? [argument(), ['2', '2'] as const] : [argument(), argument()];
        steps.push(`${name}(${a[0]}, ${b[0]})`);
        expressions.push(`(${a[1]} ${operators[name]} ${b[1]})`);
      }
      const found = runProgram(steps.join(', ')).answer;
      const wanted: unknown = evaluate(expressions.at(-1)!);
      if (found === 'n/a') continue;
      compared++;
      expect(found, steps.join(', ')).toBe(roundToDecimals(wanted as number, 5));
    }
    expect(compared).toBeGreaterThan(350);
  });
});

describe('reading', () => {
  it('divides a program as the public evaluator does', () => {
    const tokens = ['divide(', '#0', '1,234', ')', 'table_sum(', 'net income', 'none', ')'];
    expect(programTokens('divide(#0, 1,234), table_sum(net income, none)')).toEqual(tokens);
    expect(programTokens(tokens.join('|'))).toEqual(tokens);
    expect(parseProgram([...tokens, 'EOF'])).toEqual(parseProgram(tokens));
    expect(parseProgram('53.2')).toEqual({ kind: 'number', text: '53.2' });
  });
});

describe('the nested form', () => {
  it('becomes steps, the inner ones first', () => {
    // The example in the public evaluator's own description.
    expect(flattenProgram('divide(72, multiply(6, 210))')).toBe('multiply(6, 210), divide(72, #0)');
    expect(flattenProgram('subtract(divide(9413, 20.01), divide(8249, 9.48))')).toBe(
      'divide(9413, 20.01), divide(8249, 9.48), subtract(#0, #1)',
    );
    expect(runProgram(flattenProgram('divide(table_sum(rate, none), const_2)'), table).answer).toBe(0.0575);
    for (const flat of ['206588', 'add(1, 2)', 'table_max(net income, none)']) expect(flattenProgram(flat)).toBe(flat);
  });

  it('stays broken when it is', () => {
    for (const broken of ['add(1, add(2, 3)', 'add(1, 2))', ')', 'add(add(1, 2))', '']) {
      expect(runProgram(flattenProgram(broken)).answer, broken).toBe('n/a');
    }
  });
});

describe('the same program', () => {
  it('is what the public evaluator takes for the same', () => {
    for (const [gold, predicted, same] of fixture.pairs)
      expect(sameProgram(gold, predicted), `${gold} | ${predicted}`).toBe(same);
  });

  it('does not depend on where a table step stands, nor on what is divided by nothing', () => {
    expect(
      sameProgram('table_sum(a, none), table_max(a, none), add(#0, #1)', 'table_max(a, none), table_sum(a, none), add(#0, #1)'),
    ).toBe(true);
    expect(sameProgram('subtract(3, 3), divide(7, #0)', 'subtract(3, 3), divide(7, #0)')).toBe(false);
  });
});

describe('scores', () => {
  it('count what programs compute and what they are', () => {
    const gold = 'subtract(5, 3), divide(#0, 3)';
    const item = (predicted: string) => ({ predicted, gold, table: [], answer: 0.66667 });
    const items = [gold, 'divide(2, 3)', 'subtract(5, 3), divide(#0, 5)', 'subtract(5, 3', 'divide(5, 0)'].map(item);
    expect(scorePrograms(items)).toEqual({ execution: 0.4, program: 0.2, invalid: 0.4 });
    expect(scorePrograms([{ predicted: gold, gold, table: [] }])).toEqual({ execution: 1, program: 1, invalid: 0 });
    expect(scorePrograms([{ predicted: '3', gold: 'greater(3, 2)', table: [], answer: 'yes' }]).execution).toBe(0);
    expect(() => scorePrograms([])).toThrow(LabError);
  });
});
