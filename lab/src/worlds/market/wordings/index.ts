/** @file Which register uses which wordings, and how its documents are headed. */
import { filing, formal, press } from './formal.ts';
import { news, social, wire } from './news.ts';
import { encyclopedia, reference, textbook } from './reference.ts';

/** What kinds of text are written about the market. */
export const registers = ['filing', 'press release', 'news wire', 'social post', 'encyclopedia', 'textbook'] as const;
export type Register = (typeof registers)[number];

/** What all registers of a family may say. */
export const wordingFamilies = { formal, news, reference } as const;

/** What a register may say beyond its family. */
export const ownWordings: Readonly<Record<Register, readonly string[]>> = {
  filing,
  'press release': press,
  'news wire': wire,
  'social post': social,
  encyclopedia,
  textbook,
};

export const familyOf: Readonly<Record<Register, keyof typeof wordingFamilies>> = {
  filing: 'formal',
  'press release': 'formal',
  'news wire': 'news',
  'social post': 'news',
  encyclopedia: 'reference',
  textbook: 'reference',
};

/** The first line of a document; a social post has none. */
export const headings: Readonly<Record<Register, readonly string[]>> = {
  filing: ['Report of {Company!} for {period}', '{Company!}: report for {period}'],
  'press release': ['{Company!} publishes results for {period}', 'News from {Company!}'],
  'news wire': [
    '{Company!} earns {netIncome} in {period}',
    '{Company!} loses {netIncome.loss} in {period}',
    'Sales of {Company!} up {revenueGrowth.up} in {year}',
    'Sales of {Company!} down {revenueGrowth.down} in {year}',
    '{Company!} in brief',
  ],
  'social post': [],
  encyclopedia: ['{Company!}'],
  textbook: ['Example: {Company!}'],
};

/** The first line of an article on a person. */
export const personHeadings: readonly string[] = ['{Person!}'];
