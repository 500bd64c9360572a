/**
 * @file Writing stories: at every choice of the grammar one alternative is drawn with its weight.
 */
import { invariant, Random } from '../../base/index.ts';
import { prepend, totalWeight, type Choice, type Facts } from './grammar.ts';
import { storyGrammar, wholeStory } from './world.ts';

/** What a story is about, by name: `{ plot: 'lost', hero: 'Mia', thing: 'kite', … }`. Facts a story has not are not there. */
export type StoryFacts = Facts;

/** What ends every story: an empty line. */
export const storyEnd = '\n\n';

/** A story, with what it is about and how likely it is. */
export interface Story {
  /** The paragraph and `storyEnd`. */
  readonly text: string;
  /** log p in nats: the sum over the choices that were made. */
  readonly logProbability: number;
  readonly facts: StoryFacts;
}

export interface StoriesOptions {
  /** How many stories (default 1,000, unless `characters` is given). */
  readonly count?: number;
  /** As many whole stories as fit into so many characters. */
  readonly characters?: number;
  /** Decides the stories; the same on every platform (default 1). */
  readonly seed?: number;
}

/** One story, drawn from the grammar with whole numbers only: the same on every platform. */
export function generateStory(random: Random): Story {
  let text = '';
  let logProbability = 0;
  let facts: Facts = {};
  for (let agenda = wholeStory.rest, token = wholeStory.token; ; token = agenda.token, agenda = agenda.rest) {
    if (token.type === 'text') text += token.text;
    else {
      const choices = storyGrammar.choices(token, facts);
      const total = totalWeight(choices);
      const choice = draw(choices, total, random);
      logProbability += Math.log(choice.weight / total);
      if (choice.adds) facts = { ...facts, ...choice.adds };
      agenda = prepend(choice.tokens, agenda);
    }
    if (agenda === undefined) return { text, logProbability, facts };
  }
}

function draw(choices: readonly Choice[], total: number, random: Random): Choice {
  // A reference back leaves nothing to chance.
  if (choices.length === 1) return choices[0]!;
  let left = random.integer(total);
  return choices.find(({ weight }) => (left -= weight) < 0)!;
}

/** Stories without end. */
export function* storyStream(seed = 1): Generator<Story, never> {
  const random = new Random(seed);
  for (;;) yield generateStory(random);
}

/**
 * A text of many stories, each ended by an empty line.
 *
 * @throws RangeError when both or impossible sizes are given.
 */
export function stories(options: StoriesOptions = {}): string {
  const { characters, count = characters === undefined ? 1000 : Infinity, seed = 1 } = options;
  invariant(characters === undefined || options.count === undefined, 'stories: give count or characters, not both');
  for (const size of [options.count ?? 0, characters ?? 0]) {
    invariant(Number.isSafeInteger(size) && size >= 0, `stories: a size must be a whole number, 0 or more; got ${size}`);
  }
  const parts: string[] = [];
  let length = 0;
  for (const { text } of storyStream(seed)) {
    if (parts.length >= count || length + text.length > (characters ?? Infinity)) break;
    parts.push(text);
    length += text.length;
  }
  return parts.join('');
}
