/** @file The chapters that there are, in order. */
import type { Chapter } from '../exercise.ts';
import { chapter as welcome } from './00-welcome.ts';
import { chapter as tokens } from './01-tokens.ts';
import { chapter as languageModelling } from './02-language-modelling.ts';
import { chapter as attention } from './03-attention.ts';
import { chapter as transformer } from './04-transformer.ts';
import { chapter as flashAttention } from './05-flash-attention.ts';
import { chapter as serving } from './06-serving.ts';
import { chapter as rounding } from './07-rounding.ts';
import { chapter as gptq } from './08-gptq.ts';
import { chapter as quantizationAwareTraining } from './09-quantization-aware-training.ts';
import { chapter as peft } from './10-peft.ts';
import { chapter as rlhf } from './11-rlhf.ts';
import { chapter as withoutRL } from './12-without-rl.ts';
import { chapter as hallucination } from './13-hallucination.ts';

export const chapters: readonly Chapter[] = [
  welcome,
  tokens,
  languageModelling,
  attention,
  transformer,
  flashAttention,
  serving,
  rounding,
  gptq,
  quantizationAwareTraining,
  peft,
  rlhf,
  withoutRL,
  hallucination,
];
