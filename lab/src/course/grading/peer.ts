/**
 * @file Calls between two processes, as if there were one: either side's functions are called by the other, also from
 * within a call, and the caller waits. Only promises are waited for in the event loop.
 */
import type { Tensor } from '../../backend/index.ts';
import { LabError } from '../../base/index.ts';
import { Bytes, Table, type Delegate, type Encoded } from './codec.ts';
import { refill, type Parts } from './contents.ts';
import { isTracing, linked, Recorder } from './tape.ts';
import { packFrame, unpackFrame, type Message } from './wire.ts';

export interface Channel {
  /** @param nested whether the other side waits for an answer now, and hears nothing else */
  send(frame: Uint8Array, nested: boolean): void;
  /** The next message, without its first length; waits for it. */
  receive(): Uint8Array;
  /** Told when the other side breaks the rules: nothing that it says can be believed any more. */
  broken?(): void;
}

type AnyFunction = (...args: unknown[]) => unknown;

interface Session {
  readonly id: number;
  readonly table: Table;
  readonly recorder: Recorder;
}

/** What only one of the two sides does. */
export interface Duties {
  /** Evaluates a cell; the promise is of what is wrong with it. */
  cell?(title: string, source: string): Promise<string | undefined>;
  names?(names: readonly string[]): object;
  forget?(): void;
}

export class Peer {
  readonly #side: 0 | 1;
  readonly #channel: Channel;
  readonly #duties: Duties;
  readonly #sessions = new Map<number, Session>();
  readonly #functions = new Map<number, AnyFunction>();
  readonly #functionIds = new Map<AnyFunction, number>();
  /** Functions of the other side, by what stands for them here. */
  readonly #theirs = new WeakMap<AnyFunction, number>();
  readonly #promises = new Map<number, { resolve: (value: unknown) => void; reject: (error: unknown) => void }>();
  /** What objects were before the other side changed them. */
  readonly #before = new Map<object, Parts>();
  #next: number;
  /** In which a call of the other side is being answered, and how many are. */
  #current: Session | undefined;
  #depth = 0;

  /** @param side 0: the grader, which may link tensors; 1: the student's process, which records */
  constructor(side: 0 | 1, channel: Channel, duties: Duties = {}) {
    this.#side = side;
    this.#next = side;
    this.#channel = channel;
    this.#duties = duties;
  }

  /** Has the other side evaluate a cell; what is wrong with it, or undefined. */
  cell(title: string, source: string): string | undefined {
    const call = this.#number();
    this.#send({ kind: 'cell', call, title, source }, new Bytes());
    return this.#answer(call) as string | undefined;
  }

  /** The answers that the other side has by these names: functions that can be called here, and data. */
  names(names: readonly string[]): object {
    const call = this.#number();
    this.#send({ kind: 'names', call, session: this.#newSession().id, names }, new Bytes());
    return this.#answer(call) as object;
  }

  /** Ends all sessions, here and there; what was changed here is put back. */
  forget(): void {
    this.#clear();
    this.#send({ kind: 'forget' }, new Bytes());
  }

