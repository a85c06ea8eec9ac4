/**
 * The usual lines of a lackey trace in WebAssembly: all digits of an address at once, sixteen bytes to a vector, with no branch that
 * depends on them. It takes a fifth of the time of the same in JavaScript. A module put together byte by byte (`arch/wasm`), with one function:
 *
 *   parse(at, last, room)  parses lines from byte `at` of the memory on, while they begin at `last` at the latest and there is
 *                          `room` for references; returns how many references there were
 *
 * It stops at the first line that is not of the form `KIND ADDRESS,SIZE`: three bytes of kind, 1 to 12 hexadecimal digits of a
 * user address, a size of one or two digits that stays in the page, and a newline. The memory (`LAYOUT`) then says where that is.
 */

import { ACCESS_FETCH, ACCESS_STORE } from "../../arch/isa/access.ts";
import * as wasm from "../../arch/wasm/encoding.ts";
import {
  ADD,
  AND,
  access,
  BLOCK,
  BR_IF_STOP,
  BR_LINE,
  CTZ,
  END,
  EQ,
  EQZ,
  GE_S,
  GT_S,
  GT_U,
  get,
  I32,
  I64,
  I64_CONST,
  I64_GE_U,
  I64_TO_DOUBLE,
  I64_TO_WORD,
  IF,
  LOAD,
  LOOP,
  MUL,
  NE,
  OR,
  SHL,
  SHR_U,
  STORE_BYTE,
  STORE_DOUBLE,
  STORE_WORD,
  SUB,
  set,
  tee,
  V_ADD,
  V_AND,
  V_BITMASK,
  V_CONST,
  V_EQ,
  V_LOAD,
  V_LOW_I64,
  V_LT_U,
  V_NARROW,
  V_OR,
  V_PAIRS_SHR_U,
  V_SPLAT,
  V_SUB,
  V_SWIZZLE,
  V128,
  word,
  XOR,
} from "../../arch/wasm/instructions.ts";
import { USER_END } from "../../mm/lib/memory-layout.ts";
import {
  AT,
  BAD,
  COUNT,
  DATA_PAGE,
  DIGITS,
  FETCH,
  FETCH_PAGE,
  FETCHES,
  HEAD,
  HEADS,
  LA,
  LAST,
  LAYOUT,
  LENGTH,
  LETTERS,
  LINES,
  LONG_LOCALS,
  MEMORY_PAGES,
  MODIFY,
  REPEATED_FETCHES,
  REPEATED_STORES,
  ROOM,
  SECOND,
  SIZE,
  STORE,
  TAIL,
  TEXT,
  WORD_LOCALS,
} from "./lackey-layout.ts";
import { findRun, writeHead, writeSecondHead } from "./lackey-runs.ts";

const { name, section, signed, unsigned, vector } = wasm;

/** The longest line: three bytes of kind, 12 digits, a comma, two digits, a newline. */
export const PLAIN_LINE_BYTES = 19;
/** Most digits of an address. */
const DIGITS_MAX = 12;
const PAGE_BYTES = 4096;

/** What the module exports. */
export interface LackeyExports {
  readonly memory: wasm.WasmMemory;
  readonly parse: (at: number, last: number, room: number) => number;
}

const bytes = (values: readonly number[]) => [...V_CONST, ...values];
/** A vector of sixteen times the same byte. */
const all = (byte: number) => bytes(new Array<number>(16).fill(byte));
const code = (character: string) => character.charCodeAt(0);
/** The three bytes with which a line of a kind begins, as a little-endian number. */
const headOf = (text: string) => code(text) | (code(text[1]) << 8) | (code(text[2]) << 16);
/** A byte of the word before it. */
const byteOf = (index: number) => [...word(8 * index), ...SHR_U, ...word(0xff), ...AND];
/** Where the next address goes, but for the offset. */
const addressCell = [...get(COUNT), ...word(3), ...SHL];
/** Notes that the line is none of the usual ones if the condition before it is true. */
const bad = [...get(BAD), ...OR, ...set(BAD)];

