/** @file The module tree: parameters by path, saved, loaded, frozen and exchanged; layers that begin as their seed says. */
import {
  Dropout,
  Embedding,
  GatedMLP,
  LabError,
  Layer,
  LayerNorm,
  Linear,
  matchesPath,
  MLP,
  Module,
  parameter,
  Random,
  tf,
  type Tensor,
} from 'lab';
import { describe, expect, it } from 'vitest';
import { expectNear, onEveryBackend } from './core-fixture.ts';

class Tower extends Module {
  readonly entry = new Embedding(5, 4, { random: 1 });
  readonly floors: Module[] = [new MLP(4, 8, { random: 2 }), new GatedMLP(4, 8, { random: 3 })];
  readonly norm = new LayerNorm(4);
  readonly scale = parameter(tf.scalar(2), { trainable: false });
  readonly name = 'not a module';
  readonly nothing = null;
}

class Wrapped extends Layer {
  readonly inner: Module;
  constructor(inner: Module) {
    super();
    this.inner = inner;
  }
  override forward<T extends Tensor>(x: T): T {
    return x;
  }
}

describe('matchesPath', () => {
  const fits: [pattern: string, path: string][] = [
    ['blocks.*.mlp', 'blocks.10.mlp'],
    ['**', 'a.b'],
    ['**', ''],
    ['**.bias', 'bias'],
    ['**.bias', 'a.b.bias'],
    ['a.**.d', 'a.d'],
    ['a.**.d', 'a.b.c.d'],
    ['a.q*y', 'a.query'],
  ];
  const misses: [pattern: string, path: string][] = [
    ['blocks.*', 'blocks.1.mlp'],
    ['*', ''],
    ['a', 'a.b'],
    ['b', 'a.b'],
    ['a.b', 'axb'],
    ['**.bias', 'a.biases'],
  ];
  it.each(fits)('%s fits %s', (pattern, path) => expect(matchesPath(pattern, path)).toBe(true));
  it.each(misses)('%s does not fit %s', (pattern, path) => expect(matchesPath(pattern, path)).toBe(false));
});

