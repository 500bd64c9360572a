/**
 * @file How likely the model found each token that it wrote, and which it found likelier: OpenAI's `logprobs`. Of the logits as
 * they are, before temperature and the like.
 */
import { Random } from '../../base/index.ts';
import { nextTokenDistribution, sampleFrom, type Sampler } from '../../model/index.ts';
import { kthLargest } from '../../model/select.ts';

/** A token and the logarithm of its probability. */
export interface LikelyToken {
  readonly token: number;
  readonly logProbability: number;
}

export interface TokenLikelihood extends LikelyToken {
  /** The likeliest tokens, the likeliest first. */
  readonly top: readonly LikelyToken[];
}

export interface LikelihoodsOptions {
  /** How many of the likeliest tokens. */
  readonly top: number;
  /** Of the request: the same tokens are drawn as without likelihoods. */
  readonly seed: number;
  /** Tokens that are not written. */
  readonly stop: readonly unknown[];
}

/** JSON has no −∞. */
const LEAST = -9999;

export class Likelihoods {
  /** Those of the tokens written so far. */
  readonly tokens: TokenLikelihood[] = [];
  /** Stands at the engine's seam, where the logits pass: it draws by itself, and leaves the engine no choice. */
  readonly sampler: Sampler;

  constructor({ top, seed, stop }: LikelihoodsOptions) {
    const random = new Random(seed);
    this.sampler = (logits, options) => {
      const probabilities = nextTokenDistribution(logits, options);
      const token = sampleFrom(probabilities, random);
      if (!stop.includes(token)) this.tokens.push(likelihoodOf(logits, token, top));
      probabilities.fill(0);
      probabilities[token] = 1;
      return probabilities;
    };
  }
}

function likelihoodOf(logits: Float32Array, token: number, top: number): TokenLikelihood {
  const largest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const logTotal = largest + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0));
  const likely = (id: number): LikelyToken => ({ token: id, logProbability: Math.max(LEAST, logits[id]! - logTotal) });
  return { ...likely(token), top: likeliest(logits, Math.min(top, logits.length)).map(likely) };
}

/** The ids of the k largest; of equal ones the first come first. */
function likeliest(logits: Float32Array, k: number): number[] {
  if (k === 0) return [];
  const least = kthLargest(logits, k);
  const ids: number[] = [];
  for (let id = 0; id < logits.length; id++) if (logits[id]! >= least) ids.push(id);
  return ids.sort((a, b) => logits[b]! - logits[a]! || a - b).slice(0, k);
}
