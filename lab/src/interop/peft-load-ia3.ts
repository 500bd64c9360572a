/** @file (IA)³ of the PEFT library: a vector [out, 1] that scales outputs, or [1, in] that scales inputs. */
import { LabError } from '../base/index.ts';
import { type Change, exchange, IA3Linear, isLinearLayer, placesOf, type Place } from '../peft/parts.ts';
import { PEFT_PREFIX } from './peft-names.ts';
import { byModule, checkShape, parameterFrom, type PEFTSource, type Planned } from './peft-source.ts';

const VECTOR = 'ia3_l';

interface Job {
  readonly name: string;
  readonly places: readonly Place[];
  readonly scalesInput: boolean;
}

export function ia3Plan(source: PEFTSource): Planned {
  const places = new Map(placesOf(source.model).map((place) => [place.path, place]));
  const jobs = [...byModule(source, [VECTOR])].map(([module, tensors]): Job => {
    const own = module.paths.map((path) => places.get(path)!);
    const layers = own.map((place) => place.module).filter(isLinearLayer);
    if (layers.length < own.length)
      throw new LabError(`${source.path}: '${module.name}' is no linear layer here. Is the model adapted already?`);
    const outputs = layers.reduce((sum, layer) => sum + layer.outputs, 0);
    const name = `${PEFT_PREFIX}${module.name}.${VECTOR}`;
    const scalesInput = tensors.get(VECTOR)![0] === 1;
    checkShape(source, name, scalesInput ? [1, layers[0]!.inputs] : [outputs, 1]);
    return { name, places: own, scalesInput };
  });
  const targets = jobs.flatMap((job) => job.places.map(({ path }) => path));
  const feedForward = jobs.filter(({ scalesInput }) => scalesInput).flatMap((job) => job.places.map(({ path }) => path));
  return { options: { method: 'ia3', targets, feedForward }, plans: () => [() => jobs.flatMap((job) => put(source, job))] };
}

function put(source: PEFTSource, { name, places, scalesInput }: Job): Change[] {
  let start = 0;
  return places.map(({ holder, key, module }) => {
    const layer = new IA3Linear(module as IA3Linear['base'], scalesInput);
    const { size } = layer.factors;
    layer.factors.dispose();
    const all = source.tensors.get(name)!.data.length;
    layer.factors = parameterFrom(source, name, { shape: [all], start: scalesInput ? 0 : start, count: size });
    start += layer.base.outputs;
    return exchange(holder, key, layer);
  });
}
