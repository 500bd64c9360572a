/**
 * @file A probabilistic grammar with a memory: templates whose slots choose a value when they are first mentioned and refer
 * back to it ever after. One definition, from which stories are written, measured and read.
 */
import { invariant } from '../../base/index.ts';

/** What a story has settled so far: the value of each slot that was mentioned. */
export type Facts = Readonly<Record<string, string>>;

/** Things of one kind: how likely each is, and how it is written. */
export interface Category {
  /** Whole numbers, so that a draw is the same on every machine. */
  readonly weights: Readonly<Record<string, number>>;
  /** `{slot.form}` is the value written by the form of that name; a slot without a form is the value itself. */
  readonly forms?: Readonly<Record<string, (value: string) => string>>;
}

export interface Slot {
  readonly category: Category;
  /** Slots whose values this one must not repeat. */
  readonly unlike?: readonly string[];
}

/** One way to go on. */
export interface Alternative {
  readonly weight: number;
  /** Text with `{slot}`, `{slot.form}` and `<rule>` in it. */
  readonly template: string;
  /** Only possible when these facts hold. */
  readonly when?: Facts;
  /** Facts that hold from here on. */
  readonly sets?: Facts;
}

export type Rules = Readonly<Record<string, readonly Alternative[]>>;

export type Token =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'slot'; readonly slot: string; readonly form: string }
  | { readonly type: 'rule'; readonly rule: string };

/** A token at which something is to be chosen or referred to. */
export type ChoiceToken = Exclude<Token, { type: 'text' }>;

/** What is still to be written, first things first; a list that readings can share. */
export interface Agenda {
  readonly token: Token;
  readonly rest: Agenda | undefined;
}

/** One outcome of a choice. */
export interface Choice {
  readonly weight: number;
  readonly tokens: readonly Token[];
  /** Facts that it adds. */
  readonly adds: Facts | undefined;
  /** Set when the facts so far rule it out. */
  readonly slip?: boolean;
}

interface Value extends Choice {
  readonly value: string;
  readonly said: string;
}

interface CompiledAlternative extends Choice {
  readonly when: Facts | undefined;
}

export function prepend(tokens: readonly Token[], rest: Agenda | undefined): Agenda | undefined {
  return tokens.reduceRight<Agenda | undefined>((agenda, token) => ({ token, rest: agenda }), rest);
}

export function totalWeight(choices: readonly Choice[]): number {
  return choices.reduce((total, { weight }) => total + weight, 0);
}

/** How many characters of `said` stand at that place of a text. */
export function agreement(whole: string, position: number, said: string): number {
  let agreed = 0;
  while (agreed < said.length && whole[position + agreed] === said[agreed]) agreed++;
  return agreed;
}

export class Grammar {
  /** Names of the rules that are whole sentences. */
  readonly sentences: readonly string[];
  readonly #slots: Readonly<Record<string, Slot>>;
  readonly #rules: ReadonlyMap<string, readonly CompiledAlternative[]>;
  /** By `slot.form`, all values of the slot as that form writes them. */
  readonly #written = new Map<string, readonly Value[]>();

  /**
   * @param structure rules that say which sentences make a story
   * @param sentences rules that are one whole sentence
   * @param phrases rules that are a part of a sentence
   * @throws RangeError when a template names a slot, form or rule that is not there.
   */
  constructor(slots: Readonly<Record<string, Slot>>, structure: Rules, sentences: Rules, phrases: Rules) {
    this.#slots = slots;
    this.sentences = Object.keys(sentences);
    const rules = Object.entries({ ...structure, ...sentences, ...phrases });
    this.#rules = new Map(
      rules.map(([name, alternatives]) => [
        name,
        alternatives.map(({ weight, template, when, sets }) => {
          invariant(Number.isInteger(weight) && weight > 0, `rule ${name}: weights are whole numbers above 0, got ${weight}`);
          return { weight, tokens: this.#compile(template), when, adds: sets };
        }),
      ]),
    );
    for (const [name, alternatives] of this.#rules) {
      for (const token of alternatives.flatMap(({ tokens }) => tokens)) {
        const isThere = token.type !== 'rule' || this.#rules.has(token.rule);
        invariant(isThere, () => `rule ${name} names a rule that is not there: ${JSON.stringify(token)}`);
      }
    }
  }

