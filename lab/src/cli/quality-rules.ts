/**
 * @file The thresholds of the quality filters as the command line gives them: `--rules minWords=20,maxTop2=0.3`.
 */
import { LabError } from '../base/index.ts';
import {
  gopherDefaults,
  repetitionDefaults,
  type BoilerplateOptions,
  type CommonLinesOptions,
  type GopherOptions,
  type NearDuplicatesOptions,
  type RepetitionOptions,
} from '../data/index.ts';

export interface Rules {
  readonly quality: GopherOptions;
  readonly repetition: RepetitionOptions;
  readonly boilerplate: BoilerplateOptions;
  readonly common: CommonLinesOptions;
  readonly near: NearDuplicatesOptions;
}

type Numbers = Record<string, number>;

/** Where a number of that name goes. */
function targets(rules: Record<keyof Rules, Numbers>, maxTop: Numbers, maxDuplicate: Numbers): Map<string, [Numbers, string]> {
  const places = new Map<string, [Numbers, string]>();
  const numeric = (defaults: object): string[] =>
    Object.entries(defaults).flatMap(([name, value]) => (typeof value === 'number' ? [name] : []));
  for (const name of numeric(gopherDefaults)) places.set(name, [rules.quality, name]);
  for (const name of numeric(repetitionDefaults)) places.set(name, [rules.repetition, name]);
  for (const n of Object.keys(repetitionDefaults.maxTop)) places.set(`maxTop${n}`, [maxTop, n]);
  for (const n of Object.keys(repetitionDefaults.maxDuplicate)) places.set(`maxDuplicate${n}`, [maxDuplicate, n]);
  places.set('maxBoilerplate', [rules.boilerplate, 'maxShare']);
  places.set('maxCommon', [rules.common, 'maxShare']);
  places.set('commonDocuments', [rules.common, 'documents']);
  places.set('commonLength', [rules.common, 'minLength']);
  for (const name of ['ngram', 'bands', 'rows']) places.set(name, [rules.near, name]);
  return places;
}

/** @throws LabError when a rule has another name, or its value is no number. */
export function readRules(list: unknown): Rules {
  const rules: Record<keyof Rules, Numbers> = { quality: {}, repetition: {}, boilerplate: {}, common: {}, near: {} };
  const maxTop: Numbers = { ...repetitionDefaults.maxTop };
  const maxDuplicate: Numbers = { ...repetitionDefaults.maxDuplicate };
  const places = targets(rules, maxTop, maxDuplicate);
  for (const rule of (typeof list === 'string' ? list : '').split(',').filter((part) => part.trim() !== '')) {
    const [name = '', value = ''] = rule.split('=').map((part) => part.trim());
    const place = places.get(name);
    if (!place) throw new LabError(`--rules: there is no rule '${name}'. Rules: ${[...places.keys()].join(', ')}.`);
    if (value === '' || !Number.isFinite(Number(value))) throw new LabError(`--rules: ${name} takes a number, got '${value}'.`);
    place[0][place[1]] = Number(value);
  }
  return { ...rules, repetition: { ...rules.repetition, maxTop, maxDuplicate } };
}
