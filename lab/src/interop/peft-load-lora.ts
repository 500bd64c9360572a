/** @file LoRA, rsLoRA and DoRA of the PEFT library. */
import type { tf } from '../backend/index.ts';
import { LabError, Random } from '../base/index.ts';
import { Embedding } from '../nn/index.ts';
import {
  type Change,
  DoRALinear,
  exchange,
  isLinearLayer,
  LoRAEmbedding,
  LoRALinear,
  loraScale,
  placesOf,
  type Place,
} from '../peft/parts.ts';
import type { LoRAOptions, LowRank } from '../peft/index.ts';
import { byPattern } from './peft-config.ts';
import { PEFT_PREFIX, type PEFTModule } from './peft-names.ts';
import { byModule, checkShape, parameterFrom, type ModuleTensors, type PEFTSource, type Planned } from './peft-source.ts';

const LINEAR = { down: 'lora_A.weight', up: 'lora_B.weight' };
const TABLE = { down: 'lora_embedding_A', up: 'lora_embedding_B' };
const MAGNITUDE = 'lora_magnitude_vector';

/** A module of theirs, checked. */
interface Job extends LowRank {
  readonly name: string;
  readonly places: readonly Place[];
}

export function loraPlan(source: PEFTSource): Planned {
  const { fields, model } = source;
  const isDoRA = fields.boolean('use_dora', false);
  const rankStabilized = fields.boolean('use_rslora', false);
  const alpha = fields.positive('lora_alpha', 8);
  const places = new Map(placesOf(model).map((place) => [place.path, place]));
  const jobs = [...byModule(source, [...Object.values(LINEAR), ...Object.values(TABLE), MAGNITUDE])].map(
    ([module, tensors]): Job => {
      const rank = checkModule(source, module, tensors, places, isDoRA);
      const scale = loraScale(byPattern(fields.json['alpha_pattern'], module.name, alpha), rank, rankStabilized);
      return {
        name: PEFT_PREFIX + module.name,
        places: module.paths.map((path) => places.get(path)!),
        rank,
        scale,
        dropout: 0,
      };
    },
  );
  const targets = jobs.flatMap((job) => job.places.map(({ path }) => path));
  const options: LoRAOptions = {
    method: isDoRA ? 'dora' : 'lora',
    rank: fields.count('r', 8),
    alpha,
    rankStabilized,
    dropout: fields.number('lora_dropout', 0),
    targets,
  };
  return {
    options,
    plans: () => [() => jobs.flatMap((job) => put(source, { ...job, dropout: options.dropout! }, isDoRA))],
  };
}

/** @returns the rank */
function checkModule(
  source: PEFTSource,
  { name, paths }: PEFTModule,
  tensors: ModuleTensors,
  places: ReadonlyMap<string, Place>,
  isDoRA: boolean,
): number {
  const modules = paths.map((path) => places.get(path)!.module);
  const full = (end: string): string => `${PEFT_PREFIX}${name}.${end}`;
  const [first] = modules;
  if (first instanceof Embedding) {
    const [entries, width] = first.weight.shape;
    const rank = tensors.get(TABLE.down)?.[0] ?? 0;
    checkShape(source, full(TABLE.down), [rank, entries]);
    checkShape(source, full(TABLE.up), [width, rank]);
    return rank;
  }
  if (!modules.every(isLinearLayer))
    throw new LabError(`${source.path}: '${name}' is no linear layer here. Is the model adapted already?`);
  const outputs = modules.reduce((sum, module) => sum + module.outputs, 0);
  const rank = tensors.get(LINEAR.down)?.[0] ?? 0;
  checkShape(source, full(LINEAR.down), [rank, modules[0]!.inputs]);
  checkShape(source, full(LINEAR.up), [outputs, rank]);
  if (isDoRA) checkShape(source, full(MAGNITUDE), [outputs]);
  return rank;
}

/** Layers that are one of theirs share its A; each has its rows of B. */
function put(source: PEFTSource, { name, places, ...low }: Job, isDoRA: boolean): Change[] {
  const changes: Change[] = [];
  let start = 0;
  let shared: LoRALinear['down'] | undefined;
  for (const { holder, key, module } of places) {
    if (module instanceof Embedding) {
      const table = new LoRAEmbedding(module, low, new Random(0));
      table.down.dispose();
      table.up.dispose();
      table.down = parameterFrom(source, `${name}.${TABLE.down}`, { turned: true });
      table.up = parameterFrom(source, `${name}.${TABLE.up}`, {});
      changes.push(exchange(holder, key, table));
      continue;
    }
    if (!isLinearLayer(module)) continue;
    const part = { start, count: module.outputs };
    const layer = new (isDoRA ? DoRALinear : LoRALinear)(module, low, new Random(0));
    layer.down.dispose();
    layer.up.dispose();
    layer.down = shared ??= parameterFrom<tf.Rank.R2>(source, `${name}.${LINEAR.down}`, {});
    layer.up = parameterFrom(source, `${name}.${LINEAR.up}`, part);
    if (layer instanceof DoRALinear) {
      layer.magnitude.dispose();
      layer.magnitude = parameterFrom(source, `${name}.${MAGNITUDE}`, part);
    }
    changes.push(exchange(holder, key, layer));
    start += module.outputs;
  }
  return changes;
}
