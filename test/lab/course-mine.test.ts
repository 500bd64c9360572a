/** @file The map of what the reader has built, and the model on it beside the library's. */
import { Mine, stopBackend, tf, type Assembly, type AttentionFunction, type Room } from 'lab';
import { afterAll, describe, expect, it } from 'vitest';

afterAll(stopBackend);

const nothing: Assembly = { transformer: {}, train: {}, generate: {} };

describe('mine', () => {
  it('draws the rooms chapter by chapter, each with what is theirs', () => {
    const room = (id: string, wing: string, theirs: boolean, inModel = true): Room => ({
      id,
      wing,
      room: `room ${id}`,
      inModel,
      theirs,
      reason: theirs ? '' : 'not written yet',
    });
    const rooms = [room('3.1', '03 Attention', true), room('3.2', '03 Attention', false), room('4.1', '04 Norms', true, false)];
    expect(new Mine(rooms, nothing).toString().split('\n')).toEqual([
      '1 of 2 parts are yours (50%)',
      '03 Attention · 1 of 2',
      '  ✓ 3.1  room 3.1  yours',
      "  ○ 3.2  room 3.2  the library's: not written yet",
      '04 Norms · 1 of 1',
      '  ✓ 4.1  room 4.1  yours (practice: takes no place in the model)',
    ]);
  });

  it('compares: no part of theirs gives the library’s loss to the last bit, and training lowers it', async () => {
    const { yours, library, steps } = await new Mine([], { ...nothing, train: { steps: 1000 } }).compare({ steps: 6 });
    expect(steps).toBe(6);
    expect(yours.losses).toHaveLength(6);
    expect(yours).toEqual(library);
    expect(library.losses[5]!).toBeLessThan(library.losses[0]!);
    expect(library.validation).toBeLessThan(library.losses[0]!);
  });

  it('compares: another attention gives another loss', async () => {
    const attention: AttentionFunction = (_, __, v) => tf.zerosLike(v);
    const { yours, library } = await new Mine([], { ...nothing, transformer: { attention } }).compare({ steps: 3 });
    expect(yours.losses[0]).not.toBe(library.losses[0]);
    expect(yours.validation).not.toBe(library.validation);
  });
});
