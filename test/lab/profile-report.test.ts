/** @file What a profile prints and draws. */
import { ProfileReport, profileBars, renderSvg, rooflinePlot, type BarTrace, type ProfileRow, type ScatterTrace } from 'lab';
import { afterEach, describe, expect, it } from 'vitest';
import { kernel } from './fake-kernel.ts';
import { machine } from './profile-fixture.ts';

describe('the report', () => {
  const rows: ProfileRow[] = [
    { name: 'lab.linear', calls: 2, milliseconds: 3, flops: 6e6, bytes: 2 ** 20, intensity: 6e6 / 2 ** 20, rooflineShare: 0.5 },
    { name: 'Mystery', calls: 1, milliseconds: 1, bytes: 2 ** 19, rooflineShare: 0.1 },
  ];
  const report = new ProfileReport({
    device: 'wasm · <2> threads', rows, wallMs: 6, peakBytes: 3 * 2 ** 20, overheadMs: 0.5, runsOnGpu: false, machine, result: 1,
  });
  afterEach(() => kernel.stop());

  it('adds up', () => {
    expect(report).toMatchObject({ calls: 3, kernelMs: 4, outsideMs: 1.5, flops: 6e6, bytes: 1.5 * 2 ** 20 });
    expect(report.rooflineShare).toBeCloseTo((0.5 * 3 + 0.1 * 1) / 4, 12);
  });

  it('is a table with a dash for what nobody knows', () => {
    const [head, linearRow, mystery, total, , device, times, roofs] = String(report).split('\n');
    expect(head!.trim().split(/  +/)).toEqual(['calls', 'ms', 'share', 'MFLOP', 'MiB', 'FLOP/byte', 'GFLOP/s', 'GB/s', 'of the roof']);
    expect(linearRow!.split(/ +/)).toEqual(['lab.linear', '2', '3.00', '75.0%', '6.00', '1.00', '5.72', '2.00', '0.35', '50%']);
    expect(mystery!.split(/ +/)).toEqual(['Mystery', '1', '1.00', '25.0%', '—', '0.50', '—', '—', '0.52', '10%']);
    expect(total).toMatch(/^all kernels +3 +4\.00 +100% /);
    expect(device).toBe('wasm · <2> threads');
    expect(times).toBe('6.00 ms in all, 1.50 outside kernels (JavaScript), 0.50 of recording; at most 3.00 MiB');
    expect(roofs).toMatch(/meet at 10\.0 FLOP\/byte$/);
  });

  it('shows a table and two charts in a notebook', () => {
    const messages = kernel.start();
    report.show();
    expect(messages).toHaveLength(3);
    const [table, bars, roofline] = messages.map(({ data }) => data);
    expect(table!['text/html']).toContain('<td style="text-align:left">lab.linear</td>');
    expect(table!['text/html']).toContain('wasm · &lt;2&gt; threads');
    expect(table!['text/plain']).toBe(String(report));
    expect(bars!['text/plain']).toContain('milliseconds');
    expect(roofline!['text/plain']).toContain('GFLOP/s over FLOPs per byte');
  });

  it('shows no roof where none was measured, and says what a GPU leaves unsaid', () => {
    const messages = kernel.start();
    const onGpu = new ProfileReport({ ...report, rows, machine: null, runsOnGpu: true });
    onGpu.show();
    expect(messages).toHaveLength(2);
    expect(String(onGpu)).toContain('6.00 ms by the clock on the wall, in which each dispatch was submitted alone');
    expect(profileBars(onGpu).data[0]).toMatchObject({ y: ['lab.linear', 'Mystery'] });
  });
});

describe('the roofline', () => {
  const dots = [
    { name: 'short', flops: 100, bytes: 100, milliseconds: 1 },
    { name: 'long', flops: 2000, bytes: 100, milliseconds: 4 },
    { name: 'moves only', flops: 0, bytes: 100, milliseconds: 100 },
    { name: 'unknown', bytes: 100, milliseconds: 100 },
  ];
  const traces = rooflinePlot(dots, machine).data as readonly ScatterTrace[];

  it('has roofs that rise with the bandwidth and bend where computing takes over', () => {
    const [slow, fast] = traces as [ScatterTrace, ScatterTrace];
    expect(slow.x).toEqual([0.025, 10, 80]); // from a quarter of the least place to four times the greatest
    expect(slow.y).toEqual([2.5e-9, 1e-6, 1e-6]); // GFLOP/s
    expect(fast.x).toEqual([0.025, 0.1, 80]);
    expect(fast.y).toEqual([2.5e-7, 1e-6, 1e-6]);
  });

  it('has a dot for each operation that computes, its area the time', () => {
    expect(traces.slice(2).map(({ name, x, y }) => [name, x, y])).toEqual([
      ['long', [20], [5e-4]],
      ['short', [1], [1e-4]],
    ]);
    const [long, short] = traces.slice(2).map(({ marker }) => marker!.size!);
    expect(long! / short!).toBeCloseTo(2, 6);
  });

  it('stands without dots', () => {
    expect(renderSvg(rooflinePlot([], machine))).toContain('<svg');
  });
});

it('draws many operations as a few bars and the rest as one', () => {
  const rows = Array.from({ length: 20 }, (_, i) => ({ name: `op ${i}`, milliseconds: i + 1 }));
  const [bars] = profileBars({ rows, outsideMs: 7 }).data as readonly BarTrace[];
  expect(bars!.y).toHaveLength(16);
  expect(bars!.y.slice(-2)).toEqual(['6 others', 'outside kernels']);
  expect(bars!.x.slice(-2)).toEqual([1 + 2 + 3 + 4 + 5 + 6, 7]);
});
