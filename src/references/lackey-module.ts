/**
 * The usual lines of a lackey trace in WebAssembly: all digits of an address at once, sixteen bytes to a vector, with no branch that
 * depends on them. It takes a fifth of the time of the same in JavaScript. A module put together byte by byte (`wasm-encoding.ts`), with one function:
 *
 *   parse(at, last, room)  parses lines from byte `at` of the memory on, while they begin at `last` at the latest and there is
 *                          `room` for references; returns how many references there were
 *
 * It stops at the first line that is not of the form `KIND ADDRESS,SIZE`: three bytes of kind, 1 to 12 hexadecimal digits of a
 * user address, a size of one or two digits that stays in the page, and a newline. The memory (`LAYOUT`) then says where that is.
 */

import { ACCESS_FETCH, ACCESS_STORE } from "../../arch/isa/access.ts";
import { USER_END } from "../../mm/lib/memory-layout.ts";
import * as wasm from "../files/wasm-encoding.ts";
import { BATCH_REFERENCES } from "./reference-batch.ts";

const { name, section, signed, unsigned, vector } = wasm;

/** The longest line: three bytes of kind, 12 digits, a comma, two digits, a newline. */
export const PLAIN_LINE_BYTES = 19;
/** Most digits of an address. */
const DIGITS_MAX = 12;
const PAGE_BYTES = 4096;
/** Bytes behind the text that a vector may reach into. */
const SLACK_BYTES = 64;
const TEXT_BYTES = 2 ** 18;
/** The last line may be one of two references. */
const OUT_REFERENCES = BATCH_REFERENCES + 2;
const OUT_AT = 64;

/** Where things lie in the memory, in bytes. */
export const LAYOUT = {
  /** Words: where `parse` stopped, and how many lines it parsed. */
  stoppedAt: 0,
  lines: 4,
  /** Its references: addresses as 64-bit floating-point numbers, kinds as bytes. */
  addresses: OUT_AT,
  kinds: OUT_AT + 8 * OUT_REFERENCES,
  /** The text, and how much there is room for. */
  text: OUT_AT + 9 * OUT_REFERENCES + SLACK_BYTES,
  textBytes: TEXT_BYTES,
} as const;
const MEMORY_PAGES = Math.ceil((LAYOUT.text + TEXT_BYTES + SLACK_BYTES) / wasm.WASM_PAGE_BYTES);

/** What the module exports. */
export interface LackeyExports {
  readonly memory: wasm.WasmMemory;
  readonly parse: (at: number, last: number, room: number) => number;
}

const I32 = 0x7f;
const I64 = 0x7e;
const V128 = 0x7b;
const NO_RESULT = 0x40;

/** Parameters and locals, by number: words, then the address, then vectors. */
const AT = 0;
const LAST = 1;
const ROOM = 2;
const COUNT = 3;
const LINES = 4;
const DIGITS = 5;
const HEAD = 6;
const TAIL = 7;
const SIZE = 8;
const LENGTH = 9;
const BAD = 10;
const FETCH = 11;
const STORE = 12;
const MODIFY = 13;
const SECOND = 14;
const WORD_LOCALS = 12;
const LA = 15;
const TEXT = 16;
const LETTERS = 17;

const get = (local: number) => [0x20, local];
const set = (local: number) => [0x21, local];
const tee = (local: number) => [0x22, local];
const word = (value: number) => [0x41, ...signed(value)];
/** A vector instruction. */
const simd = (opcode: number) => [0xfd, ...unsigned(opcode)];
/** An access to memory: its instruction, and the offset that it adds. */
const access = (opcode: readonly number[], offset: number) => [...opcode, 0, ...unsigned(offset)];

const BLOCK = [0x02, NO_RESULT];
const LOOP = [0x03, NO_RESULT];
const IF = [0x04, NO_RESULT];
const END = [0x0b];
const BR_LINE = [0x0c, 0];
/** Leaves the loop, from its body. */
const BR_IF_STOP = [0x0d, 1];
const EQZ = [0x45];
const LOAD = [0x28];
const STORE_WORD = [0x36];
const STORE_DOUBLE = [0x39];
const STORE_BYTE = [0x3a];
const EQ = [0x46];
const NE = [0x47];
const GT_S = [0x4a];
const GT_U = [0x4b];
const GE_S = [0x4e];
const CTZ = [0x68];
const ADD = [0x6a];
const SUB = [0x6b];
const MUL = [0x6c];
const AND = [0x71];
const OR = [0x72];
const XOR = [0x73];
const SHL = [0x74];
const SHR_U = [0x76];
const I64_CONST = [0x42];
const I64_GE_U = [0x5a];
const I64_TO_WORD = [0xa7];
const I64_TO_DOUBLE = [0xb9];
const V_LOAD = simd(0x00);
const V_CONST = simd(0x0c);
const V_SWIZZLE = simd(0x0e);
const V_SPLAT = simd(0x0f);
const V_LOW_I64 = [...simd(0x1d), 0];
const V_EQ = simd(0x23);
const V_LT_U = simd(0x26);
const V_AND = simd(0x4e);
const V_OR = simd(0x50);
const V_BITMASK = simd(0x64);
const V_NARROW = simd(0x66);
const V_ADD = simd(0x6e);
const V_SUB = simd(0x71);
const V_PAIRS_SHR_U = simd(0x8d);

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

/** The reference, and behind it a store to the same address: it counts if the line is a modification. */
const writeReferences = [
  ...addressCell,
  ...get(LA),
  ...I64_TO_DOUBLE,
  ...access(STORE_DOUBLE, LAYOUT.addresses),
  ...addressCell,
  ...get(LA),
  ...I64_TO_DOUBLE,
  ...access(STORE_DOUBLE, LAYOUT.addresses + 8),
  ...get(COUNT),
  ...get(FETCH),
  ...word(ACCESS_FETCH),
  ...MUL,
  ...get(STORE),
  ...word(ACCESS_STORE),
  ...MUL,
  ...ADD,
  ...access(STORE_BYTE, LAYOUT.kinds),
  ...get(COUNT),
  ...word(ACCESS_STORE),
  ...access(STORE_BYTE, LAYOUT.kinds + 1),
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
  const body = [...isOver, ...BR_IF_STOP, ...line, ...get(BAD), ...BR_IF_STOP, ...writeReferences, ...advance];
  const results = [
    ...[...word(LAYOUT.stoppedAt), ...get(AT), ...access(STORE_WORD, 0)],
    ...[...word(LAYOUT.lines), ...get(LINES), ...access(STORE_WORD, 0)],
    ...get(COUNT),
  ];
  const locals = vector([
    [WORD_LOCALS, I32],
    [1, I64],
    [2, V128],
  ]);
  const parse = [...locals, ...BLOCK, ...LOOP, ...body, ...BR_LINE, ...END, ...END, ...results, ...END];
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
