/**
 * @file The answers of chapter 06 in their places: the reader's steps schedule the engine, which then answers what it answers
 * with the library's schedulers, and the plain data of the exercises is what the library's block manager holds.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  BlockManager,
  BlockTable,
  Engine,
  findExercise,
  Mine,
  prefixHash,
  startBackend,
  theCourse,
  Transformer,
  type Assembly,
  type PlanEntry,
  type ServingState,
} from 'lab';
import { blockHashes, iterationStep, slotsOf, splitFuseStep, tokensFound } from '../../solutions/06-serving.ts';

beforeAll(async () => {
  await startBackend();
});

type Step = (state: ServingState, size: number) => PlanEntry[];

function plugged(answers: Readonly<Record<string, [name: string, step: Step]>>): Mine {
  const assembly: Assembly = { transformer: {}, train: {}, generate: {} };
  for (const [id, [name, step]] of Object.entries(answers)) {
    findExercise(id, theCourse()).exercise.plug?.({ [name]: step }, assembly);
  }
  return new Mine([], assembly);
}

const lengths = Array.from({ length: 14 }, (_, i) => 1 + ((i * i) % 9));

/** Answers of a small model, in little memory, so that somebody may have to start over. */
async function served(mine: Mine | null): Promise<number[][]> {
  const model = new Transformer({ vocabSize: 19, contextLength: 32, layers: 1, width: 16, heads: 2, seed: 5 });
  const engine = Engine.forModel(model, {
    blocks: 10,
    blockSize: 4,
    batchInvariant: true,
    check: true,
    ...mine?.serve,
  });
  const results = lengths.map((maxTokens, i) => {
    const prompt = Array.from({ length: 3 + ((i * 5) % 12) }, (_, j) => (i + 3 * j) % 19);
    return engine.submit(prompt, { maxTokens, temperature: 0 }).result;
  });
  const answers = (await Promise.all(results)).map(({ tokens }) => [...tokens]);
  await engine.dispose();
  model.dispose();
  return answers;
}

describe('the steps of exercises 6.3 and 6.8', () => {
  it.each([
    ['6.3', 'iterationStep', iterationStep],
    ['6.8', 'splitFuseStep', splitFuseStep],
  ] as const)('%s serves the engine, and every answer is the same', async (id, name, step) => {
    let asked = 0;
    const counted: Step = (state, size) => {
      asked++;
      return step(state, size);
    };
    expect(await served(plugged({ [id]: [name, counted] }))).toEqual(await served(null));
    expect(asked).toBeGreaterThan(lengths.length / 2);
  });

  it('the later one takes the place of the earlier', () => {
    const both = plugged({ '6.3': ['iterationStep', iterationStep], '6.8': ['splitFuseStep', splitFuseStep] });
    expect(both.serve.scheduler?.name).toBe('your SplitFuse');
    expect(plugged({ '6.3': ['iterationStep', iterationStep] }).serve.scheduler?.name).toBe('your continuous batching');
  });

  it('are the library’s as long as they are not written', () => {
    expect(new Mine([], { transformer: {}, train: {}, generate: {} }).serve).toEqual({});
  });
});

describe('blocks on plain data', () => {
  const tokens = Array.from({ length: 23 }, (_, i) => (i * i) % 7);

  it('have the hashes that the block manager gives them, and are found like its own', () => {
    const manager = new BlockManager({ blocks: 12, blockSize: 4 });
    const table = new BlockTable();
    manager.open(table, tokens);
    manager.commit(table, tokens, tokens.length);
    const hashes = blockHashes(tokens, 4, prefixHash);
    expect(hashes).toEqual(table.hashes);
    for (const length of [1, 4, 5, 8, 17, 20, 21, 23]) {
      const prompt = tokens.slice(0, length);
      const found = tokensFound(blockHashes(prompt, 4, prefixHash), length, 4, new Set(hashes));
      expect([length, found]).toEqual([length, 4 * manager.lookUp(prompt).length]);
    }
  });

  it('no two tokens of two texts share a slot', () => {
    const manager = new BlockManager({ blocks: 12, blockSize: 4, prefixCaching: false });
    const tables = [new BlockTable(), new BlockTable()];
    for (let length = 1; length <= 20; length++) for (const table of tables) manager.grow(table, length);
    const slots = tables.flatMap(({ blocks }) => slotsOf(blocks, 4, 0, 20));
    expect(new Set(slots).size).toBe(40);
    expect(Math.max(...slots)).toBeLessThan(48);
  });
});
