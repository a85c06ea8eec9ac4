/** Lines of the usual form of a lackey trace, parsed in WebAssembly: lackey-module.ts says which those are. */
import { WebAssembly } from "../../arch/wasm/encoding.ts";
import type { BatchWriter } from "./batch-writer.ts";
import { LAYOUT } from "./lackey-layout.ts";
import { type LackeyExports, lackeyModule, PLAIN_LINE_BYTES } from "./lackey-module.ts";
import { BATCH_REFERENCES, type ReferenceBatch } from "./reference-batch.ts";

/** The module, with the memory that the text is copied to. */
export class PlainLines {
  /** Lines that the last call of `parse` parsed; each is a reference, or two of a modification. */
  lines = 0;
  private readonly exports: LackeyExports;
  private readonly results: Int32Array;
  private readonly addresses: Float64Array;
  private readonly kinds: Uint8Array;
  private readonly headAddresses: Float64Array;
  private readonly headKinds: Uint8Array;
  private readonly headIndexes: Uint16Array;
  private readonly text: Uint8Array;
  private bytes: Uint8Array = new Uint8Array(0);
  private end = 0;
  /** The part of `bytes` that has been copied. */
  private copiedFrom = 0;
  private copiedTo = 0;

  private constructor() {
    const module = new WebAssembly.Module(lackeyModule());
    this.exports = new WebAssembly.Instance(module).exports as LackeyExports;
    const { buffer } = this.exports.memory;
    this.results = new Int32Array(buffer, 0, LAYOUT.addresses >> 2);
    this.addresses = new Float64Array(buffer, LAYOUT.addresses, BATCH_REFERENCES);
    this.kinds = new Uint8Array(buffer, LAYOUT.kinds, BATCH_REFERENCES);
    this.headAddresses = new Float64Array(buffer, LAYOUT.headAddresses, BATCH_REFERENCES);
    this.headKinds = new Uint8Array(buffer, LAYOUT.headKinds, BATCH_REFERENCES);
    this.headIndexes = new Uint16Array(buffer, LAYOUT.headIndexes, BATCH_REFERENCES);
    this.text = new Uint8Array(buffer, LAYOUT.text, LAYOUT.textBytes);
  }

  /** Makes the module; null where the host has no WebAssembly (`node --jitless`) or none with vectors. */
  static make(): PlainLines | null {
    try {
      return new PlainLines();
    } catch {
      return null;
    }
  }

  /** Whole lines that are to be parsed: `bytes[start]` to `bytes[end - 1]`. */
  begin(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.end = end;
    this.copiedFrom = start;
    this.copiedTo = start;
  }

  /**
   * Parses from the line at `at` on, after the last call's, until one is not of the usual form, or the batch is full, or the end is near; their
   * references go into the batch of `writer`, which has room for two. Returns where it stopped, perhaps at `at`.
   */
  parse(at: number, writer: BatchWriter): number {
    if (at + PLAIN_LINE_BYTES > this.copiedTo && this.copiedTo < this.end) this.copy(at);
    writer.findRuns();
    const { exports, results, copiedFrom, copiedTo } = this;
    const { length, batch } = writer;
    const shift = LAYOUT.text - copiedFrom;
    const last = copiedTo - PLAIN_LINE_BYTES;
    const count = exports.parse(at + shift, last + shift, BATCH_REFERENCES - 2 - length);
    this.lines = results[LAYOUT.lines >> 2];
    batch.addresses.set(this.addresses.subarray(0, count), length);
    batch.kinds.set(this.kinds.subarray(0, count), length);
    this.copyRuns(batch, length, count);
    writer.length = length + count;
    writer.runsUntil = length + count;
    return results[LAYOUT.stoppedAt >> 2] - shift;
  }

  /** What the last call found of runs in `count` references, the first of which has become reference `first` of the batch. */
  private copyRuns(batch: ReferenceBatch, first: number, count: number): void {
    const { results, headIndexes } = this;
    const { repeats, runHeads } = batch;
    const heads = results[LAYOUT.heads >> 2];
    const stores = results[LAYOUT.repeatedStores >> 2];
    const fetches = results[LAYOUT.repeatedFetches >> 2];
    batch.headAddresses.set(this.headAddresses.subarray(0, heads), runHeads);
    batch.headKinds.set(this.headKinds.subarray(0, heads), runHeads);
    for (let i = 0; i < heads; i++) batch.headIndexes[runHeads + i] = first + headIndexes[i];
    batch.runHeads = runHeads + heads;
    batch.instructions += results[LAYOUT.fetches >> 2];
    repeats[0] += count - heads - stores - fetches;
    repeats[1] += stores;
    repeats[2] += fetches;
  }

  private copy(from: number): void {
    const to = Math.min(this.end, from + LAYOUT.textBytes);
    this.text.set(this.bytes.subarray(from, to));
    this.copiedFrom = from;
    this.copiedTo = to;
  }
}
