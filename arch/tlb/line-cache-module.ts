/**
 * Many lines through the data caches at once, in WebAssembly: all marks of a set are compared by one instruction, and nothing branches on whether a
 * line is there, which the host's CPU could not predict. It takes a fifth of the time of `LineCacheShape.use` line by line,
 * which says what it does. A module put together byte by byte (arch/wasm), with one function:
 *
 *   use(bytes)   takes `bytes / 4` lines through all levels, from the farthest to the nearest: a hit is recorded, what is not there is put in;
 *                and writes what each of them costs
 */

import * as wasm from "../wasm/encoding.ts";
import * as ops from "../wasm/instructions.ts";
import { access, get, set, tee, word } from "../wasm/instructions.ts";
import { MARK_BITS } from "./line-cache-shape.ts";

const { name, section, unsigned, vector } = wasm;
const { ADD, AND, BR_IF_AGAIN, CTZ, END, EQ, EQZ, I32, LOAD, LOOP, LT_S, MUL, NE, OR, SELECT, SHL, SHR_U, SUB } = ops;

/** Most ways of a set whose marks are one vector. */
export const VECTOR_WAYS_MAX = 16;

/** A level, and the bytes of the memory at which its arrays begin: those of `LineCacheShape`, victims by state, uses by hit way and by filled way. */
export interface LevelLayout {
  readonly sets: number;
  readonly ways: number;
  readonly hitCycles: number;
  readonly tagsAt: number;
  readonly marksAt: number;
  readonly statesAt: number;
  readonly victimsAt: number;
  readonly usesAt: number;
}

/** The parameter, and the locals: place among the lines in bytes, line, set, ways that may have it (a bit each), way, slot, whether it is there, state. */
const [BYTES, AT, LINE, SET, FOUND, WAY, SLOT, HIT, STATE] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const LOCALS = 8;

/** set, and found = the ways whose mark is that of the line. */
function compareMarks({ sets, ways, marksAt }: LevelLayout): number[] {
  return [
    ...get(LINE),
    ...word(sets - 1),
    ...AND,
    ...tee(SET),
    ...word(ways),
    ...MUL,
    ...access(ops.V_LOAD, marksAt),
    ...get(LINE),
    ...word(Math.log2(sets)),
    ...SHR_U,
    ...ops.V_SPLAT,
    ...ops.V_EQ,
    ...ops.V_BITMASK,
    ...word(2 ** ways - 1),
    ...AND,
    ...set(FOUND),
  ];
}

/** way, slot, hit: the first way whose mark and tag are those of the line; else the way that its set evicts. */
function chooseWay({ sets, ways, tagsAt, statesAt, victimsAt }: LevelLayout): number[] {
  return [
    ...get(SET),
    ...word(1),
    ...SHL,
    ...access(ops.LOAD_HALF, statesAt),
    ...set(STATE),
    ...LOOP,
    ...get(FOUND),
    ...CTZ,
    // The first of the victims where none is wanted: the table of a set of sixteen ways fills the host's nearest cache.
    ...word(0),
    ...get(STATE),
    ...get(FOUND),
    ...SELECT,
    ...access(ops.LOAD_BYTE, victimsAt),
    ...get(FOUND),
    ...SELECT,
    ...tee(WAY),
    ...get(SET),
    ...word(ways),
    ...MUL,
    ...ADD,
    ...word(2),
    ...SHL,
    ...tee(SLOT),
    ...access(LOAD, tagsAt),
    ...tagOf(sets),
    ...EQ,
    ...get(FOUND),
    ...word(0),
    ...NE,
    ...AND,
    ...set(HIT),
    // Again where another line had the same mark, which is rare.
    ...get(FOUND),
    ...word(0),
    ...NE,
    ...get(HIT),
    ...EQZ,
    ...AND,
    ...get(FOUND),
    ...get(FOUND),
    ...word(1),
    ...SUB,
    ...AND,
    ...set(FOUND),
    ...BR_IF_AGAIN,
    ...END,
  ];
}

/** The line's tag. */
function tagOf(sets: number): number[] {
  return [...get(LINE), ...word(Math.log2(sets) + MARK_BITS), ...SHR_U, ...word(1), ...ADD];
}

/** The line is in the slot now, which has been used. */
function writeSlot({ sets, ways, tagsAt, marksAt, statesAt, usesAt }: LevelLayout): number[] {
  return [
    ...get(SLOT),
    ...tagOf(sets),
    ...access(ops.STORE_WORD, tagsAt),
    ...get(SLOT),
    ...word(2),
    ...SHR_U,
    ...get(LINE),
    ...word(Math.log2(sets)),
    ...SHR_U,
    ...access(ops.STORE_BYTE, marksAt),
    // slot = the use from now on: its bits that stay are in the high half.
    ...get(WAY),
    ...word(0),
    ...word(ways),
    ...get(HIT),
    ...SELECT,
    ...ADD,
    ...word(2),
    ...SHL,
    ...access(LOAD, usesAt),
    ...set(SLOT),
    ...get(SET),
    ...word(1),
    ...SHL,
    ...get(STATE),
    ...get(SLOT),
    ...word(16),
    ...SHR_U,
    ...AND,
    ...get(SLOT),
    ...word(0xffff),
    ...AND,
    ...OR,
    ...access(ops.STORE_HALF, statesAt),
  ];
}

/** All lines through one level; `before` is what a line costs that is not there. */
function useLevel(level: LevelLayout, linesAt: number, cyclesAt: number, before: readonly number[]): number[] {
  return [
    ...word(0),
    ...set(AT),
    ...LOOP,
    ...get(AT),
    ...access(LOAD, linesAt),
    ...set(LINE),
    ...compareMarks(level),
    ...chooseWay(level),
    ...writeSlot(level),
    ...get(AT),
    ...word(level.hitCycles),
    ...before,
    ...get(HIT),
    ...SELECT,
    ...access(ops.STORE_WORD, cyclesAt),
    ...get(AT),
    ...word(4),
    ...ADD,
    ...tee(AT),
    ...get(BYTES),
    ...LT_S,
    ...BR_IF_AGAIN,
    ...END,
  ];
}

/**
 * The module. It imports `caches.memory` and exports `use`.
 * @param levels from the nearest on, at least one
 * @param linesAt where the lines are that `use` is given, words; `cyclesAt` where it writes what they cost
 */
export function lineCacheModule(
  levels: readonly LevelLayout[],
  { linesAt, cyclesAt, memoryCycles }: { linesAt: number; cyclesAt: number; memoryCycles: number },
): Uint8Array<ArrayBuffer> {
  const known = [...get(AT), ...access(LOAD, cyclesAt)];
  const loops = levels.map((level, i) =>
    useLevel(level, linesAt, cyclesAt, i === levels.length - 1 ? word(memoryCycles) : known),
  );
  const body = [...vector([[LOCALS, I32]]), ...loops.reverse().flat(), ...END];
  return Uint8Array.from([
    ...wasm.MAGIC_AND_VERSION,
    ...section(wasm.SECTION_TYPES, [[wasm.FUNCTION_TYPE, ...vector([[I32]]), ...vector([])]]),
    ...section(wasm.SECTION_IMPORTS, [
      [...name("caches"), ...name("memory"), wasm.KIND_MEMORY, wasm.LIMITS_MINIMUM, 1],
    ]),
    ...section(wasm.SECTION_FUNCTIONS, [[0]]),
    ...section(wasm.SECTION_EXPORTS, [[...name("use"), wasm.KIND_FUNCTION, 0]]),
    ...section(wasm.SECTION_CODE, [[...unsigned(body.length), ...body]]),
  ]);
}
