/** Traces of references, written by the tests; and what a parser makes of them, one line a reference. */
import { BatchWriter } from "../../../src/references/batch-writer.ts";
import { KIND_CONTINUES, ReferenceBatch } from "../../../src/references/reference-batch.ts";
import type { ReferenceParser } from "../../../src/references/reference-parser.ts";

/** A record of drmemtrace: type, size (of a marker: its kind) and value. */
export type DrRecord = readonly [type: number, size: number, value: bigint | number];

/** The bytes of records of drmemtrace, as `trace_entry_t` lays them out. */
export function encodeDrmemtrace(records: readonly DrRecord[]): Buffer {
  const bytes = Buffer.alloc(12 * records.length);
  records.forEach(([type, size, value], i) => {
    bytes.writeUInt16LE(type, 12 * i);
    bytes.writeUInt16LE(size, 12 * i + 2);
    bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), 12 * i + 4);
  });
  return bytes;
}

/** What a file of a thread begins with: header, version, thread, process. */
export function drHead(tid: number, pid: number): DrRecord[] {
  return [
    [25, 0, 7],
    [28, 12, 7],
    [28, 9, 0x40],
    [22, 4, tid],
    [24, 4, pid],
  ];
}

/** An instruction of ChampSim. */
export interface ChampsimInstruction {
  readonly ip: bigint | number;
  readonly reads?: readonly (bigint | number)[];
  readonly writes?: readonly (bigint | number)[];
  readonly isBranch?: number;
}

/** The bytes of instructions, as `input_instr` lays them out. */
export function encodeChampsim(instructions: readonly ChampsimInstruction[]): Buffer {
  const bytes = Buffer.alloc(64 * instructions.length);
  instructions.forEach(({ ip, reads = [], writes = [], isBranch = 0 }, i) => {
    const put = (value: bigint | number, at: number) => bytes.writeBigUInt64LE(BigInt(value), 64 * i + at);
    put(ip, 0);
    bytes.writeUInt8(isBranch, 64 * i + 8);
    bytes.writeUInt8(isBranch, 64 * i + 9);
    bytes.fill(7, 64 * i + 10, 64 * i + 16);
    for (const [k, la] of writes.entries()) put(la, 16 + 8 * k);
    for (const [k, la] of reads.entries()) put(la, 32 + 8 * k);
  });
  return bytes;
}

const KINDS = "LSI";

/** A writer, and what it was given: `L 1000`, in the next page of the same reference `+L 2000`, after another thread `@tid`. */
export function collector(): { readonly writer: BatchWriter; readonly seen: string[] } {
  const seen: string[] = [];
  let tid = 0;
  const writer = new BatchWriter(new ReferenceBatch(), (batch) => {
    if (batch.thread.tid !== tid) {
      tid = batch.thread.tid;
      seen.push(`@${tid}`);
    }
    for (let i = 0; i < batch.length; i++) {
      const kind = batch.kinds[i];
      seen.push(`${kind & KIND_CONTINUES ? "+" : ""}${KINDS[kind & 3]} ${batch.addresses[i].toString(16)}`);
    }
    return batch;
  });
  return { writer, seen };
}

/** Feeds `bytes` in pieces of `piece` bytes and says what came out. */
export function parsed(make: (writer: BatchWriter) => ReferenceParser, bytes: Uint8Array, piece = bytes.length) {
  const { writer, seen } = collector();
  const parser = make(writer);
  for (let at = 0; at < bytes.length; at += piece) parser.feed(bytes.subarray(at, at + piece));
  parser.end();
  return { parser, seen };
}
