/**
 * @file `mine()`: the model, the training and the sampling made of every answer that the reader has passed so far.
 */
import { existsSync } from 'node:fs';
import type { PPOParts } from '../align/index.ts';
import { escapeMarkup, messageOf, notebook } from '../base/index.ts';
import { show } from '../plot/index.ts';
import { Transformer, type GenerateOptions, type TransformerConfig } from '../model/index.ts';
import type { SweepOptions } from '../quantize/index.ts';
import type { EngineOptions } from '../serve/index.ts';
import type { TrainOptions } from '../train/index.ts';
import { savedAnswers } from './answers.ts';
import { filesOf, theCourse, type Course } from './catalog.ts';
import { judge, liveNames } from './check.ts';
import {
  compareTraining,
  comparisonChart,
  comparisonText,
  type CompareOptions,
  type MineComparison,
} from './compare-training.ts';
import type { Answer, Assembly, Chapter, Exercise } from './exercise.ts';

/** One line of the map. */
export interface Room {
  readonly id: string;
  /** The part of the house: '03 Attention'. */
  readonly wing: string;
  /** What the exercise becomes in the model; its title when it takes no place there. */
  readonly room: string;
  readonly inModel: boolean;
  readonly theirs: boolean;
  /** Why it is the library's: 'not written yet', 'does not pass its tests'. */
  readonly reason: string;
}

/** What the reader has built. */
export class Mine {
  readonly rooms: readonly Room[];
  readonly #assembly: Assembly;

  constructor(rooms: readonly Room[], assembly: Assembly) {
    this.rooms = rooms;
    this.#assembly = assembly;
  }

  /** A Transformer in which the reader's parts stand wherever they passed their tests. */
  transformer(config: TransformerConfig): Transformer {
    const { transformer, finish = [] } = this.#assembly;
    const model = new Transformer({ ...config, ...transformer });
    for (const change of finish) change(model);
    return model;
  }

  /** Options for `train`, to spread into its own. */
  get train(): Partial<TrainOptions> {
    return this.#assembly.train;
  }

  /** Options for `generate`, to spread into its own. */
  get generate(): Partial<GenerateOptions> {
    return this.#assembly.generate;
  }

  /** Options for `directPreferenceOptimization`, to spread into its own. */
  get direct(): NonNullable<Assembly['direct']> {
    return this.#assembly.direct ?? {};
  }

  /** Options for `gptq` and `quantizeModel`, to spread into their own. */
  get quantize(): Partial<SweepOptions> {
    return this.#assembly.quantize ?? {};
  }

  /** Steps for `ppo`: its option `parts`. */
  get ppo(): Partial<PPOParts> {
    return this.#assembly.ppo ?? {};
  }

  /** Options for `Engine.forModel`, to spread into its own. */
  get serve(): Partial<EngineOptions> {
    return this.#assembly.serve ?? {};
  }

  /** How much of the model runs on the reader's code, from 0 to 1. */
  get share(): number {
    const rooms = this.rooms.filter((room) => room.inModel);
    return rooms.length === 0 ? 0 : rooms.filter((room) => room.theirs).length / rooms.length;
  }

  /** Trains a small model of the reader's parts and one of the library's side by side, and shows their losses. */
  async compare(options: CompareOptions = {}): Promise<MineComparison> {
    const comparison = await compareTraining(this, options);
    const display = notebook();
    if (display) show(comparisonChart(comparison));
    const sentence = comparisonText(comparison);
    if (display) display.text(sentence);
    else console.log(sentence);
    return comparison;
  }

  /** Shows which parts are the reader's and which the library's. */
  map(): void {
    const display = notebook();
    if (display) display.bundle({ 'text/html': this.#html(), 'text/plain': this.toString() });
    else console.log(this.toString());
  }

  #headline(): string {
    const rooms = this.rooms.filter((room) => room.inModel);
    const theirs = rooms.filter((room) => room.theirs).length;
    return `${theirs} of ${rooms.length} parts are yours (${Math.round(100 * this.share)}%)`;
  }

  /** The rooms by the chapter that they belong to, each with how many of its exercises are done. */
  #wings(): { readonly title: string; readonly rooms: readonly Room[] }[] {
    return [...new Set(this.rooms.map((room) => room.wing))].map((wing) => {
      const rooms = this.rooms.filter((room) => room.wing === wing);
      return { title: `${wing} · ${rooms.filter((room) => room.theirs).length} of ${rooms.length}`, rooms };
    });
  }

