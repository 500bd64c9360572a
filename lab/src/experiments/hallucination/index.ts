/**
 * @file The experiment on hallucination: the same small model learns from a dirty crawl and from what is left of it after
 * cleaning, each as many tokens, and with every other cure by itself; what each then writes is held against the truth.
 */
import { Progress } from '../../base/index.ts';
import { CopyIndex, statedFacts, type FactTally } from '../../evaluate/index.ts';
import { factualNucleus } from '../../model/index.ts';
import { BPETokenizer } from '../../tokenizer/index.ts';
import { marketKnowledge, type MarketKnowledge } from '../../worlds/index.ts';
import type { Experiment, ExperimentContext } from '../experiment.ts';
import { KeptRuns } from '../kept-runs.ts';
import { describeHallucination, nameOf } from './analysis.ts';
import { countGrades, soberClassifier, treatedCrawl, type CleanedCrawl } from './cleaning.ts';
import { crawl, type CrawlDocument } from './crawl.ts';
import { learn } from './learn.ts';
import { chooseProbes, detailsOf, endProbes, judgeWriting, write, type Speaker } from './measure.ts';
import { makeProbes, type Probe } from './probes.ts';
import { askModel, questionMaterial, type QuestionMaterial } from './questions.ts';
import type { HallucinationResult, HallucinationRun } from './result.ts';
import { hallucinationSettings, NUCLEUS_TOP_P, USUAL_TOP_P, type HallucinationSettings, type Treatment } from './settings.ts';

export * from './analysis.ts';
export * from './result.ts';
export type { GradeCounts } from './cleaning.ts';
export type { ProbeChoice, ProbeVerdict, WritingDetails } from './measure.ts';
export type { Probe } from './probes.ts';
export { answerWays, type AnswerCounts, type AnsweringModel, type AnswerWay } from './questions.ts';
export { treatments, type HallucinationSettings, type Treatment } from './settings.ts';
export type { CrawlSettings } from './crawl.ts';

export const hallucinationExperiment: Experiment<HallucinationSettings, HallucinationResult> = {
  name: 'hallucination',
  question: 'At equal training tokens, which cure makes a model state fewer untruths?',
  version: 2,
  settings: hallucinationSettings,
  async run(settings, context) {
    const material = makeMaterial(settings);
    const runs = await KeptRuns.in<HallucinationRun>(context.folder);
    const work = settings.treatments.flatMap((treatment) => settings.seeds.map((seed) => ({ seed, treatment })));
    const { quiet } = context;
    const progress = new Progress({ total: work.length, from: runs.all.length, label: 'hallucination', unit: 'trainings', quiet });
    for (const { seed, treatment } of work.slice(runs.all.length)) {
      await runs.add(await oneRun(material, settings, treatment, seed, context));
      progress.update(runs.all.length, `${treatment}, seed ${seed}`);
    }
    progress.done();
    const { corpora, probes, seen } = material;
    return {
      corpora: corpora.map(({ treatment, documents, removed }) => {
        return { treatment, documents: countGrades(documents.map(({ grade }) => grade)), removed };
      }),
      probes: probes.map((probe) => ({ ...probe, seen: seen.get(probe.fact)! })),
      runs: runs.all,
    };
  },
  describe: (result) => describeHallucination(result),
};

interface Material {
  readonly knowledge: MarketKnowledge;
  readonly tokenizer: BPETokenizer;
  readonly corpora: readonly (CleanedCrawl & { readonly treatment: Treatment })[];
  readonly probes: readonly Probe[];
  /** How often the raw crawl states each fact. */
  readonly seen: ReadonlyMap<string, number>;
  /** Every clean text on a company. */
  readonly references: ReadonlyMap<string, string>;
  readonly questions: QuestionMaterial;
}

function makeMaterial(settings: HallucinationSettings): Material {
  const { companies, crawl: sizes, vocabSize, treatments: wanted, tuning } = settings;
  const { seed } = sizes;
  const knowledge = marketKnowledge({ companies, seed });
  const documents = crawl(knowledge, sizes);
  const classifier = soberClassifier(documents, knowledge, seed);
  const corpora = wanted.map((treatment) => ({ treatment, ...treatedCrawl(documents, treatment, classifier) }));
  const seen = statedFacts(documents.map(({ text }) => text), knowledge);
  const trusted = documents.filter(({ grade }) => grade === 'clean');
  return {
    knowledge,
    tokenizer: BPETokenizer.train(textOf(documents), { vocabSize }),
    corpora,
    probes: makeProbes(knowledge, seen, { count: settings.probes, seed, registers: sizes.registers }),
    seen,
    references: referencesOf(trusted, knowledge),
    questions: questionMaterial(
      makeProbes(knowledge, seen, { count: 3 * tuning.questions, seed: seed + 1, registers: sizes.registers }),
      trusted,
    ),
  };
}

function textOf(documents: readonly CrawlDocument[]): string {
  return documents.map(({ text }) => `${text}\n\n`).join('');
}

function referencesOf(documents: readonly CrawlDocument[], knowledge: MarketKnowledge): ReadonlyMap<string, string> {
  return new Map(knowledge.companies.map(({ name }) => [name, textOf(documents.filter(({ topic }) => topic === name))]));
}

async function oneRun(
  material: Material,
  settings: HallucinationSettings,
  treatment: Treatment,
  seed: number,
  { throwIfInterrupted }: ExperimentContext,
): Promise<HallucinationRun> {
  const { knowledge, tokenizer, corpora, probes, references, questions } = material;
  const { documents } = corpora.find((corpus) => corpus.treatment === treatment)!;
  const { model, tokens, epochs, loss } = await learn(documents, tokenizer, settings, { treatment, seed, quiet: true });
  const speaker: Speaker = { model, tokenizer, knowledge, prefixed: treatment === 'topic prefix' };
  try {
    throwIfInterrupted();
    const size = { texts: settings.texts, textTokens: settings.textTokens, seed };
    const usual = await write(speaker, { topP: USUAL_TOP_P }, size);
    const writing: Record<string, FactTally> = { [nameOf(USUAL_TOP_P)]: judgeWriting(usual, knowledge) };
    if (treatment === 'raw') {
      for (const topP of settings.topPs.filter((p) => p !== USUAL_TOP_P)) {
        writing[nameOf(topP)] = judgeWriting(await write(speaker, { topP }, size), knowledge);
        throwIfInterrupted();
      }
      const sampler = factualNucleus(tokenizer, { topP: NUCLEUS_TOP_P });
      writing['factual nucleus'] = judgeWriting(await write(speaker, { sampler }, size), knowledge);
    }
    const index = new CopyIndex(documents.map(({ text }) => text));
    const ended = await endProbes(speaker, probes);
    const chosen = await chooseProbes(speaker, probes);
    throwIfInterrupted();
    const asked = treatment === 'cleaned' ? await askModel(model, tokenizer, questions, settings, { seed, quiet: true }) : undefined;
    throwIfInterrupted();
    const details = detailsOf(usual, references, index);
    return { treatment, seed, tokens, epochs, loss, writing, details, ended, chosen, ...(asked && { asked }) };
  } finally {
    model.dispose();
  }
}
