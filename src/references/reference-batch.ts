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

/** Cells of the head: how many references there are, and of whom. */
const HEAD_LENGTH = 0;
const HEAD_THREAD = 1;
const HEAD_PROCESS = 2;
const HEAD_STREAM = 3;
const HEAD_BYTES_READ = 4;
const HEAD_FORMAT = 5;
const HEAD_CELLS = 8;

/** Formats of traces that are read: valgrind's lackey, DynamoRIO's drmemtrace, ChampSim's. */
export const REFERENCE_FORMATS = ["lackey", "drmemtrace", "champsim"] as const;
/** One of them. */
export type ReferenceFormat = (typeof REFERENCE_FORMATS)[number];

/** Bytes of memory that a batch takes. */
export const BATCH_BYTES = 8 * HEAD_CELLS + 8 * BATCH_REFERENCES + BATCH_REFERENCES;

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
  private readonly head: Float64Array;

  /** @param memory at least `BATCH_BYTES` from `offset` on, a multiple of 8 */
  constructor(memory: ArrayBufferLike = new ArrayBuffer(BATCH_BYTES), offset = 0) {
    this.head = new Float64Array(memory, offset, HEAD_CELLS);
    this.addresses = new Float64Array(memory, offset + 8 * HEAD_CELLS, BATCH_REFERENCES);
    this.kinds = new Uint8Array(memory, offset + 8 * (HEAD_CELLS + BATCH_REFERENCES), BATCH_REFERENCES);
  }

  /** References in it. */
  get length(): number {
    return this.head[HEAD_LENGTH];
  }

  set length(references: number) {
    this.head[HEAD_LENGTH] = references;
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

/** Takes a full batch, and returns the one to fill next, which may be the same. */
export type PassOn = (batch: ReferenceBatch) => ReferenceBatch;

/** Fills batches one after another. */
export class BatchWriter {
  /** Bytes of the trace read so far, for whoever shows progress. */
  bytesRead = 0;
  /** The trace's format, once that is known. */
  format: ReferenceFormat = "lackey";
  /** What is being filled, and how many references are in it: for parsers that fill it themselves, never above `BATCH_REFERENCES - 1`. */
  batch: ReferenceBatch;
  length = 0;
  private readonly passOn: PassOn;
  private thread: ReferenceThread = { tid: 0, pid: 0, stream: 0 };

  constructor(first: ReferenceBatch, passOn: PassOn) {
    this.batch = first;
    this.passOn = passOn;
  }

  /** The references that follow are of this thread. */
  chooseThread(thread: ReferenceThread): void {
    const { tid, pid, stream } = this.thread;
    if (tid === thread.tid && pid === thread.pid && stream === thread.stream) return;
    this.flush();
    this.thread = thread;
  }

  /** Adds a reference of `sizeBytes` at `la`; one that crosses into other pages has a part in each. */
  put(kind: number, la: number, sizeBytes: number): void {
    this.putPart(kind, la);
    const inPage = 4096 - ((la | 0) & 4095);
    for (let done = inPage; done < sizeBytes; done += 4096) this.putPart(kind | KIND_CONTINUES, la + done);
  }

  /** Passes on what there is. */
  flush(): void {
    if (this.length === 0) return;
    const { batch } = this;
    batch.length = this.length;
    batch.thread = this.thread;
    batch.bytesRead = this.bytesRead;
    batch.format = this.format;
    this.length = 0;
    this.batch = this.passOn(batch);
  }

  private putPart(kind: number, la: number): void {
    const { batch, length } = this;
    batch.kinds[length] = kind;
    batch.addresses[length] = la;
    this.length = length + 1;
    if (length + 1 === BATCH_REFERENCES) this.flush();
  }
}
