/**
 * @file Models fetched from the Hugging Face hub on request: of a revision that cannot change, each file with its digest checked.
 */
import { createReadStream, existsSync } from 'node:fs';
import { join } from 'node:path';
import { LabError, messageOf } from '../base/index.ts';
import { digestChecked, download } from '../data/index.ts';
import { labFolder, writeAtomically } from '../files/index.ts';

export interface HubModel {
  /** `owner/name` on the hub. */
  readonly repository: string;
  /** The commit. */
  readonly revision: string;
  /** File → SHA-256, the largest last. */
  readonly files: Readonly<Record<string, string>>;
}

export const hubModels = {
  /** GPT-2 small (Radford et al. 2019): 124 million parameters, 548 MB. */
  gpt2: {
    repository: 'openai-community/gpt2',
    revision: '607a30d783dfa663caf39e06633721c8d4cfcd7e',
    files: {
      'config.json': '0daed7749b4f02b8f76240d5444551d7b08712dab4d0adb8239c56ba823bb7b4',
      'tokenizer_config.json': '5e04eb606e3a1583530a42e36c2a6b6615c86f34fe77e44d9ddeb43ff940931f',
      'tokenizer.json': '8414cab924d8b9b33013f0d221c5862f365ee9be39c5c2bfae8a5a9e970478a6',
      'model.safetensors': '248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707',
    },
  },
  /** SmolLM2-135M-Instruct (Allal et al. 2025), a Llama that answers: 135 million parameters, 269 MB. */
  smollm2: {
    repository: 'HuggingFaceTB/SmolLM2-135M-Instruct',
    revision: '12fd25f77366fa6b3b4b768ec3050bf629380bac',
    files: {
      'config.json': '8eb740e8bbe4cff95ea7b4588d17a2432deb16e8075bc5828ff7ba9be94d982a',
      'generation_config.json': '87b916edaaab66b3899b9d0dd0752727dff6666686da0504d89ae0a6e055a013',
      'tokenizer_config.json': '4ec77d44f62efeb38d7e044a1db318f6a939438425312dfa333b8382dbad98df',
      'tokenizer.json': '9ca9acddb6525a194ec8ac7a87f24fbba7232a9a15ffa1af0c1224fcd888e47c',
      'model.safetensors': '5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c',
    },
  },
} as const satisfies Record<string, HubModel>;

export type HubModelName = keyof typeof hubModels;

export interface FetchModelOptions {
  /** A folder on this machine that has the files already. */
  readonly from?: string;
  /** Another place with the addresses of the hub. */
  readonly hub?: string;
  readonly quiet?: boolean;
}

/** Where the models that were fetched lie. */
export function modelFolder(name: string): string {
  return labFolder('models', name);
}

/**
 * Puts the files of a model into `folder`: those that are there and right stay, the others are copied or fetched.
 *
 * @throws LabError when a file cannot be had or is not the right one; what was right until then is kept.
 */
export async function fetchModel(model: HubModel, folder: string, options: FetchModelOptions = {}): Promise<void> {
  const { from, hub = 'https://huggingface.co', quiet = false } = options;
  for (const [file, sha256] of Object.entries(model.files)) {
    const path = join(folder, file);
    if (await isThere(path, sha256)) continue;
    if (from === undefined) {
      const url = `${hub}/${model.repository}/resolve/${model.revision}/${file}`;
      await download(url, path, { sha256, quiet, timeLimit: Infinity }).catch(withAdvice);
    } else {
      const source = join(from, file);
      if (!existsSync(source)) throw new LabError(`There is no ${file} in ${from}.`);
      await writeAtomically(path, digestChecked(createReadStream(source), source, sha256));
    }
  }
}

function withAdvice(error: unknown): never {
  throw new LabError(`${messageOf(error)} With a copy of the files: --from DIR`, { cause: error });
}

async function isThere(path: string, sha256: string): Promise<boolean> {
  if (!existsSync(path)) return false;
  try {
    for await (const _ of digestChecked(createReadStream(path), path, sha256));
    return true;
  } catch (error) {
    if (error instanceof LabError) return false;
    throw error;
  }
}
