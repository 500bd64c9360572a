/**
 * @file A notebook kernel for tests: tslab's own message module, with a writer that collects what would be shown.
 */
import { createRequire } from 'node:module';

export interface ShownMessage {
  readonly data: Readonly<Record<string, unknown>>;
  readonly id: string | undefined;
  readonly update: boolean;
}

interface Written {
  readonly data: Readonly<Record<string, unknown>>;
  readonly transient: { readonly display_id?: string };
}

const jupyter = createRequire(import.meta.url)('tslab/dist/jupyter.js') as {
  lastWriteDisplayData: ((message: Written, update: boolean) => void) | null;
};
const host = globalThis as { __tslab__?: unknown };

export const kernel = {
  /** From now on the lab believes to be in a notebook. @returns what is shown, as it comes */
  start(): ShownMessage[] {
    const messages: ShownMessage[] = [];
    host.__tslab__ = {};
    jupyter.lastWriteDisplayData = ({ data, transient }, update) => messages.push({ data, id: transient.display_id, update });
    return messages;
  },
  stop(): void {
    delete host.__tslab__;
    jupyter.lastWriteDisplayData = null;
  },
};
