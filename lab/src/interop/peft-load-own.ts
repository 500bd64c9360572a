/**
 * @file What `savePEFT` wrote of a method that the PEFT library lacks: the model is adapted as it was, and what was trained put
 * in. Tensors that do not fit are refused by name, and the model is then what it was.
 */
import { tf, type Variable } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import { toFloat32 } from '../files/index.ts';
import { plansOf } from '../peft/adapt.ts';
import { readOwnOptions, type OwnType } from './peft-own-config.ts';
import { checkShape, type PEFTSource, type Planned } from './peft-source.ts';

export function ownPlan(source: PEFTSource): Planned {
  const { model, fields } = source;
  const options = readOwnOptions(fields.string('peft_type') as OwnType, fields);
  return {
    options,
    plans: () => [
      ...plansOf(model, options),
      () => {
        fill(source, new Map([...model.namedParameters()].filter(([, { trainable }]) => trainable)));
        return [];
      },
    ],
  };
}

function fill(source: PEFTSource, parameters: ReadonlyMap<string, Variable>): void {
  const { path, tensors } = source;
  for (const [name, { shape }] of parameters) checkShape(source, name, shape);
  const stray = [...tensors.keys()].find((name) => !parameters.has(name));
  if (stray !== undefined) {
    throw new LabError(`${path}: '${stray}' has no place in this model. Is the adapter for another kind of model?`);
  }
  for (const [name, variable] of parameters) {
    tf.tidy(() => {
      variable.assign(tf.tensor(toFloat32(tensors.get(name)!), variable.shape));
    });
  }
}
