/** @file Supervised fine-tuning, rollouts, DPO, RAFT: on tiny models, each does what it is for. */
import {
  bestOfAll,
  bestOfGroups,
  bestOfKl,
  completionBatch,
  directLoss,
  directPreferenceOptimization,
  evaluateRewardModel,
  generateTokens,
  hindsightPrompt,
  hindsightSamples,
  instructionSample,
  packedLoss,
  packSamples,
  policyOf,
  pretrainingSamples,
  raft,
  rollout,
  ScoreModel,
  startBackend,
  trainRewardModel,
  sampleGroups,
  sequenceKl,
  supervisedFineTuning,
  CharacterTokenizer,
  referenceLogProbabilities,
  logProbabilities,
  tf,
  TokenDataset,
  Transformer,
  type RankedGroup,
  type Sample,
} from 'lab';
import { expect, it } from 'vitest';
import { onEveryBackend, relativeError } from './core-fixture.ts';

const config = { vocabSize: 11, contextLength: 24, layers: 1, width: 16, heads: 2, seed: 5 };
/** Whatever the prompt: the answer 3 4 5 and the end mark 0. */
const lesson: Sample[] = [[7, 8], [9], [10, 7, 8]].map((prompt) => ({ prompt, completion: [3, 4, 5, 0] }));
const prompts = lesson.map(({ prompt }) => prompt);
const fours = (samples: readonly Sample[]): number[] => samples.map(({ completion }) => completion.filter((token) => token === 4).length);

onEveryBackend((backend) => {
  it('learns completions and nothing of the prompts', async () => {
    const model = new Transformer(config);
    const result = await supervisedFineTuning(model, lesson, { steps: 80, learningRate: 1e-2, quiet: true });
    expect(result.losses.at(-1)!.loss).toBeLessThan(0.05);
    const written = await rollout(model, prompts, { maxTokens: 6, endToken: 0, temperature: 0 });
    expect(written).toEqual(lesson);
    // The prompts' tokens are as unlikely as ever.
    const [likely] = await logProbabilities(model, completionBatch([{ prompt: [7], completion: [8] }])).data();
    expect(likely).toBeLessThan(-2);
  });

  it('loses in packed rows what it loses in rows of their own, and refuses learned positions', async () => {
    const model = new Transformer({ ...config, position: 'rotary' });
    const samples: Sample[] = [
      { prompt: [1, 2], completion: [3, 4, 5] },
      { prompt: [6], completion: [7] },
      { prompt: [2, 2, 9], completion: [1, 10, 3, 8] },
    ];
    const packed = packSamples(samples, 11);
    expect(packed.batchSize).toBe(1);
    const { inputs, targets, batchSize, contextLength } = completionBatch(samples);
    const apart = model.loss(
      tf.tensor2d(inputs, [batchSize, contextLength], 'int32'),
      tf.tensor2d(targets, [batchSize, contextLength], 'int32'),
      { ignoreIndex: -100 },
    );
    expect(relativeError(await packedLoss(model, packed).data(), await apart.data())).toBeLessThan(1e-5);
    expect(() => packedLoss(new Transformer(config), packed)).toThrow('learned positions');
    const losses = async (together: boolean): Promise<number[]> => {
      const learner = new Transformer({ ...config, position: 'rotary' });
      const options = { steps: 4, learningRate: 1e-2, packed: together, quiet: true };
      return (await supervisedFineTuning(learner, samples, options)).losses.map(({ loss }) => loss);
    };
    expect(relativeError(await losses(true), await losses(false))).toBeLessThan(1e-4);
    const refused = supervisedFineTuning(new Transformer(config), samples, { steps: 1, packed: true });
    await expect(refused).rejects.toThrow('learned positions');
  });

  it('writes side by side what it writes one by one, whatever the lengths of the prompts', async () => {
    const model = new Transformer({ ...config, initializerStd: 0.5 });
    const mixed = [[1, 2, 3, 4, 5], [6], [7, 8, 9], [10, 1]];
    const together = await rollout(model, mixed, { maxTokens: 8, endToken: 3, temperature: 0 });
    for (const [i, prompt] of mixed.entries()) {
      const alone: number[] = [];
      for await (const token of generateTokens(model, prompt, { maxTokens: 8, temperature: 0 })) {
        alone.push(token);
        if (token === 3) break;
      }
      expect(together[i], `${backend}, prompt ${i}`).toEqual({ prompt, completion: alone });
    }
    const drawn = (seed: number): Promise<Sample[]> => rollout(model, mixed, { maxTokens: 5, seed });
    expect(await drawn(1)).toEqual(await drawn(1));
    expect(await drawn(1)).not.toEqual(await drawn(2));
  });

  it('comes to prefer what it is shown to be preferred, and leaves the reference where it is', async () => {
    const model = new Transformer(config);
    const policy = policyOf(model);
    const batch = completionBatch(lesson);
    const before = await referenceLogProbabilities(policy, batch).data();
    const pairs = prompts.map((prompt) => ({ prompt, chosen: [4, 4, 0], rejected: [5, 0] }));
    const { losses } = await directPreferenceOptimization(policy, pairs, { steps: 60, learningRate: 5e-3, quiet: true });
    expect(losses[0]!.loss).toBeCloseTo(Math.LN2, 5);
    expect(losses.at(-1)!.loss).toBeLessThan(0.3);
    expect([...(await referenceLogProbabilities(policy, batch).data())]).toEqual([...before]);
    const likely = async (completion: number[]): Promise<number> =>
      (await logProbabilities(model, completionBatch([{ prompt: [9], completion }])).sum().data())[0]!;
    expect(await likely([4, 4, 0])).toBeGreaterThan(await likely([5, 0]));
    policy.dispose();
  });

  it('writes better and better answers by learning from its best', async () => {
    const model = new Transformer(config);
    const means = await raft(model, prompts, fours, {
      iterations: 6,
      k: 6,
      maxTokens: 4,
      training: { steps: 6, learningRate: 1e-2, quiet: true },
    });
    expect(means).toHaveLength(6);
    expect(means.at(-1)!).toBeGreaterThan(means[0]! + 1);
  });
});

