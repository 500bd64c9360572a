/**
 * @file Conversations about a company's table, in ConvFinQA's own fields: a report with a table, questions that follow one from
 * another, and for each the program that answers it.
 */
import { invariant, Random, roundToDecimals } from '../../base/index.ts';
import type { ConversationTurn, TableConversation } from '../../data/index.ts';
import { Weighted } from './draw.ts';
import type { Company, MarketKnowledge, YearFigures } from './knowledge.ts';
import { sayStatement } from './say.ts';
import { withCommas } from './values.ts';

export interface MarketConversationOptions {
  /** How many conversations (default 200). */
  readonly count?: number;
  /** Decides which (default 1). */
  readonly seed?: number;
}

/** Of four conversations three have one part, and one has two, as ConvFinQA's types I and II. */
export function marketConversations(knowledge: MarketKnowledge, options: MarketConversationOptions = {}): TableConversation[] {
  const { count = 200, seed = 1 } = options;
  invariant(Number.isSafeInteger(count) && count >= 0, `marketConversations: count must be 0, 1, …, got ${count}`);
  const random = new Random(seed);
  const companies = new Weighted(knowledge.companies, ({ weight }) => weight);
  return Array.from({ length: count }, (_, i) => conversation(companies.draw(random), knowledge, random, i));
}

/** A row of the table: its name, its cells' texts, and what programs compute with. */
const rows = {
  revenue: { name: 'revenue', text: money, value: ({ revenue }: YearFigures) => revenue },
  netIncome: { name: 'net income', text: money, value: ({ netIncome }: YearFigures) => netIncome },
  employees: { name: 'employees', text: withCommas, value: ({ employees }: YearFigures) => employees },
  sharePrice: { name: 'share price', text: price, value: ({ sharePrice }: YearFigures) => sharePrice / 100 },
} as const;

type RowKey = keyof typeof rows;

/** Negative numbers are written twice, as FinQA's tables write them. */
function money(millions: number): string {
  const size = withCommas(Math.abs(millions));
  return millions < 0 ? `$ -${size} ( ${size} )` : `$ ${size}`;
}

function price(dollars: number): string {
  return `$ ${dollars.toFixed(2)}`;
}

function conversation(company: Company, knowledge: MarketKnowledge, random: Random, index: number): TableConversation {
  const years = 3 + random.integer(2);
  const end = years + random.integer(company.figures.length - years + 1);
  // The latest first, as reports print them.
  const figures = company.figures.slice(end - years, end).reverse();
  const report = new Report(figures, random);
  const parts = random.integer(4) === 0 ? 2 : 1;
  const turns = Array.from({ length: parts }, (_, part) => report.part(part)).flat();
  const [latest, earliest] = [figures[0]!.year, figures.at(-1)!.year];
  const sentences = (['headquarters', 'sector', 'chiefExecutive', 'founded'] as const).map((relation) =>
    sayStatement(knowledge.lookup(company.name, relation)[0]!, knowledge, random),
  );
  const [first, second, ...after] = random.shuffle(sentences);
  return {
    id: `${parts === 1 ? 'Single' : 'Double'}_${company.ticker}/${latest}/page_${1 + random.integer(120)}.pdf-${index}`,
    preText: [first!, second!, `The table shows figures of ${company.name} from ${earliest} to ${latest}, money in millions.`],
    table: report.table,
    postText: after,
    turns,
  };
}

/** A number in a program: as it is written there, and what it is. */
interface Operand {
  readonly text: string;
  readonly value: number;
}

const arithmetic = {
  add: (a: number, b: number) => a + b,
  subtract: (a: number, b: number) => a - b,
  multiply: (a: number, b: number) => a * b,
  divide: (a: number, b: number) => a / b,
} as const;

/** Steps, and what they compute, without the interpreter that is to be tested on them. */
class ProgramText {
  readonly #steps: string[] = [];

  step(operation: keyof typeof arithmetic, a: Operand, b: Operand): Operand {
    this.#steps.push(`${operation}(${a.text}, ${b.text})`);
    return { text: `#${this.#steps.length - 1}`, value: arithmetic[operation](a.value, b.value) };
  }

  toString(): string {
    return this.#steps.join(', ');
  }
}

type Turn = Omit<ConversationTurn, 'part'>;

/** The table of a company and the questions on it. */
class Report {
  readonly #figures: readonly YearFigures[];
  readonly #random: Random;

  constructor(figures: readonly YearFigures[], random: Random) {
    this.#figures = figures;
    this.#random = random;
  }