onEveryBackend(() => {
  const paths = [
    'scale',
    'entry.weight',
    'floors.0.up.weight',
    'floors.0.up.bias',
    'floors.0.down.weight',
    'floors.0.down.bias',
    'floors.1.gate.weight',
    'floors.1.up.weight',
    'floors.1.down.weight',
    'norm.weight',
    'norm.bias',
  ];

  it('finds every parameter under its path, once', () => {
    const tower = new Tower();
    expect([...tower.namedParameters().keys()]).toEqual(paths);
    Object.assign(tower, { alias: tower.entry });
    expect([...tower.namedParameters().keys()]).toEqual(paths);
    expect(new Set(tower.parameters().map(({ name }) => name)).size).toBe(paths.length);
    expect(tower.parameterCount()).toBe(1 + 20 + 32 + 8 + 32 + 4 + 3 * 32 + 8);
    expect(tower.parameterCount({ trainable: false })).toBe(1);
    expect(tower.parameterTable().reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1);
    expect(tower.summary()).toMatch(/floors\.0\.up\.weight\s+\[8,4\]\s+32\s+15\.9 %/);
    tower.dispose();
  });

  it('gives a module by its path, or says which there are', () => {
    const tower = new Tower();
    expect(tower.get('floors.1')).toBe(tower.floors[1]);
    expect(tower.get('')).toBe(tower);
    expect(() => tower.get('floors.2')).toThrow(/no module at 'floors\.2'.*entry, floors\.0, floors\.0\.up/);
    tower.dispose();
  });

  it('replaces modules by pattern: in properties and in lists', () => {
    const tower = new Tower().eval();
    const replaced = tower.replace('floors.*.up', (old) => new Wrapped(old));
    expect(replaced).toEqual(['floors.0.up', 'floors.1.up']);
    expect(tower.get('floors.0.up')).toBeInstanceOf(Wrapped);
    expect(tower.get('floors.0.up.inner')).toBeInstanceOf(Linear);
    expect(tower.get('floors.0.up').training).toBe(false);
    tower.replace('floors.1', (old) => new Wrapped(old));
    expect(tower.floors[1]).toBeInstanceOf(Wrapped);
    expect(() => tower.replace('floor.*', (old) => old)).toThrow(LabError);
    tower.dispose();
  });

  it('replaces inner modules before the outer ones that hold them', () => {
    const tower = new Tower();
    const held: unknown[] = [];
    const replaced = tower.replace('floors.0.**', (old, path) => {
      if (path === 'floors.0') held.push((old as MLP).up instanceof Wrapped);
      return new Wrapped(old);
    });
    expect(replaced).toEqual(['floors.0', 'floors.0.up', 'floors.0.down']);
    expect(held).toEqual([true]);
    tower.dispose();
  });

  it('freezes and unfreezes by path of parameter or module', () => {
    const tower = new Tower();
    expect(tower.freeze('floors.0')).toEqual(paths.filter((path) => path.startsWith('floors.0')));
    tower.freeze();
    expect(tower.parameters({ trainable: true })).toEqual([]);
    expect(tower.unfreeze('**.bias')).toEqual(['floors.0.up.bias', 'floors.0.down.bias', 'norm.bias']);
    expect(tower.parameterCount({ trainable: true })).toBe(8 + 4 + 4);
    expect(() => tower.freeze('nowhere')).toThrow(/No parameter at 'nowhere'/);
    tower.dispose();
  });

  it('loads a state of its own, a copy and not the same memory', async () => {
    const [from, to] = [new Tower(), new Tower()];
    from.scale.assign(tf.scalar(7));
    expect(to.loadStateDict(from.stateDict())).toEqual({ missing: [], unexpected: [] });
    from.scale.assign(tf.scalar(8));
    const values = await to.scale.data();
    from.dispose();
    expect([...values, ...(await to.scale.data())]).toEqual([7, 7]);
    to.dispose();
  });

  it('refuses a state that does not fit before it changes anything', async () => {
    const tower = new Tower();
    const state = new Map<string, Tensor>([...tower.stateDict(), ['scale', tf.scalar(9)], ['norm.bias', tf.zeros([3])]]);
    expect(() => tower.loadStateDict(state)).toThrow(/'norm\.bias' is float32 \[4\] here, but float32 \[3\] in the state/);
    state.set('norm.bias', tf.zeros([4], 'int32'));
    expect(() => tower.loadStateDict(state)).toThrow(/int32 \[4\] in the state/);
    state.delete('norm.bias');
    state.set('extra', tf.scalar(0));
    expect(() => tower.loadStateDict(state)).toThrow(/'norm\.bias' is missing.*'extra' is not in this model/);
    expect((await tower.scale.data())[0]).toBe(2);
    expect(tower.loadStateDict(state, { strict: false })).toEqual({ missing: ['norm.bias'], unexpected: ['extra'] });
    expect((await tower.scale.data())[0]).toBe(9);
    tower.dispose();
  });

  it('train and eval reach every module', () => {
    const tower = new Tower();
    tower.eval();
    expect([...tower.namedModules()].map(([, { training }]) => training)).not.toContain(true);
    tower.train();
    expect([...tower.namedModules()].map(([, { training }]) => training)).not.toContain(false);
    tower.dispose();
  });

  it('dispose frees everything that construction made', () => {
    const before = tf.memory().numTensors;
    new Tower().dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('Linear is x Wᵀ + b over any leading axes', async () => {
    const layer = new Linear(3, 5, { std: 1, random: 9 });
    layer.bias!.assign(tf.tensor1d([1, 2, 3, 4, 5]));
    for (const shape of [[3], [4, 3], [2, 4, 3], [2, 1, 4, 3]]) {
      const x = tf.randomNormal(shape, 0, 1, 'float32', 5);
      const rows = tf.matMul(x.reshape([-1, 3]), layer.weight.transpose()).add(layer.bias!);
      await expectNear(layer.forward(x), rows.reshape([...shape.slice(0, -1), 5]));
    }
    expect(() => layer.forward(tf.ones([2, 4]))).toThrow('the last axis of x [2,4] must be 3');
    layer.dispose();
  });

  it('begins with the weights that the seed decides', async () => {
    const [a, b, c] = [new Linear(40, 50, { random: 5 }), new Linear(40, 50, { random: 5 }), new Linear(40, 50, { random: 6 })];
    expect(await a.weight.data()).toEqual(await b.weight.data());
    expect(await a.weight.data()).not.toEqual(await c.weight.data());
    expect(Array.from(await a.weight.data()).slice(0, 3)).toEqual(Array.from(new Random(5).normals(3, 0.02)));
    const { mean, variance } = tf.moments(a.weight);
    expect(Math.sqrt((await variance.data())[0]!)).toBeCloseTo(0.02, 3);
    expect((await mean.data())[0]).toBeCloseTo(0, 2);
    for (const layer of [a, b, c]) layer.dispose();
  });

  it('Dropout forgets the share it is told and keeps the mean; in use it does nothing', async () => {
    const dropout = new Dropout(0.3, 11);
    const x = tf.ones([100, 100]);
    const values = await dropout.forward(x).data();
    const kept = values.filter((value) => value !== 0);
    expect(kept.length / values.length).toBeCloseTo(0.7, 1);
    expect(kept[0]).toBeCloseTo(1 / 0.7, 5);
    expect(dropout.eval().forward(x)).toBe(x);
    expect(() => new Dropout(1)).toThrow('below 1, got 1');
  });
});