it('learns by a loss and a choice of the caller’s own', async () => {
  await startBackend({ backend: 'wasm', threads: 2 });
  const pairs = prompts.map((prompt) => ({ prompt, chosen: [4, 4, 0], rejected: [5, 0] }));
  const gain = async (pairLoss?: typeof directLoss): Promise<number> => {
    const policy = policyOf(new Transformer(config));
    const options = { steps: 20, learningRate: 5e-3, quiet: true, ...(pairLoss && { pairLoss }) };
    await directPreferenceOptimization(policy, pairs, options);
    const [batch, other] = (['chosen', 'rejected'] as const).map((side) => pairs.map((pair) => ({ prompt: pair.prompt, completion: pair[side] })));
    const [chosen, rejected] = [await sequenceKl(policy, batch!), await sequenceKl(policy, other!)];
    return chosen[0]! - rejected[0]!;
  };
  expect(await gain()).toBeGreaterThan(1);
  expect(await gain(({ chosen, rejected }, options) => directLoss({ chosen: rejected, rejected: chosen }, options))).toBeLessThan(-1);
  const seen: number[] = [];
  const worst = (groups: readonly RankedGroup[]): Sample[] => {
    seen.push(groups.length);
    return groups.map(({ samples, rewards }) => samples[rewards.indexOf(Math.min(...rewards))]!);
  };
  const training = { steps: 6, learningRate: 1e-2, quiet: true };
  const means = await raft(new Transformer(config), prompts, fours, { iterations: 6, k: 6, maxTokens: 4, ranking: worst, training });
  expect(seen).toEqual([3, 3, 3, 3, 3, 3]);
  expect(means.at(-1)!).toBeLessThan(means[0]!);
});

it('ranks answers for each prompt, or all of them together', async () => {
  const sample = (token: number): Sample => ({ prompt: [1], completion: [token] });
  const groups = [
    { samples: [sample(1), sample(2), sample(3)], rewards: [5, 6, 6] },
    { samples: [sample(4), sample(5), sample(6)], rewards: [1, 0, 2] },
  ];
  expect(bestOfGroups(groups).map(({ completion }) => completion[0])).toEqual([2, 6]);
  expect(bestOfAll(groups).map(({ completion }) => completion[0])).toEqual([2, 3]);
  expect(bestOfKl(1)).toBe(0);
  expect(bestOfKl(4)).toBeCloseTo(Math.log(4) - 0.75);
  const model = new Transformer(config);
  const drawn = await sampleGroups(model, [[1], [2, 3]], fours, { k: 3, maxTokens: 2 });
  expect(drawn.map(({ samples }) => samples.map(({ prompt }) => prompt.length))).toEqual([[1, 1, 1], [2, 2, 2]]);
});

