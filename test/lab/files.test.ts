/** @file Files from outside are refused unless they are right to the last byte; files of our own are whole or not there. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  fromFloat32,
  labFolder,
  parseSafetensors,
  projectRoot,
  Random,
  readSafetensors,
  readText,
  SafetensorsFile,
  serializeSafetensors,
  streamSafetensors,
  toFloat32,
  writeAtomically,
  writeSafetensors,
  type StoredTensor,
} from 'lab';
import { afterAll, describe, expect, it } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'lab-files-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A folder inside the project, from where a child process can import the lab. */
function scratchFolder(): string {
  mkdirSync(labFolder(), { recursive: true });
  return mkdtempSync(labFolder('scratch-'));
}

/** A file with this header, word for word, and so many bytes after it. */
function fileOf(header: string | object, payloadBytes: number): Uint8Array {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.byteLength));
  return Buffer.concat([prefix, json, Buffer.alloc(payloadBytes, 1)]);
}

const tensors = new Map<string, StoredTensor>([
  ['b', { dtype: 'F32', shape: [2, 3], data: Float32Array.from([1, -2, 3.5, 1e-30, Infinity, 0]) }],
  ['a', { dtype: 'I64', shape: [2], data: BigInt64Array.from([-1n, 1n << 60n]) }],
  ['c', { dtype: 'U8', shape: [3], data: Uint8Array.from([0, 127, 255]) }],
  ['no elements', { dtype: 'F32', shape: [0, 4], data: new Float32Array(0) }],
  ['scalar', { dtype: 'F64', shape: [], data: Float64Array.from([Math.PI]) }],
  ['__proto__', { dtype: 'I32', shape: [1], data: Int32Array.from([7]) }],
]);

function bytesOf(...args: Parameters<typeof serializeSafetensors>): Uint8Array {
  return Buffer.concat(serializeSafetensors(...args));
}

