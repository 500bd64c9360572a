/**
 * @file Where an adaptation goes: modules by pattern, each with the property that holds it, so that another can be put there.
 */
import { LabError } from '../base/index.ts';
import { matchesPath, type Module } from '../nn/index.ts';

/** A module and the property that holds it. */
export interface Place<M extends Module = Module> {
  readonly path: string;
  readonly holder: object;
  readonly key: string;
  readonly module: M;
}

/** Every module below the model with the property that holds it. */
export function placesOf(model: Module): Place[] {
  const modules = new Map(model.namedModules());
  return [...modules].flatMap(([path, module]) => {
    if (path === '') return [];
    const steps = path.split('.');
    const key = steps.pop()!;
    const parent = modules.get(steps.join('.'));
    // The holder of `blocks.0` is the array.
    const holder = parent ?? (modules.get(steps.slice(0, -1).join('.')) as unknown as Record<string, object>)[steps.at(-1)!]!;
    return [{ path, holder, key, module }];
  });
}

/** Whether a path fits a target: a whole pattern, or one for the end of the path. */
export function isTarget(target: string, path: string): boolean {
  return matchesPath(target, path) || matchesPath(`**.${target}`, path);
}

export interface TargetQuestion<M extends Module> {
  readonly model: Module;
  /** The method, for errors. */
  readonly method: string;
  readonly targets: readonly string[];
  /** What the method can adapt. */
  readonly fits: (module: Module) => module is M;
  /** The same in words: 'linear layers'. */
  readonly kind: string;
}

/**
 * The modules that the targets name.
 *
 * @throws LabError for a target that names nothing, listing near names, or nothing that the method can adapt.
 */
export function findTargets<M extends Module>({ model, method, targets, fits, kind }: TargetQuestion<M>): Place<M>[] {
  const places = placesOf(model);
  const fitting = places.filter((place): place is Place<M> => fits(place.module));
  if (targets.length === 0)
    throw new LabError(`${method}: there are no targets; name ${kind}, for example '${endOf(fitting)}'.`);
  const chosen = new Set<Place<M>>();
  for (const target of targets) {
    const found = fitting.filter(({ path }) => isTarget(target, path));
    if (found.length === 0) throw new LabError(whyNothing({ method, kind }, target, places, fitting));
    for (const place of found) chosen.add(place);
  }
  return fitting.filter((place) => chosen.has(place));
}

const endOf = (places: readonly Place[]): string => places[0]?.path.split('.').at(-1) ?? '';

function whyNothing(
  { method, kind }: { readonly method: string; readonly kind: string },
  target: string,
  places: readonly Place[],
  fitting: readonly Place[],
): string {
  const other = places.find(({ path }) => isTarget(target, path));
  if (other) return `${method}: '${target}' names ${other.module.constructor.name} at '${other.path}', but takes ${kind} only.`;
  const near = nearNames(
    target,
    fitting.map(({ path }) => path),
  );
  return `${method}: no module fits the target '${target}'. Near it: ${near.map((name) => `'${name}'`).join(', ')}.`;
}

/** The few endings of the paths that are the most like the target. */
export function nearNames(target: string, paths: readonly string[]): string[] {
  const depth = target.split('.').length;
  const endings = new Set(paths.flatMap((path) => [path.split('.').slice(-depth).join('.'), path.split('.').at(-1)!]));
  const byDistance = [...endings].map((name) => ({ name, distance: editDistance(target, name) }));
  return byDistance
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 5)
    .map(({ name }) => name);
}

/** How many letters must be put in, taken out or exchanged to make one word from the other. Levenshtein 1966. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const exchanged = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(exchanged, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row.at(-1)!;
}
