/**
 * @file Reading a story as a careful reader does: does it follow the grammar, and do its references back agree?
 */
import { storyEnd, type StoryFacts } from './generate.ts';
import { agreement, prepend, totalWeight, type Agenda, type Choice, type ChoiceToken, type Facts } from './grammar.ts';
import { storyGrammar, wholeStory } from './world.ts';

/** A place where a story contradicts itself. */
export interface StorySlip {
  /** Characters into the story. */
  readonly position: number;
  /** What stands there: `he`. */
  readonly found: string;
  /** What would have been right: `she`. Several ways are parted by ` | `. */
  readonly expected: string;
}

export interface StoryFailure {
  /** How many characters could be read. */
  readonly position: number;
  /** What could have come next: pieces of text, at most twelve. */
  readonly expected: readonly string[];
}

export interface StoryParse {
  /** Its sentences fit the grammar, in an order that makes a story, when nobody looks at who and what they are about. */
  readonly grammatical: boolean;
  /** Grammatical, and every reference back is right: the grammar could have written it. */
  readonly consistent: boolean;
  /** log p in nats; −Infinity unless consistent. */
  readonly logProbability: number;
  /** Who, what, where, and how it ends; as far as it could be read. */
  readonly facts: StoryFacts;
  /** Where it contradicts itself; the fewest such places that explain the text. */
  readonly slips: readonly StorySlip[];
  /** Set when it is not grammatical. */
  readonly failure?: StoryFailure;
}

/** A derivation so far. */
interface Path {
  readonly agenda: Agenda | undefined;
  readonly position: number;
  readonly facts: Facts;
  readonly logProbability: number;
  readonly slips: readonly StorySlip[];
}

const mostExpected = 12;

/** Reads one story. The end mark may be missing. */
export function parseStory(text: string): StoryParse {
  const whole = text.endsWith(storyEnd) ? text : text.trimEnd() + storyEnd;
  const frontier = new Frontier();
  // Derivations by their number of slips: those with fewer are followed to their end first.
  const queues: Path[][] = [[{ agenda: wholeStory, position: 0, facts: {}, logProbability: 0, slips: [] }]];
  for (let slips = 0; slips < queues.length; slips++) {
    for (let path = queues[slips]!.pop(); path; path = queues[slips]!.pop()) {
      const { agenda, position } = path;
      if (agenda === undefined) {
        if (position === whole.length) return success(path);
        frontier.stuck(path, 'the end of the text');
      } else if (agenda.token.type === 'text') {
        const said = agenda.token.text;
        const agreed = agreement(whole, position, said);
        if (agreed < said.length) frontier.stuck({ ...path, position: position + agreed }, said.slice(agreed));
        else queues[slips]!.push({ ...path, agenda: agenda.rest, position: position + agreed });
      } else {
        for (const follow of continuations(path, agenda.token, agenda.rest)) {
          (queues[follow.slips.length] ??= []).push(follow);
        }
      }
    }
  }
  return frontier.failure();
}

function success({ facts, logProbability, slips }: Path): StoryParse {
  const consistent = slips.length === 0;
  return { grammatical: true, consistent, logProbability: consistent ? logProbability : -Infinity, facts, slips };
}

/** The derivations that got furthest before they met something else than they expected. */
class Frontier {
  #best: Path | undefined;
  readonly #expected = new Set<string>();

  stuck(path: Path, expected: string): void {
    const before = this.#best?.position ?? -1;
    if (path.position < before) return;
    if (path.position > before) {
      this.#best = path;
      this.#expected.clear();
    }
    this.#expected.add(expected);
  }

  failure(): StoryParse {
    const { position, facts, slips } = this.#best!;
    const failure = { position, expected: [...this.#expected].slice(0, mostExpected) };
    return { grammatical: false, consistent: false, logProbability: -Infinity, facts, slips, failure };
  }
}

function continuations(path: Path, token: ChoiceToken, rest: Agenda | undefined): readonly Path[] {
  const { facts, position, slips } = path;
  const choices = storyGrammar.choicesWithSlips(token, facts);
  const right = choices.filter(({ slip }) => slip !== true);
  const total = totalWeight(right);
  return choices.map(({ weight, tokens, adds, slip }) => ({
    agenda: prepend(tokens, rest),
    position,
    facts: adds ? { ...facts, ...adds } : facts,
    logProbability: path.logProbability + Math.log(weight / total),
    slips: slip === true ? [...slips, { position, found: describe(tokens), expected: describeAll(right) }] : slips,
  }));
}

function describeAll(choices: readonly Choice[]): string {
  const shown = choices.slice(0, 3).map(({ tokens }) => describe(tokens));
  return [...shown, ...(choices.length > shown.length ? ['…'] : [])].join(' | ');
}

/** A choice in words; what it leaves open is `…`. */
function describe(tokens: Choice['tokens']): string {
  return tokens.map((token) => (token.type === 'text' ? token.text : '…')).join('').replace(/…( …)+/g, '…');
}
