/**
 * @file A format of our own for adaptations that the PEFT library lacks: the same two files, with a `peft_type` that says whose
 * it is, the options as `adapt` takes them in `lab_options`, and the tensors by their paths in the adapted model.
 */
import { LabError } from '../base/index.ts';
import type { AdaptationOptions, PartOptions } from '../peft/index.ts';
import { Fields, isObject, type JSONObject } from './json.ts';

export const OWN_TYPES = ['LAB_BITFIT', 'LAB_LAST_LAYERS', 'LAB_HOULSBY', 'LAB_PARALLEL', 'LAB_HYBRID'] as const;
export type OwnType = (typeof OWN_TYPES)[number];

export const OPTIONS = 'lab_options';

export function isOwnType(type: string): type is OwnType {
  return (OWN_TYPES as readonly string[]).includes(type);
}

export function ownType(method: AdaptationOptions['method']): OwnType {
  return `LAB_${method.toUpperCase().replaceAll('-', '_')}` as OwnType;
}

/** How each option is read. What decides the first values alone (`seed`, `start`) is not kept. */
const readers: Readonly<Record<string, (fields: Fields, name: string) => unknown>> = {
  method: (fields, name) => fields.string(name),
  rank: (fields, name) => fields.count(name),
  alpha: (fields, name) => fields.positive(name),
  rankStabilized: (fields, name) => fields.boolean(name),
  dropout: (fields, name) => fields.number(name),
  targets: strings,
  feedForward: strings,
  size: (fields, name) => fields.count(name),
  scale: finite,
  layers: (fields, name) => fields.number(name),
  head: (fields, name) => fields.boolean(name),
  tokens: (fields, name) => fields.count(name),
  hiddenSize: (fields, name) => fields.count(name),
};

function strings({ json, name }: Fields, field: string): readonly string[] {
  const value = json[field];
  if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return value;
  throw new LabError(`${name}: "${field}" is ${JSON.stringify(value)}, but here it must be a list of texts.`);
}

function finite({ json, name }: Fields, field: string): number {
  const value = json[field];
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new LabError(`${name}: "${field}" is ${JSON.stringify(value)}, but here it must be a number.`);
}

/** The options as they are written. */
export function ownConfig(options: AdaptationOptions): JSONObject {
  const kept = (part: PartOptions): JSONObject =>
    Object.fromEntries(Object.entries(part).filter(([name, value]) => Object.hasOwn(readers, name) && value !== undefined));
  if (options.method !== 'hybrid') return kept(options);
  return { method: options.method, parts: options.parts.map(kept) };
}

/** @throws LabError for options that are not known, or of the wrong type. */
export function readOwnOptions(type: OwnType, config: Fields): AdaptationOptions {
  const fields = config.object(OPTIONS);
  const method = fields.string('method') as AdaptationOptions['method'];
  if (ownType(method) !== type) {
    throw new LabError(`${config.name}: "peft_type" is "${type}", but the options are those of '${method}'.`);
  }
  if (method !== 'hybrid') return readPart(fields);
  const { parts, ...rest } = fields.json;
  if (!Array.isArray(parts) || !parts.every(isObject)) throw new LabError(`${fields.name}: "parts" must be a list of objects.`);
  checkNames(rest, fields.name);
  return { method, parts: parts.map((part, i) => readPart(new Fields(part, `${fields.name}: part ${i}`))) };
}

function readPart(fields: Fields): PartOptions {
  checkNames(fields.json, fields.name);
  const entries = Object.keys(fields.json).map((name) => [name, readers[name]!(fields, name)]);
  return Object.fromEntries(entries) as PartOptions;
}

function checkNames(json: JSONObject, where: string): void {
  const stranger = Object.keys(json).find((name) => !Object.hasOwn(readers, name));
  if (stranger !== undefined) throw new LabError(`${where} asks for "${stranger}", which is not known here.`);
}
