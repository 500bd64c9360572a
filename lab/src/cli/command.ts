/**
 * @file What a subcommand of `npm run lab -- …` is, and how its options are read and explained.
 */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { LabError } from '../base/index.ts';

export interface Option {
  readonly type: 'string' | 'number' | 'boolean';
  /** Shown by --help. */
  readonly help: string;
  /** What a value is called in --help: `--steps N`. */
  readonly value?: string;
  readonly default?: string | number | boolean;
}

export type Values = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Command {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** What stands behind the name: `[FILE] [options]`. */
  readonly usage: string;
  readonly options: Readonly<Record<string, Option>>;
  /** Lines shown at the end of --help. */
  readonly examples?: readonly string[];
  /** Returns the exit status; throws LabError for what the user can mend. */
  run(values: Values, positionals: readonly string[]): Promise<number>;
}

/** The text of `npm run lab -- NAME --help`. */
export function helpText(command: Command): string {
  const rows = Object.entries(command.options).map(([name, o]) => {
    const left = o.type === 'boolean' ? `--${name}` : `--${name} ${o.value ?? (o.type === 'number' ? 'N' : 'TEXT')}`;
    return { left, right: o.help + (o.default === undefined || o.default === false ? '' : ` (default ${o.default})`) };
  });
  rows.push({ left: '--help', right: 'show this text' });
  const width = Math.max(...rows.map((r) => r.left.length));
  return [
    `npm run lab -- ${command.name} ${command.usage}`,
    '',
    command.summary,
    '',
    ...rows.map((r) => `  ${r.left.padEnd(width)}  ${r.right}`),
    ...(command.examples ? ['', 'Examples:', ...command.examples.map((e) => `  ${e}`)] : []),
  ].join('\n');
}

/**
 * Reads the arguments of one command, with defaults filled in and numbers checked.
 *
 * @throws LabError that names the option which is unknown or badly formed.
 */
export function readArguments(command: Command, args: readonly string[]): { values: Values; positionals: readonly string[] } {
  const config: NonNullable<ParseArgsConfig['options']> = { help: { type: 'boolean' } };
  for (const [name, o] of Object.entries(command.options)) config[name] = { type: o.type === 'boolean' ? 'boolean' : 'string' };
  const parsed = (() => {
    try {
      return parseArgs({ args: [...args], options: config, allowPositionals: true, strict: true });
    } catch (error) {
      throw new LabError(`${(error as Error).message.split('. ')[0]}. See: npm run lab -- ${command.name} --help`);
    }
  })();
  const values: Record<string, string | number | boolean | undefined> = { help: parsed.values['help'] === true };
  for (const [name, o] of Object.entries(command.options)) {
    const given = parsed.values[name];
    if (given === undefined) values[name] = o.default;
    else if (o.type !== 'number') values[name] = given as string | boolean;
    else {
      const number = Number(given);
      if (given === '' || !Number.isFinite(number)) throw new LabError(`--${name} takes a number, got '${String(given)}'.`);
      values[name] = number;
    }
  }
  return { values, positionals: parsed.positionals };
}