  toString(): string {
    const width = Math.max(0, ...this.rooms.map((room) => room.room.length));
    const line = (r: Room): string => `  ${r.theirs ? '✓' : '○'} ${r.id}  ${r.room.padEnd(width)}  ${whose(r)}`;
    return [this.#headline(), ...this.#wings().flatMap(({ title, rooms }) => [title, ...rooms.map(line)])].join('\n');
  }

  #html(): string {
    const cell = 'style="text-align:left;padding:2px 10px"';
    const row = (r: Room): string => {
      const sign = `<span style="color:${r.theirs ? '#2e9e4f' : '#888888'}">${r.theirs ? '■ ✓' : '□'}</span>`;
      const name = r.theirs ? `<b>${escapeMarkup(r.room)}</b>` : escapeMarkup(r.room);
      return `<tr><td ${cell}>${sign}</td><td ${cell}>${r.id}</td><td ${cell}>${name}</td><td ${cell}>${escapeMarkup(whose(r))}</td></tr>`;
    };
    const rows = this.#wings().map(
      ({ title, rooms }) => `<tr><td colspan="4" ${cell}><b>${escapeMarkup(title)}</b></td></tr>${rooms.map(row).join('')}`,
    );
    return `<div><b>${this.#headline()}</b></div><table style="margin:4px 0">${rows.join('')}</table>`;
  }
}

function whose({ theirs, inModel, reason }: Room): string {
  const place = inModel ? '' : ' (practice: takes no place in the model)';
  return theirs ? `yours${place}` : `the library's: ${reason}${place}`;
}

/** The answers of a chapter and what kept some of them from being read. */
interface Found {
  readonly names: Answer;
  readonly problems: ReadonlyMap<string, string>;
}

/**
 * Collects and tests every answer: the running notebook's own first, then those in the saved notebooks of the chapters.
 *
 * @param course this project's unless told
 */
export async function mine(course: Course = theCourse()): Promise<Mine> {
  const assembly: Assembly = { transformer: {}, train: {}, generate: {} };
  const rooms: Room[] = [];
  for (const chapter of course.chapters) {
    const answers = new Answers(chapter, course);
    const wing = `${String(chapter.number).padStart(2, '0')} ${chapter.title}`;
    for (const exercise of chapter.exercises) {
      let reason = await answers.shortcoming(exercise);
      if (reason === undefined) reason = plugIn(exercise, answers.of(exercise), assembly);
      const { id, room, title } = exercise;
      rooms.push({ id, wing, room: room ?? title, inModel: room !== undefined, theirs: reason === undefined, reason: reason ?? '' });
    }
  }
  return new Mine(rooms, assembly);
}

/** Why the answer could not take its place, or undefined. */
function plugIn(exercise: Exercise, answer: Answer, assembly: Assembly): string | undefined {
  try {
    exercise.plug?.(answer, assembly);
    return undefined;
  } catch (error) {
    return `does not fit into the model: ${messageOf(error)}`;
  }
}

/** The answers of one chapter; the saved notebook is read when the running one does not have them. */
class Answers {
  readonly #chapter: Chapter;
  readonly #course: Course;
  #saved: Found | undefined;

  constructor(chapter: Chapter, course: Course) {
    this.#chapter = chapter;
    this.#course = course;
  }

  /** Whether the running notebook holds every function of the exercise. */
  #isLive({ names }: Exercise): boolean {
    const live = liveNames();
    return names.every((name) => live[name] !== undefined);
  }

  of(exercise: Exercise): Answer {
    const from = this.#isLive(exercise) ? liveNames() : (this.#saved?.names ?? {});
    return Object.fromEntries(exercise.names.map((name) => [name, from[name] as unknown]));
  }

  async #found(): Promise<Found> {
    const { notebook: file } = filesOf(this.#chapter, this.#course);
    try {
      this.#saved ??= existsSync(file) ? await savedAnswers(file) : { names: {}, problems: new Map() };
    } catch (error) {
      const problems = new Map(this.#chapter.exercises.map(({ id }) => [id, messageOf(error)]));
      this.#saved = { names: {}, problems };
    }
    return this.#saved;
  }

  /** Why the answer cannot be used, or undefined when it passes. */
  async shortcoming(exercise: Exercise): Promise<string | undefined> {
    const live = this.#isLive(exercise);
    const { names, problems } = live ? { names: liveNames(), problems: new Map<string, string>() } : await this.#found();
    if (exercise.names.some((name) => names[name] === undefined)) {
      return problems.get(exercise.id)?.split('\n')[0] ?? 'not written yet';
    }
    const { state } = await judge(exercise.id, names, this.#course);
    if (state === 'passed') return undefined;
    return state === 'unwritten' ? 'not written yet' : 'does not pass its tests yet';
  }
}