  /** Fails all promises of the other side, which is no more. */
  abandon(error: unknown): void {
    for (const { reject } of this.#promises.values()) reject(error);
    this.#clear();
  }

  /**
   * Deals with a message that comes while nobody waits for one.
   *
   * @throws LabError when it is malformed
   */
  handle(rest: Uint8Array): void {
    const frame = unpackFrame(rest);
    const { message } = frame;
    switch (message.kind) {
      case 'cell':
        return this.#serveCell(message);
      case 'names':
        return this.#serve(message, () => this.#duties.names?.(message.names) ?? {});
      case 'call':
        return this.#serve(message, (session) => this.#run(message, session, frame.bytes));
      case 'gradient':
        return this.#serve(message, ({ table, recorder }) => {
          const upstream = table.decode(message.upstream, frame.bytes) as Tensor;
          return recorder.gradient(table.get(message.of) as Tensor, table.get(message.to) as Tensor, upstream);
        });
      case 'resolve':
      case 'reject':
        return this.#settle(message, frame.bytes);
      case 'forget':
        this.#clear();
        return this.#duties.forget?.();
      default:
        throw new LabError('a malformed message');
    }
  }

  #clear(): void {
    for (const [value, parts] of this.#before) refill(value, parts);
    this.#before.clear();
    this.#sessions.clear();
    this.#functions.clear();
    this.#functionIds.clear();
    this.#promises.clear();
  }

  #number(): number {
    this.#next += 2;
    return this.#next;
  }

  #send(message: Message, bytes: Bytes, nested = this.#depth > 0): void {
    this.#channel.send(packFrame({ message, bytes: bytes.joined() }), nested);
  }

  #session(id: unknown): Session {
    if (!Number.isSafeInteger(id)) throw new LabError('a malformed message');
    return this.#sessions.get(id as number) ?? this.#newSession(id as number);
  }

  #newSession(id = this.#number()): Session {
    const recorder = new Recorder();
    // The delegate speaks for a session that is being made.
    const delegate: Delegate = {
      nameFunction: (f) => this.#nameFunction(f),
      functionNamed: (target, label, parameters) => this.#stub(session, target, label, parameters),
      ownFunction: (target) => this.#ownFunction(target),
      namePromise: (promise) => this.#namePromise(session, promise),
      promiseNamed: (promise) => new Promise((resolve, reject) => void this.#promises.set(promise, { resolve, reject })),
      sources: (tensor) => (this.#side === 1 ? recorder.sources(tensor) : []),
      tensorFrom: (tensor, at, sources) => this.#tensorFrom(session, tensor, at, sources),
    };
    const session: Session = { id, recorder, table: new Table(this.#side, delegate) };
    this.#sessions.set(id, session);
    return session;
  }

  #nameFunction(f: AnyFunction): { own: number } | { theirs: number } {
    const theirs = this.#theirs.get(f);
    if (theirs !== undefined) return { theirs };
    let own = this.#functionIds.get(f);
    if (own === undefined) {
      own = this.#number();
      this.#functions.set(own, f);
      this.#functionIds.set(f, own);
    }
    return { own };
  }

  #ownFunction(target: unknown): AnyFunction {
    const f = this.#functions.get(target as number);
    if (!f) throw new LabError('a malformed message');
    return f;
  }

  /** A function of the other side. */
  #stub(session: Session, target: number, label: string, parameters: number): AnyFunction {
    const stub: AnyFunction = (...args) => {
      // A call from outside is a session of its own; what is called within it belongs to it.
      const own = this.#sessions.get(session.id) === session ? session : this.#newSession();
      const within = this.#side === 1 ? own : (this.#current ?? this.#newSession());
      return this.#call(within, target, args);
    };
    Object.defineProperty(stub, 'name', { value: label });
    Object.defineProperty(stub, 'length', { value: parameters });
    this.#theirs.set(stub, target);
    return stub;
  }

  #call(session: Session, target: number, args: readonly unknown[]): unknown {
    const call = this.#number();
    const bytes = new Bytes();
    const changes = session.table.encodeChanges(bytes);
    const encoded = args.map((arg) => session.table.encode(arg, bytes));
    this.#send({ kind: 'call', call, session: session.id, target, traced: isTracing(), changes, args: encoded }, bytes);
    return this.#answer(call);
  }

  /** Waits for the answer to a call, and meanwhile answers the calls that it leads to. */
  #answer(call: number): unknown {
    for (;;) {
      const rest = this.#channel.receive();
      const answer = this.#unlessBroken(() => {
        const { message, bytes } = unpackFrame(rest);
        if (message.kind !== 'return' && message.kind !== 'throw') {
          this.handle(rest);
          return undefined;
        }
        if (message.call !== call) throw new LabError('a malformed message');
        return { kind: message.kind, value: this.#take(message, bytes) };
      });
      if (answer?.kind === 'throw') throw answer.value;
      if (answer) return answer.value;
    }
  }

  #unlessBroken<T>(body: () => T): T {
    try {
      return body();
    } catch (error) {
      this.#channel.broken?.();
      throw error;
    }
  }

  /** The value of a message, after the changes that came with it. */
  #take(message: { session: number; changes: Encoded; value: Encoded }, bytes: Uint8Array): unknown {
    const { table } = this.#session(message.session);
    table.applyChanges(message.changes, bytes, (value, parts) => {
      if (this.#side === 0 && !this.#before.has(value)) this.#before.set(value, parts);
    });
    return table.decode(message.value, bytes);
  }

  #serve(message: { call: number; session: number }, body: (session: Session) => unknown): void {
    const session = this.#session(message.session);
    const before = this.#current;
    this.#current = session;
    this.#depth++;
    let kind: 'return' | 'throw' = 'return';
    let value: unknown;
    try {
      value = body(session);
    } catch (error) {
      [kind, value] = ['throw', error];
    } finally {
      this.#depth--;
      this.#current = before;
    }
    this.#reply(session, (encoded) => ({ ...encoded, kind, call: message.call, session: session.id }), value, true);
  }

  #run(message: Message & { kind: 'call' }, session: Session, bytes: Uint8Array): unknown {
    this.#take({ session: session.id, changes: message.changes, value: null }, bytes);
    if (!Array.isArray(message.args)) throw new LabError('a malformed message');
    const values = (message.args as unknown[]).map((arg) => session.table.decode(arg, bytes));
    const f = this.#ownFunction(message.target);
    return this.#side === 1 && message.traced ? session.recorder.record(() => f(...values)) : f(...values);
  }

  /** Sends a value; where it cannot be sent, says so instead. */
  #reply(
    session: Session,
    make: (encoded: { value: Encoded; changes: Encoded }) => Message,
    value: unknown,
    nested: boolean,
  ): void {
    const bytes = new Bytes();
    try {
      const changes = session.table.encodeChanges(bytes);
      this.#send(make({ changes, value: session.table.encode(value, bytes) }), bytes, nested);
    } catch (error) {
      const failure = make({ changes: [], value: session.table.encode(error, new Bytes()) });
      const kind = failure.kind === 'return' ? 'throw' : failure.kind === 'resolve' ? 'reject' : failure.kind;
      this.#send({ ...failure, kind } as Message, new Bytes(), nested);
    }
  }

  #serveCell({ call, title, source }: Message & { kind: 'cell' }): void {
    const session = this.#newSession();
    void this.#duties
      .cell?.(title, source)
      .then((problem) =>
        this.#reply(session, (encoded) => ({ ...encoded, kind: 'return', call, session: session.id }), problem, false),
      );
  }

  #namePromise(session: Session, promise: Promise<unknown>): number {
    const id = this.#number();
    const settle = (kind: 'resolve' | 'reject') => (value: unknown) => {
      if (this.#sessions.get(session.id) !== session) return; // the exercise is over
      this.#reply(session, (encoded) => ({ ...encoded, kind, promise: id, session: session.id }), value, false);
    };
    promise.then(settle('resolve'), settle('reject'));
    return id;
  }

  #settle(message: Message & { kind: 'resolve' | 'reject' }, bytes: Uint8Array): void {
    const waiting = this.#promises.get(message.promise);
    if (!waiting) return; // of an exercise that is over
    this.#promises.delete(message.promise);
    const value = this.#take(message, bytes);
    if (message.kind === 'resolve') waiting.resolve(value);
    else waiting.reject(value);
  }

  #tensorFrom({ id, table, recorder }: Session, tensor: Tensor, at: number, sources: readonly number[]): Tensor {
    if (this.#side === 1) {
      recorder.give(at, tensor);
      return tensor;
    }
    if (sources.length === 0 || !isTracing()) return tensor;
    const inputs = new Map(sources.map((source) => [source, table.get(source) as Tensor]));
    return linked(tensor, inputs, (to, upstream) => {
      const call = this.#number();
      const bytes = new Bytes();
      this.#send({ kind: 'gradient', call, session: id, of: at, to, upstream: table.encode(upstream, bytes) }, bytes);
      return this.#answer(call) as Tensor;
    });
  }
}
