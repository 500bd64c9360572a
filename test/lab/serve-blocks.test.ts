/**
 * @file Blocks: vLLM's worked example, sharing, copying before writing, eviction; nothing leaked, nothing found by a wrong
 * name.
 */
import { BlockManager, BlockTable, NO_PARENT, prefixHash, Random } from 'lab';
import { describe, expect, it } from 'vitest';

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

describe('the worked example of vLLM: ten blocks of four tokens', () => {
  const manager = new BlockManager({ blocks: 10, blockSize: 4 });
  const [r0, r1, r2] = [new BlockTable(), new BlockTable(), new BlockTable()];
  const text = range(100, 200); // request 0's
  const grow = (table: BlockTable, computed: number): void => {
    expect(manager.grow(table, computed + 1, computed)).toEqual([]);
  };

  it('time 1: a prompt of 15 tokens gets four blocks, three of them full and cached', () => {
    expect(manager.open(r0, text.slice(0, 15))).toBe(0);
    manager.commit(r0, text, 15);
    expect(r0.blocks).toEqual([0, 1, 2, 3]);
    expect(manager.cachedBlocks).toEqual([0, 1, 2]);
    manager.check([r0]);
  });

  it('time 3: the fourth block is full, and a fifth is needed', () => {
    grow(r0, 15);
    expect(r0.blocks).toEqual([0, 1, 2, 3]);
    grow(r0, 16);
    manager.commit(r0, text, 17);
    expect(r0.blocks).toEqual([0, 1, 2, 3, 4]);
    expect(manager.cachedBlocks).toEqual([0, 1, 2, 3]);
  });

  it('time 4: of 14 tokens the first ten are the same, so two blocks are found', () => {
    const tokens = [...text.slice(0, 10), ...range(0, 4)];
    expect(manager.open(r1, tokens)).toBe(8);
    manager.commit(r1, tokens, 14);
    expect(r1.blocks).toEqual([0, 1, 5, 6]);
    expect(manager.freeQueue).toEqual([7, 8, 9]);
    manager.check([r0, r1]);
  });

  it('time 5: request 0 leaves, its last block first; what the other uses stays', () => {
    manager.release(r0);
    expect(manager.freeQueue).toEqual([7, 8, 9, 4, 3, 2]);
    manager.check([r1]);
  });

  it('time 6: request 1 leaves', () => {
    manager.release(r1);
    expect(manager.freeQueue).toEqual([7, 8, 9, 4, 3, 2, 6, 5, 1, 0]);
  });

  it('time 7: 29 tokens, of which twelve are found: these are taken out of the queue before anything is allocated', () => {
    const tokens = [...text.slice(0, 12), ...range(300, 317)];
    expect(manager.lookUp(tokens)).toEqual([0, 1, 2]);
    expect(manager.open(r2, tokens)).toBe(12);
    expect(r2.blocks).toEqual([0, 1, 2, 7, 8, 9, 4, 3]);
    expect(manager.freeQueue).toEqual([6, 5]);
    expect(manager.cachedBlocks.sort((a, b) => a - b)).toEqual([0, 1, 2, 5]); // 3 was thrown out
    manager.check([r2]);
  });
});

describe('prefixHash', () => {
  it('depends on every token, their order, what is before, and the extras', () => {
    const hashes = new Set<number>();
    const cases: [number, number[], string?][] = [
      [NO_PARENT, [1, 2, 3, 4]],
      [NO_PARENT, [1, 2, 4, 3]],
      [NO_PARENT, [2, 1, 3, 4]],
      [NO_PARENT, [1, 2, 3]],
      [1, [1, 2, 3, 4]],
      [2 ** 32, [1, 2, 3, 4]],
      [NO_PARENT, [1, 2, 3, 4], 'a'],
      [NO_PARENT, [1, 2, 3, 4], 'b'],
      [NO_PARENT, [-1, 2, 3, 4]],
    ];
    for (const [parent, tokens, extras] of cases) hashes.add(prefixHash(parent, tokens, extras));
    expect(hashes.size).toBe(cases.length);
    expect(prefixHash(5, [6, 7])).toBe(prefixHash(5, Int32Array.of(6, 7)));
  });

  it('gives no two of a hundred thousand contents the same name', () => {
    const hashes = new Set<number>();
    for (let i = 0; i < 100_000; i++) hashes.add(prefixHash(i % 7, [i & 15, (i >> 4) & 15, i >> 8]));
    expect(hashes.size).toBe(100_000);
    for (const hash of hashes) if (!Number.isSafeInteger(hash)) expect.fail(`${hash} is no safe integer`);
  });
});

