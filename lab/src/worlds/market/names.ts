/**
 * @file Names that nobody has: made of syllables, each given once. First names of people are common ones.
 */
import type { Random } from '../../base/index.ts';

const words = (list: string): readonly string[] => list.trim().split(/\s+/);

const companyStarts = words(`
  Val Cor Mer Tal Bren Ost Lum Quor Fen Hask Nor Sel Tri Ver Zan Ald Bor Cald Dor Elg Garn Hal Ist Jor Kel Lan
  Marr Nev Orb Pel Rav Sol Torv Ulm Var Wel Yar Dusk Glim Krel Plav Stro
`);
const middles = words('ari elo ina oru uma andi eni ilo oma umi ithe ova');
const companyEnds = words(`
  dora vane mont tek quist lune dran vik barr nox pas len gard mire sand tron vell wyn zent rask
`);
const cityStarts = words(`
  Ash Brim Crow Dell East Farn Glen Harl Ivel Kings Lyn Mill North Oak Penn Quill Rush Sand Thorn Under West Alder
  Birch Coal Drift Elm Frost Gold Hazel Iron
`);
const cityEnds = words('haven port ford mouth stead burg holm bridge field wick gate minster crest dale');
const surnameStarts = words(`
  Ab Bel Cas Dren Ell Fal Gor Hol Ing Jas Kest Lor Mel Nag Ost Pir Quen Rol Sut Tol Urs Ven Wal Yeld Zor Bran Cros
  Dun Fitch Gral
`);
const surnameEnds = words(`
  land wick strom vey nard ham sley mond rick by worth den ova etti ard inger sson quard lin mark
`);
const productStarts = words(`
  Zeph Lum Arc Vex Nim Tor Pul Cryst Ond Syl Kor Hel Mav Dyn Flux Gal Ib Jax Opt Rhe Strat Ultr Vib Wav
`);
const productEnds = words('ix ora ex yx ium eon ara ofin elo udo ivo anta');

export const womensNames = words(`
  Mira Ada Clara Dora Elena Freda Greta Hanna Ines Julia Karin Lena Maud Nina Olga Petra Rita Stella Tessa Wanda
`);
export const mensNames = words(`
  Tomas Alan Boris Carl David Emil Frank Georg Henry Ivan Jonas Karl Lukas Martin Nils Otto Peter Robert Stefan
  Victor
`);

/** What stands behind a company's short name, by its sector. */
export const companyNouns: Readonly<Record<string, readonly string[]>> = {
  software: ['Systems', 'Software'],
  shipping: ['Shipping', 'Lines'],
  banking: ['Bank', 'Capital'],
  insurance: ['Insurance', 'Mutual'],
  steel: ['Steel', 'Works'],
  food: ['Foods', 'Mills'],
  energy: ['Energy', 'Power'],
  'medical devices': ['Medical', 'Instruments'],
  telecommunications: ['Telecom', 'Networks'],
  retail: ['Stores', 'Markets'],
  chemicals: ['Chemicals', 'Materials'],
  aerospace: ['Aerospace', 'Aviation'],
};

/** After so many names that were taken, names grow longer. */
const crowded = 8;
const mostAttempts = 1000;

/** Gives names out, none of them twice. */
export class Names {
  readonly #random: Random;
  readonly #given = new Set<string>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** One word: `Valdora`. */
  company(): string {
    return this.#fresh((attempt) => this.#word(companyStarts, companyEnds, attempt));
  }

  city(): string {
    return this.#fresh(() => this.#random.pick(cityStarts) + this.#random.pick(cityEnds));
  }

  product(): string {
    return this.#fresh((attempt) => this.#word(productStarts, productEnds, attempt));
  }

  person(woman: boolean): string {
    return this.#fresh(() => {
      const first = this.#random.pick(woman ? womensNames : mensNames);
      return `${first} ${this.#random.pick(surnameStarts)}${this.#random.pick(surnameEnds)}`;
    });
  }

  /** Four capital letters that come from a name, five where those are taken. */
  ticker(name: string): string {
    const letters = name.toUpperCase();
    return this.#fresh((attempt) => {
      const places = new Set([0]);
      const count = Math.min(attempt < crowded ? 4 : 5, letters.length);
      while (places.size < count) places.add(this.#random.integer(letters.length));
      return [...places].sort((a, b) => a - b).map((place) => letters[place]!).join('');
    });
  }

  /** Short words first; longer ones when those are used up. */
  #word(starts: readonly string[], ends: readonly string[], attempt: number): string {
    const middle = attempt < crowded ? '' : this.#random.pick(middles);
    return this.#random.pick(starts) + middle + this.#random.pick(ends);
  }

  #fresh(make: (attempt: number) => string): string {
    for (let attempt = 0; attempt < mostAttempts; attempt++) {
      const name = make(attempt);
      if (this.#given.has(name)) continue;
      this.#given.add(name);
      return name;
    }
    throw new RangeError(`Names: out of names after ${this.#given.size}; ask for fewer companies`);
  }
}
