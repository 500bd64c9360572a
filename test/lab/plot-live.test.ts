import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LiveLoss, Random, type ScatterTrace } from 'lab';
import { kernel } from './fake-kernel.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
  kernel.stop();
});

const curve = (figure: { data: readonly unknown[] }, name: string): ScatterTrace =>
  figure.data.find((trace) => (trace as ScatterTrace).name === name) as ScatterTrace;

describe('LiveLoss', () => {
  it('redraws one output at most ten times a second, as an image, and ends with Plotly', () => {
    const messages = kernel.start();
    const live = new LiveLoss();
    for (let step = 0; step < 2000; step++) {
      vi.advanceTimersByTime(1);
      live.update(step, { train: 1 / (1 + step) });
    }
    live.finish();
    expect(messages.length).toBeGreaterThan(10);
    expect(messages.length).toBeLessThanOrEqual(22);
    expect(new Set(messages.map(({ id }) => id)).size).toBe(1);
    expect(messages.map(({ update }) => update)).toEqual([false, ...Array<boolean>(messages.length - 1).fill(true)]);
    const drawsPlotly = messages.map(({ data }) => 'application/vnd.plotly.v1+json' in data);
    expect(drawsPlotly).toEqual([...Array<boolean>(messages.length - 1).fill(false), true]);
    expect(messages.every(({ data }) => String(data['text/html']).startsWith('<img '))).toBe(true);
  });

  it('keeps every curve over its own steps', () => {
    const live = new LiveLoss();
    for (let step = 1; step <= 4; step++)
      live.update(step, step % 2 ? { train: 10 - step } : { train: 10 - step, validation: 20 - step });
    const figure = live.finish();
    expect(curve(figure, 'train')).toMatchObject({ x: [1, 2, 3, 4], y: [9, 8, 7, 6] });
    expect(curve(figure, 'validation')).toMatchObject({ x: [2, 4], y: [18, 16], mode: 'lines+markers' });
    expect(figure.layout.showlegend).toBe(true);
  });

  it('puts the running mean of a noisy curve over a faint one, without moving a straight line', () => {
    const random = new Random(1);
    const live = new LiveLoss();
    for (let step = 0; step < 1000; step++) live.update(step, { noisy: random.normal(), straight: step / 10 });
    const figure = live.figure();
    const smooth = curve(figure, 'noisy').y as number[];
    expect(curve(figure, 'noisy, each')).toMatchObject({ opacity: 0.3, showlegend: false });
    const deviation = Math.sqrt(smooth.reduce((sum, y) => sum + y * y, 0) / smooth.length);
    expect(deviation).toBeGreaterThan(0.1);
    expect(deviation).toBeLessThan(0.35); // 1/√21 in the middle
    (curve(figure, 'straight').y as number[]).forEach((y, i) => expect(y).toBeCloseTo(i / 10, 3));
  });

  it('goes on after a value that is not a number', () => {
    const live = new LiveLoss();
    for (let step = 0; step < 200; step++) live.update(step, { train: step === 20 ? NaN : 1 });
    const { y } = curve(live.finish(), 'train');
    expect(y.filter((value) => value === null).length).toBeLessThan(10);
    expect(y.at(-1)).toBe(1);
  });

  it('shows nothing outside a notebook, when quiet, or without a value', () => {
    expect(new LiveLoss().finish().data).toEqual([]);
    const messages = kernel.start();
    const quiet = new LiveLoss({ quiet: true });
    quiet.update(1, { train: 1 });
    quiet.finish();
    new LiveLoss().finish();
    expect(messages).toEqual([]);
  });

  it('names its axes, and can be logarithmic', () => {
    const { layout } = new LiveLoss({ logY: true }).finish();
    expect([layout.xaxis.title!.text, layout.yaxis.title!.text, layout.yaxis.type]).toEqual([
      'step',
      'loss (nats per token)',
      'log',
    ]);
  });
});
