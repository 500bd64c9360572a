/**
 * @file Dotted paths through a module tree, and patterns over them: `blocks.*.attention.query`.
 */

/** Whether a path fits the pattern, whole: `*` is any one step, or a part of one, `**` any number of steps. */
export function matchesPath(pattern: string, path: string): boolean {
  return matchesSteps(steps(pattern), steps(path));
}

/** One path below another; '' is the root. */
export function join(prefix: string, name: string): string {
  return prefix === '' ? name : `${prefix}.${name}`;
}

/** The first few of many, for a message. */
export function listed(items: readonly string[], separator = ', '): string {
  const shown = 12;
  const rest = items.length - shown;
  const first = items
    .slice(0, shown)
    .filter((item) => item !== '')
    .join(separator);
  return rest > 0 ? `${first}${separator}and ${rest} more` : first;
}

function steps(path: string): string[] {
  return path === '' ? [] : path.split('.');
}

function matchesSteps(pattern: readonly string[], path: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return path.length === 0;
  if (first === '**') return matchesSteps(rest, path) || (path.length > 0 && matchesSteps(pattern, path.slice(1)));
  return path.length > 0 && matchesStep(first, path[0]!) && matchesSteps(rest, path.slice(1));
}

function matchesStep(pattern: string, step: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[^\w]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(step);
}
