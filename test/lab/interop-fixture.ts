/** @file The checkpoints that transformers saved (test/oracle/interop.py), and copies of them to break. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readSafetensors, writeSafetensors, type StoredTensor } from 'lab';
import { afterAll } from 'vitest';
import type { FixtureTensor } from './core-fixture.ts';

export const checkpoints = ['gpt2', 'llama', 'llama3', 'llama-biased', 'qwen2'] as const;
export type CheckpointName = (typeof checkpoints)[number];

export function fixturePath(name: string): string {
  return fileURLToPath(new URL(`../fixtures/interop/${name}`, import.meta.url));
}

export interface Expected {
  readonly tokens: FixtureTensor;
  readonly logits: FixtureTensor;
  /** The prompt's 6 tokens and 50 more. */
  readonly greedy: readonly number[];
  /** 150 tokens, and what they lose a token for windows and strides. */
  readonly text: readonly number[];
  readonly losses: readonly (readonly [window: number, stride: number, loss: number])[];
}

export function expectedOf(name: CheckpointName): Expected {
  return JSON.parse(readFileSync(join(fixturePath(name), 'expected.json'), 'utf8')) as Expected;
}

const scratch = mkdtempSync(join(tmpdir(), 'lab-interop-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** An empty folder that is gone after the tests. */
export function newFolder(): string {
  return mkdtempSync(join(scratch, 'folder-'));
}

/** A copy of a fixture, with another config.json. */
export function copyOf(name: CheckpointName, change: (config: Record<string, unknown>) => void = () => undefined): string {
  const folder = newFolder();
  cpSync(fixturePath(name), folder, { recursive: true });
  const path = join(folder, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  change(config);
  writeFileSync(path, JSON.stringify(config));
  return folder;
}

/** Changes the tensors of a folder with one file. */
export async function changeTensors(folder: string, change: (tensors: Map<string, StoredTensor>) => void): Promise<string> {
  const path = join(folder, 'model.safetensors');
  const tensors = new Map((await readSafetensors(path)).tensors);
  change(tensors);
  await writeSafetensors(path, tensors, { format: 'pt' });
  return folder;
}