  get table(): string[][] {
    const body = Object.values(rows).map(({ name, text, value }) => [name, ...this.#figures.map((year) => text(value(year)))]);
    return [['', ...this.#figures.map(({ year }) => String(year))], ...body];
  }

  part(part: number): ConversationTurn[] {
    const kinds = [
      () => this.#change(),
      () => this.#margin(),
      () => this.#perHead(),
      () => this.#overYears(),
      () => this.#total(),
    ];
    return this.#random
      .pick(kinds)()
      .map((turn) => ({ ...turn, part }));
  }

  #cell(row: RowKey, column: number): Operand {
    const value = rows[row].value(this.#figures[column]!);
    return { text: row === 'sharePrice' ? value.toFixed(2) : String(value), value };
  }

  #year(column: number): number {
    return this.#figures[column]!.year;
  }

  #selection(row: RowKey, column: number, questions: readonly string[]): Turn {
    const { text, value } = this.#cell(row, column);
    return { question: this.#random.pick(questions), program: text, answer: roundToDecimals(value, 5) };
  }

  #computed(questions: readonly string[], compute: (program: ProgramText) => Operand): Turn {
    const program = new ProgramText();
    const { value } = compute(program);
    return { question: this.#random.pick(questions), program: String(program), answer: roundToDecimals(value, 5) };
  }

  /** Two years of a row, their difference, and what share of the earlier one that is. */
  #change(): Turn[] {
    const row = this.#random.pick(Object.keys(rows) as RowKey[]);
    const { name } = rows[row];
    const [now, then] = [0, 1 + this.#random.integer(this.#figures.length - 1)];
    const [a, b] = [this.#cell(row, now), this.#cell(row, then)];
    const turns = [
      this.#selection(row, now, [
        `what was the ${name} in ${this.#year(now)}?`,
        `what is the figure for ${name} in ${this.#year(now)}?`,
      ]),
      this.#selection(row, then, [
        `and in ${this.#year(then)}?`,
        `what was it in ${this.#year(then)}?`,
        `what about ${this.#year(then)}?`,
      ]),
      this.#computed(
        ['what was the change between these years?', 'by how much did it change?', 'what is the difference?'],
        (program) => program.step('subtract', a, b),
      ),
    ];
    if (this.#random.integer(3) === 0 || b.value === 0) return [...turns, this.#comparison(a, b)];
    const share = this.#computed(
      [
        `and what is that as a share of the figure of ${this.#year(then)}?`,
        'how much is this in relation to the earlier figure?',
      ],
      (program) => program.step('divide', program.step('subtract', a, b), b),
    );
    return [...turns, share];
  }

  #comparison(a: Operand, b: Operand): Turn {
    const question = this.#random.pick(['was it higher in the later year?', 'so is the later figure the higher one?']);
    return { question, program: `greater(${a.text}, ${b.text})`, answer: a.value > b.value ? 'yes' : 'no' };
  }

  /** Net income by revenue, in two years. */
  #margin(): Turn[] {
    const [now, then] = [0, 1];
    const [income, revenue, oldIncome, oldRevenue] = [
      this.#cell('netIncome', now),
      this.#cell('revenue', now),
      this.#cell('netIncome', then),
      this.#cell('revenue', then),
    ];
    return [
      this.#selection('netIncome', now, [
        `what was the net income in ${this.#year(now)}?`,
        `what did the company earn in ${this.#year(now)}?`,
      ]),
      this.#selection('revenue', now, ['and the revenue?', 'what was the revenue in that year?']),
      this.#computed(['what share of the revenue was earned?', 'what is the first as a share of the second?'], (program) =>
        program.step('divide', income, revenue),
      ),
      this.#computed([`and in ${this.#year(then)}?`, `what was this share in ${this.#year(then)}?`], (program) =>
        program.step('divide', oldIncome, oldRevenue),
      ),
      this.#computed(['by how much did the share change?', 'what is the change of this share?'], (program) =>
        program.step('subtract', program.step('divide', income, revenue), program.step('divide', oldIncome, oldRevenue)),
      ),
    ];
  }

  /** Revenue of an employee, in dollars: the table has it in millions. */
  #perHead(): Turn[] {
    const column = this.#random.integer(this.#figures.length);
    const [revenue, employees] = [this.#cell('revenue', column), this.#cell('employees', column)];
    const million: Operand = { text: 'const_1000000', value: 1_000_000 };
    return [
      this.#selection('revenue', column, [`what was the revenue in ${this.#year(column)}, in millions?`]),
      this.#selection('employees', column, ['how many employees were there?', 'and the number of employees in that year?']),
      this.#computed(
        ['how many dollars of revenue is that for each of them?', 'what is the revenue of an employee, in dollars?'],
        (program) => program.step('divide', program.step('multiply', revenue, million), employees),
      ),
    ];
  }

  /** The operations on whole rows. */
  #overYears(): Turn[] {
    const row = this.#random.pick(['revenue', 'employees', 'sharePrice'] as const);
    const { name } = rows[row];
    const values = this.#figures.map((_, column) => this.#cell(row, column).value);
    const sum = values.reduce((total, value) => total + value, 0);
    const high = Math.max(...values);
    const low = Math.min(...values);
    const turn = (questions: readonly string[], program: string, value: number): Turn => {
      return { question: this.#random.pick(questions), program, answer: roundToDecimals(value, 5) };
    };
    return [
      turn(
        [`what was the highest ${name} of these years?`, `what is the maximum of the ${name}?`],
        `table_max(${name}, none)`,
        high,
      ),
      turn(['and the lowest?', 'what was the lowest one?'], `table_min(${name}, none)`, low),
      turn(
        ['what is the difference of the two?', 'how far are they apart?'],
        `table_max(${name}, none), table_min(${name}, none), subtract(#0, #1)`,
        high - low,
      ),
      turn(['what was the average of all years?', 'and the average?'], `table_average(${name}, none)`, sum / values.length),
    ];
  }

  /** Two years together, and how much of that one of them is. */
  #total(): Turn[] {
    const [a, b] = [this.#cell('revenue', 0), this.#cell('revenue', 1)];
    return [
      this.#selection('revenue', 0, [`what was the revenue in ${this.#year(0)}?`]),
      this.#selection('revenue', 1, ['and in the year before?', `and in ${this.#year(1)}?`]),
      this.#computed(['what is the total of both years?', 'what are they together?'], (program) => program.step('add', a, b)),
      this.#computed([`what share of the total is that of ${this.#year(0)}?`], (program) => {
        return program.step('divide', a, program.step('add', a, b));
      }),
    ];
  }
}
