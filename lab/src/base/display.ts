/**
 * @file What the lab shows in a notebook: a bundle of MIME types, of which the front end draws the richest it knows.
 * The kernel, tslab, sends one type a call, so bundles go through the message writer that its own display uses.
 */
import { createRequire } from 'node:module';
import { randomBytes } from 'node:crypto';

/** The same thing in several forms, keyed by MIME type. */
export type MimeBundle = Readonly<Record<string, unknown>>;

export interface NotebookDisplay {
  html(source: string): void;
  /** Drawn as an image, the only form of SVG that is also shown in a notebook that is not trusted. */
  svg(source: string, alternative?: string): void;
  text(plain: string): void;
  /** Several forms at once; give `text/plain` too, for front ends that draw nothing else. */
  bundle(data: MimeBundle): void;
  /** A place in the output of its own: whatever is sent to it next overwrites what it showed. */
  newDisplay(): NotebookDisplay;
}

/** What is used of the module `tslab/dist/jupyter.js`. */
interface JupyterModule {
  readonly lastWriteDisplayData: ((message: DisplayMessage, update: boolean) => void) | null;
}

interface DisplayMessage {
  readonly data: MimeBundle;
  readonly metadata: object;
  readonly transient: { readonly display_id?: string };
}

interface KernelGlobal {
  readonly __tslab__?: unknown;
}

/** The running notebook's display, or undefined in a terminal, a test or a child process. */
export function notebook(): NotebookDisplay | undefined {
  if ((globalThis as KernelGlobal).__tslab__ === undefined) return undefined;
  return jupyterModule() ? displayWith(undefined) : undefined;
}

/** An image tag that needs no other file: works in JupyterLab, in nbconvert's pages and in notebooks nobody trusted yet. */
export function svgImage(source: string, alternative = ''): string {
  const encoded = Buffer.from(source).toString('base64');
  return `<img alt="${escapeMarkup(alternative)}" src="data:image/svg+xml;base64,${encoded}">`;
}

/** Text made harmless inside HTML and SVG, attributes included. */
export function escapeMarkup(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}

function displayWith(identifier: string | undefined): NotebookDisplay {
  let shown = false;
  const bundle = (data: MimeBundle): void => {
    const update = identifier !== undefined && shown;
    shown = true;
    const transient = identifier === undefined ? {} : { display_id: identifier };
    jupyterModule()?.lastWriteDisplayData?.({ data, metadata: {}, transient }, update);
  };
  return {
    html: (source) => bundle({ 'text/html': source }),
    svg: (source, alternative = '') => bundle({ 'text/html': svgImage(source, alternative), 'text/plain': alternative }),
    text: (plain) => bundle({ 'text/plain': plain }),
    bundle,
    newDisplay: () => displayWith(randomBytes(8).toString('hex')),
  };
}

/** The copy that the kernel itself loaded, wherever it was installed. It is set once the first cell runs. */
function jupyterModule(): JupyterModule | undefined {
  const loaded = createRequire(import.meta.url).cache;
  for (const [path, module] of Object.entries(loaded)) {
    if (!/[\\/]tslab[\\/]dist[\\/]jupyter\.js$/.test(path)) continue;
    const exports = module?.exports as JupyterModule | undefined;
    if (typeof exports?.lastWriteDisplayData === 'function') return exports;
  }
  return undefined;
}
