/**
 * @file A corpus of any size with everything in it that a pipeline is there to find: stories on pages with headers and footers,
 * pages that come again, exactly or with some words changed, menus, noise, text that repeats itself, broken records.
 */
import { Random } from '../base/index.ts';
import { storyStream } from '../worlds/index.ts';

export interface CorpusSize {
  readonly bytes: number;
  readonly seed: number;
}

const SITES = ['The Daily Story', 'Tales of the Pond', 'Owl and Hill', 'Little Reader', 'Barn Post'];
const SECTIONS = ['Home', 'Stories', 'Animals', 'About us', 'Contact'];
/** Pages that may come again. */
const REMEMBERED = 2000;

/** The kinds of page and how often each of them comes, in hundredths. */
const KINDS = [
  ['page', 72],
  ['again', 8],
  ['changed', 8],
  ['menu', 4],
  ['noise', 3],
  ['repeating', 3],
  ['short', 1],
  ['broken', 1],
] as const;

type Kind = (typeof KINDS)[number][0];

/** JSON Lines of about so many bytes, some hundred documents at a time. */
export function* corpusPieces({ bytes, seed }: CorpusSize): Generator<Uint8Array> {
  const random = new Random(seed);
  const tales = storyStream(seed);
  const pages: string[] = [];
  let [piece, written] = ['', 0];
  for (let number = 1; written + piece.length < bytes; number++) {
    const kind = kindOf(random);
    if (kind === 'broken') piece += '{"id": "broken", "text": "no end\n';
    else {
      const text = pages.length === 0 || kind === 'page' ? page(random, tales) : madeOf(kind, random, pages);
      if (kind === 'page') pages[pages.length < REMEMBERED ? pages.length : random.integer(REMEMBERED)] = text;
      piece += `${JSON.stringify({ id: `${kind}-${number}`, text })}\n`;
    }
    if (piece.length < 1 << 18) continue;
    const chunk = Buffer.from(piece);
    written += chunk.length;
    piece = '';
    yield chunk;
  }
  yield Buffer.from(piece);
}

function kindOf(random: Random): Kind {
  let left = random.integer(100);
  return KINDS.find(([, share]) => (left -= share) < 0)![0];
}

/** Three to nine stories, often with the lines around them that pages have. */
function page(random: Random, tales: ReturnType<typeof storyStream>): string {
  const paragraphs = Array.from({ length: 3 + random.integer(7) }, () => tales.next().value.text.trim());
  if (random.integer(2) === 0) return paragraphs.join('\n\n');
  const site = random.pick(SITES);
  const footer = `© 2024 ${site}. All rights reserved.`;
  return [`${site} – stories for small and large`, SECTIONS.join(' | '), '', ...paragraphs, '', footer].join('\n');
}

const lines = (count: number, make: () => string): string[] => Array.from({ length: count }, make);

function madeOf(kind: Exclude<Kind, 'page' | 'broken'>, random: Random, pages: readonly string[]): string {
  const earlier = random.pick(pages);
  switch (kind) {
    case 'again':
      return earlier;
    case 'changed': {
      const words = earlier.split(' ');
      for (let i = 0; i < 2; i++) words[random.integer(words.length)] = random.pick(['green', 'Oscar', 'slowly', 'river']);
      return words.join(' ');
    }
    case 'menu':
      return lines(8, () => `${random.pick(SECTIONS)} | ${random.pick(SECTIONS)} | ${random.integer(999)}`).join('\n');
    case 'noise':
      return lines(150, () => random.uint32().toString(36) + random.pick(['#', '…', '~~', '%', ''])).join(' ');
    case 'repeating':
      return `${earlier.slice(0, 120)}\n`.repeat(12 + random.integer(20));
    default:
      return earlier.split(' ').slice(0, 10).join(' ');
  }
}
