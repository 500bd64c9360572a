/**
 * @file All wordings, compiled: for a register by what they state, and together for reading.
 */
import type { Relation } from './relations.ts';
import { compileWording, type Wording } from './wording.ts';
import { boilerplate } from './wordings/boilerplate.ts';
import {
  familyOf,
  headings,
  ownWordings,
  personHeadings,
  registers,
  wordingFamilies,
  type Register,
} from './wordings/index.ts';

/** What a register can say. */
export interface Repertoire {
  readonly headings: readonly Wording[];
  readonly personHeadings: readonly Wording[];
  /** Wordings that state something of this relation, about the subject itself. */
  readonly stating: ReadonlyMap<Relation, readonly Wording[]>;
  /** Wordings that state nothing. */
  readonly fillers: readonly Wording[];
}

const compiled = new Map<string, Wording>();

/** A template that several registers share is compiled once. */
function compile(template: string): Wording {
  const known = compiled.get(template) ?? compileWording(template);
  compiled.set(template, known);
  return known;
}

function repertoire(register: Register): Repertoire {
  const templates = new Set([...wordingFamilies[familyOf[register]], ...ownWordings[register]]);
  const wordings = [...templates].map(compile);
  const stating = new Map<Relation, Wording[]>();
  for (const wording of wordings) {
    for (const { relation } of wording.values.filter(({ before, of }) => !before && of === undefined)) {
      stating.set(relation, [...(stating.get(relation) ?? []), wording]);
    }
  }
  return {
    headings: headings[register].map(compile),
    personHeadings: personHeadings.map(compile),
    stating,
    fillers: wordings.filter(({ values }) => values.length === 0),
  };
}

export const repertoires: Readonly<Record<Register, Repertoire>> = Object.fromEntries(
  registers.map((register) => [register, repertoire(register)]),
) as Record<Register, Repertoire>;

/** Lines that say nothing about anybody. */
export const boilerplateWordings: readonly Wording[] = boilerplate.map(compile);

/** Every wording there is. */
export const allWordings: readonly Wording[] = [...compiled.values()];
