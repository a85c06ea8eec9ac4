/**
 * Records of a ChampSim trace (`input_instr` in ChampSim's `inc/trace_instruction.h`): 64 bytes an instruction, little-endian.
 *
 *   byte  0   u64     address of the instruction
 *         8   u8      whether it is a branch
 *         9   u8      whether the branch was taken
 *         10  u8[2]   registers that it writes
 *         12  u8[4]   registers that it reads
 *         16  u64[2]  addresses that it writes; 0 is none
 *         32  u64[4]  addresses that it reads; 0 is none
 *
 * The format has no sizes: each reference is taken as one byte, so that none crosses a page. An instruction is fetched, then reads,
 * then writes.
 */

import { ACCESS_FETCH, ACCESS_LOAD, ACCESS_STORE } from "../../arch/isa/access.ts";
import { InputFileError } from "../input/errors.ts";
import type { BatchWriter } from "./batch-writer.ts";
import { linearAddressOf, NO_ADDRESS } from "./record-address.ts";
import { RecordCutter } from "./record-cutter.ts";
import { BATCH_REFERENCES } from "./reference-batch.ts";
import type { ReferenceParser } from "./reference-parser.ts";

/** Bytes of a record. */
export const CHAMPSIM_RECORD_BYTES = 64;
const IS_BRANCH_AT = 8;
const TAKEN_AT = 9;
const WRITES_AT = 16;
const WRITES = 2;
const READS_AT = 32;
const READS = 4;
const REFERENCES_MAX = 1 + READS + WRITES;

/** Whether a record can be one of ChampSim's: an instruction at a user or kernel address, and flags that are 0 or 1. */
export function isChampsimRecord(view: DataView, at: number): boolean {
  const ip = linearAddressOf(view, at);
  return ip > 0 && view.getUint8(at + IS_BRANCH_AT) <= 1 && view.getUint8(at + TAKEN_AT) <= 1;
}

/** Reads records and puts their references into batches. */
export class ChampsimRecords implements ReferenceParser {
  /** Records so far, one an instruction. */
  records = 0;
  references = 0;
  odd = 0;
  firstOdd = 0;
  private readonly file: string;
  private readonly writer: BatchWriter;
  private readonly cutter = new RecordCutter(CHAMPSIM_RECORD_BYTES);

  /** @param file for messages */
  constructor(file: string, writer: BatchWriter) {
    this.file = file;
    this.writer = writer;
  }

  get openBytes(): number {
    return this.cutter.openBytes;
  }

  feed(bytes: Uint8Array): void {
    this.cutter.cut(bytes, (view, from, to) => {
      for (let at = from; at < to; at += CHAMPSIM_RECORD_BYTES) this.record(view, at);
    });
  }

  end(): void {
    if (this.openBytes > 0) {
      const reason = `record ${this.records + 1}: has ${this.openBytes} bytes, expected ${CHAMPSIM_RECORD_BYTES} (is the file cut short?)`;
      throw new InputFileError(this.file, 0, reason);
    }
    this.writer.flush();
  }

  private record(view: DataView, at: number): void {
    const { writer } = this;
    this.records++;
    if (!isChampsimRecord(view, at)) {
      const reason = `record ${this.records}: is no instruction of ChampSim (address, is_branch, branch_taken)`;
      throw new InputFileError(this.file, 0, reason);
    }
    if (writer.length > BATCH_REFERENCES - REFERENCES_MAX - 1) writer.flush();
    const { kinds, addresses } = writer.batch;
    let { length } = writer;
    kinds[length] = ACCESS_FETCH;
    addresses[length++] = linearAddressOf(view, at);
    let isOdd = false;
    for (let operand = 0; operand < READS + WRITES; operand++) {
      const la = linearAddressOf(
        view,
        at + (operand < READS ? READS_AT + 8 * operand : WRITES_AT + 8 * (operand - READS)),
      );
      if (la === 0) continue;
      if (la === NO_ADDRESS) {
        isOdd = true;
        continue;
      }
      kinds[length] = operand < READS ? ACCESS_LOAD : ACCESS_STORE;
      addresses[length++] = la;
    }
    if (isOdd && this.odd++ === 0) this.firstOdd = this.records;
    this.references++;
    writer.length = length;
  }
}
