/**
 * @file What happens in the stories: four small plots, sentence by sentence. `{slot}` chooses a value when it comes for the
 * first time in a story and refers back to it afterwards; `<rule>` is one of several ways to go on.
 */
import type { Alternative, Facts, Rules } from './grammar.ts';

function way(weight: number, template: string, facts: { readonly when?: Facts; readonly sets?: Facts } = {}): Alternative {
  return { weight, template, ...facts };
}

/** Which sentences make a story. */
export const structure: Rules = {
  story: [way(2, '<intro> <plot> <ending>\n\n'), way(1, '<intro> <plot>\n\n')],
  plot: [
    way(4, '<treasure> <loss> <search> <meeting> <question> <answer>', { sets: { plot: 'lost' } }),
    way(3, '<wish> <encounter> <offer> <reply>', { sets: { plot: 'swap' } }),
    way(3, '<friend> <hiding> <wrongPlace> <rightPlace> <thanks>', { sets: { plot: 'gift' } }),
    way(4, '<company> <errand> <sights> <curiosity> <report>', { sets: { plot: 'trip' } }),
  ],
  answer: [
    way(4, '<hint> <finding>', { sets: { outcome: 'found' } }),
    way(2, '<givenBack>', { sets: { outcome: 'given back' } }),
    way(2, '<gone> <comfort>', { sets: { outcome: 'replaced' } }),
  ],
  reply: [
    way(3, '<yes> <swapped>', { sets: { outcome: 'swapped' } }),
    way(1, '<no> <kept>', { sets: { outcome: 'kept' } }),
  ],
};

const opening: Rules = {
  intro: [
    way(3, '{hero} was a {trait} {heroKind} who lived {home.at}.'),
    way(3, 'Once a {trait} {heroKind} named {hero} lived {home.at}.'),
    way(2, '{home.At} lived a {trait} {heroKind} called {hero}.'),
    way(2, '{hero} the {heroKind} lived {home.at} and was very {trait}.'),
    way(2, 'There was a {trait} {heroKind} {home.at} whose name was {hero}.'),
  ],
  ending: [
    way(3, 'The {trait} {heroKind} slept <well> that night {home.at}.'),
    way(3, '{hero} and {helper} were <good> friends ever after.'),
    way(2, '{hero} never forgot the {helperKind}.'),
    way(2, 'The {helperKind} <smiled>, and the {trait} {heroKind} waved back.'),
    way(2, 'What a {weather} {time} it was for {hero} and {helper}!'),
  ],
};

