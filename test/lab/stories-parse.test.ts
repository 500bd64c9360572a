/** @file Reading stories: what the grammar wrote is right, and what was changed is noticed where it was changed. */
import { isStorySentence, judgeStories, parseStory, stories, storyEnd, storySentences, storyStream, type Story } from 'lab';
import { describe, expect, it } from 'vitest';

function first(count: number, seed: number): Story[] {
  const list: Story[] = [];
  for (const story of storyStream(seed)) {
    if (list.length >= count) break;
    list.push(story);
  }
  return list;
}

const trip =
  'Lily was a clever dog who lived by the mill. She lived with Tom the bear. ' +
  'One windy morning Lily went to the pond for some honey. On the way she saw two bees and a snail. ' +
  '"What did you see?" asked the bear. "Two bees and a snail," said Lily. Lily and Tom were dear friends ever after.';

const lost =
  'Max the mole lived in the cave and was very shy. He loved his new red hat. One snowy day it was gone. ' +
  'Max looked in the barn, but saw only a swan. There he met a goat named Ella. "Where is my hat?" he asked. ' +
  '"It lies under the snow," cried Ella. But Ella gave Max a blue hat.';

/** The story with one piece changed, and where that piece starts. */
function changed(story: string, from: string, to: string): { text: string; at: number } {
  const at = story.indexOf(from);
  expect(at).toBeGreaterThanOrEqual(0);
  expect(story.indexOf(from, at + 1)).toBe(-1);
  return { text: story.replace(from, to), at };
}

describe('what the grammar wrote', () => {
  it('is grammatical, consistent, and read with the facts and the probability it was written with', () => {
    for (const { text, facts, logProbability } of first(600, 12)) {
      expect(parseStory(text)).toEqual({ grammatical: true, consistent: true, logProbability, facts, slips: [] });
    }
  });

  it('consists of its sentences', () => {
    for (const { text } of first(300, 13)) {
      const sentences = storySentences(text);
      expect(sentences.join(' ') + storyEnd).toBe(text);
      expect(sentences.filter((sentence) => !isStorySentence(sentence))).toEqual([]);
    }
  });

  it('tells who, what and where', () => {
    expect(parseStory(trip).facts).toEqual({
      hero: 'Lily',
      heroKind: 'dog',
      trait: 'clever',
      home: 'mill',
      helper: 'Tom',
      helperKind: 'bear',
      plot: 'trip',
      weather: 'windy',
      time: 'morning',
      place: 'pond',
      food: 'some honey',
      sight: 'two bees',
      otherSight: 'a snail',
    });
    expect(parseStory(lost).facts).toMatchObject({ plot: 'lost', outcome: 'replaced', colour: 'red', otherColour: 'blue' });
  });

  it('may come without its end mark', () => {
    expect(parseStory(trip).consistent).toBe(true);
    expect(parseStory(`${trip}\n`).consistent).toBe(true);
    expect(parseStory(trip)).toEqual(parseStory(trip + storyEnd));
  });
});

describe('a contradiction', () => {
  it.each([
    ['a pronoun', trip, 'She lived', 'He lived', { found: 'He', expected: 'She' }, 0],
    ['a possessive', lost, 'his new', 'her new', { found: 'her', expected: 'his' }, 0],
    ['a name', trip, 'said Lily', 'said Tom', { found: 'Tom', expected: 'Lily' }, 5],
    ['a name nobody has', trip, 'Lily and Tom', 'Rosa and Tom', { found: 'Rosa', expected: 'Lily' }, 0],
    ['a kind', trip, 'asked the bear', 'asked the cat', { found: 'cat', expected: 'bear' }, 10],
    ['what was seen', trip, '"Two bees', '"Three geese', { found: 'Three geese', expected: 'Two bees' }, 1],
    ['what is lost', lost, 'my hat', 'my drum', { found: 'drum', expected: 'hat' }, 3],
    ['the wrong weather', lost, '"It lies under the snow,"', '"The wind took it,"', { found: '"The wind took it," ….' }, 0],
    ['the same colour as before', lost, 'a blue hat', 'a red hat', { found: 'red' }, 2],
    ['a friend with the same name', trip, 'with Tom', 'with Lily', { found: 'Lily' }, 5],
  ])('%s', (_, story, from, to, slip, inside) => {
    const { text, at } = changed(story, from, to);
    const parse = parseStory(text);
    expect(parse).toMatchObject({ grammatical: true, consistent: false, logProbability: -Infinity });
    expect(parse.failure).toBeUndefined();
    expect(parse.slips[0]).toMatchObject({ position: at + inside, ...slip });
    // A namesake confuses what follows; everything else is one slip.
    if (from !== 'with Tom') expect(parse.slips).toHaveLength(1);
  });

  it('is counted every time, and explained with as few as possible', () => {
    const text = trip.replaceAll('Tom', 'Ben').replace('Ben', 'Tom');
    expect(parseStory(text).slips.map(({ found, expected }) => [found, expected])).toEqual([['Ben', 'Tom']]);
    const renamed = trip.replaceAll('Lily', 'Max').replace('Max', 'Lily');
    expect(parseStory(renamed).slips).toHaveLength(3);
  });

  it('shows some of what would have been right', () => {
    const { text } = changed(lost, 'a blue hat', 'a red hat');
    expect(parseStory(text).slips[0]!.expected).toBe('blue | green | yellow | …');
  });
});