  /**
   * What can happen at a slot or a rule, given the facts: one choice at a slot that has its value, several elsewhere.
   * Their probabilities are their weights over the sum of the weights.
   */
  choices(token: ChoiceToken, facts: Facts): readonly Choice[] {
    if (token.type === 'rule') return this.#rules.get(token.rule)!.filter(({ when }) => holds(when, facts));
    const { slot, form } = token;
    const known = facts[slot];
    if (known !== undefined) return [this.#reference(slot, form, known)];
    return this.#values(slot, form).filter(({ value }) => !this.#repeats(slot, value, facts));
  }

  /** The same, and behind them, marked as slips, what a forgetful writer might put there instead. */
  choicesWithSlips(token: ChoiceToken, facts: Facts): readonly Choice[] {
    const right = this.choices(token, facts);
    if (token.type === 'rule') {
      const wrong = this.#rules.get(token.rule)!.filter(({ when }) => !holds(when, facts));
      return [...right, ...wrong.map(({ weight, tokens, adds }) => ({ weight, tokens, adds, slip: true }))];
    }
    const { slot, form } = token;
    const known = facts[slot];
    if (known === undefined) {
      const wrong = this.#values(slot, form).filter(({ value }) => this.#repeats(slot, value, facts));
      return [...right, ...wrong.map((choice) => ({ ...choice, slip: true }))];
    }
    const { said } = this.#values(slot, form).find(({ value }) => value === known)!;
    const others = this.#distinctTexts(slot, form).filter((other) => other !== said);
    return [...right, ...others.map((other) => ({ weight: 1, tokens: text(other), adds: undefined, slip: true }))];
  }

  /** The same for a reader who remembers nothing: every value at every slot, every alternative of every rule. */
  choicesWithoutMemory(token: ChoiceToken): readonly Choice[] {
    if (token.type === 'rule') return this.#rules.get(token.rule)!;
    return this.#distinctTexts(token.slot, token.form).map((said) => ({ weight: 1, tokens: text(said), adds: undefined }));
  }

  #reference(slot: string, form: string, known: string): Choice {
    const { tokens } = this.#values(slot, form).find(({ value }) => value === known)!;
    return { weight: 1, tokens, adds: undefined };
  }

  #distinctTexts(slot: string, form: string): readonly string[] {
    return [...new Set(this.#values(slot, form).map(({ said }) => said))];
  }

  #values(slot: string, form: string): readonly Value[] {
    return this.#written.get(`${slot}.${form}`)!;
  }

  #repeats(slot: string, value: string, facts: Facts): boolean {
    return this.#slots[slot]!.unlike?.some((other) => facts[other] === value) ?? false;
  }

  #compile(template: string): readonly Token[] {
    return [...template.matchAll(/\{(\w+)(?:\.(\w+))?\}|<(\w+)>|[^{<]+/g)].map(([whole, slot, form = '', rule]): Token => {
      if (rule !== undefined) return { type: 'rule', rule };
      if (slot === undefined) return { type: 'text', text: whole };
      const category = this.#slots[slot]?.category;
      invariant(category, `the template '${template}' names a slot '${slot}' that is not there`);
      const write = form === '' ? (value: string) => value : category.forms?.[form];
      invariant(write, `the template '${template}' names a form '${form}' that '${slot}' has not`);
      this.#written.set(`${slot}.${form}`, valuesOf(slot, category, write));
      return { type: 'slot', slot, form };
    });
  }
}

function valuesOf(slot: string, { weights }: Category, write: (value: string) => string): readonly Value[] {
  return Object.entries(weights).map(([value, weight]) => {
    const said = write(value);
    return { value, said, weight, tokens: text(said), adds: { [slot]: value } };
  });
}

function text(said: string): readonly Token[] {
  return [{ type: 'text', text: said }];
}

function holds(when: Facts | undefined, facts: Facts): boolean {
  return when === undefined || Object.entries(when).every(([slot, value]) => facts[slot] === value);
}
