/**
 * @file Documents with equal keys, for more keys than memory should hold: the keys are dealt into partitions by their bits,
 * full blocks of a partition go to a file, and at the end each partition is looked at on its own.
 *
 * 256 partitions of 16 KiB blocks: 4 MiB of buffers, whatever the corpus. At the end one partition is in memory with its table:
 * at most 24 bytes × keys / 256, which for the 15 keys that a document has in MinHash is 1.4 bytes a document.
 */
import { tmpdir } from 'node:os';
import { TemporaryFile } from './temporary-file.ts';
import { scatter } from './words.ts';

const PARTITIONS = 256;
/** Integers of one record: two halves of the key, and the document. */
const RECORD = 3;
const BLOCK_RECORDS = 1365;
const BLOCK_BYTES = BLOCK_RECORDS * RECORD * 4;
/** Documents under one key that the next one is compared with, when `meet` refuses to join them. */
const MOST_COMPARED = 16;

interface Partition {
  readonly buffer: Int32Array<ArrayBuffer>;
  used: number;
  /** Where its full blocks are in the file, counted in blocks. */
  readonly blocks: number[];
}

export class Collisions {
  readonly #folder: string;
  readonly #partitions: Partition[];
  #file: TemporaryFile | undefined;
  #blocks = 0;

  /** @param folder where the file goes, when one is needed; the system's for temporary files unless told */
  constructor(folder: string = tmpdir()) {
    this.#folder = folder;
    this.#partitions = Array.from({ length: PARTITIONS }, () => ({
      buffer: new Int32Array(BLOCK_RECORDS * RECORD),
      used: 0,
      blocks: [],
    }));
  }

  /**
   * @param high the upper 32 bits of the key, whose first 8 choose the partition: they must be well mixed
   * @param low the lower 32 bits
   */
  add(high: number, low: number, document: number): void {
    const partition = this.#partitions[high >>> 24]!;
    const { buffer } = partition;
    if (partition.used === buffer.length) this.#spill(partition);
    buffer[partition.used++] = high;
    buffer[partition.used++] = low;
    buffer[partition.used++] = document;
  }

  /**
   * Calls `meet` for documents with equal keys, the earlier one first, until it says that the later one was joined to it.
   * A document is compared with the first of its key, and with those that were not joined either, up to 16 of them.
   */
  forEach(meet: (earlier: number, later: number) => boolean): void {
    for (const partition of this.#partitions) meetInside(this.#records(partition), meet);
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  #spill(partition: Partition): void {
    this.#file ??= new TemporaryFile(this.#folder, 'keys');
    this.#file.write(new Uint8Array(partition.buffer.buffer), this.#blocks * BLOCK_BYTES);
    partition.blocks.push(this.#blocks++);
    partition.used = 0;
  }

  /** All records of the partition in the order in which they came. */
  #records({ buffer, used, blocks }: Partition): Int32Array {
    const records = new Int32Array(blocks.length * buffer.length + used);
    for (const [i, block] of blocks.entries()) {
      this.#file!.read(new Uint8Array(records.buffer, i * BLOCK_BYTES, BLOCK_BYTES), block * BLOCK_BYTES);
    }
    records.set(buffer.subarray(0, used), blocks.length * buffer.length);
    return records;
  }
}

/** A table from keys to records, with linear probing, and a list through the records of one key that were not joined. */
function meetInside(records: Int32Array, meet: (earlier: number, later: number) => boolean): void {
  const count = records.length / RECORD;
  let slots = 16;
  while (slots < count * 2) slots *= 2;
  const heads = new Int32Array(slots).fill(-1);
  const next = new Int32Array(count).fill(-1);
  for (let r = 0; r < count; r++) {
    const high = records[r * RECORD]!;
    const low = records[r * RECORD + 1]!;
    let slot = scatter(low ^ high) & (slots - 1);
    for (let head = heads[slot]!; head >= 0; head = heads[slot]!) {
      if (records[head * RECORD] === high && records[head * RECORD + 1] === low) break;
      slot = (slot + 1) & (slots - 1);
    }
    if (heads[slot] === -1) {
      heads[slot] = r;
      continue;
    }
    let last = heads[slot]!;
    let compared = 1;
    const later = records[r * RECORD + 2]!;
    let joined = meet(records[last * RECORD + 2]!, later);
    for (; !joined && next[last]! >= 0 && compared < MOST_COMPARED; compared++) {
      last = next[last]!;
      joined = meet(records[last * RECORD + 2]!, later);
    }
    if (!joined && compared < MOST_COMPARED) next[last] = r;
  }
}
