/**
 * @file The answers to one request. Those to the same prompt share its blocks: the first one computes them, and the others
 * begin when its first token is there, behind the full blocks that the engine's prefix cache has by then.
 */
import type { Completion, CompletionResult } from '../completion.ts';
import type { Engine } from '../engine.ts';
import type { GenerationRequest } from './generation-request.ts';
import { Likelihoods } from './likelihoods.ts';

/** Is told of each answer as it begins; returns when it has seen all of it. */
export type Follow = (index: number, completion: Completion) => Promise<unknown>;

export class SampleRun {
  readonly #engine: Engine;
  readonly #request: GenerationRequest;
  readonly #begun: Completion[] = [];
  /** By the answer's index, of those who asked for them. */
  readonly likelihoods: Likelihoods[] = [];
  #cancelled = false;

  constructor(engine: Engine, request: GenerationRequest) {
    this.#engine = engine;
    this.#request = request;
  }

  /**
   * All answers, those to the first prompt first; they may be cut short when it was called off. When one fails, the others are
   * called off; when this returns, or throws, nothing of the request is in the engine any more.
   */
  async run(follow: Follow = async () => undefined): Promise<CompletionResult[]> {
    const answers = this.#request.prompts.map((_, prompt) => this.#answers(prompt, follow));
    const outcomes = await Promise.allSettled(answers);
    await Promise.allSettled(this.#begun.map(({ result }) => result));
    return outcomes.flatMap((outcome) => {
      if (outcome.status === 'rejected') throw outcome.reason;
      return outcome.value;
    });
  }

  cancel(): void {
    this.#cancelled = true;
    for (const completion of this.#begun) completion.cancel();
  }

  async #answers(prompt: number, follow: Follow): Promise<CompletionResult[]> {
    try {
      const first = this.#begin(prompt, 0);
      const following = [followed(first, prompt * this.#request.n, follow)];
      if (this.#request.n > 1) await firstToken(first);
      for (let i = 1; i < this.#request.n && !this.#cancelled; i++) {
        following.push(followed(this.#begin(prompt, i), prompt * this.#request.n + i, follow));
      }
      return await Promise.all(following);
    } catch (error) {
      this.cancel();
      throw error;
    }
  }

  #begin(prompt: number, sample: number): Completion {
    const { prompts, options, n, likeliest: top } = this.#request;
    const seed = this.#request.seed + sample;
    const own = { ...options[prompt], seed };
    const likelihoods = top === undefined ? undefined : new Likelihoods({ top, seed, stop: own.stop ?? [] });
    if (likelihoods) this.likelihoods[prompt * n + sample] = likelihoods;
    const watched = likelihoods && { sampler: likelihoods.sampler };
    const completion = this.#engine.submit(prompts[prompt]!, { ...own, ...watched });
    this.#begun.push(completion);
    return completion;
  }
}

async function followed(completion: Completion, index: number, follow: Follow): Promise<CompletionResult> {
  const [result] = await Promise.all([completion.result, follow(index, completion)]);
  return result;
}

/** Until its first token is there, or there will be none; what went wrong is told by its result. */
async function firstToken(completion: Completion): Promise<void> {
  await Promise.race([completion[Symbol.asyncIterator]().next(), completion.result]).catch(() => undefined);
}
