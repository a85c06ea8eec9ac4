/**
 * Records of DynamoRIO's drmemtrace (`trace_entry_t` in `clients/drcachesim/common/trace_entry.h`, versions 2 to 7): 12 bytes, packed,
 * little-endian.
 *
 *   byte  0   u16  type
 *         2   u16  size: bytes of the reference or instruction; of a marker, its kind
 *         4   u64  address, or what else the type says
 *
 * Loads, stores and instructions become references. As in DynamoRIO's own TLB simulator, prefetches and cache flushes do not.
 */

import { ACCESS_FETCH, ACCESS_LOAD, ACCESS_STORE } from "../../arch/isa/access.ts";
import { InputFileError } from "../input/errors.ts";
import type { BatchWriter } from "./batch-writer.ts";
import { linearAddressOf, NO_ADDRESS } from "./record-address.ts";
import { RecordCutter } from "./record-cutter.ts";
import type { ReferenceParser } from "./reference-parser.ts";

/** Bytes of a record. */
export const DRMEMTRACE_RECORD_BYTES = 12;
const SIZE_AT = 2;
const VALUE_AT = 4;

/** `TRACE_TYPE_*`. */
const TYPE = {
  read: 0,
  write: 1,
  firstInstruction: 10,
  lastInstruction: 16,
  bundle: 17,
  thread: 22,
  pid: 24,
  header: 25,
  marker: 28,
  noFetch: 29,
  maybeFetch: 30,
  sysenter: 31,
  encoding: 47,
  takenJump: 48,
  untakenJump: 49,
} as const;
const TYPES = 50;
/** `TRACE_MARKER_TYPE_*`. */
const MARKER = { timestamp: 2, filetype: 9 } as const;
/** `OFFLINE_FILE_TYPE_*`: what the file says of itself. */
const FILETYPE_X86_32 = 0x20;
const FILETYPE_CORE_SHARDED = 0x10000;
/** Instructions whose lengths one bundle record holds. */
const BUNDLE_MAX = 8;

const IGNORED = 0;
const DATA = 1;
const INSTRUCTION = 2;
const OTHER = 3;
/** What each type of record is. */
const CLASS = new Uint8Array(TYPES);
CLASS[TYPE.read] = DATA;
CLASS[TYPE.write] = DATA;
for (let type: number = TYPE.firstInstruction; type <= TYPE.lastInstruction; type++) CLASS[type] = INSTRUCTION;
for (const type of [TYPE.maybeFetch, TYPE.sysenter, TYPE.takenJump, TYPE.untakenJump]) CLASS[type] = INSTRUCTION;
for (const type of [TYPE.bundle, TYPE.thread, TYPE.pid, TYPE.header, TYPE.marker]) CLASS[type] = OTHER;

/** Whether 12 bytes can begin such a trace: its header, with a version of the format. */
export function isDrmemtraceHeader(view: DataView, at: number): boolean {
  return view.getUint16(at, true) === TYPE.header && isVersion(view, at);
}

function isVersion(view: DataView, at: number): boolean {
  const version = view.getUint32(at + VALUE_AT, true);
  return version >= 1 && version < 256 && view.getUint32(at + VALUE_AT + 4, true) === 0;
}

/** Reads the records of one file and puts their references into batches. */
export class DrmemtraceRecords implements ReferenceParser {
  records = 0;
  references = 0;
  odd = 0;
  firstOdd = 0;
  /** The time of the last timestamp, in microseconds; 0 before the first. */
  timestamp = 0;
  private readonly file: string;
  private readonly writer: BatchWriter;
  private readonly streamOf: (tid: number) => number;
  private readonly cutter = new RecordCutter(DRMEMTRACE_RECORD_BYTES);
  private tid = 0;
  private pid = 0;
  /** Where the instruction after the last one begins, for bundles. */
  private nextPc = 0;
  /** Records that are left of the piece that was fed last. */
  private rest: { readonly view: DataView; at: number; readonly end: number } | null = null;

  /**
   * @param file for messages
   * @param streamOf the stream (`ReferenceThread.stream`) that a thread belongs to
   */
  constructor(file: string, writer: BatchWriter, streamOf: (tid: number) => number) {
    this.file = file;
    this.writer = writer;
    this.streamOf = streamOf;
  }

  get openBytes(): number {
    return this.cutter.openBytes;
  }

  /** Whether the file has a file for each core, not for each thread. */
  isCoreSharded = false;

