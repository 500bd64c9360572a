/**
 * @file Judging a longer text that a model wrote: which share of it is grammatical, and which share makes sense?
 */
import { storyEnd } from './generate.ts';
import { agreement, prepend, type Agenda } from './grammar.ts';
import { parseStory, type StoryParse } from './parse.ts';
import { storyGrammar } from './world.ts';

export interface StoriesVerdict {
  /** Whole stories that were judged. What comes after the last end mark is not: it may be cut short. */
  readonly count: number;
  /** Share of the stories whose sentences fit the grammar and make a story; NaN when there is none. */
  readonly grammatical: number;
  /** Share of the stories that the grammar could have written: grammatical, and no reference back is wrong. */
  readonly consistent: number;
  /** Share of the sentences that fit a sentence of the grammar, whatever stands around them and whoever they are about. */
  readonly sentences: number;
  readonly parses: readonly StoryParse[];
}

/** Judges every whole story of a text. */
export function judgeStories(text: string): StoriesVerdict {
  const whole = text.split(storyEnd).slice(0, -1);
  const parses = whole.map(parseStory);
  const sentences = whole.flatMap(storySentences);
  return {
    count: whole.length,
    grammatical: share(parses, ({ grammatical }) => grammatical),
    consistent: share(parses, ({ consistent }) => consistent),
    sentences: share(sentences, isStorySentence),
    parses,
  };
}

/** The sentences of a story, by its full stops, question and exclamation marks. */
export function storySentences(story: string): readonly string[] {
  return story.trim().split(/(?<=[.!?]"?) (?=["A-Z])/);
}

/** Whether this is one of the grammar's sentences, with any names and things in it that belong into such a place. */
export function isStorySentence(sentence: string): boolean {
  const start = (rule: string): Path => ({ agenda: prepend([{ type: 'rule', rule }], undefined), position: 0 });
  const paths = storyGrammar.sentences.map(start);
  for (let path = paths.pop(); path; path = paths.pop()) {
    const { agenda, position } = path;
    if (agenda === undefined) {
      if (position === sentence.length) return true;
    } else if (agenda.token.type === 'text') {
      const { length } = agenda.token.text;
      const fits = agreement(sentence, position, agenda.token.text) === length;
      if (fits) paths.push({ agenda: agenda.rest, position: position + length });
    } else {
      const { rest, token } = agenda;
      const choices = storyGrammar.choicesWithoutMemory(token);
      paths.push(...choices.map(({ tokens }) => ({ agenda: prepend(tokens, rest), position })));
    }
  }
  return false;
}

interface Path {
  readonly agenda: Agenda | undefined;
  readonly position: number;
}

function share<T>(items: readonly T[], holds: (item: T) => boolean): number {
  return items.filter(holds).length / items.length;
}
