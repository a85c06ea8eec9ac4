/** The memory and the locals of the module that parses lackey's lines (lackey-module.ts). */

import { WASM_PAGE_BYTES } from "../../arch/wasm/encoding.ts";
import { BATCH_REFERENCES } from "./reference-batch.ts";

/** Bytes behind the text that a vector may reach into. */
const SLACK_BYTES = 64;
const TEXT_BYTES = 2 ** 18;
/** The last line may be one of two references, and what is behind the last run head is written too; a multiple of 8. */
const OUT_REFERENCES = BATCH_REFERENCES + 8;
const OUT_AT = 64;

/** Where things lie in the memory, in bytes. */
export const LAYOUT = {
  /** Words: where `parse` stopped, and how many lines it parsed. */
  stoppedAt: 0,
  lines: 4,
  /** Words: how many run heads (page-runs.ts) there are among the references, how many fetches, and stores and fetches that are none. */
  heads: 8,
  fetches: 12,
  repeatedStores: 16,
  repeatedFetches: 20,
  /** Its references: addresses as 64-bit floating-point numbers, kinds as bytes. */
  addresses: OUT_AT,
  kinds: OUT_AT + 8 * OUT_REFERENCES,
  /** The run heads among them: addresses, kinds, and their indexes as 16-bit numbers. */
  headAddresses: OUT_AT + 9 * OUT_REFERENCES,
  headKinds: OUT_AT + 17 * OUT_REFERENCES,
  headIndexes: OUT_AT + 18 * OUT_REFERENCES,
  /** The text, and how much there is room for. */
  text: OUT_AT + 20 * OUT_REFERENCES + SLACK_BYTES,
  textBytes: TEXT_BYTES,
} as const;
/** Its size. */
export const MEMORY_PAGES = Math.ceil((LAYOUT.text + TEXT_BYTES + SLACK_BYTES) / WASM_PAGE_BYTES);

/** Parameters and locals, by number: words, then the address and pages, then vectors. */
export const AT = 0;
export const LAST = 1;
export const ROOM = 2;
export const COUNT = 3;
export const LINES = 4;
export const DIGITS = 5;
export const HEAD = 6;
export const TAIL = 7;
export const SIZE = 8;
export const LENGTH = 9;
export const BAD = 10;
export const FETCH = 11;
export const STORE = 12;
export const MODIFY = 13;
export const SECOND = 14;
/** Of runs: the run heads and the references that are counted; whether the last of either TLB is not the first of its run, and this one. */
export const HEADS = 15;
export const FETCHES = 16;
export const REPEATED_STORES = 17;
export const REPEATED_FETCHES = 18;
export const IS_LATER_DATA = 19;
export const IS_LATER_FETCH = 20;
export const IS_SAME = 21;
export const IS_REPEAT = 22;
export const WORD_LOCALS = 20;
export const LA = 23;
/** The pages of the last references of either TLB, with the kind in bit 0, and of this one. */
export const DATA_PAGE = 24;
export const FETCH_PAGE = 25;
export const PAGE = 26;
export const LONG_LOCALS = 4;
export const TEXT = 27;
export const LETTERS = 28;
