import { describe, expect, it } from 'vitest';
import { Diagnosis, expectClose, NotWrittenYet, startBackend, tf, todo } from 'lab';

const failure = async (...values: Parameters<typeof expectClose>): Promise<Error> =>
  expectClose(...values).then(
    () => expect.fail('it passed'),
    (error: unknown) => error as Error,
  );

describe('expectClose', () => {
  it('compares numbers, arrays, typed arrays and tensors with each other', async () => {
    await startBackend();
    await expectClose(1.00005, 1);
    await expectClose([[1, 2]], tf.tensor2d([[1, 2]]));
    await expectClose(tf.tensor1d([1, 2], 'int32'), Float32Array.of(1, 2));
    await expectClose([true, false], [1, 0]);
    await expectClose([], []);
    await expectClose([NaN, Infinity, -Infinity], [NaN, Infinity, -Infinity]);
  });

  it('takes any minus infinity for the same', async () => {
    await expectClose([-1e9, -3.4e38, -Infinity], [-Infinity, -1e9, -1e9]);
    expect((await failure([1e9], [-1e9])).message).toContain('not close');
    expect((await failure([-1e4], [-1e9])).message).toContain('not close');
  });

  it('knows [3] from [1, 3] and says both shapes', async () => {
    expect((await failure([1, 2, 3], [[1, 2, 3]], { what: 'the mask' })).message).toContain(
      'the mask should have shape [1, 3] but has shape [3].',
    );
  });

  it('says where the largest difference is and how many numbers differ', async () => {
    const { message } = await failure(
      [
        [1, 2],
        [3, 9],
      ],
      [
        [1, 2],
        [3.5, 4],
      ],
    );
    expect(message).toContain('2 of 4 numbers differ');
    expect(message).toContain('The largest difference is 5 at [1, 1].');
  });

  it('counts NaN, which is close to nothing else', async () => {
    expect((await failure([NaN, 1, NaN], [0, 1, 2])).message).toContain('2 of 3 are NaN');
  });

  it.each([
    [undefined, 'is nothing (undefined); expected a number. Does the function return its result?'],
    [Promise.resolve(1), 'is a promise'],
    [[[1], [1, 2]], 'has rows of different lengths'],
    [() => 1, 'is a function'],
    ['1', "is the text '1'"],
    [null, 'is null'],
  ])('explains that %s is no number', async (received, words) => {
    expect((await failure(received, 1)).message).toContain(words);
  });

  it('gives the first hint that fits, by value or by condition, lazily', async () => {
    const hints = {
      never: { say: 'no', looksLike: () => [7, 7] },
      shape: { say: 'no', looksLike: [[4, 9]] },
      square: { say: 'That is the square.', looksLike: async () => [4, 9] },
      later: { say: 'no', when: () => true },
    };
    const error = await failure([4, 9], [2, 3], { hints });
    expect(error).toBeInstanceOf(Diagnosis);
    expect(error).toMatchObject({ name: 'Diagnosis', hint: 'square', message: 'That is the square.' });
    expect(await failure([5, 9], [2, 3], { hints })).toMatchObject({ hint: 'later' });
    expect(await failure(undefined, [2, 3], { hints: { nothing: { say: 'Nothing.', when: true } } })).toMatchObject({
      hint: 'nothing',
    });
  });

  it('asks no hint about what is right', async () => {
    await expectClose(1, 1, { hints: { always: { say: 'no', when: () => expect.fail('asked') } } });
  });

  it('keeps to the tolerance', async () => {
    await expectClose(101, 100, { tolerance: 0.01 });
    expect((await failure(102, 100, { tolerance: 0.01 })).message).toContain('not close');
  });
});

it('has a stub that throws a state of its own', () => {
  expect(() => todo('3.1')).toThrow(NotWrittenYet);
  expect(() => todo('3.1')).toThrow('Exercise 3.1 is not written yet.');
});