/** Something is lost, looked for, and found, given back or replaced. */
const lost: Rules = {
  treasure: [
    way(3, '<Hero> had a <look> {colour} {thing}.'),
    way(3, '<Hero> loved {hero.his} <look> {colour} {thing}.'),
    way(2, '{hero.His} treasure was a <look> {colour} {thing}.'),
    way(1, 'An uncle gave {hero.him} a <look> {colour} {thing}.'),
  ],
  loss: [
    way(3, 'One {weather} {time} it was gone.'),
    way(2, 'One {weather} {time} {hero.he} could not find it.'),
    way(2, 'But on a {weather} {time} the {thing} was gone.'),
    way(2, 'Then, one {weather} {time}, {hero} lost it.'),
  ],
  search: [
    way(3, '<Hero> <looked> {place.at}, but saw only {sight}.'),
    way(3, '<Hero> <went> {place.to} and found only {sight}.'),
    way(2, '{place.At} {hero.he} saw {sight}, but no {thing}.'),
    way(2, 'It was not {place.at}, where {hero.he} saw {sight}.'),
  ],
  meeting: [
    way(3, 'There {hero.he} met a {helperKind} named {helper}.'),
    way(3, 'Next to {sight} sat {helper} the {helperKind}.'),
    way(2, 'Then {helper} the {helperKind} <went> {place.to}, too.'),
    way(2, 'A {helperKind} called {helper} stopped and <smiled> at {hero}.'),
  ],
  question: [
    way(3, '"Have you seen a {colour} {thing}?" asked {hero}.'),
    way(2, '"Where is my {thing}?" {hero.he} asked.'),
    way(2, '{hero} asked {helper} about the {colour} {thing}.'),
    way(2, '"I have lost my {thing}, {helper}," <said> the {heroKind}.'),
  ],
  hint: [
    way(3, '"It is {otherPlace.at}," <said> {helper}.'),
    way(2, '"Look {otherPlace.at}, {hero}," <said> the {helperKind}.'),
    way(2, '{helper} had seen it {otherPlace.at}.'),
  ],
  finding: [
    way(3, '{hero} <went> {otherPlace.to}, and there lay the {thing}!'),
    way(2, 'So the {heroKind} <went> {otherPlace.to} and found the {colour} {thing}.'),
    way(2, '{otherPlace.At} {hero} found {hero.his} {colour} {thing}.'),
    way(1, 'The {helperKind} and the {heroKind} <went> {otherPlace.to} and took it home {home.to}.'),
  ],
  givenBack: [
    way(2, '"I found it {otherPlace.at}," <said> {helper} and gave {hero} the {colour} {thing}.'),
    way(2, '{helper} had found the {thing} {otherPlace.at} and gave it back to {hero}.'),
  ],
  gone: [
    way(3, '"The wind took it," <said> {helper}.', { when: { weather: 'windy' } }),
    way(3, '"It lies under the snow," <said> {helper}.', { when: { weather: 'snowy' } }),
    way(3, '"It fell into the mud," <said> {helper}.', { when: { weather: 'rainy' } }),
    way(1, '"A crow took it," <said> {helper}.'),
    way(1, '"It is broken, {hero}," <said> {helper}.'),
  ],
  comfort: [
    way(3, 'But {helper} gave {hero} a {otherColour} {thing}.'),
    way(2, 'So the {helperKind} made {hero.him} a {otherColour} {thing}.'),
    way(2, 'Now {hero} has a {otherColour} {thing} {home.at}.'),
  ],
};

/** Two meet, and each has what the other might like. */
const swap: Rules = {
  wish: [
    way(3, '<Hero> had a <look> {colour} {thing} but wanted a {otherThing}.'),
    way(2, '<Hero> owned a <look> {colour} {thing} and no {otherThing}.'),
    way(2, 'All {hero.he} had was a <look> {colour} {thing}, but {hero.he} dreamed of a {otherThing}.'),
  ],
  encounter: [
    way(3, 'One {weather} {time} {hero.he} met {helper} the {helperKind} with a <look> {otherColour} {otherThing}.'),
    way(2, '{place.At} {hero.he} met a {helperKind} named {helper}, who had a <look> {otherColour} {otherThing}.'),
    way(2, 'A {helperKind} called {helper} had a <look> {otherColour} {otherThing}.'),
  ],
  offer: [
    way(3, '"I will give you my {thing} for your {otherThing}," <said> {hero}.'),
    way(2, '"Take my {colour} {thing} for it, {helper}," <said> {hero}.'),
    way(2, '{hero} held out the {thing} and asked for the {otherThing}.'),
  ],
  yes: [
    way(3, '"Yes, {hero}," <said> {helper}.'),
    way(2, '"Gladly," <said> the {helperKind}.'),
    way(2, '{helper} liked the {colour} {thing}.'),
  ],
  swapped: [
    way(3, 'Now {hero} has the {otherThing} and {helper} has the {thing}.'),
    way(2, '{hero} <went> home {home.to} with the {otherColour} {otherThing}, and {helper} kept the {thing}.'),
    way(2, 'So the {heroKind} got the {otherColour} {otherThing} and the {helperKind} the {colour} {thing}.'),
  ],
  no: [
    way(2, '"No, I like my {otherThing}," <said> {helper}.'),
    way(2, 'But {helper} kept the {otherColour} {otherThing}.'),
  ],
  kept: [
    way(2, 'So {hero} still has the {thing} and {helper} the {otherThing}.'),
    way(2, '<Hero> <went> back {home.to} with the {colour} {thing}.'),
  ],
};

