/**
 * @file Chapter 13: plausible wrong answers, each under the hint that its author must be given, and right answers that are
 * written differently from the solution.
 */
import type { ChapterMistakes } from 'lab';

interface Statement {
  subject: string;
  relation: string;
  object: string;
  period?: string;
}
interface Rules {
  many: string[];
  exclusive: string[];
}

/** A judge in a loop, with its parts exchanged. */
const judgeWith =
  ({
    sameTime = (a: Statement, b: Statement) => a.period === b.period,
    sameSubject = (a: Statement, b: Statement) => a.subject === b.subject,
    isMany = (rules: Rules, relation: string) => rules.many.includes(relation),
    isExclusive = (rules: Rules, relation: string) => rules.exclusive.includes(relation),
    unknown = 'unsupported',
    all = true,
  }) =>
  (statement: Statement, facts: Statement[], rules: Rules): string => {
    let [isSame, isKnown, isTaken] = [false, false, false];
    for (const fact of facts) {
      if (fact.relation !== statement.relation) continue;
      if (sameSubject(fact, statement) && sameTime(fact, statement)) {
        if (!isKnown || all) isSame ||= fact.object === statement.object;
        isKnown = true;
      }
      isTaken ||= fact.object === statement.object;
    }
    if (isSame) return 'supported';
    if (isKnown && !isMany(rules, statement.relation)) return 'contradicted';
    return isTaken && isExclusive(rules, statement.relation) ? 'contradicted' : unknown;
  };

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
const count = (verdicts: readonly string[], wanted: string): number => verdicts.filter((one) => one === wanted).length;

/** Shares from counts, with their parts exchanged. */
const precisionWith =
  ({
    of = (all: readonly string[]) => all.length - count(all, 'abstained'),
    contradicted = (all: readonly string[]) => count(all, 'contradicted'),
    nothing = NaN,
  }) =>
  (texts: string[][]) => {
    const all = texts.flat();
    const statements = of(all);
    if (all.every((verdict) => verdict === 'abstained')) return { supported: nothing, contradicted: nothing };
    return { supported: count(all, 'supported') / statements, contradicted: contradicted(all) / statements };
  };
const meanOfTexts = (texts: string[][]) => {
  const stating = texts.map((text) => text.filter((one) => one !== 'abstained')).filter((text) => text.length > 0);
  const mean = (wanted: string) => sum(stating.map((text) => count(text, wanted) / text.length)) / stating.length;
  return { supported: mean('supported'), contradicted: mean('contradicted') };
};

/** Entities in a loop, with its parts exchanged. */
const ratioWith =
  ({
    each = (entities: string[]) => Array.from(new Set(entities)),
    isPart = (entity: string, name: string) => ` ${name} `.indexOf(` ${entity} `) >= 0,
    result = (unknown: number, all: number, _known: number) => unknown / all,
  }) =>
  (entities: string[], known: string[]): number => {
    const named = each(entities);
    let unknown = 0;
    for (const entity of named) if (!known.some((name) => isPart(entity, name))) unknown++;
    return result(unknown, named.length, known.length);
  };

type Hash = (shingle: number) => number;
const least = (values: number[]): number => values.reduce((a, b) => (b < a ? b : a));

const stopWords = ['the', 'be', 'to', 'of', 'and', 'that', 'have', 'with'];
/** The rules in a loop, with their parts exchanged. */
const rulesWith =
  ({
    plain = (word: string) => word.toLowerCase().replace(/[^a-z]/g, ''),
    isWord = (token: string) => /[a-z\d]/i.test(token),
    stops = (words: string[], _text: string) => new Set(words.filter((word) => stopWords.includes(word))).size,
    letters = (tokens: string[]) => tokens.filter((token) => /[a-z]/i.test(token)).length / tokens.length,
    fits = (mean: number) => mean >= 3 && mean <= 10,
    enough = (share: number) => share >= 0.8,
  }) =>
  (text: string): string[] => {
    const tokens = text.match(/\S+/g) ?? [];
    const words = tokens.filter(isWord);
    const broken: string[] = [];
    if (!fits(sum(words.map(({ length }) => length)) / (words.length || 1))) broken.push('word length');
    if (tokens.length === 0 || !enough(letters([...tokens]))) broken.push('letters');
    if (stops(words.map(plain), text) < 2) broken.push('stop words');
    return broken;
  };

