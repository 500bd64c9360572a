/** @file An adaptation that the PEFT library lacks, as `loadPEFT` reads it: every trained tensor by its path. */
import type { StoredTensor } from '../files/index.ts';
import type { Adaptation, AdaptationOptions } from '../peft/index.ts';
import { stored, type PEFTContent } from './peft-content.ts';
import { OPTIONS, ownConfig, ownType } from './peft-own-config.ts';

export async function ownContent({ parameters }: Adaptation, options: AdaptationOptions): Promise<PEFTContent> {
  const tensors = new Map<string, StoredTensor>();
  for (const [path, variable] of parameters) tensors.set(path, await stored(variable));
  const config = {
    lab_note: 'The PEFT library does not have this method. loadPEFT of lab reads it.',
    [OPTIONS]: ownConfig(options),
  };
  return { type: ownType(options.method), config, tensors };
}
