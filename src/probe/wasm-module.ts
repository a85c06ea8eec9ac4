/**
 * The probe's WebAssembly module, put together byte by byte (WebAssembly Core Specification 2.0, chapter 5). Its two functions are what
 * JavaScript cannot say: loads whose address is what the load before returned, and nothing else between them.
 *
 *   chase(p, n)     n times 12,288 loads: p = the 32-bit word at byte p of the memory; returns p
 *   multiply(x, n)  n times 16 multiplications: x = x * x; returns x
 *
 * At the end of each round V8's code compares the stack pointer with a limit in memory. That page would take an entry of the TLB that is measured:
 * with 16 loads a round, and with 1,024, a fully associative first level of 72 entries seems to have 71. So rounds of loads are long.
 */

import {
  FUNCTION_TYPE,
  KIND_FUNCTION,
  KIND_MEMORY,
  LIMITS_MINIMUM,
  MAGIC_AND_VERSION,
  name,
  SECTION_CODE,
  SECTION_EXPORTS,
  SECTION_FUNCTIONS,
  SECTION_IMPORTS,
  SECTION_TYPES,
  section,
  unsigned,
  vector,
} from "../../arch/wasm/encoding.ts";

/** Loads in a round of `chase`. */
export const LOADS_OF_ROUND = 12_288;
/** Multiplications in a round of `multiply`. */
export const MULTIPLICATIONS_OF_ROUND = 16;

const I32 = 0x7f;
const NO_RESULT = 0x40;

const LOOP = 0x03;
const END = 0x0b;
const BR_IF = 0x0d;
const LOCAL_GET = 0x20;
const LOCAL_SET = 0x21;
const LOCAL_TEE = 0x22;
const I32_LOAD = 0x28;
const I32_CONST = 0x41;
const I32_SUB = 0x6b;
const I32_MUL = 0x6c;
/** Alignment (log2) and offset of a load. */
const ALIGNED_AT_0 = [2, 0];

/** The pointer or the factor, and the rounds left. */
const VALUE = 0;
const ROUNDS = 1;

/** The module. It imports `probe.memory` and exports `chase` and `multiply`. */
export function probeModule(): Uint8Array<ArrayBuffer> {
  const type = [FUNCTION_TYPE, ...vector([[I32], [I32]]), ...vector([[I32]])];
  const load = [I32_LOAD, ...ALIGNED_AT_0];
  const chase = [LOCAL_GET, VALUE, ...repeated(load, LOADS_OF_ROUND), LOCAL_SET, VALUE];
  const multiply = repeated([LOCAL_GET, VALUE, LOCAL_GET, VALUE, I32_MUL, LOCAL_SET, VALUE], MULTIPLICATIONS_OF_ROUND);
  return Uint8Array.from([
    ...MAGIC_AND_VERSION,
    ...section(SECTION_TYPES, [type]),
    ...section(SECTION_IMPORTS, [[...name("probe"), ...name("memory"), KIND_MEMORY, LIMITS_MINIMUM, 1]]),
    ...section(SECTION_FUNCTIONS, [[0], [0]]),
    ...section(SECTION_EXPORTS, [
      [...name("chase"), KIND_FUNCTION, 0],
      [...name("multiply"), KIND_FUNCTION, 1],
    ]),
    ...section(SECTION_CODE, [roundsOf(chase), roundsOf(multiply)]),
  ]);
}

function repeated(code: readonly number[], times: number): number[] {
  return Array.from({ length: times }, () => code).flat();
}

/** A function's body: `code` as often as its second parameter says (at least once), then the first parameter as its result. */
function roundsOf(code: readonly number[]): number[] {
  const countDown = [LOCAL_GET, ROUNDS, I32_CONST, 1, I32_SUB, LOCAL_TEE, ROUNDS, BR_IF, 0];
  const noLocals = 0;
  const body = [noLocals, LOOP, NO_RESULT, ...code, ...countDown, END, LOCAL_GET, VALUE, END];
  return [...unsigned(body.length), ...body];
}
