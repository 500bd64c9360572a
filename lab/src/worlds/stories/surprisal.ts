/**
 * @file The exact probability of a text of stories, as a whole and character by character: the floor no model can go under.
 */
import { invariant } from '../../base/index.ts';
import { agreement, prepend, totalWeight, type Agenda, type Facts } from './grammar.ts';
import { storyEnd } from './generate.ts';
import { storyGrammar, wholeStory } from './world.ts';

/** How surprising each character of a text is to somebody who knows the grammar. */
export interface StorySurprisal {
  /** By character, −log p(character | all before it) in nats; Infinity where the text leaves the grammar, 0 after that. */
  readonly nats: Float64Array;
  /** log p of the whole text in nats, −Infinity when it leaves the grammar. */
  readonly logProbability: number;
  /** −log p / characters: what a perfect model's mean loss on this text is. End marks count as the two characters they are. */
  readonly floor: number;
  /** The stories of the text; the last one may be cut short. */
  readonly stories: readonly StorySpan[];
  /** Where the text leaves the grammar, if it does. */
  readonly leavesAt: number | undefined;
}

/** The characters from `start` up to and without `end` of a text. */
export interface StorySpan {
  readonly start: number;
  readonly end: number;
  readonly logProbability: number;
}

/**
 * log p(text) in nats: the probability that an endless stream of stories begins with this text. A text may end in the middle of
 * a story, but must start with one. −Infinity when no such stream does; `storySurprisal` then says where.
 */
export function storyLogProbability(text: string): number {
  return storySurprisal(text).logProbability;
}

/** What `storyLogProbability` is made of: exact conditional probabilities of the characters. */
export function storySurprisal(text: string): StorySurprisal {
  const nats = new Float64Array(text.length);
  const spans: StorySpan[] = [];
  let logProbability = 0;
  let leavesAt: number | undefined;
  for (let start = 0; start < text.length && leavesAt === undefined;) {
    const { span, nats: ofStory, leaves } = readAll(text, start).summary();
    nats.set(ofStory, start);
    spans.push(span);
    logProbability += span.logProbability;
    start = span.end;
    if (leaves) leavesAt = span.end;
  }
  return { nats, logProbability, floor: text === '' ? 0 : -logProbability / text.length, stories: spans, leavesAt };
}

/**
 * What the next character of a text can be, and with which probability: the perfect model. Only the story that is being told
 * counts; stories that are over are not read again.
 *
 * @returns characters with their probabilities, most likely first; empty when the story has left the grammar
 */
export function nextStoryCharacters(text: string): ReadonlyMap<string, number> {
  const lastEnd = text.lastIndexOf(storyEnd);
  const { next } = readAll(text, lastEnd < 0 ? 0 : lastEnd + storyEnd.length);
  const total = [...next.values()].reduce((sum, mass) => sum + mass, 0);
  const shares = [...next].map(([character, mass]): [string, number] => [character, mass / total]);
  return new Map(shares.sort(([, a], [, b]) => b - a));
}

interface Path {
  readonly agenda: Agenda | undefined;
  readonly position: number;
  readonly facts: Facts;
  readonly logProbability: number;
}

/** Follows every derivation of the story that starts at a place of a text until it disagrees with the text. */
function readAll(text: string, start: number): Reading {
  const reading = new Reading(text, start);
  const paths: Path[] = [{ agenda: wholeStory, position: start, facts: {}, logProbability: 0 }];
  for (let path = paths.pop(); path; path = paths.pop()) {
    const { position, logProbability, agenda, facts } = path;
    if (agenda === undefined) {
      reading.complete(position, logProbability);
      continue;
    }
    const { token, rest } = agenda;
    if (token.type === 'text') {
      const reached = reading.compare(token.text, position, logProbability);
      if (reached !== undefined) paths.push({ ...path, agenda: rest, position: reached });
      continue;
    }
    const choices = storyGrammar.choices(token, facts);
    const total = totalWeight(choices);
    for (const { weight, tokens, adds } of choices) {
      const follow = logProbability + Math.log(weight / total);
      // Most alternatives disagree at once: those need no path of their own.
      const said = tokens[0]?.type === 'text' ? tokens[0].text : '';
      const reached = reading.compare(said, position, follow);
      if (reached === undefined) continue;
      const agendaAfter = prepend(said === '' ? tokens : tokens.slice(1), rest);
      paths.push({ agenda: agendaAfter, position: reached, facts: { ...facts, ...adds }, logProbability: follow });
    }
  }
  return reading;
}

/**
 * What the derivations of a story say about a text. What a derivation is worth counts for all the characters it agreed with:
 * sums of these are the probabilities of the story's beginnings, and ratios of those the probabilities of its characters.
 */
class Reading {
  /** The probability of going on with each character, together with the text so far, where the text ends before the story. */
  readonly next = new Map<string, number>();
  readonly #text: string;
  readonly #start: number;
  /** By place: what the derivations are worth that disagree with the text there. */
  readonly #dead = new Map<number, number>();
  #complete: StorySpan | undefined;

  constructor(text: string, start: number) {
    this.#text = text;
    this.#start = start;
  }

  /** Where the text goes on after `said`; undefined, and counted, if it says something else there or ends. */
  compare(said: string, position: number, logProbability: number): number | undefined {
    const agreed = agreement(this.#text, position, said);
    if (agreed === said.length) return position + agreed;
    if (position + agreed < this.#text.length) add(this.#dead, position + agreed, Math.exp(logProbability));
    else add(this.next, said[agreed]!, Math.exp(logProbability));
    return undefined;
  }

  complete(end: number, logProbability: number): void {
    const told = this.#text.slice(this.#start, end);
    invariant(this.#complete === undefined, () => `the stories' grammar is ambiguous: two derivations of ${told}`);
    this.#complete = { start: this.#start, end, logProbability };
  }

  /** The story, or what there is of it, and −log p of its characters, with the one where it leaves the grammar, if it does. */
  summary(): { readonly span: StorySpan; readonly nats: Float64Array; readonly leaves: boolean } {
    const alive = this.#complete ? Math.exp(this.#complete.logProbability) : [...this.next.values()].reduce((a, b) => a + b, 0);
    const leaves = alive === 0;
    const end = this.#complete?.end ?? (leaves ? Math.max(...this.#dead.keys()) : this.#text.length);
    const nats = new Float64Array(end - this.#start + (leaves ? 1 : 0));
    // From the end to the start: what is alive after a character, and what died at it, was alive before it.
    let after = alive;
    for (let i = nats.length - 1; i >= 0; i--) {
      const before = after + (this.#dead.get(this.#start + i) ?? 0);
      nats[i] = Math.log(before) - Math.log(after);
      after = before;
    }
    return { span: this.#complete ?? { start: this.#start, end, logProbability: Math.log(alive) }, nats, leaves };
  }
}

function add<K>(sums: Map<K, number>, key: K, value: number): void {
  sums.set(key, (sums.get(key) ?? 0) + value);
}
