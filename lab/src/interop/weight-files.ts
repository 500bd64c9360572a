/**
 * @file The safetensors files of a checkpoint as one: `model.safetensors`, or the shards that `model.safetensors.index.json` lists.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { LabError } from '../base/index.ts';
import { SafetensorsFile, type TensorEntry } from '../files/index.ts';
import { isObject, readJSON } from './json.ts';

export class WeightFiles {
  /** Every tensor by name, file by file in the order of their bytes. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly #files: readonly SafetensorsFile[];
  readonly #fileOf: ReadonlyMap<string, SafetensorsFile>;

  private constructor(files: readonly SafetensorsFile[]) {
    this.#files = files;
    this.#fileOf = new Map(files.flatMap((file) => [...file.tensors.keys()].map((name) => [name, file] as const)));
    this.tensors = new Map(files.flatMap((file) => [...file.tensors]));
  }

  /**
   * Opens the files and reads their headers; no weights yet. Close them when done.
   *
   * @throws LabError when there are none, one is missing or malformed, or they hold other tensors than the index says.
   */
  static async open(directory: string): Promise<WeightFiles> {
    const index = join(directory, 'model.safetensors.index.json');
    const single = join(directory, 'model.safetensors');
    if (existsSync(single)) return new WeightFiles([SafetensorsFile.open(single)]);
    if (existsSync(index)) return WeightFiles.#openShards(directory, index);
    const pickled = existsSync(join(directory, 'pytorch_model.bin')) || existsSync(join(directory, 'pytorch_model.bin.index.json'));
    const advice = pickled
      ? 'Its pytorch_model.bin is a program as much as a file and is not read here: save the model with safetensors.'
      : 'Give the folder of a model, with config.json and model.safetensors.';
    throw new LabError(`There is no model.safetensors in ${directory}. ${advice}`);
  }

  static async #openShards(directory: string, index: string): Promise<WeightFiles> {
    const shards = shardsOf(await readJSON(index), index);
    const opened: SafetensorsFile[] = [];
    try {
      for (const [shard, names] of shards) opened.push(openShard(join(directory, shard), names, index));
      return new WeightFiles(opened);
    } catch (error) {
      for (const file of opened) file.close();
      throw error;
    }
  }

  /** Fills `target` with the bytes of a tensor, from its byte `from` on. */
  readInto(name: string, target: Uint8Array, from = 0): void {
    this.#fileOf.get(name)!.readInto(name, target, from);
  }

  close(): void {
    for (const file of this.#files) file.close();
  }
}

/** Shard → the names it must hold. */
function shardsOf(index: Readonly<Record<string, unknown>>, path: string): Map<string, string[]> {
  const { weight_map: map } = index;
  if (!isObject(map) || Object.keys(map).length === 0) throw new LabError(`${path} has no "weight_map". Get it again.`);
  const shards = new Map<string, string[]>();
  for (const [name, shard] of Object.entries(map)) {
    if (typeof shard !== 'string' || !/^[\w-][\w.-]*\.safetensors$/.test(shard)) {
      throw new LabError(`${path} puts '${name}' into ${JSON.stringify(shard)}, which is not the name of a safetensors file.`);
    }
    shards.set(shard, [...(shards.get(shard) ?? []), name]);
  }
  return shards;
}

function openShard(path: string, names: readonly string[], index: string): SafetensorsFile {
  if (!existsSync(path)) throw new LabError(`${path} is missing: '${names[0]}' and others should be in it. Get all files of the model.`);
  const file = SafetensorsFile.open(path);
  const missing = names.find((name) => !file.tensors.has(name));
  const expected = new Set(names);
  const stray = [...file.tensors.keys()].find((name) => !expected.has(name));
  if (missing === undefined && stray === undefined) return file;
  file.close();
  const problem = missing === undefined ? `'${stray}' is in it, too` : `'${missing}' is not in it`;
  throw new LabError(`${path} is not what ${index} says: ${problem}. Get all files of the model from the same place.`);
}