it('marks the answer of an instruction alone', () => {
  const tokenizer = CharacterTokenizer.train('Question: abc?\nAnswer: yes\n');
  const { prompt, completion } = instructionSample(tokenizer, { prompt: 'abc?', answer: 'yes' });
  expect(tokenizer.decode(prompt)).toBe('Question: abc?\nAnswer:');
  expect(tokenizer.decode(completion)).toBe(' yes\n');
  const { targets, lastTargets, lengths } = completionBatch([{ prompt, completion }]);
  expect([...targets].filter((id) => id !== -100)).toEqual(completion);
  expect(targets[lastTargets[0]!]).toBe(completion.at(-1));
  expect([...lengths]).toEqual([5]);
  expect(() => instructionSample(tokenizer, { prompt: 'abc?', answer: ' ' })).toThrow('is empty');
});

it('refuses prompts without room, empty ones, identical pairs and samples beyond the context, before anything is changed', async () => {
  const model = new Transformer(config);
  const long = Array.from({ length: 20 }, () => 1);
  await expect(rollout(model, [[1], long], { maxTokens: 6 })).rejects.toThrow('Prompt 1 has 20 tokens');
  expect((await rollout(model, [long], { maxTokens: 5 }))[0]!.completion).toHaveLength(5);
  await expect(rollout(model, [[]])).rejects.toThrow('Prompt 0 is empty');
  const policy = policyOf(model);
  const identical = [{ prompt: [1], chosen: [2, 3], rejected: [2, 3] }];
  await expect(directPreferenceOptimization(policy, identical, { steps: 1 })).rejects.toThrow('Pair 0 has the same answer twice');
  const beyond = [{ prompt: long, completion: [1, 2, 3, 4, 5, 6] }];
  await expect(supervisedFineTuning(model, beyond, { steps: 1 })).rejects.toThrow('the context holds 24');
});

it('writes pairs in both orders and learns the answers, not what names them', () => {
  const pairs = [{ prompt: [1, 2], chosen: [3, 0], rejected: [4, 4, 0] }];
  const samples = hindsightSamples(pairs, { good: [9], bad: [10, 8] });
  expect(samples).toEqual([
    { prompt: [1, 2, 10, 8], completion: [4, 4, 0, 9, 3, 0], counts: [1, 1, 1, 0, 1, 1] },
    { prompt: [1, 2, 9], completion: [3, 0, 10, 8, 4, 4, 0], counts: [1, 1, 0, 0, 1, 1, 1] },
  ]);
  const { targets, lengths, contextLength } = completionBatch(samples);
  expect([...lengths]).toEqual([5, 5]);
  expect([...targets.subarray(0, contextLength)]).toEqual([-100, -100, -100, 4, 4, 0, -100, 3, 0]);
  expect(hindsightPrompt([1], { good: [9], bad: [10] })).toEqual([1, 9]);
  expect(() => hindsightSamples(pairs, { good: [9], bad: [9] })).toThrow('are the same');
});

it('scores the last real token whatever is padded behind it, and learns which answers are better', async () => {
  await startBackend({ backend: 'wasm', threads: 2 });
  const model = new ScoreModel(new Transformer({ ...config, initializerStd: 0.3 }), 3);
  const short = { prompt: [1], completion: [2, 3] };
  const long = { prompt: [4, 5, 6], completion: [7, 8, 9, 1] };
  const [alone] = await model.score([short]);
  const [beside] = await model.score([short, long]);
  expect(beside).toBeCloseTo(alone!, 5);
  expect((await model.score([{ prompt: [1], completion: [2, 4] }]))[0]).not.toBeCloseTo(alone!, 3);
  const pair = (i: number) => ({ prompt: [1 + (i % 7)], chosen: [4, 2 + (i % 5), 4, 0], rejected: [5, 2 + (i % 5), 0] });
  const pairs = Array.from({ length: 30 }, (_, i) => pair(i));
  await trainRewardModel(model, pairs, { steps: 30, learningRate: 3e-3, quiet: true });
  const { accuracy, calibration } = await evaluateRewardModel(model, Array.from({ length: 35 }, (_, i) => pair(i)));
  expect(accuracy).toBe(1);
  expect(calibration.expectedError).toBeLessThan(0.3);
  model.dispose();
});

it('mixes in windows of the first text, whole ones and all of their tokens', () => {
  const text = new TokenDataset([0, 1, 2, 3, 4], 5);
  const samples = pretrainingSamples(text, { count: 20, length: 4, seed: 1 });
  const windows = samples.map(({ prompt, completion }) => [...prompt, ...completion].join(''));
  expect(new Set(windows)).toEqual(new Set(['0123', '1234']));
  expect(pretrainingSamples(text, { count: 1, length: 5 })[0]).toEqual({ prompt: [0], completion: [1, 2, 3, 4] });
  expect(() => pretrainingSamples(text, { count: 1, length: 6 })).toThrow('windows of 6 tokens, a text of 5');
});