/** head = the first three bytes; text = the sixteen behind them; digits = how many of these stand before the comma. */
const readLine = [
  ...get(AT),
  ...access(LOAD, 0),
  ...word(0xffffff),
  ...AND,
  ...set(HEAD),
  ...get(AT),
  ...access(V_LOAD, 3),
  ...tee(TEXT),
  ...all(code(",")),
  ...V_EQ,
  ...V_BITMASK,
  ...CTZ,
  ...tee(DIGITS),
  // Not 1 to 12 of them.
  ...word(1),
  ...SUB,
  ...word(DIGITS_MAX - 1),
  ...GT_U,
  ...set(BAD),
];

/** letters = where digits a to f stand, of either case; all before the comma must be digits. */
const checkDigits = [
  ...get(TEXT),
  ...all(0x20),
  ...V_OR,
  ...all(code("a")),
  ...V_SUB,
  ...all(6),
  ...V_LT_U,
  ...tee(LETTERS),
  ...get(TEXT),
  ...all(code("0")),
  ...V_SUB,
  ...all(10),
  ...V_LT_U,
  ...V_OR,
  ...V_BITMASK,
  ...word(-1),
  ...XOR,
  ...CTZ,
  ...get(DIGITS),
  ...NE,
  ...bad,
];

/**
 * la = the address. Each digit's value is its low four bits, and 9 more for a letter. The last digit goes to byte 0, the one before it to
 * byte 1; pairs of bytes then become one each.
 */
const readAddress = [
  ...get(TEXT),
  ...all(0x0f),
  ...V_AND,
  ...get(LETTERS),
  ...all(9),
  ...V_AND,
  ...V_ADD,
  ...get(DIGITS),
  ...word(1),
  ...SUB,
  ...V_SPLAT,
  ...bytes(Array.from({ length: 16 }, (_, i) => i)),
  ...V_SUB,
  // What would stand before the first digit is 0: an index that is negative, as a byte above 15, takes nothing.
  ...V_SWIZZLE,
  ...tee(TEXT),
  ...get(TEXT),
  ...word(4),
  ...V_PAIRS_SHR_U,
  ...V_OR,
  ...bytes(Array.from({ length: 16 }, (_, i) => (i % 2 === 0 ? 0xff : 0))),
  ...V_AND,
  ...tee(TEXT),
  ...get(TEXT),
  ...V_NARROW,
  ...V_LOW_I64,
  ...tee(LA),
  ...I64_CONST,
  ...signed(USER_END),
  ...I64_GE_U,
  ...bad,
];

/** size, and length = bytes of the line but for the digits of its address. The reference must stay in its page. */
const readSize = [
  ...get(AT),
  ...get(DIGITS),
  ...ADD,
  ...access(LOAD, 4),
  ...tee(TAIL),
  ...byteOf(0),
  ...word(code("0")),
  ...SUB,
  ...tee(SIZE),
  ...word(9),
  ...GT_U,
  ...bad,
  ...word(6),
  ...set(LENGTH),
  ...get(TAIL),
  ...byteOf(1),
  ...tee(SECOND),
  ...word(code("\n")),
  ...NE,
  ...IF,
  ...get(SIZE),
  ...word(10),
  ...MUL,
  ...get(SECOND),
  ...word(code("0")),
  ...SUB,
  ...tee(SECOND),
  ...ADD,
  ...set(SIZE),
  ...get(SECOND),
  ...word(9),
  ...GT_U,
  ...bad,
  ...get(TAIL),
  ...byteOf(2),
  ...word(code("\n")),
  ...NE,
  ...bad,
  ...word(7),
  ...set(LENGTH),
  ...END,
  ...get(SIZE),
  ...EQZ,
  ...bad,
  ...get(LA),
  ...I64_TO_WORD,
  ...word(PAGE_BYTES - 1),
  ...AND,
  ...get(SIZE),
  ...ADD,
  ...word(PAGE_BYTES),
  ...GT_S,
  ...bad,
];

/** fetch, store, modify = 1 for such a line, else 0. */
const readKind = [
  ...get(HEAD),
  ...word(headOf("I  ")),
  ...EQ,
  ...tee(FETCH),
  ...get(HEAD),
  ...word(headOf(" S ")),
  ...EQ,
  ...tee(STORE),
  ...OR,
  ...get(HEAD),
  ...word(headOf(" M ")),
  ...EQ,
  ...tee(MODIFY),
  ...OR,
  ...get(HEAD),
  ...word(headOf(" L ")),
  ...EQ,
  ...OR,
  ...EQZ,
  ...bad,
];