/** A gift is hidden, and found where it was hidden. */
const gift: Rules = {
  friend: [
    way(3, '{hero.His} friend was {helper} the {helperKind}.'),
    way(2, '<Hero> knew a {helperKind} named {helper}.'),
    way(2, 'A {helperKind} called {helper} was {hero.his} friend.'),
  ],
  hiding: [
    way(3, 'One {weather} {time} {hero.he} hid a <look> {colour} {thing} {place.at}.'),
    way(2, 'For {helper} {hero.he} hid a <look> {colour} {thing} {place.at} one {weather} {time}.'),
    way(2, '{place.At} {hero.he} hid a <look> {colour} {thing} on a {weather} {time}.'),
  ],
  wrongPlace: [
    way(3, '{helper} <looked> {otherPlace.at} and found {sight}.'),
    way(2, 'First the {helperKind} <went> {otherPlace.to} and saw only {sight}.'),
    way(2, '{otherPlace.At} {helper} found nothing but {sight}.'),
  ],
  rightPlace: [
    way(3, 'Then {helper.he} <looked> {place.at}, and there was the {thing}!'),
    way(2, 'But {place.at} {helper.he} found the {colour} {thing}.'),
    way(2, 'Then {hero} pointed {place.to}, and {helper} found the {thing}.'),
  ],
  thanks: [
    way(3, '"Thank you, {hero}," <said> the {helperKind}.'),
    way(2, '"What a fine {colour} {thing}, {hero}!" <said> {helper}.'),
    way(2, '{helper} took the {colour} {thing} and hugged {hero}.'),
  ],
};

/** Somebody goes out, comes home, and tells what was seen. */
const trip: Rules = {
  company: [
    way(3, '<Hero> lived with {helper} the {helperKind}.'),
    way(2, 'A {helperKind} named {helper} lived there too.'),
    way(2, 'With {hero.him} lived {helper}, a {helperKind}.'),
  ],
  errand: [
    way(3, 'One {weather} {time} {hero} <went> {place.to} for {food}.'),
    way(2, '"Bring me {food}," <said> {helper} one {weather} {time}, so {hero} <went> {place.to}.'),
    way(2, 'On a {weather} {time} {hero.he} <went> {place.to} to get {food}.'),
  ],
  sights: [
    way(3, 'On the way {hero.he} saw {sight} and {otherSight}.'),
    way(2, '<Hero> passed {sight} and {otherSight}.'),
    way(2, '{place.At} {hero.he} saw {sight} and then {otherSight}.'),
  ],
  curiosity: [
    way(3, '"What did you see {place.at}, {hero}?" asked {helper}.'),
    way(2, '"What did you see?" asked the {helperKind}.'),
    way(2, '{helper} asked {hero} what {hero.he} had seen.'),
  ],
  report: [
    way(3, '"{sight.Capital} and {otherSight}," <said> {hero}.'),
    way(2, '"I saw {sight} and {otherSight}," <said> the {heroKind}.'),
    way(2, '{hero} told {helper.him} about {sight} and {otherSight}.'),
    way(1, '{helper} ate {food.the} while {hero} told of {sight} and {otherSight}.'),
  ],
};

/** One whole sentence each. */
export const sentences: Rules = { ...opening, ...lost, ...swap, ...gift, ...trip };

/** Parts of sentences: what is told in many ways and never comes back. */
export const phrases: Rules = {
  Hero: [way(2, '{hero.He}'), way(1, '{hero}')],
  went: ways({ went: 3, walked: 3, ran: 2, hurried: 2, wandered: 1, hopped: 1, danced: 1, rushed: 1 }),
  looked: ways({ looked: 3, searched: 2, peeped: 1, dug: 1, waited: 1 }),
  said: ways({ said: 4, whispered: 2, cried: 2, called: 1, murmured: 1 }),
  look: ways({ big: 2, small: 2, new: 2, pretty: 2, shiny: 1, heavy: 1, strange: 1, lovely: 1, tiny: 1, dusty: 1 }),
  smiled: ways({ smiled: 3, nodded: 2, laughed: 2, winked: 1, yawned: 1 }),
  well: ways({ well: 2, deeply: 1, sweetly: 1, long: 1 }),
  good: ways({ good: 2, dear: 1, true: 1, happy: 1 }),
};

function ways(words: Readonly<Record<string, number>>): readonly Alternative[] {
  return Object.entries(words).map(([word, weight]) => way(weight, word));
}
