/**
 * @file Questions with choices, one JSON object a line: `{ "prompt": …, "choices": [ … ], "answer": 1 }`, or the right choice's
 * text as the answer. With a `question` in place of the prompt, as in datasets/market, it is put between `Question:` and
 * `Answer:`, and a blank before each choice.
 */
import { readText } from '../../files/index.ts';
import { isEntry, listField, textField } from './fields.ts';
import { collectRecords, type ReadRecordsOptions, RecordError, type RecordsRead } from './records.ts';

export interface ChoiceRecord {
  readonly prompt: string;
  /** With the blank before them that the prompt does not have. */
  readonly choices: readonly string[];
  /** Index of the right one. */
  readonly answer: number;
}

/** @throws LabError when the file is missing, not UTF-8, empty, or has a broken line that is not to be skipped. */
export async function loadChoices(path: string, options?: ReadRecordsOptions): Promise<RecordsRead<ChoiceRecord>> {
  return parseChoices(await readText(path), path, options);
}

/** @param name of the file, for errors */
export function parseChoices(text: string, name: string, options?: ReadRecordsOptions): RecordsRead<ChoiceRecord> {
  const lines = text.split(/\r?\n/).map((line, i) => [`line ${i + 1}`, line] as const);
  const filled = lines.filter(([, line]) => line.trim() !== '');
  return collectRecords(name, filled, (line) => [choiceRecord(line)], options);
}

const isChoice = (value: unknown): value is string => typeof value === 'string' && value !== '';

function choiceRecord(line: string): ChoiceRecord {
  let entry: unknown;
  try {
    entry = JSON.parse(line);
  } catch {
    throw new RecordError('it is not JSON');
  }
  if (!isEntry(entry)) throw new RecordError('it is not an object');
  const choices = listField(entry, 'choices', 'texts that are not empty', isChoice);
  const given = entry['answer'];
  const answer = typeof given === 'string' ? choices.indexOf(given) : given;
  if (typeof answer !== 'number' || !(answer in choices)) {
    throw new RecordError(`"answer" is ${JSON.stringify(given)}, which is none of the ${choices.length} choices`);
  }
  if (entry['question'] === undefined) return { prompt: textField(entry, 'prompt'), choices, answer };
  const prompt = `Question: ${textField(entry, 'question')}\nAnswer:`;
  return { prompt, choices: choices.map((choice) => ` ${choice}`), answer };
}
