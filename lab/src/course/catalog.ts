/**
 * @file The course: its chapters, and where each keeps its notebook, tests, solutions and mistakes.
 */
import { join } from 'node:path';
import { LabError } from '../base/index.ts';
import { projectRoot } from '../files/index.ts';
import { chapters } from './chapters/index.ts';
import type { Chapter, Exercise } from './exercise.ts';
import { readManifest } from './release/manifest.ts';

export interface Course {
  /** The folder that holds notebooks/, test/ and solutions/. */
  readonly root: string;
  readonly chapters: readonly Chapter[];
}

/** This project's own course; in a student's copy the chapters that were handed out. */
export function theCourse(): Course {
  const root = projectRoot();
  const released = readManifest(root)?.chapters;
  return { root, chapters: released ? chapters.filter(({ number }) => released.includes(number)) : chapters };
}

export interface ChapterFiles {
  readonly notebook: string;
  readonly test: string;
  readonly solution: string;
  readonly mistakes: string;
}

export function filesOf({ slug }: Pick<Chapter, 'slug'>, { root }: Pick<Course, 'root'>): ChapterFiles {
  return {
    notebook: join(root, 'notebooks', `${slug}.ipynb`),
    test: join(root, 'test', `${slug}.test.ts`),
    solution: join(root, 'solutions', `${slug}.ts`),
    mistakes: join(root, 'test', 'mistakes', `${slug}.ts`),
  };
}

/** An exercise with the chapter that it stands in. */
export interface Place {
  readonly chapter: Chapter;
  readonly exercise: Exercise;
}

function placesOf(course: Course): Place[] {
  return course.chapters.flatMap((chapter) => chapter.exercises.map((exercise) => ({ chapter, exercise })));
}

/** @throws LabError that lists the exercises there are */
export function findExercise(id: string, course: Course): Place {
  const places = placesOf(course);
  const place = places.find(({ exercise }) => exercise.id === id);
  if (!place) throw new LabError(`There is no exercise '${id}'. Exercises: ${places.map((p) => p.exercise.id).join(', ')}.`);
  return place;
}

/**
 * The exercises that are meant by '3.1', '3' or '03' (a chapter), '03-attention', 'all'; each once, in the course's order.
 *
 * @throws LabError that lists what there is
 */
export function selectExercises(names: readonly string[], course: Course): Place[] {
  const places = placesOf(course);
  const chosen = new Set<Place>();
  for (const name of names) {
    const fits = ({ chapter, exercise }: Place): boolean =>
      name === 'all' || name === exercise.id || name === chapter.slug || (/^\d+$/.test(name) && Number(name) === chapter.number);
    const found = places.filter(fits);
    if (found.length === 0) {
      const list = course.chapters.map((c) => `  ${c.number}  ${c.title}: ${c.exercises.map((e) => e.id).join(', ')}`);
      throw new LabError(`There is no chapter or exercise '${name}'. There are:\n${list.join('\n')}`);
    }
    for (const place of found) chosen.add(place);
  }
  return places.filter((place) => chosen.has(place));
}