  feed(bytes: Uint8Array): void {
    this.cutter.cut(bytes, (view, from, to) => {
      this.rest = { view, at: from, end: to };
      while (this.advance());
    });
  }

  /** {@link feed} for a file of several: what the bytes hold is made by {@link advance}. */
  feedLater(bytes: Uint8Array): void {
    this.cutter.cut(bytes, (view, from, to) => {
      // A record that was cut in two comes by itself before the others.
      while (this.advance());
      this.rest = { view, at: from, end: to };
    });
  }

  /** Makes the references up to the next timestamp; false when there is none in what was fed. */
  advance(): boolean {
    const { rest } = this;
    if (rest === null) return false;
    const { view, end } = rest;
    this.claim();
    for (let { at } = rest; at < end; at += DRMEMTRACE_RECORD_BYTES) {
      if (this.record(view, at)) {
        rest.at = at + DRMEMTRACE_RECORD_BYTES;
        return true;
      }
    }
    this.rest = null;
    return false;
  }

  end(): void {
    if (this.openBytes > 0) {
      const reason = `record ${this.records + 1}: has ${this.openBytes} bytes, expected ${DRMEMTRACE_RECORD_BYTES} (is the file cut short?)`;
      throw new InputFileError(this.file, 0, reason);
    }
    this.writer.flush();
  }

  /** One record; true for a timestamp. */
  private record(view: DataView, at: number): boolean {
    const type = view.getUint16(at, true);
    this.records++;
    if (type >= TYPES) this.refuse(`has type ${type}, and there are types 0 to ${TYPES - 1}`);
    switch (CLASS[type]) {
      case IGNORED:
        return false;
      case DATA:
        this.reference(
          type === TYPE.read ? ACCESS_LOAD : ACCESS_STORE,
          linearAddressOf(view, at + VALUE_AT),
          view.getUint16(at + SIZE_AT, true),
        );
        return false;
      case INSTRUCTION: {
        const pc = linearAddressOf(view, at + VALUE_AT);
        const length = view.getUint16(at + SIZE_AT, true);
        this.reference(ACCESS_FETCH, pc, length);
        this.nextPc = pc + length;
        return false;
      }
      default:
        return this.other(type, view, at);
    }
  }

  private reference(kind: number, la: number, sizeBytes: number): void {
    if (la === NO_ADDRESS) {
      if (this.odd++ === 0) this.firstOdd = this.records;
      return;
    }
    this.references++;
    this.writer.put(kind, la, Math.max(1, sizeBytes));
  }

  private other(type: number, view: DataView, at: number): boolean {
    const value = view.getUint32(at + VALUE_AT, true);
    switch (type) {
      case TYPE.bundle:
        this.bundle(view, at);
        break;
      case TYPE.thread:
        this.tid = value;
        this.claim();
        break;
      case TYPE.pid:
        this.pid = value;
        this.claim();
        break;
      case TYPE.header:
        if (!isVersion(view, at))
          this.refuse(`is a header with version ${view.getBigUint64(at + VALUE_AT, true)}, expected 1 to 255`);
        break;
      default:
        return this.marker(view.getUint16(at + SIZE_AT, true), value, view, at);
    }
    return false;
  }

  private marker(kind: number, value: number, view: DataView, at: number): boolean {
    if (kind === MARKER.filetype) {
      if ((value & FILETYPE_X86_32) !== 0) this.refuse("says that the traced program has 32 bits; 64 are read");
      this.isCoreSharded = (value & FILETYPE_CORE_SHARDED) !== 0;
    }
    if (kind !== MARKER.timestamp) return false;
    this.timestamp = view.getUint32(at + VALUE_AT + 4, true) * 2 ** 32 + value;
    return true;
  }

  /** Several instructions one after another, of which only the lengths are given. */
  private bundle(view: DataView, at: number): void {
    const count = view.getUint16(at + SIZE_AT, true);
    if (count > BUNDLE_MAX) this.refuse(`is a bundle of ${count} instructions, expected at most ${BUNDLE_MAX}`);
    for (let i = 0; i < count; i++) {
      const length = view.getUint8(at + VALUE_AT + i);
      this.reference(ACCESS_FETCH, this.nextPc, length);
      this.nextPc += length;
    }
  }

  /** What follows is of this file's thread. */
  private claim(): void {
    const { tid, pid } = this;
    this.writer.chooseThread({ tid, pid, stream: this.streamOf(tid) });
  }

  private refuse(what: string): never {
    throw new InputFileError(this.file, 0, `record ${this.records}: ${what}`);
  }
}
