/**
 * @file Normalisation: one way to write what looks the same, so that duplicates are equal and rules see words, not encodings.
 */
import type { QualityFilter } from './filter.ts';

export interface NormaliseOptions {
  /** Curly and angled quotation marks as ' and " (default true). */
  readonly quotes?: boolean;
}

/** Nothing but printable ASCII and line breaks: most texts need only their white space looked at. */
const beyondPlain = /[^\n\x20-\x7e]/;
const lineBreaks = /\r\n?|[\v\f\u0085\u2028\u2029]/g;
/** Every White_Space that does not break the line. */
const blanks = /[\t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]/g;
/** Nobody sees them. The joiners stay: they change words. */
const control = /[\0-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]/g;
const invisible = /[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;
const loneSurrogates = /\p{Surrogate}/gu;
const singleQuotes = /[\u2018\u2019\u201a\u201b\u2039\u203a\u02bc\uff07]/g;
const doubleQuotes = /[\u201c-\u201f\u00ab\u00bb\uff02]/g;

/**
 * In this order: half surrogate pairs become U+FFFD; all line breaks become \n and all other spaces a blank; invisible
 * characters go; quotation marks become straight; Unicode form NFC; blanks in a row become one, those around a line go, and of
 * empty lines in a row one stays. Doing it twice does no more than doing it once.
 */
export function normaliseText(text: string, options: NormaliseOptions = {}): string {
  return tidySpace(beyondPlain.test(text) ? plainCharacters(text, options) : text);
}

function plainCharacters(text: string, { quotes = true }: NormaliseOptions): string {
  let plain = text
    .replace(loneSurrogates, '\ufffd')
    .replace(lineBreaks, '\n')
    .replace(blanks, ' ')
    .replace(control, '')
    .replace(invisible, '');
  if (quotes) plain = plain.replace(singleQuotes, "'").replace(doubleQuotes, '"');
  return plain.normalize('NFC');
}

function tidySpace(text: string): string {
  let tidy = text;
  if (tidy.includes('  ')) tidy = tidy.replace(/ {2,}/g, ' ');
  if (tidy.includes(' \n') || tidy.includes('\n ')) tidy = tidy.replace(/ ?\n ?/g, '\n');
  if (tidy.includes('\n\n\n')) tidy = tidy.replace(/\n{3,}/g, '\n\n');
  return tidy.trim();
}

/** Rewrites every document; removes those with nothing left. */
export function normalisation(options: NormaliseOptions = {}): QualityFilter {
  const { quotes = true } = options;
  return {
    name: 'normalisation',
    settings: { form: 'NFC', quotes },
    judge({ text }) {
      const normal = normaliseText(text, { quotes });
      if (normal === '') return { reason: 'empty' };
      return normal === text ? undefined : { text: normal };
    },
  };
}