interface Source {
  tokens: number;
  weight: number;
}
const weightOf = ({ weight }: Source): number => weight;
const bySize = ({ tokens, weight }: Source): number => tokens * weight;
/** A mixture that hands on what is left, round after round, with its parts exchanged. */
const mixtureWith =
  ({
    rounds = Infinity,
    most = (source: Source, maxEpochs: number) => maxEpochs * source.tokens,
    weight = weightOf,
    later = weightOf,
  }) =>
  (sources: Source[], budget: number, maxEpochs: number): number[] => {
    const taken = sources.map(() => 0);
    let rest = budget;
    for (let round = 0; round <= rounds && round < 200 && rest > 1e-9; round++) {
      const share = (source: Source, i: number) => {
        if (source.weight === 0 || taken[i]! >= most(source, maxEpochs)) return 0;
        return round === 0 ? weight(source) : later(source);
      };
      const shares = sources.map(share);
      if (sum(shares) === 0) break;
      const lastRound = round === rounds && rounds > 0;
      sources.forEach((source, i) => {
        const wanted = taken[i]! + (rest * shares[i]!) / sum(shares);
        taken[i] = lastRound ? wanted : Math.min(wanted, most(source, maxEpochs));
      });
      rest = budget - sum(taken);
    }
    return taken;
  };

interface Nucleus {
  topP: number;
  decay: number;
  floor: number;
}
/** A nucleus by sorting pairs, with its parts exchanged. */
const nucleusWith =
  ({
    p = ({ topP, decay, floor }: Nucleus, place: number) => Math.max(topP * Math.pow(decay, place), floor),
    full = (mass: number, _next: number, wanted: number) => mass >= wanted,
    scaled = true,
  }) =>
  (probabilities: number[], place: number, options: Nucleus): number[] => {
    const pairs = probabilities.map((value, token) => [value, token] as const).sort((a, b) => b[0] - a[0]);
    const result = probabilities.map(() => 0);
    let mass = 0;
    for (const [value, token] of pairs) {
      if (mass > 0 && full(mass, value, p(options, place))) break;
      result[token] = value;
      mass += value;
    }
    return scaled ? result.map((value) => value / mass) : result;
  };

