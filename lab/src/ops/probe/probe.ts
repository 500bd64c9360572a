/**
 * @file What a device is asked when it is measured: to read, or to compute, and nothing else.
 */

/** A piece of work that can be made longer: `run(turns)` resolves when all of it is done. */
export interface Probe {
  /** Bytes that one turn reads. */
  readonly bytes?: number;
  /** Floating-point operations of one turn. */
  readonly flops?: number;
  run(turns: number): Promise<void>;
}

/** The probes of one backend. */
export interface Probes {
  /** The largest working set that is worth a measurement there, in bytes. */
  readonly largestBytes: number;
  /** The smallest one. */
  readonly smallestBytes: number;
  /** Reads a working set of that many bytes again and again. */
  read(bytes: number): Probe;
  /** Reads the workgroups' memory, where there is such a thing. */
  readonly readWorkgroup?: Probe;
  /** Multiplies and adds between registers; undefined where the backend can be reached through operations on tensors only. */
  readonly compute?: Probe;
  /** The shortest call there is. */
  readonly call: Probe;
  /** Gives the memory of the working sets back. */
  dispose(): void;
}
