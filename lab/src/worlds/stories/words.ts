/**
 * @file The people and things of the stories, how often they come, and how they are written.
 */
import type { Category, Slot } from './grammar.ts';

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** Each as likely as the other. */
function evenly(...values: readonly string[]): Readonly<Record<string, number>> {
  return Object.fromEntries(values.map((value) => [value, 1]));
}

const girls = evenly('Mia', 'Anna', 'Lily', 'Rosa', 'Ella', 'Nora', 'Daisy', 'Ruby', 'Zoe', 'Vera');
const boys = evenly('Ben', 'Tom', 'Sam', 'Max', 'Leo', 'Oscar', 'Finn', 'Hugo', 'Jack', 'Paul');
const isGirl = (name: string): boolean => Object.hasOwn(girls, name);

/** The pronoun's forms are named after the boys', which differ in every case. */
const names: Category = {
  weights: { ...girls, ...boys },
  forms: {
    he: (name) => (isGirl(name) ? 'she' : 'he'),
    He: (name) => (isGirl(name) ? 'She' : 'He'),
    him: (name) => (isGirl(name) ? 'her' : 'him'),
    his: (name) => (isGirl(name) ? 'her' : 'his'),
    His: (name) => (isGirl(name) ? 'Her' : 'His'),
  },
};

const kinds: Category = {
  weights: { fox: 3, bear: 3, mouse: 3, rabbit: 3, cat: 2, dog: 2, duck: 2, frog: 2, goat: 2, hedgehog: 2, badger: 1, mole: 1 },
};

const traits: Category = {
  weights: { brave: 3, clever: 3, shy: 2, gentle: 2, merry: 2, quiet: 2, curious: 2, kind: 2, sleepy: 1, proud: 1, tidy: 1 },
};

const things: Category = {
  weights: evenly(
    'kite',
    'ball',
    'drum',
    'book',
    'hat',
    'lamp',
    'spoon',
    'key',
    'boat',
    'bell',
    'cup',
    'basket',
    'coat',
    'ring',
  ),
};

const colours: Category = {
  weights: { red: 3, blue: 3, green: 2, yellow: 2, white: 2, black: 2, pink: 1, golden: 1, silver: 1 },
};

const preposition: Readonly<Record<string, string>> = {
  barn: 'in',
  forest: 'in',
  garden: 'in',
  cave: 'in',
  tower: 'in',
  meadow: 'in',
  pond: 'by',
  river: 'by',
  well: 'by',
  mill: 'by',
  bridge: 'under',
  oak: 'under',
  hill: 'on',
  beach: 'on',
};

const places: Category = {
  weights: evenly(...Object.keys(preposition)),
  forms: {
    at: (place) => `${preposition[place]!} the ${place}`,
    At: (place) => `${capital(preposition[place]!)} the ${place}`,
    to: (place) => `to the ${place}`,
  },
};

const sights: Category = {
  weights: evenly(
    'a swan',
    'two bees',
    'a snail',
    'three geese',
    'some ants',
    'a big fish',
    'a butterfly',
    'two crows',
    'a spider',
    'an old shoe',
    'a ladder',
    'some nuts',
  ),
  forms: { Capital: capital },
};

const foods: Category = {
  weights: {
    'a pear': 3,
    'some honey': 3,
    'a bun': 2,
    'a carrot': 2,
    'some cheese': 2,
    'a melon': 1,
    'a pie': 1,
    'some milk': 1,
  },
  forms: { the: (food) => food.replace(/^(a|some) /, 'the ') },
};

const weathers: Category = { weights: { sunny: 4, windy: 4, rainy: 3, snowy: 2, foggy: 2, cold: 1, warm: 1 } };
const times: Category = { weights: { day: 3, morning: 3, evening: 2, afternoon: 1 } };

/** Everything a story can settle. */
export const slots: Readonly<Record<string, Slot>> = {
  hero: { category: names },
  heroKind: { category: kinds },
  trait: { category: traits },
  home: { category: places },
  helper: { category: names, unlike: ['hero'] },
  helperKind: { category: kinds, unlike: ['heroKind'] },
  thing: { category: things },
  colour: { category: colours },
  otherThing: { category: things, unlike: ['thing'] },
  otherColour: { category: colours, unlike: ['colour'] },
  place: { category: places, unlike: ['home'] },
  otherPlace: { category: places, unlike: ['home', 'place'] },
  sight: { category: sights },
  otherSight: { category: sights, unlike: ['sight'] },
  food: { category: foods },
  weather: { category: weathers },
  time: { category: times },
};
