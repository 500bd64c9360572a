/**
 * @file Checking on every save: looks whether a notebook was saved, tests it again when a cell has changed, and tells what is
 * different from before.
 */
import { statSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { LabError, messageOf, type Interruption } from '../../base/index.ts';
import { filesOf, type Course, type Place } from '../catalog.ts';
import type { Chapter } from '../exercise.ts';
import { readNotebook, taggedCells } from '../notebook-file.ts';
import { textReport } from '../report.ts';
import type { Verdict } from '../verdict.ts';
import { checkSaved } from './checked.ts';

export interface WatchOptions {
  /** Told the verdicts that differ from the ones before: at first all of them. */
  readonly onChange: (verdicts: readonly Verdict[]) => void;
  /** Told why a notebook cannot be tested at the moment. */
  readonly onTrouble: (message: string) => void;
  readonly interruption: Pick<Interruption, 'stopped'>;
  /** Milliseconds between two looks at the files. */
  readonly period?: number;
}

/** What was seen of one chapter. */
class Watched {
  readonly #places: readonly Place[];
  readonly #course: Course;
  readonly #options: WatchOptions;
  readonly #notebook: string;
  #saved = '';
  #code = '';
  readonly #reports = new Map<string, string>();

  constructor(chapter: Chapter, places: readonly Place[], course: Course, options: WatchOptions) {
    this.#places = places.filter((place) => place.chapter === chapter);
    this.#course = course;
    this.#options = options;
    this.#notebook = filesOf(chapter, course).notebook;
  }

  async look(): Promise<void> {
    // By polling, because a save may be a rename, a write in place, or happen on another machine's disk.
    const saved = this.#timeOfSave();
    if (saved === this.#saved) return;
    this.#saved = saved;
    try {
      const code = JSON.stringify(taggedCells(readNotebook(this.#notebook)));
      if (code === this.#code) return;
      this.#code = code;
      // Ctrl-C in a terminal also ends the process in which the answers are tested.
      const wasInterrupted = (): boolean => this.#options.interruption.stopped;
      this.#tell(await checkSaved(this.#places, this.#course, { wasInterrupted }));
    } catch (error) {
      if (!(error instanceof LabError)) throw error;
      this.#code = '';
      this.#options.onTrouble(messageOf(error));
    }
  }

  #timeOfSave(): string {
    try {
      const { mtimeMs, size, ino } = statSync(this.#notebook);
      return `${mtimeMs} ${size} ${ino}`;
    } catch {
      return 'not there';
    }
  }

  #tell(verdicts: readonly Verdict[]): void {
    const different = verdicts.filter((verdict) => this.#reports.get(verdict.id) !== textReport(verdict));
    for (const verdict of different) this.#reports.set(verdict.id, textReport(verdict));
    if (different.length > 0) this.#options.onChange(different);
  }
}

/** Tests these exercises now and after every save, until it is interrupted. */
export async function watchExercises(places: readonly Place[], course: Course, options: WatchOptions): Promise<void> {
  const { interruption, period = 400 } = options;
  const chapters = [...new Set(places.map((place) => place.chapter))];
  const watchedChapters = chapters.map((chapter) => new Watched(chapter, places, course, options));
  while (!interruption.stopped) {
    for (const one of watchedChapters) await one.look();
    await setTimeout(period);
  }
}
