/**
 * @file Shared libraries that are no add-ons of Node: loaded all the same, so that whoever asks the dynamic linker for their
 * names finds them.
 */
import { constants } from 'node:os';
import { messageOf } from '../base/index.ts';

/** RTLD_NODELETE of Linux, which os.constants does not list. */
const KEEP = 0x1000;

/**
 * Loads a library into this process for good. Node complains that it is no add-on and lets go of it, but RTLD_NODELETE keeps it.
 *
 * @returns whether it is loaded; not when it lacks another library
 */
export function preload(library: string): boolean {
  try {
    process.dlopen({ exports: {} }, library, constants.dlopen.RTLD_NOW | KEEP);
    return true;
  } catch (error) {
    return /self-register/.test(messageOf(error));
  }
}
