/**
 * @file Small insertions into TypeScript files whose form the course prescribes.
 */
import { LabError } from '../../base/index.ts';

function place(file: string, what: string, text: string): LabError {
  return new LabError(
    `${file} has another form than the other chapters': found no place for ${what}. Put it there by hand:\n\n${text}`,
  );
}

/**
 * Inserts text before the last of the places that fit.
 *
 * @param markers the text that follows the place; the first one that is there counts
 * @throws LabError with the text when there is none
 */
export function insertBefore(source: string, markers: readonly string[], text: string, file: string): string {
  for (const marker of markers) {
    const at = source.lastIndexOf(marker);
    if (at >= 0) return `${source.slice(0, at)}\n${text.replace(/\n$/, '')}${source.slice(at)}`;
  }
  throw place(file, 'this', text);
}

/**
 * Adds a name to `import { … } from 'module'`, unless it is there.
 *
 * @throws LabError when the file has no such import
 */
export function addImport(source: string, module: string, name: string, file: string): string {
  const statement = new RegExp(`import \\{([^}]*)\\} from '${module.replaceAll('.', '\\.')}';`).exec(source);
  if (!statement) throw place(file, 'an import', `import { ${name} } from '${module}';`);
  const names = statement[1]!.split(',').map((one) => one.trim());
  if (names.includes(name)) return source;
  const plain = (one: string): string => one.replace(/^type /, '').toLowerCase();
  const all = [...names.filter((one) => one !== ''), name].sort((a, b) => (plain(a) < plain(b) ? -1 : 1));
  const line = `import { ${all.join(', ')} } from '${module}';`;
  const lines = `import {\n${all.map((one) => `  ${one},\n`).join('')}} from '${module}';`;
  return source.replace(statement[0], () => (line.length <= 128 ? line : lines));
}
