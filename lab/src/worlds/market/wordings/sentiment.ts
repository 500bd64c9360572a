/** @file How movements of figures are told, from slight to strong. */

/** By strength: slight, clear, strong. */
export const rises = [
  ['edged up', 'inched up', 'rose slightly', 'crept up'],
  ['rose', 'grew', 'increased', 'climbed', 'advanced'],
  ['jumped', 'soared', 'surged', 'leapt', 'shot up'],
] as const;

export const falls = [
  ['edged down', 'dipped', 'fell slightly', 'slipped'],
  ['fell', 'declined', 'decreased', 'dropped', 'went down'],
  ['plunged', 'slumped', 'tumbled', 'collapsed', 'dived'],
] as const;

/** Also of several things. */
export const standstills = ['hardly moved', 'stayed about the same', 'barely changed', 'stood almost still'] as const;

/** What moves; {of} is a company in the possessive, {company} its name. */
export const movers = {
  revenue: ['{of} revenue', '{of} sales', 'Revenue of {company}', 'Net sales of {company}', 'The turnover of {company}'],
  netIncome: ['{of} net income', '{of} profit', 'Net income of {company}', 'The profit of {company}', 'Earnings of {company}'],
  sharePrice: ['{of} shares', 'Shares of {company}', '{of} stock', 'Stock of {company}', 'The share price of {company}'],
} as const;

/** How much and when; {share} is the change, {after} and {before} the amounts. */
export const extents = [
  ' in {year}',
  ' by {share} in {year}',
  ' to {after} in {year}',
  ' by {share} to {after} in {year}',
  ' to {after} in {year} from {before} a year earlier',
] as const;

/** Of what hardly moved no share is given. */
export const restingExtents = [
  ' in {year}',
  ' at {after} in {year}',
  ' in {year}, at {after} after {before} a year earlier',
] as const;

export const intoLoss = [
  '{company} slipped into a loss of {after} in {year}, after a profit of {before} a year earlier',
  '{company} lost {after} in {year}, having earned {before} in the year before',
  'After a profit of {before}, {company} fell to a loss of {after} in {year}',
] as const;

export const outOfLoss = [
  '{company} returned to profit in {year} and earned {after}, after a loss of {before}',
  '{company} left a loss of {before} behind and made a profit of {after} in {year}',
  'After a loss of {before}, {company} was back in profit with {after} in {year}',
] as const;

export const smallerLoss = [
  '{company} cut its loss to {after} in {year} from {before} a year earlier',
  'The loss of {company} narrowed to {after} in {year}, from {before}',
] as const;

export const largerLoss = [
  '{of} loss widened to {after} in {year} from {before} a year earlier',
  'The loss of {company} grew to {after} in {year}, from {before}',
] as const;