const mistakes: ChapterMistakes = {
  '13.1': {
    mistakes: {
      'time-ignored': { judgeFact: judgeWith({ sameTime: () => true }) },
      'one-value-only': { judgeFact: judgeWith({ isMany: () => false }) },
      'theft-overlooked': { judgeFact: judgeWith({ isExclusive: () => false }) },
      'unknown-is-false': { judgeFact: judgeWith({ unknown: 'contradicted' }) },
      'first-fact-only': { judgeFact: judgeWith({ all: false }) },
      'everything-is-exclusive': { judgeFact: judgeWith({ isExclusive: () => true }) },
      'whose-it-is-ignored': { judgeFact: judgeWith({ sameSubject: () => true }) },
    },
    right: [
      { judgeFact: judgeWith({}) },
      {
        judgeFact: ({ subject, relation, object, period = '' }: Statement, facts: Statement[], { many, exclusive }: Rules) => {
          const objects = (who?: string) =>
            new Set(
              facts
                .filter((fact) => fact.relation === relation && (who === undefined || (fact.subject === who && (fact.period ?? '') === period)))
                .map((fact) => fact.object),
            );
          const own = objects(subject);
          if (own.has(object)) return 'supported';
          const isRuledOut = (own.size > 0 && many.indexOf(relation) < 0) || (exclusive.indexOf(relation) >= 0 && objects().has(object));
          return isRuledOut ? 'contradicted' : 'unsupported';
        },
      },
    ],
  },
  '13.2': {
    mistakes: {
      'mean-of-texts': { atomicPrecision: meanOfTexts },
      'abstentions-counted': { atomicPrecision: precisionWith({ of: (all) => all.length }) },
      'unsupported-left-out': {
        atomicPrecision: precisionWith({ of: (all) => count(all, 'supported') + count(all, 'contradicted') }),
      },
      'unsupported-is-contradicted': {
        atomicPrecision: precisionWith({ contradicted: (all) => count(all, 'contradicted') + count(all, 'unsupported') }),
      },
      'a-count-of-texts': {
        atomicPrecision: (texts: string[][]) => precisionWith({ of: () => texts.length })(texts),
      },
      'counts-not-divided': { atomicPrecision: precisionWith({ of: () => 1 }) },
      'nothing-is-something': { atomicPrecision: precisionWith({ nothing: 0 }) },
    },
    right: [
      { atomicPrecision: precisionWith({}) },
      {
        atomicPrecision: (texts: string[][]) => {
          let [statements, supported, contradicted] = [0, 0, 0];
          for (const text of texts) {
            for (const verdict of text) {
              if (verdict === 'abstained') continue;
              statements++;
              if (verdict === 'supported') supported++;
              if (verdict === 'contradicted') contradicted++;
            }
          }
          return { supported: supported / statements, contradicted: contradicted / statements };
        },
      },
    ],
  },
  '13.3': {
    mistakes: {
      'repeats-counted': { entityRatio: ratioWith({ each: (entities) => entities }) },
      'parts-of-words': { entityRatio: ratioWith({ isPart: (entity, name) => name.includes(entity) }) },
      'whole-names-only': { entityRatio: ratioWith({ isPart: (entity, name) => name === entity }) },
      'share-of-the-known': { entityRatio: ratioWith({ result: (unknown, all) => (all - unknown) / all }) },
      'divided-by-the-reference': { entityRatio: ratioWith({ result: (unknown, _, known) => unknown / known }) },
      'wrong-way-round': { entityRatio: ratioWith({ isPart: (entity, name) => ` ${entity} `.includes(` ${name} `) }) },
      'nothing-is-something': { entityRatio: ratioWith({ result: (unknown, all) => (all === 0 ? 0 : unknown / all) }) },
    },
    right: [
      { entityRatio: ratioWith({}) },
      {
        entityRatio: (entities: string[], known: string[]) => {
          const parts = new Set<string>();
          for (const name of known) {
            const words = name.split(' ');
            for (let i = 0; i < words.length; i++)
              for (let j = i + 1; j <= words.length; j++) parts.add(words.slice(i, j).join(' '));
          }
          const named = entities.filter((entity, i) => entities.indexOf(entity) === i);
          return named.filter((entity) => !parts.has(entity)).length / named.length;
        },
      },
    ],
  },
  '13.4': {
    mistakes: {
      'largest-value': { signature: (set: number[], hashes: Hash[]) => hashes.map((hash) => -least(set.map((x) => -hash(x)))) },
      'smallest-shingle-hashed': { signature: (set: number[], hashes: Hash[]) => hashes.map((hash) => hash(least(set))) },
      'a-value-for-each-shingle': {
        signature: (set: number[], hashes: Hash[]) => set.map((x) => least(hashes.map((hash) => hash(x)))),
      },
      'first-shingle-alone': { signature: ([first]: number[], hashes: Hash[]) => hashes.map((hash) => hash(first!)) },
      'bands-and-rows-exchanged': { foundProbability: (s: number, b: number, r: number) => 1 - (1 - s ** b) ** r },
      'every-band-must-agree': { foundProbability: (s: number, b: number, r: number) => (s ** r) ** b },
      'one-band': { foundProbability: (s: number, _: number, r: number) => s ** r },
      'one-row-is-enough': { foundProbability: (s: number, b: number, r: number) => 1 - (1 - s) ** (r * b) },
      'none-found': { foundProbability: (s: number, b: number, r: number) => (1 - s ** r) ** b },
    },
    right: [
      {
        signature: (set: number[], hashes: Hash[]) => {
          const smallest = hashes.map(() => Infinity);
          for (const x of set) hashes.forEach((hash, i) => (smallest[i] = Math.min(smallest[i]!, hash(x))));
          return smallest;
        },
      },
      {
        signature: (set: number[], hashes: Hash[]) => hashes.map((hash) => set.map((x) => hash(x)).sort((a, b) => a - b)[0]!),
        foundProbability: (s: number, bands: number, rows: number) => 1 - Math.pow(1 - Math.pow(s, rows), bands),
      },
    ],
  },
  '13.5': {
    mistakes: {
      'occurrences-counted': { brokenRules: rulesWith({ stops: (words) => words.filter((one) => stopWords.includes(one)).length }) },
      'capitals-missed': { brokenRules: rulesWith({ plain: (word) => word.replace(/[^a-z]/gi, '') }) },
      'punctuation-sticks': { brokenRules: rulesWith({ plain: (word) => word.toLowerCase() }) },
      'letters-inside-words': {
        brokenRules: rulesWith({ stops: (_, text) => stopWords.filter((one) => text.toLowerCase().indexOf(one) >= 0).length }),
      },
      'dashes-are-words': { brokenRules: rulesWith({ isWord: () => true }) },
      'share-of-characters': {
        brokenRules: rulesWith({
          letters: (tokens) => (tokens.join('').match(/[a-z]/gi)?.length ?? 0) / tokens.join('').length,
        }),
      },
      'bounds-excluded': { brokenRules: rulesWith({ fits: (mean) => mean > 3 && mean < 10, enough: (share) => share > 0.8 }) },
      'no-upper-bound': { brokenRules: rulesWith({ fits: (mean) => mean >= 3 }) },
    },
    right: [
      { brokenRules: rulesWith({}) },
      {
        brokenRules: rulesWith({
          stops: (words) => stopWords.reduce((found, one) => found + (words.includes(one) ? 1 : 0), 0),
          letters: (tokens) => 1 - tokens.filter((token) => !/\p{L}/u.test(token)).length / tokens.length,
        }),
      },
    ],
  },
  '13.6': {
    mistakes: {
      'limit-forgotten': { mixture: mixtureWith({ most: () => Infinity }) },
      'rest-thrown-away': { mixture: mixtureWith({ rounds: 0 }) },
      'rest-in-one-round': { mixture: mixtureWith({ rounds: 1 }) },
      'rest-shared-evenly': { mixture: mixtureWith({ later: () => 1 }) },
      'one-epoch-only': { mixture: mixtureWith({ most: ({ tokens }) => tokens }) },
      'weights-by-size': { mixture: mixtureWith({ weight: bySize, later: bySize }) },
    },
    right: [
      { mixture: mixtureWith({}) },
      {
        mixture: (sources: Source[], budget: number, maxEpochs: number) => {
          // Whoever is full first has the smallest ratio of what it can give to its weight.
          const order = sources.map((_, i) => i).sort((a, b) => {
            return sources[a]!.tokens / (sources[a]!.weight || 1e-300) - sources[b]!.tokens / (sources[b]!.weight || 1e-300);
          });
          const taken = sources.map(() => 0);
          let [left, weights] = [budget, sum(sources.map(({ weight }) => weight))];
          for (const i of order) {
            const { tokens, weight } = sources[i]!;
            if (weight === 0) continue;
            taken[i] = Math.min(maxEpochs * tokens, (left * weight) / weights);
            left -= taken[i]!;
            weights -= weight;
          }
          return taken;
        },
      },
    ],
  },
  '13.7': {
    mistakes: {
      'one-place-too-far': {
        factualNucleusStep: nucleusWith({ p: ({ topP, decay, floor }, place) => Math.max(floor, topP * decay ** (place + 1)) }),
      },
      'floor-forgotten': { factualNucleusStep: nucleusWith({ p: ({ topP, decay }, place) => topP * decay ** place }) },
      'floor-is-a-ceiling': {
        factualNucleusStep: nucleusWith({ p: ({ topP, decay, floor }, place) => Math.min(floor, topP * decay ** place) }),
      },
      'never-falls': { factualNucleusStep: nucleusWith({ p: ({ topP, floor }) => Math.max(floor, topP) }) },
      'not-scaled': { factualNucleusStep: nucleusWith({ scaled: false }) },
      'stops-short-of-p': { factualNucleusStep: nucleusWith({ full: (mass, next, wanted) => mass + next > wanted }) },
      'falls-by-subtraction': {
        factualNucleusStep: nucleusWith({ p: ({ topP, decay, floor }, place) => Math.max(floor, topP - (1 - decay) * place) }),
      },
      'changes-its-inputs': {
        factualNucleusStep: (probabilities: number[], place: number, options: Nucleus) => {
          const result = nucleusWith({})(probabilities, place, options);
          probabilities.sort((a, b) => b - a);
          return result;
        },
      },
    },
    right: [
      { factualNucleusStep: nucleusWith({}) },
      {
        factualNucleusStep: (probabilities: number[], place: number, { topP, decay, floor }: Nucleus) => {
          let p = topP;
          for (let i = 0; i < place; i++) p = Math.max(floor, p * decay);
          const left = new Set(probabilities.map((_, i) => i));
          const kept: number[] = [];
          let mass = 0;
          do {
            const best = [...left].reduce((a, b) => (probabilities[b]! > probabilities[a]! ? b : a));
            left.delete(best);
            kept.push(best);
            mass += probabilities[best]!;
          } while (mass < p && left.size > 0);
          return probabilities.map((value, i) => (kept.includes(i) ? value / mass : 0));
        },
      },
    ],
  },
};

export default mistakes;