const writeReference = [
  ...addressCell,
  ...get(LA),
  ...I64_TO_DOUBLE,
  ...access(STORE_DOUBLE, LAYOUT.addresses),
  ...get(COUNT),
  ...get(FETCH),
  ...word(ACCESS_FETCH),
  ...MUL,
  ...get(STORE),
  ...word(ACCESS_STORE),
  ...MUL,
  ...ADD,
  ...access(STORE_BYTE, LAYOUT.kinds),
];

/** The store of a modification, behind the load. Such lines are rare, so that the host's CPU predicts that this is none. */
const writeStore = [
  ...get(MODIFY),
  ...IF,
  ...addressCell,
  ...get(LA),
  ...I64_TO_DOUBLE,
  ...access(STORE_DOUBLE, LAYOUT.addresses + 8),
  ...get(COUNT),
  ...word(ACCESS_STORE),
  ...access(STORE_BYTE, LAYOUT.kinds + 1),
  ...writeSecondHead,
  ...END,
];

const advance = [
  ...get(COUNT),
  ...word(1),
  ...ADD,
  ...get(MODIFY),
  ...ADD,
  ...set(COUNT),
  ...get(LINES),
  ...word(1),
  ...ADD,
  ...set(LINES),
  ...get(AT),
  ...get(DIGITS),
  ...ADD,
  ...get(LENGTH),
  ...ADD,
  ...set(AT),
];

/** The module. It exports `memory` and `parse`. */
export function lackeyModule(): Uint8Array<ArrayBuffer> {
  const isOver = [...get(AT), ...get(LAST), ...GT_S, ...get(COUNT), ...get(ROOM), ...GE_S, ...OR];
  const line = [...readLine, ...checkDigits, ...readAddress, ...readSize, ...readKind];
  const body = [...isOver, ...BR_IF_STOP, ...line, ...get(BAD), ...BR_IF_STOP];
  const out = [...writeReference, ...findRun, ...writeHead, ...writeStore, ...advance];
  const noPage = [...I64_CONST, ...signed(-1)];
  const start = [...noPage, ...set(DATA_PAGE), ...noPage, ...set(FETCH_PAGE)];
  const result = (at: number, local: number) => [...word(at), ...get(local), ...access(STORE_WORD, 0)];
  const results = [
    ...result(LAYOUT.stoppedAt, AT),
    ...result(LAYOUT.lines, LINES),
    ...result(LAYOUT.heads, HEADS),
    ...result(LAYOUT.fetches, FETCHES),
    ...result(LAYOUT.repeatedStores, REPEATED_STORES),
    ...result(LAYOUT.repeatedFetches, REPEATED_FETCHES),
    ...get(COUNT),
  ];
  const locals = vector([
    [WORD_LOCALS, I32],
    [LONG_LOCALS, I64],
    [2, V128],
  ]);
  const parse = [
    ...locals,
    ...start,
    ...BLOCK,
    ...LOOP,
    ...body,
    ...out,
    ...BR_LINE,
    ...END,
    ...END,
    ...results,
    ...END,
  ];
  return Uint8Array.from([
    ...wasm.MAGIC_AND_VERSION,
    ...section(wasm.SECTION_TYPES, [[wasm.FUNCTION_TYPE, ...vector([[I32], [I32], [I32]]), ...vector([[I32]])]]),
    ...section(wasm.SECTION_FUNCTIONS, [[0]]),
    ...section(wasm.SECTION_MEMORIES, [[wasm.LIMITS_MINIMUM, ...unsigned(MEMORY_PAGES)]]),
    ...section(wasm.SECTION_EXPORTS, [
      [...name("memory"), wasm.KIND_MEMORY, 0],
      [...name("parse"), wasm.KIND_FUNCTION, 0],
    ]),
    ...section(wasm.SECTION_CODE, [[...unsigned(parse.length), ...parse]]),
  ]);
}