describe('what is no story', () => {
  it('fails where it leaves the grammar, with what was expected', () => {
    const { text, at } = changed(trip, 'some honey', 'some hammers');
    const { failure, grammatical, consistent, slips, facts } = parseStory(text);
    expect({ grammatical, consistent, slips }).toEqual({ grammatical: false, consistent: false, slips: [] });
    expect(failure).toEqual({ position: at + 6, expected: ['oney'] });
    expect(facts).toMatchObject({ hero: 'Lily', helper: 'Tom', place: 'pond' });
  });

  it.each([
    ['nothing', '', 0],
    ['another language', 'Es war einmal', 0],
    ['an unfinished story', trip.slice(0, 100), 100],
    ['a sentence twice', trip.replace('She lived with Tom the bear.', '$& $&'), trip.indexOf('One windy')],
    ['a missing sentence', lost.replace(' He loved his new red hat.', ''), lost.indexOf('He loved')],
  ])('%s', (_, text, position) => {
    const { failure, grammatical } = parseStory(text);
    expect(grammatical).toBe(false);
    // Sentences may begin alike.
    expect(failure!.position).toBeGreaterThanOrEqual(position);
    expect(failure!.position).toBeLessThan(position + 8);
    expect(failure!.expected.length).toBeGreaterThan(0);
    expect(failure!.expected.length).toBeLessThanOrEqual(12);
  });

  it('goes on after the end', () => {
    const { failure } = parseStory(trip + storyEnd + trip);
    expect(failure).toEqual({ position: trip.length + 2, expected: ['the end of the text'] });
  });
});

describe('a judgement of a longer text', () => {
  it('finds nothing wrong with what the grammar wrote', () => {
    const verdict = judgeStories(stories({ count: 60, seed: 2 }));
    expect(verdict).toMatchObject({ count: 60, grammatical: 1, consistent: 1, sentences: 1 });
    expect(verdict.parses).toHaveLength(60);
  });

  it('tells grammar and sense apart', () => {
    const confused = trip.replace('She', 'He');
    const broken = trip.replace('some honey', 'some hammers');
    const text = [trip, lost, confused, broken].map((story) => story + storyEnd).join('') + trip.slice(0, 30);
    const verdict = judgeStories(text);
    expect(verdict).toMatchObject({ count: 4, grammatical: 3 / 4, consistent: 2 / 4 });
    const all = [trip, lost, confused, broken].flatMap(storySentences).length;
    expect(verdict.sentences).toBeCloseTo((all - 1) / all, 12);
  });

  it('has no opinion on nothing', () => {
    expect(judgeStories('Lily was')).toMatchObject({ count: 0, grammatical: NaN, consistent: NaN, sentences: NaN });
  });

  it('takes a sentence of the grammar with anybody in it, but no other', () => {
    expect(isStorySentence('Then, one foggy evening, Zoe lost it.')).toBe(true);
    expect(isStorySentence('He loved her old red hat.')).toBe(false);
    expect(isStorySentence('He loved her dusty red hat.')).toBe(true);
    expect(isStorySentence('Then, one foggy evening, Zoe lost it')).toBe(false);
    expect(isStorySentence('Then, one foggy evening, Zoe lost it. And')).toBe(false);
    expect(isStorySentence('')).toBe(false);
  });
});