describe('sharing', () => {
  it('leaves the last token to compute, also when all of a prompt is there', () => {
    const manager = new BlockManager({ blocks: 8, blockSize: 4 });
    const [a, b] = [new BlockTable(), new BlockTable()];
    const tokens = range(0, 8);
    manager.open(a, tokens);
    manager.commit(a, tokens, 8);
    expect(manager.open(b, tokens)).toBe(4);
    expect(b.blocks[0]).toBe(a.blocks[0]);
    expect(b.blocks[1]).not.toBe(a.blocks[1]);
    manager.check([a, b]);
  });

  it('finds nothing behind another beginning, with other extras, or without prefix caching', () => {
    for (const [options, tokens, extras, found] of [
      [{}, range(0, 9), 'x', 8],
      [{}, [9, ...range(1, 9)], 'x', 0],
      [{}, range(0, 9), 'y', 0],
      [{ prefixCaching: false }, range(0, 9), 'x', 0],
    ] as const) {
      const manager = new BlockManager({ blocks: 8, blockSize: 4, ...options });
      const [a, b] = [new BlockTable(), new BlockTable()];
      manager.open(a, range(0, 8), 8, 'x');
      manager.commit(a, range(0, 8), 8, 'x');
      expect(manager.open(b, [...tokens], 9, extras)).toBe(found);
      manager.check([a, b]);
    }
  });

  it('copies a block before somebody writes into it who does not own it alone', () => {
    const manager = new BlockManager({ blocks: 6, blockSize: 4 });
    const a = new BlockTable();
    manager.open(a, range(0, 6));
    const b = manager.fork(a);
    manager.check([a, b]);
    expect(manager.missing(b, 7, 6)).toBe(1);
    expect(manager.grow(b, 7, 6)).toEqual([{ from: 1, to: 2 }]);
    expect([a.blocks, b.blocks]).toEqual([
      [0, 1],
      [0, 2],
    ]);
    expect(manager.grow(a, 7, 6)).toEqual([]); // alone now
    manager.check([a, b]);
    manager.release(a);
    manager.check([b]);
    expect(manager.free).toBe(4);
  });

  it('changes nothing where there is no room', () => {
    const manager = new BlockManager({ blocks: 3, blockSize: 2 });
    const [a, b] = [new BlockTable(), new BlockTable()];
    expect(manager.open(a, range(0, 4))).toBe(0);
    expect(manager.open(b, range(5, 9))).toBeUndefined();
    expect(manager.grow(a, 7)).toBeUndefined();
    const c = manager.fork(a);
    expect(manager.grow(c, 5, 3)).toBeUndefined(); // a copy and a new one
    expect([a.blocks, b.blocks, c.blocks]).toEqual([[0, 1], [], [0, 1]]);
    manager.check([a, b, c]);
  });

  it('does not throw out what it has just found', () => {
    const manager = new BlockManager({ blocks: 3, blockSize: 2 });
    const [a, b] = [new BlockTable(), new BlockTable()];
    manager.open(a, range(0, 4));
    manager.commit(a, range(0, 4), 4);
    manager.release(a);
    expect(manager.open(b, range(0, 6))).toBe(4);
    expect(new Set(b.blocks).size).toBe(3);
    expect(manager.open(a, range(0, 3))).toBeUndefined(); // one found, one more needed
    manager.check([a, b]);
  });
});

describe('invariants', () => {
  it('hold through thousands of random moves', () => {
    const random = new Random(5);
    const manager = new BlockManager({ blocks: 24, blockSize: 3 });
    let tables: { table: BlockTable; tokens: number[]; computed: number }[] = [];
    for (let move = 0; move < 4000; move++) {
      const one = tables.length > 0 ? random.pick(tables) : undefined;
      const what = random.integer(5);
      if (what === 0 || !one) {
        const tokens = Array.from({ length: 1 + random.integer(14) }, () => random.integer(2));
        const table = new BlockTable();
        const found = manager.open(table, tokens);
        if (found === undefined)
          expect(manager.missing(table, tokens.length)).toBeGreaterThan(manager.free - manager.lookUp(tokens).length);
        else tables.push({ table, tokens, computed: found });
      } else if (what === 1) {
        manager.release(one.table);
        tables = tables.filter((other) => other !== one);
      } else if (what === 2) tables.push({ ...one, table: manager.fork(one.table), tokens: [...one.tokens] });
      else {
        while (one.tokens.length < one.computed + 2) one.tokens.push(random.integer(2));
        if (manager.grow(one.table, one.computed + 1, one.computed)) manager.commit(one.table, one.tokens, ++one.computed);
      }
      manager.check(tables.map(({ table }) => table));
    }
    for (const { table } of tables) manager.release(table);
    expect(manager.free).toBe(24);
  });

  it('are told when they do not hold', () => {
    const manager = new BlockManager({ blocks: 4, blockSize: 2 });
    const table = new BlockTable();
    manager.open(table, [1, 2, 3]);
    expect(() => manager.check([])).toThrow(/block 0 counts 1 references, 0 tables list it/);
    const stolen = new BlockTable();
    stolen.blocks.push(0);
    expect(() => manager.check([table, stolen])).toThrow(/block 0 counts 1 references, 2 tables/);
    const twice = new BlockTable();
    twice.blocks.push(0, 0);
    expect(() => manager.check([twice])).toThrow(/twice/);
    manager.release(table);
    expect(() => manager.release(Object.assign(new BlockTable(), { blocks: [0] }))).toThrow(/given back twice/);
    expect(() => new BlockManager({ blocks: 0 })).toThrow(/blocks must be a positive integer, got 0/);
  });
});
