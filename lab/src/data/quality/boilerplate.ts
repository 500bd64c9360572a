/**
 * @file Boilerplate that its wording gives away: navigation, legal notices, requests to subscribe. Lines of it are cut out;
 * what was mostly boilerplate goes altogether. After the line filters of C4 (Raffel et al. 2020, section 2.2).
 */
import type { QualityFilter } from './filter.ts';

export interface BoilerplatePattern {
  /** What such lines are: `legal notice`. */
  readonly kind: string;
  readonly pattern: RegExp;
}

export interface BoilerplateOptions {
  /** A line that one of them matches is boilerplate (default: `boilerplatePatterns`). */
  readonly patterns?: readonly BoilerplatePattern[];
  /** The largest share of characters in such lines with which a document is still kept, without them (default 0.5). */
  readonly maxShare?: number;
}

const LEGAL = [
  'all rights reserved',
  'terms (?:of (?:use|service)|and conditions)',
  'privacy (?:policy|notice)',
  'cookie (?:policy|settings|notice)',
  '(?:we|this (?:web)?site) uses? cookies',
  'forward-looking statements?',
  'safe harbou?r',
  'past performance (?:is|does) not',
  'not (?:constitute |intended as )?(?:an? )?(?:offer|investment|financial|legal) (?:advice|to (?:buy|sell))',
  'for (?:informational|information) purposes only',
  'without (?:the )?(?:prior )?written (?:permission|consent)',
  'as[ -]is"? (?:basis|without warranty)',
  '(?:©|\\(c\\)|copyright) ?(?:19|20)\\d\\d',
];

const REQUESTS = [
  'click here',
  'read more',
  'sign (?:up|in) (?:for|to|with)',
  'subscribe (?:to|now|today)',
  'follow us',
  'share (?:this|on)',
  'log ?in to',
  'skip to (?:main )?content',
  'back to top',
  'enable javascript',
  'add to (?:cart|basket)',
  'related (?:articles|posts|stories)',
  'leave a (?:comment|reply)',
];

/** A word of a menu, alone on its line or beside others with separators between them. */
const MENU = [
  'home(?: ?page)?',
  'about(?: us)?',
  'contact(?: us)?',
  'sitemap|search|menu|faq|help|next|previous',
  'careers|login|register|products|services|news|investors',
];

/** Another entry behind a separator. */
const FURTHER = '(?:\\s*[|»>·•/:]+\\s*[\\p{L}\\p{N} ]{1,20})';

/** English wording. Whole lines are judged, so a sentence about privacy policies falls, too. */
export const boilerplatePatterns: readonly BoilerplatePattern[] = [
  { kind: 'legal notice', pattern: new RegExp(`(?:\\b|^|\\s)(?:${LEGAL.join('|')})`, 'i') },
  { kind: 'request to click', pattern: new RegExp(`^\\W*(?:please )?(?:${REQUESTS.join('|')})\\b`, 'i') },
  { kind: 'navigation', pattern: new RegExp(`^\\W*(?:${MENU.join('|')})${FURTHER}*\\W*$`, 'iu') },
  { kind: 'navigation', pattern: /^[^|»>·•]{1,20}(?:\s*[|»>·•]\s*[^|»>·•]{1,20}){3,}$/ },
  { kind: 'placeholder', pattern: /\blorem ipsum\b/i },
];

/** Cuts boilerplate lines out and removes documents that hold little else. */
export function boilerplate({ patterns = boilerplatePatterns, maxShare = 0.5 }: BoilerplateOptions = {}): QualityFilter {
  const cut: Record<string, number> = {};
  return {
    name: 'boilerplate',
    settings: { patterns: patterns.map(({ kind, pattern }) => `${kind}: ${String(pattern)}`), maxShare },
    judge({ text }) {
      const lines = text.split('\n');
      const kinds = lines.map((line) => kindOf(line, patterns));
      if (!kinds.some((kind) => kind !== undefined)) return undefined;
      for (const kind of kinds) if (kind !== undefined) cut[kind] = (cut[kind] ?? 0) + 1;
      return withoutLines(lines, (i) => kinds[i] !== undefined, { maxShare, reason: 'mostly boilerplate' });
    },
    notes: () => ({ 'lines cut': { ...cut } }),
    reset() {
      for (const kind of Object.keys(cut)) delete cut[kind];
    },
  };
}

function kindOf(line: string, patterns: readonly BoilerplatePattern[]): string | undefined {
  return line === '' ? undefined : patterns.find(({ pattern }) => pattern.test(line))?.kind;
}

/** The text without some of its lines; a removal when their characters are more than `maxShare` of all, or nothing is left. */
export function withoutLines(
  lines: readonly string[],
  isCut: (index: number) => boolean,
  { maxShare, reason }: { readonly maxShare: number; readonly reason: string },
): { readonly text: string } | { readonly reason: string; readonly detail: string } {
  let [all, cut] = [0, 0];
  const left = lines.filter((line, i) => {
    all += line.length;
    if (isCut(i)) cut += line.length;
    return !isCut(i);
  });
  const text = left.join('\n').replace(/\n{3,}/g, '\n\n').trim();
  if (cut <= maxShare * all && text !== '') return { text };
  return { reason, detail: `${Number((cut / all).toFixed(3))} of the characters; at most ${maxShare}` };
}
