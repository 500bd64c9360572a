/**
 * @file Text that has nothing to do with the market, to mix with it: small stories, and notes on weather, food, gardens, travel
 * and animals.
 */
import { Random } from '../../base/index.ts';
import { generateStory } from '../stories/index.ts';

/** Sentences on one subject, with words of which one is chosen: `[a|b|c]`. */
type Note = readonly string[];

const notes: readonly Note[] = [
  [
    'The morning was [cold|mild|bright|grey] and [still|windy|damp].',
    'Clouds came in from the [north|south|east|west] before [noon|lunch|evening].',
    'By [three|four|five] it was raining [hard|softly|without a break].',
    'The radio promised [sun|snow|fog|more rain] for the next day.',
    'At night the stars were [clear|hidden|very bright].',
    'Nobody had seen such a [spring|summer|winter] for years.',
  ],
  [
    'Cut the [onions|carrots|leeks|potatoes] into [small|thin|equal] pieces.',
    'Heat some [oil|butter] in a [pan|pot] and add the [garlic|herbs|salt].',
    'Let it cook for [ten|fifteen|twenty|thirty] minutes.',
    'Stir now and then so that nothing [burns|sticks].',
    'Serve it [hot|warm|cold] with [bread|rice|a green salad].',
    'What is left tastes even better on the next day.',
  ],
  [
    'Sow the [beans|peas|radishes|lettuce] in [March|April|May].',
    'The bed should lie in the [sun|half shade].',
    'Water the young plants [every day|in the evening|with care].',
    'After [four|six|eight] weeks the first [leaves|flowers|fruits] appear.',
    'Snails like [wet|cool] days and must be picked up by hand.',
    'In autumn the [garden|soil] is covered with [leaves|straw] and rests.',
  ],
  [
    'The train leaves at [six|seven|eight|nine] in the [morning|evening].',
    'From the [bridge|tower|hill] one looks over the whole [town|valley|bay].',
    'A path leads along the [river|coast|wall] to an old [mill|chapel|harbour].',
    'The walk takes [one hour|two hours|half a day].',
    'There is a [small|quiet|friendly] inn where one can [eat|sleep|rest].',
    'Bring [good shoes|a map|something to drink].',
  ],
  [
    'The [owl|fox|badger|bat] comes out when it gets dark.',
    'It feeds on [mice|insects|berries|fish].',
    'Its young are born in [spring|early summer] and stay for [six|eight|ten] weeks.',
    'In winter it [sleeps|moves south|grows a thick coat].',
    'People hear it more often than they see it.',
    'It lives in [woods|old barns|meadows|gardens].',
  ],
];

/** Paragraphs without end, each followed by an empty line: stories and notes, as many of one as of the other. */
export function* generalText(seed = 1): Generator<string, never> {
  const random = new Random(seed);
  for (;;) yield random.integer(2) === 0 ? generateStory(random).text : writeNote(random);
}

function writeNote(random: Random): string {
  const note = random.pick(notes);
  const kept = note.filter(() => random.integer(4) > 0);
  const sentences = kept.length > 0 ? kept : note;
  return `${sentences.map((sentence) => chosen(sentence, random)).join(' ')}\n\n`;
}

function chosen(sentence: string, random: Random): string {
  return sentence.replace(/\[([^\]]+)\]/g, (_, words: string) => random.pick(words.split('|')));
}
