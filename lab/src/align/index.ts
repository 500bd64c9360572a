/** @file Alignment: supervised fine-tuning, reward models, PPO and what does without it. */
export * from './advantages.ts';
export * from './completions.ts';
export * from './log-probabilities.ts';
export * from './losses/clipped.ts';
export * from './losses/direct.ts';
export * from './losses/kl.ts';
export * from './losses/preference.ts';
export * from './policy.ts';
export * from './supervised.ts';
export * from './direct-preference.ts';
export * from './ranking.ts';
export * from './rollout.ts';
export * from './hindsight.ts';
export * from './reward-model.ts';
export * from './policy-step.ts';
export * from './ppo.ts';
