/**
 * References on their way from whoever reads a trace to whoever replays it: typed arrays of some thousand references, in memory that
 * two threads may share. All references of a batch are of one thread of the traced program.
 */

import { ACCESS_FETCH } from "../../arch/isa/access.ts";

/** Most references of a batch: at 9 bytes each, some of them fit into a second-level data cache. */
export const BATCH_REFERENCES = 8192;
/** Bit of a kind: the part, in a further page, of the reference before it. */
export const KIND_CONTINUES = 4;
/** Fetch of an instruction's first bytes: what is counted as one instruction. */
export const KIND_INSTRUCTION = ACCESS_FETCH;

/** Kinds of access: loads, stores, fetches. */
const KINDS = 3;

/** Cells of the head: how many references there are, and of whom. */
const HEAD_LENGTH = 0;
const HEAD_THREAD = 1;
const HEAD_PROCESS = 2;
const HEAD_STREAM = 3;
const HEAD_BYTES_READ = 4;
const HEAD_FORMAT = 5;
const HEAD_INSTRUCTIONS = 6;
/** How many run heads there are, and then, by kind of access, how many references are none. */
const HEAD_RUN_HEADS = 7;
const HEAD_REPEATS = 8;
const HEAD_CELLS = 12;

/** Formats of traces that are read: valgrind's lackey, DynamoRIO's drmemtrace, ChampSim's. */
export const REFERENCE_FORMATS = ["lackey", "drmemtrace", "champsim"] as const;
/** One of them. */
export type ReferenceFormat = (typeof REFERENCE_FORMATS)[number];

/** Bytes of memory that a batch takes. */
export const BATCH_BYTES = 8 * HEAD_CELLS + 20 * BATCH_REFERENCES;

/** Who made the references of a batch. */
export interface ReferenceThread {
  /** Thread and process as the traced system numbers them; 0 where a trace does not say. */
  readonly tid: number;
  readonly pid: number;
  /** Threads that run on one CPU have one number: of the thread or, in a trace with a file for each core, of the core; from 0. */
  readonly stream: number;
}

/** Some references of one thread, in order. */
export class ReferenceBatch {
  /** `ACCESS_LOAD`, `ACCESS_STORE` or `ACCESS_FETCH`, with {@link KIND_CONTINUES}. */
  readonly kinds: Uint8Array;
  /** Linear addresses of 48 bits. */
  readonly addresses: Float64Array;
  /**
   * The references that a replay cannot leave out (page-runs.ts): kinds with `MUST_HIT` for the second of a run, addresses, and their
   * indexes in the batch. `runHeads` of them.
   */
  readonly headKinds: Uint8Array;
  readonly headAddresses: Float64Array;
  readonly headIndexes: Uint16Array;
  /** By kind of access, how many references are no run heads. */
  readonly repeats: Float64Array;
  private readonly head: Float64Array;

  /** @param memory at least `BATCH_BYTES` from `offset` on, a multiple of 8 */
  constructor(memory: ArrayBufferLike = new ArrayBuffer(BATCH_BYTES), offset = 0) {
    this.head = new Float64Array(memory, offset, HEAD_CELLS);
    this.repeats = new Float64Array(memory, offset + 8 * HEAD_REPEATS, KINDS);
    let at = offset + 8 * HEAD_CELLS;
    const take = (bytesEach: number): number => {
      const taken = at;
      at += bytesEach * BATCH_REFERENCES;
      return taken;
    };
    this.addresses = new Float64Array(memory, take(8), BATCH_REFERENCES);
    this.headAddresses = new Float64Array(memory, take(8), BATCH_REFERENCES);
    this.headIndexes = new Uint16Array(memory, take(2), BATCH_REFERENCES);
    this.kinds = new Uint8Array(memory, take(1), BATCH_REFERENCES);
    this.headKinds = new Uint8Array(memory, take(1), BATCH_REFERENCES);
  }

  /** References in it. */
  get length(): number {
    return this.head[HEAD_LENGTH];
  }

  set length(references: number) {
    this.head[HEAD_LENGTH] = references;
  }

  /** Instructions in it. */
  get instructions(): number {
    return this.head[HEAD_INSTRUCTIONS];
  }

  set instructions(count: number) {
    this.head[HEAD_INSTRUCTIONS] = count;
  }

  /** Run heads in it. */
  get runHeads(): number {
    return this.head[HEAD_RUN_HEADS];
  }

  set runHeads(count: number) {
    this.head[HEAD_RUN_HEADS] = count;
  }

  /** Nothing is said of runs any more. */
  clearRuns(): void {
    this.head[HEAD_RUN_HEADS] = 0;
    this.head[HEAD_INSTRUCTIONS] = 0;
    this.repeats.fill(0);
  }

  /** Whose they are. */
  get thread(): ReferenceThread {
    const { head } = this;
    return { tid: head[HEAD_THREAD], pid: head[HEAD_PROCESS], stream: head[HEAD_STREAM] };
  }

  set thread({ tid, pid, stream }: ReferenceThread) {
    this.head[HEAD_THREAD] = tid;
    this.head[HEAD_PROCESS] = pid;
    this.head[HEAD_STREAM] = stream;
  }

  /** Bytes of the trace, still packed, that had been read when it was passed on. */
  get bytesRead(): number {
    return this.head[HEAD_BYTES_READ];
  }

  set bytesRead(bytes: number) {
    this.head[HEAD_BYTES_READ] = bytes;
  }

  /** The trace's format. */
  get format(): ReferenceFormat {
    return REFERENCE_FORMATS[this.head[HEAD_FORMAT]];
  }

  set format(format: ReferenceFormat) {
    this.head[HEAD_FORMAT] = REFERENCE_FORMATS.indexOf(format);
  }
}
