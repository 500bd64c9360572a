/**
 * @file ConvFinQA (Chen et al. 2022): conversations about the tables of earnings reports, each question with the program that
 * computes its answer. Both public forms: an entry for each conversation (`train.json`), and for each turn (`train_turn.json`).
 */
import { LabError } from '../../base/index.ts';
import { readText } from '../../files/index.ts';
import { type Entry, entryField, isEntry, listField, parseJSON, textField } from './fields.ts';
import {
  collectRecords,
  type ConversationTurn,
  type ReadRecordsOptions,
  RecordError,
  type RecordsRead,
  type TableConversation,
} from './records.ts';

/** @throws LabError when the file is missing, not UTF-8, not JSON, empty, or has a broken record that is not to be skipped. */
export async function loadConvFinQA(path: string, options?: ReadRecordsOptions): Promise<RecordsRead<TableConversation>> {
  return parseConvFinQA(await readText(path), path, options);
}

/** @param name of the file, for errors */
export function parseConvFinQA(text: string, name: string, options?: ReadRecordsOptions): RecordsRead<TableConversation> {
  const entries = parseJSON(text, name);
  if (!Array.isArray(entries)) throw new LabError(`${name} is not a list of conversations. Get it again.`);
  const places = entries.map((entry: unknown, i) => {
    const id = isEntry(entry) && typeof entry['id'] === 'string' ? ` (${entry['id']})` : '';
    return [`entry ${i + 1}${id}`, entry] as const;
  });
  return collectRecords(name, places, (entry) => [conversationOf(entry)], options);
}

const isText = (value: unknown): value is string => typeof value === 'string';
const isRow = (value: unknown): value is string[] => Array.isArray(value) && value.every(isText);
const isPart = (value: unknown): value is number => value === 0 || value === 1;
const isAnswer = (value: unknown): value is ConversationTurn['answer'] =>
  Number.isFinite(value) || value === 'yes' || value === 'no';

function conversationOf(entry: unknown): TableConversation {
  if (!isEntry(entry)) throw new RecordError('it is not an object');
  const annotation = entryField(entry, 'annotation');
  const turns = turnsOf(annotation);
  const turn = annotation['turn_ind'];
  if (turn !== undefined && !(Number.isInteger(turn) && Number(turn) >= 0 && Number(turn) < turns.length)) {
    throw new RecordError(`"turn_ind" is ${JSON.stringify(turn)}, but there are ${turns.length} turns`);
  }
  return {
    id: textField(entry, 'id'),
    preText: listField(entry, 'pre_text', 'texts', isText),
    table: listField(entry, 'table', 'rows of texts', isRow),
    postText: listField(entry, 'post_text', 'texts', isText),
    turns,
    ...(turn === undefined ? {} : { turn: Number(turn) }),
  };
}

function turnsOf(annotation: Entry): ConversationTurn[] {
  const questions = listField(annotation, 'dialogue_break', 'texts', isText);
  const programs = listField(annotation, 'turn_program', 'texts', isText);
  const answers = listField(annotation, 'exe_ans_list', 'numbers, yes or no', isAnswer);
  const parts = annotation['qa_split'] === undefined ? undefined : listField(annotation, 'qa_split', '0 and 1', isPart);
  if (questions.length === 0) throw new RecordError('"dialogue_break" has no questions');
  for (const [field, list] of Object.entries({ turn_program: programs, exe_ans_list: answers, qa_split: parts })) {
    if (list === undefined || list.length === questions.length) continue;
    throw new RecordError(`"${field}" has ${list.length} items, but there are ${questions.length} questions`);
  }
  return questions.map((question, i) => ({ question, program: programs[i]!, answer: answers[i]!, part: parts?.[i] ?? 0 }));
}

/** The entry of a file that has one for each conversation. */
export function convFinQAEntry({ id, preText, table, postText, turns }: TableConversation): object {
  return {
    pre_text: preText,
    post_text: postText,
    table,
    id,
    annotation: {
      dialogue_break: turns.map(({ question }) => question),
      turn_program: turns.map(({ program }) => program),
      qa_split: turns.map(({ part }) => part),
      exe_ans_list: turns.map(({ answer }) => answer),
    },
  };
}

/** The entries of a file that has one for each turn. */
export function convFinQATurnEntries(conversation: TableConversation): object[] {
  const { id, turns } = conversation;
  const whole = convFinQAEntry(conversation) as { readonly annotation: object };
  return turns.map(({ program, answer }, turn) => ({
    ...whole,
    id: `${id}_${turn}`,
    annotation: {
      ...whole.annotation,
      cur_program: program,
      cur_dial: turns.slice(0, turn + 1).map(({ question }) => question),
      exe_ans: answer,
      cur_type: /[(]/.test(program) ? 'program' : 'number',
      turn_ind: turn,
    },
  }));
}