describe('safetensors', () => {
  it('reads back what was written, to the bit', async () => {
    const path = join(folder, 'round.safetensors');
    await writeSafetensors(path, tensors, { format: 'pt', note: 'ünïcode "quoted"' });
    const read = await readSafetensors(path);
    expect(read.metadata).toEqual({ format: 'pt', note: 'ünïcode "quoted"' });
    expect(new Set(read.tensors.keys())).toEqual(new Set(tensors.keys()));
    for (const [name, tensor] of tensors) expect(read.tensors.get(name)).toEqual(tensor);
  });

  it('orders tensors as other writers do, widest type first and then by name, after a header padded to 8 bytes', () => {
    const bytes = bytesOf(tensors, { format: 'pt' });
    const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
    expect(length % 8).toBe(0);
    const header = JSON.parse(Buffer.from(bytes.subarray(8, 8 + length)).toString()) as Record<
      string,
      { data_offsets: number[] }
    >;
    const names = Object.keys(header).filter((name) => name !== '__metadata__');
    names.sort(
      (a, b) =>
        header[a]!.data_offsets[0]! - header[b]!.data_offsets[0]! || header[a]!.data_offsets[1]! - header[b]!.data_offsets[1]!,
    );
    expect(names.filter((name) => name !== 'no elements')).toEqual(['a', 'scalar', '__proto__', 'b', 'c']);
  });

  it('accepts a header with trailing spaces and without metadata', async () => {
    const bytes = fileOf('{"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}   ', 2);
    expect((await parseSafetensors(bytes, 'f')).tensors.get('x')!.data).toEqual(Uint8Array.from([1, 1]));
  });

  it('reads half-precision numbers', () => {
    const half = { dtype: 'F16', shape: [6], data: Uint16Array.from([0x3c00, 0xc000, 0x0001, 0x7c00, 0x3555, 0x8000]) } as const;
    expect([...toFloat32(half)]).toEqual([1, -2, 2 ** -24, Infinity, 0.333251953125, -0]);
    const brain = { dtype: 'BF16', shape: [3], data: Uint16Array.from([0x3f80, 0xc049, 0x7f80]) } as const;
    expect([...toFloat32(brain)]).toEqual([1, -3.140625, Infinity]);
  });

  const x = (dtype: unknown, shape: unknown, offsets: unknown): object => ({ x: { dtype, shape, data_offsets: offsets } });
  const malformed: Record<string, [bytes: Uint8Array, says: RegExp]> = {
    'an empty file': [new Uint8Array(0), /0 bytes/],
    'a file shorter than its header claims': [fileOf(x('U8', [1], [0, 1]), 1).subarray(0, 20), /cut short/],
    'a header of more than 100 MB': [Uint8Array.from([0, 0, 0, 0, 1, 0, 0, 0, 123]), /4294967296 bytes; 100000000 are allowed/],
    'a header that is not an object': [fileOf('[1]', 0), /does not start with \{/],
    'a header that is not JSON': [fileOf('{"x":', 0), /header cannot be read/],
    'a header that is not UTF-8': [
      Buffer.concat([fileOf('{"x":"  "}', 0).subarray(0, 14), Buffer.from([0xff, 0xfe, 0x22, 0x7d])]),
      /header/,
    ],
    'a name that appears twice': [
      fileOf('{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}', 2),
      /'x' appears twice/,
    ],
    'a name that appears twice, once escaped': [
      fileOf(
        '{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\\u0078":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
        2,
      ),
      /appears twice/,
    ],
    'a field that appears twice': [
      fileOf('{"x":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1),
      /'dtype' appears twice/,
    ],
    'metadata that is not text': [fileOf({ __metadata__: { step: 3 } }, 0), /__metadata__/],
    'a tensor that is not described': [fileOf({ x: 3 }, 0), /'x' is not described/],
    'an unknown type': [fileOf(x('F31', [1], [0, 4]), 4), /unknown type "F31"/],
    'a type that every object has': [fileOf(x('constructor', [1], [0, 4]), 4), /unknown type/],
    'a negative dimension': [fileOf(x('U8', [-1], [0, 1]), 1), /bad shape/],
    'a fractional dimension': [fileOf(x('U8', [1.5], [0, 1]), 1), /bad shape/],
    'a shape that overflows': [fileOf(x('F32', [2 ** 40, 2 ** 40], [0, 8]), 8), /too large/],
    'a shape that does not fit its bytes': [fileOf(x('F32', [2], [0, 4]), 4), /needs 8 bytes/],
    'offsets that run backwards': [fileOf(x('U8', [1], [1, 0]), 1), /offsets/],
    'offsets that are not numbers': [fileOf(x('U8', [1], ['0', '1']), 1), /bad offsets/],
    'an unknown field': [fileOf({ x: { dtype: 'U8', shape: [1], data_offsets: [0, 1], extra: 1 } }, 1), /unknown field 'extra'/],
    'tensors that run past the end': [fileOf(x('U8', [4], [0, 4]), 3), /cut short/],
    'bytes after the last tensor': [fileOf(x('U8', [4], [0, 4]), 5), /1 bytes after its last tensor/],
    'a hole at the beginning': [fileOf(x('U8', [4], [1, 5]), 5), /hole of 1 bytes/],
    'a hole between tensors': [
      fileOf({ ...x('U8', [1], [0, 1]), y: { dtype: 'U8', shape: [1], data_offsets: [2, 3] } }, 3),
      /hole of 1 bytes before tensor 'y'/,
    ],
    'tensors that overlap': [
      fileOf({ ...x('U8', [2], [0, 2]), y: { dtype: 'U8', shape: [2], data_offsets: [1, 3] } }, 3),
      /'y' overlaps/,
    ],
  };
  it.each(Object.entries(malformed))('refuses %s', async (_, [bytes, says]) => {
    await expect(parseSafetensors(bytes, 'model.safetensors')).rejects.toThrow(says);
    await expect(parseSafetensors(bytes, 'model.safetensors')).rejects.toThrow(/^model.safetensors/);
    const path = join(folder, 'malformed.safetensors');
    writeFileSync(path, bytes);
    await expect(readSafetensors(path)).rejects.toMatchObject({
      name: 'LabError',
      message: expect.stringMatching(says) as string,
    });
    expect(() => SafetensorsFile.open(path)).toThrow(says);
  });

  it('refuses a missing file, a folder, and every file that is cut short', async () => {
    await expect(readSafetensors(join(folder, 'nowhere'))).rejects.toThrow(/There is no file .*nowhere/);
    await expect(readSafetensors(folder)).rejects.toThrow(/is not a file/);
    const bytes = bytesOf(tensors, {});
    for (let length = 0; length < bytes.length; length++) {
      await expect(parseSafetensors(bytes.subarray(0, length), 'f')).rejects.toMatchObject({ name: 'LabError' });
    }
  });

  it('refuses to write tensors whose data do not fit', () => {
    const bad =
      (tensor: StoredTensor, name = 'x') =>
      () =>
        serializeSafetensors(new Map([[name, tensor]]));
    expect(bad({ dtype: 'F32', shape: [2], data: new Float32Array(3) })).toThrow(/x has shape \[2\], 2 elements, but 3 values/);
    expect(bad({ dtype: 'F32', shape: [2], data: new Int32Array(2) })).toThrow(/x is F32 but its data are a Int32Array/);
    expect(bad({ dtype: 'U8', shape: [1], data: new Uint8Array(1) }, '__metadata__')).toThrow(/__metadata__/);
  });

  it('gives single tensors, and parts of them, of a file that stays open', async () => {
    const path = join(folder, 'open.safetensors');
    await writeSafetensors(path, tensors, { format: 'pt' });
    const file = SafetensorsFile.open(path);
    expect(file.metadata).toEqual({ format: 'pt' });
    expect(new Set(file.tensors.keys())).toEqual(new Set(tensors.keys()));
    for (const [name, tensor] of tensors) {
      expect(file.tensors.get(name)).toEqual({ dtype: tensor.dtype, shape: tensor.shape, bytes: tensor.data.byteLength });
      expect(file.read(name)).toEqual(tensor);
    }
    const shared = new Uint8Array(new SharedArrayBuffer(2));
    file.readInto('c', shared, 1);
    expect([...shared]).toEqual([127, 255]);
    expect(() => file.readInto('c', new Uint8Array(2), 2)).toThrow(/'c' has 3 bytes; there are no 2 from byte 2 on/);
    expect(() => file.read('nothing')).toThrow(/has no tensor 'nothing'/);
    file.close();
  });

  it('says so when a file that is open becomes shorter', async () => {
    const path = join(folder, 'shrinks.safetensors');
    await writeSafetensors(path, tensors);
    const file = SafetensorsFile.open(path);
    truncateSync(path, 100);
    expect(() => file.read('c')).toThrow(/became shorter while it was read/);
    file.close();
  });

  it('writes tensors that come one at a time as it writes those that are all there', async () => {
    const [all, single] = [join(folder, 'all.safetensors'), join(folder, 'single.safetensors')];
    await writeSafetensors(all, tensors, { format: 'pt' });
    const asked: string[] = [];
    const lazy = [...tensors].map(([name, { dtype, shape, data }]) => {
      return [name, { dtype, shape, data: () => (asked.push(name), Promise.resolve(data)) }] as const;
    });
    await streamSafetensors(single, new Map(lazy), { format: 'pt' });
    expect(readFileSync(single)).toEqual(readFileSync(all));
    expect(new Set(asked)).toEqual(new Set(tensors.keys()));
    const wrong = new Map([['x', { dtype: 'F32', shape: [2], data: () => new Float32Array(3) } as const]]);
    await expect(streamSafetensors(single, wrong)).rejects.toThrow(/x has shape \[2\], 2 elements, but 3 values/);
    expect(readFileSync(single)).toEqual(readFileSync(all));
  });

  it('finds every flipped byte of a file with a digest', async () => {
    const bytes = bytesOf(tensors, { note: 'a "sha256":"b" that is only text' }, { digest: true });
    expect((await parseSafetensors(bytes, 'f', { digest: true })).verified).toBe(true);
    for (let i = 0; i < bytes.length; i++) {
      const flipped = bytes.slice();
      flipped[i]! ^= 1 << (i % 8);
      const result = await parseSafetensors(flipped, 'f', { digest: true }).catch((error: unknown) => error);
      if (result instanceof Error) expect(result).toMatchObject({ name: 'LabError' });
      else expect(result, `byte ${i}`).toMatchObject({ verified: false });
    }
  });

  it('says so when a digest is wrong or not there', async () => {
    const bytes = bytesOf(tensors, {}, { digest: true });
    bytes[bytes.length - 1]! ^= 1;
    await expect(parseSafetensors(bytes, 'model', { digest: true })).rejects.toThrow(/model is damaged.*digest/);
    expect((await parseSafetensors(bytesOf(tensors, {}), 'model', { digest: true })).verified).toBe(false);
  });
});

describe('16-bit floats', () => {
  const allBits = Uint16Array.from({ length: 65536 }, (_, bits) => bits);

  it.each(['F16', 'BF16'] as const)('%s: every pattern is widened exactly and comes back', (dtype) => {
    const wide = toFloat32({ dtype, shape: [65536], data: allBits });
    const back = fromFloat32(wide, dtype) as Uint16Array;
    const changed = allBits.filter((bits) => !Number.isNaN(wide[bits]!) && back[bits] !== bits);
    expect([...changed]).toEqual([]);
    expect(allBits.filter((bits) => Number.isNaN(wide[bits]!)).length).toBe(dtype === 'F16' ? 2 * 1023 : 2 * 127);
    expect(toFloat32({ dtype, shape: [1], data: fromFloat32(Float32Array.of(NaN), dtype) })).toEqual(Float32Array.of(NaN));
  });

  it.each(['F16', 'BF16'] as const)('%s: a part of a larger array is widened, wherever it begins', (dtype) => {
    const wide = toFloat32({ dtype, shape: [65536], data: allBits });
    for (const [from, to] of [[0x4001, 0x4008], [0x4002, 0x4009], [0x4003, 0x4004], [0x4004, 0x4004]] as const) {
      expect(toFloat32({ dtype, shape: [to - from], data: allBits.subarray(from, to) })).toEqual(wide.slice(from, to));
    }
  });

  it.each(['F16', 'BF16'] as const)('%s: a number becomes the nearest one, and half-way the even one', (dtype) => {
    const wide = toFloat32({ dtype, shape: [65536], data: allBits });
    const infinity = dtype === 'F16' ? 0x7c00 : 0x7f80;
    // Whatever lies between two neighbours: the middle itself, and a step of float32 to each side.
    const below = allBits.subarray(0, infinity - 1);
    const middles = Float32Array.from(below, (bits) => (wide[bits]! + wide[bits + 1]!) / 2);
    const nudged = (by: number): Float32Array => new Float32Array(new Uint32Array(middles.slice().buffer).map((word) => word + by).buffer);
    expect(fromFloat32(middles, dtype)).toEqual(below.map((bits) => bits + (bits & 1)));
    const exact = middles.map((middle, bits) => (middle === (wide[bits]! + wide[bits + 1]!) / 2 && middle > 1e-44 ? 1 : 0));
    expect(fromFloat32(nudged(1), dtype).filter((bits, i) => exact[i] && bits !== i + 1).length).toBe(0);
    expect(fromFloat32(nudged(-1), dtype).filter((bits, i) => exact[i] && bits !== i).length).toBe(0);
    expect([...fromFloat32(Float32Array.of(-0, 3.4e38, -Infinity), dtype)]).toEqual([0x8000, dtype === 'F16' ? 0x7c00 : 0x7f80, 0x8000 | infinity]);
  });
});

describe('atomic saves', () => {
  const leftovers = (at: string): string[] => readdirSync(at).filter((name) => name.endsWith('.tmp'));

  it('makes missing folders, replaces the old file and leaves nothing behind', async () => {
    const path = join(folder, 'a', 'b', 'file');
    await writeAtomically(path, [Buffer.from('old')]);
    await writeAtomically(path, [Buffer.from('ne'), Buffer.from('w')]);
    expect(readFileSync(path, 'utf8')).toBe('new');
    expect(readdirSync(join(folder, 'a', 'b'))).toEqual(['file']);
  });

  it('keeps the old file and removes its own when the content cannot be made', async () => {
    const path = join(folder, 'kept');
    await writeAtomically(path, [Buffer.from('old')]);
    const broken = (function* (): Iterable<Uint8Array> {
      yield Buffer.from('half');
      throw new Error('no more');
    })();
    await expect(writeAtomically(path, broken)).rejects.toThrow('no more');
    expect(readFileSync(path, 'utf8')).toBe('old');
    expect(leftovers(folder)).toEqual([]);
  });

  it('says in words when a folder is in the way, or a file where a folder should be', async () => {
    await writeAtomically(join(folder, 'plain'), [Buffer.from('x')]);
    await expect(writeAtomically(join(folder, 'plain', 'x'), [])).rejects.toThrow(/is a file, not a folder/);
    await expect(writeAtomically(folder, [])).rejects.toThrow(/Cannot save/);
  });

  /** Writes 1 MB over the file `old` in its working directory, in a process of its own. */
  const writer = `
    import { writeAtomically } from 'lab';
    await writeAtomically('old', [new Uint8Array(500_000), new Uint8Array(500_000)]).catch((e) => console.log(e.name, e.message));
  `;
  const write = `${JSON.stringify(process.execPath)} --input-type=module -e ${JSON.stringify(writer.replace(/\n\s*/g, ' '))}`;

  it.skipIf(process.platform === 'win32')('keeps the old file when writing stops in the middle', async () => {
    // A limit on the size of files: the first half is written, the second one fails.
    const place = scratchFolder();
    try {
      await writeAtomically(join(place, 'old'), [Buffer.from('old')]);
      const { stdout } = spawnSync('sh', ['-c', `ulimit -f 600; ${write}`], { cwd: place, encoding: 'utf8' });
      expect(stdout).toMatch(/LabError Cannot save old: the file would be larger than is allowed here/);
      expect(readFileSync(join(place, 'old'), 'utf8')).toBe('old');
      expect(readdirSync(place)).toEqual(['old']);
    } finally {
      rmSync(place, { recursive: true });
    }
  });

  const mayMount = spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'none', folder]).status === 0;
  it.skipIf(!mayMount)('says that the disk is full, and keeps the old file', async () => {
    const place = scratchFolder();
    try {
      const script = `mount -t tmpfs -o size=256k none . && cd "$PWD" && echo old > old && ${write}; cat old; ls -A`;
      const { stdout } = spawnSync('unshare', ['-rm', 'sh', '-c', script], { cwd: place, encoding: 'utf8' });
      expect(stdout).toMatch(/^LabError Cannot save old: the disk is full \(0\.\d MB free\).*Nothing was changed.\nold\nold\n$/);
    } finally {
      rmSync(place, { recursive: true });
    }
  });

  it('leaves the old file or the new one, whole, whenever it is killed; the next save sweeps up', async () => {
    const place = scratchFolder();
    const loop = `
      import { writeAtomically } from 'lab';
      for (let i = 0; ; i = (i + 1) % 256) {
        await writeAtomically('file', Array.from({ length: 50 }, () => new Uint8Array(20_000).fill(i)));
        if (i === 1) console.log('going');
      }`;
    const random = new Random(3);
    try {
      for (let round = 0; round < 5; round++) {
        const child = spawn(process.execPath, ['--input-type=module', '-e', loop], {
          cwd: place,
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        await once(child.stdout, 'data');
        await new Promise((resolve) => setTimeout(resolve, random.uniform() * 60));
        child.kill('SIGKILL');
        await once(child, 'exit');
        const bytes = readFileSync(join(place, 'file'));
        expect(bytes.length).toBe(1_000_000);
        expect(bytes.every((byte) => byte === bytes[0])).toBe(true);
      }
      await writeAtomically(join(place, 'file'), [Buffer.from('done')]);
      expect(readdirSync(place)).toEqual(['file']);
    } finally {
      rmSync(place, { recursive: true });
    }
  });
});

describe('text', () => {
  it('is read as UTF-8', async () => {
    const path = join(folder, 'text');
    writeFileSync(path, 'naïve 𝔸 ✓\n');
    expect(await readText(path)).toBe('naïve 𝔸 ✓\n');
  });

  it.each([
    ['a byte of Latin-1', Buffer.from('na\xefve', 'latin1'), 2],
    ['a character cut off at the end', Buffer.from('ab✓').subarray(0, 4), 5],
    ['an overlong form', Buffer.from([0x41, 0xc0, 0x80]), 1],
    ['a surrogate', Buffer.from([0x41, 0x42, 0xed, 0xa0, 0x80]), 3],
  ])('that is not UTF-8 is refused: %s', async (_, bytes, at) => {
    const path = join(folder, 'bad');
    writeFileSync(path, bytes);
    const found = await readText(path).catch((error: unknown) => error);
    expect(found).toMatchObject({ name: 'LabError' });
    const position = Number(/byte (\d+) does not belong/.exec((found as Error).message)![1]);
    expect(Math.abs(position - at)).toBeLessThanOrEqual(1);
  });

  it('that is not there, or a folder, is refused by name', async () => {
    await expect(readText(join(folder, 'nothing'))).rejects.toThrow(/There is no file .*nothing/);
    await expect(readText(folder)).rejects.toThrow(/is a folder/);
  });
});

it('finds the project from anywhere', () => {
  const script = "import { projectRoot } from 'lab'; console.log(projectRoot())";
  const place = execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: projectRoot(), encoding: 'utf8' });
  expect(readdirSync(place.trim())).toEqual(expect.arrayContaining(['lab', 'test', 'package.json']));
});
