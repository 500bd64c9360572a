/** @file The grammar of the stories, put together. */
import { Grammar, prepend, type Agenda } from './grammar.ts';
import { phrases, sentences, structure } from './plots.ts';
import { slots } from './words.ts';

export const storyGrammar = new Grammar(slots, structure, sentences, phrases);

/** All that is to be written when a story begins. */
export const wholeStory: Agenda = prepend([{ type: 'rule', rule: 'story' }], undefined)!;
