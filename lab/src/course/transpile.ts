/**
 * @file TypeScript to a function that can be called at once, by the TypeScript that the notebook kernel has loaded.
 * Only types are taken away: nothing is checked, so that a test file is ready in milliseconds.
 */
import { readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Script } from 'node:vm';
import { LabError } from '../base/index.ts';

/** The few things used here of the compiler's large interface. */
interface TypeScript {
  readonly ModuleKind: { readonly CommonJS: number };
  readonly ScriptTarget: { readonly ES2022: number };
  readonly SyntaxKind: {
    readonly InterfaceDeclaration: number;
    readonly TypeAliasDeclaration: number;
    readonly ModuleDeclaration: number;
  };
  createSourceFile(
    name: string,
    source: string,
    target: number,
    parents: boolean,
  ): { readonly statements: readonly SyntaxNode[] };
  transpileModule(
    source: string,
    options: { fileName: string; reportDiagnostics: boolean; compilerOptions: Record<string, unknown> },
  ): {
    readonly outputText: string;
    readonly diagnostics?: readonly { readonly messageText: string | { messageText: string }; readonly start?: number }[];
  };
}

let compiler: TypeScript | undefined;

function typescript(): TypeScript {
  // tslab's own copy: inside a kernel it is in memory already.
  const here = createRequire(import.meta.url);
  compiler ??= createRequire(here.resolve('tslab/package.json'))('@tslab/typescript-for-tslab') as TypeScript;
  return compiler;
}

export interface TranspileOptions {
  /** Leave out the comments. */
  readonly removeComments?: boolean;
}

/**
 * @param fileName shown in stack traces and messages
 * @returns JavaScript of a CommonJS module
 * @throws LabError with the line of the first syntax error
 */
export function transpile(source: string, fileName: string, { removeComments = false }: TranspileOptions = {}): string {
  const ts = typescript();
  const { outputText, diagnostics = [] } = ts.transpileModule(source, {
    fileName,
    reportDiagnostics: true,
    compilerOptions: {
      module: ts.ModuleKind.CommonJS,
      target: ts.ScriptTarget.ES2022,
      esModuleInterop: true,
      experimentalDecorators: true,
      noImplicitUseStrict: true,
      ignoreDeprecations: '5.0',
      removeComments,
    },
  });
  const [first] = diagnostics;
  if (!first) return outputText;
  const line = source.slice(0, first.start ?? 0).split('\n').length;
  const message = typeof first.messageText === 'string' ? first.messageText : first.messageText.messageText;
  throw new LabError(`line ${line} does not compile: ${message}`);
}

/** The part of a syntax tree that is needed to find the names of a cell. */
interface SyntaxNode {
  readonly kind: number;
  readonly name?: SyntaxNode & { readonly text?: string };
  readonly text?: string;
  readonly elements?: readonly SyntaxNode[];
  readonly declarationList?: { readonly declarations: readonly SyntaxNode[] };
  readonly importClause?: SyntaxNode & { readonly namedBindings?: SyntaxNode; readonly isTypeOnly?: boolean };
  readonly isTypeOnly?: boolean;
}

/** The values that a piece of TypeScript declares at its top level, imports included. */
export function topLevelNames(source: string): string[] {
  const ts = typescript();
  const { InterfaceDeclaration, TypeAliasDeclaration, ModuleDeclaration } = ts.SyntaxKind;
  const names = (node: SyntaxNode | undefined): string[] => {
    if (!node || node.isTypeOnly) return [];
    if (node.text !== undefined) return [node.text];
    return node.elements ? node.elements.flatMap((e) => (e.isTypeOnly ? [] : names(e.name))) : node.name ? names(node.name) : [];
  };
  const types = new Set([InterfaceDeclaration, TypeAliasDeclaration, ModuleDeclaration]);
  return [
    ...new Set(
      ts.createSourceFile('cell.ts', source, ts.ScriptTarget.ES2022, false).statements.flatMap((statement) => {
        if (statement.declarationList) return statement.declarationList.declarations.flatMap((d) => names(d.name));
        const clause = statement.importClause;
        if (clause) return clause.isTypeOnly ? [] : [...names(clause.name), ...names(clause.namedBindings)];
        return statement.name && !types.has(statement.kind) ? names(statement.name) : [];
      }),
    ),
  ];
}

/**
 * Compiles a notebook's cell as the kernel does: its top-level names become properties of the shared object, and names
 * that it does not declare are looked up there first.
 *
 * @throws LabError with the line of a syntax error
 */
export function compileCell(source: string, title: string): (names: object, require: Require) => Promise<unknown> {
  const javascript = transpile(`${source}\nexport { ${topLevelNames(source).join(', ')} };`, title);
  // `with` is what a shared top level amounts to; cells run in sloppy mode in the kernel, too.
  const code = `(async function (exports, require) { with (exports) {${javascript}\n} })`;
  compiledSources.set(title, code);
  return compile(code, title) as (names: object, require: Require) => Promise<unknown>;
}

/** @throws LabError with the line that JavaScript refuses */
function compile(code: string, fileName: string): unknown {
  try {
    return new Script(code, { filename: fileName }).runInThisContext();
  } catch (error) {
    if (error instanceof Error && error.name === 'SyntaxError') throw new LabError(`it does not compile: ${error.message}`);
    throw error;
  }
}

export type Require = (id: string) => unknown;
type ModuleFunction = (exports: object, require: Require, module: { exports: object }, file: string, folder: string) => unknown;

/** The JavaScript of cells by title, for messages that quote a line. */
export const compiledSources = new Map<string, string>();

function moduleFunction(javascript: string, fileName: string): ModuleFunction {
  // On one line with the code, so that line numbers stay true.
  return compile(`(function (exports, require, module, __filename, __dirname) {${javascript}\n})`, fileName) as ModuleFunction;
}

const cache = new Map<string, { readonly changed: number; readonly size: number; readonly run: ModuleFunction }>();

/** A TypeScript file as a function, made anew only when the file has changed. */
export function loadTypeScript(file: string): ModuleFunction {
  const { mtimeMs: changed, size } = statSync(file);
  const known = cache.get(file);
  if (known && known.changed === changed && known.size === size) return known.run;
  const run = moduleFunction(transpile(readFileSync(file, 'utf8'), file), file);
  cache.set(file, { changed, size, run });
  return run;
}
