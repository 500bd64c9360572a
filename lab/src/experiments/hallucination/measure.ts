/** @file What a trained model is asked: to write, to end sentences that were begun, and to choose. */
import { choiceProbabilities, ContinuationScorer, scoreChoices } from '../../evaluate/index.ts';
import { atomicFacts, tallyFacts, type CopyIndex, entityRatio, type FactTally, type FactVerdict } from '../../evaluate/index.ts';
import { generate, type GenerateOptions, type Transformer } from '../../model/index.ts';
import type { Tokenizer } from '../../tokenizer/index.ts';
import type { MarketKnowledge } from '../../worlds/index.ts';
import { withoutTopicPrefix } from '../../data/index.ts';
import type { Probe } from './probes.ts';

/** A model, and how it is spoken to. */
export interface Speaker {
  readonly model: Transformer;
  readonly tokenizer: Tokenizer;
  readonly knowledge: MarketKnowledge;
  /** Sentences begin with their topic: so do prompts then, and it is taken off before judging. */
  readonly prefixed: boolean;
}

export type Decoding = Pick<GenerateOptions, 'topP' | 'temperature' | 'sampler'>;

export interface WrittenText {
  readonly topic: string;
  readonly prompt: string;
  readonly text: string;
}

/** Texts that begin with the name of a company as their heading, one company after the other. */
export async function write(
  { model, tokenizer, knowledge, prefixed }: Speaker,
  decoding: Decoding,
  { texts, textTokens, seed }: { readonly texts: number; readonly textTokens: number; readonly seed: number },
): Promise<WrittenText[]> {
  const written: WrittenText[] = [];
  for (let i = 0; i < texts; i++) {
    const topic = knowledge.companies[i % knowledge.companies.length]!.name;
    const prompt = `\n\n${topic}\n`;
    const options = { ...decoding, maxTokens: textTokens, stop: ['\n\n'], seed: seed * 1000 + i };
    const text = (await generate(model, tokenizer, prompt, options)).slice(prompt.length);
    written.push({ topic, prompt, text: prefixed ? withoutTopicPrefix(text, topic) : text });
  }
  return written;
}

/** Everything stated in texts of one way of writing, counted. */
export function judgeWriting(texts: readonly WrittenText[], knowledge: MarketKnowledge): FactTally {
  return tallyFacts(texts.map(({ text, prompt }) => atomicFacts(text, knowledge, { prompt, cutOff: true })));
}

export interface WritingDetails {
  /** The share of names and numbers that no document on the topic has. */
  readonly entityRatio: number;
  /** The share of words in spans copied from the training text, and the longest of these. */
  readonly copyRate: number;
  readonly longestCopy: number;
}

/** @param references what is known on each topic */
export function detailsOf(
  texts: readonly WrittenText[],
  references: ReadonlyMap<string, string>,
  index: CopyIndex,
): WritingDetails {
  const ratios = texts.map(({ text, topic }) => entityRatio(text, references.get(topic)!));
  const copies = texts.map(({ text }) => index.copying(text));
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  return {
    entityRatio: sum(ratios.map(({ hallucinated }) => hallucinated.length)) / sum(ratios.map(({ entities }) => entities.length)),
    copyRate: sum(copies.map(({ copied }) => copied)) / sum(copies.map(({ words }) => words)),
    longestCopy: Math.max(0, ...copies.map(({ longest }) => longest)),
  };
}

/** A probe can also be left without a statement: what was written cannot be read. */
export type ProbeVerdict = FactVerdict | 'nothing';

/** Lets the model end each probe by its likeliest tokens, up to the end of the sentence. */
export async function endProbes(
  { model, tokenizer, knowledge, prefixed }: Speaker,
  probes: readonly Probe[],
): Promise<ProbeVerdict[]> {
  const verdicts: ProbeVerdict[] = [];
  for (const { prompt, topic } of probes) {
    const asked = beginning(prompt, topic, prefixed);
    const written = (await generate(model, tokenizer, asked, { temperature: 0, maxTokens: 16, stop: ['\n'] })).slice(asked.length);
    const [end = written] = /^.*?[.!?](?=\s|$)/.exec(written) ?? [];
    const { facts } = atomicFacts(prompt + end, knowledge);
    verdicts.push(facts.length === 0 ? 'nothing' : (facts.find(({ verdict }) => verdict !== 'supported')?.verdict ?? 'supported'));
  }
  return verdicts;
}

function beginning(prompt: string, topic: string, prefixed: boolean): string {
  return `\n\n${topic}\n${prefixed ? `${topic}: ` : ''}${prompt}`;
}

export interface ProbeChoice {
  /** The probability of the choice that the model finds likeliest, among the four. */
  readonly confidence: number;
  readonly right: boolean;
}

/** Which of the four endings does the model find most likely? */
export async function chooseProbes(
  { model, tokenizer, prefixed }: Speaker,
  probes: readonly Probe[],
): Promise<ProbeChoice[]> {
  const scorer = new ContinuationScorer(model);
  const chosen: ProbeChoice[] = [];
  try {
    for (const { prompt, topic, choices, truth } of probes) {
      const scores = await scoreChoices(model, tokenizer, beginning(prompt, topic, prefixed), choices, { scorer });
      const probabilities = choiceProbabilities(scores);
      const confidence = Math.max(...probabilities);
      chosen.push({ confidence: Math.min(1, confidence), right: probabilities.indexOf(confidence) === truth });
    }
  } finally {
    scorer.dispose();
  }
  return chosen;
}
