/** Instructions of WebAssembly as bytes (Core Specification 2.0, chapter 5.4), those that modules written by hand use. */

import { signed, unsigned } from "./encoding.ts";

/** Types of values, and that of a block without a result. */
export const I32 = 0x7f;
export const I64 = 0x7e;
export const V128 = 0x7b;
const NO_RESULT = 0x40;

/** Locals, and a constant. */
export const get = (local: number) => [0x20, local];
export const set = (local: number) => [0x21, local];
export const tee = (local: number) => [0x22, local];
export const word = (value: number) => [0x41, ...signed(value)];
/** A vector instruction. */
const simd = (opcode: number) => [0xfd, ...unsigned(opcode)];
/** An access to memory: its instruction, and the offset that it adds. */
export const access = (opcode: readonly number[], offset: number) => [...opcode, 0, ...unsigned(offset)];

/** Blocks and branches. */
export const BLOCK = [0x02, NO_RESULT];
export const LOOP = [0x03, NO_RESULT];
export const IF = [0x04, NO_RESULT];
export const END = [0x0b];
export const BR_LINE = [0x0c, 0];
/** Begins the loop whose body this ends anew, if the condition before it is true. */
export const BR_IF_AGAIN = [0x0d, 0];
/** Leaves the loop, from its body. */
export const BR_IF_STOP = [0x0d, 1];

/** Words, then 64-bit integers, then vectors (`V_`). */
export const EQZ = [0x45];
export const LOAD = [0x28];
export const LOAD_BYTE = [0x2d];
export const LOAD_HALF = [0x2f];
export const STORE_WORD = [0x36];
export const STORE_DOUBLE = [0x39];
export const STORE_BYTE = [0x3a];
export const EQ = [0x46];
export const NE = [0x47];
export const LT_S = [0x48];
export const GT_S = [0x4a];
export const GT_U = [0x4b];
export const GE_S = [0x4e];
export const CTZ = [0x68];
export const ADD = [0x6a];
export const SUB = [0x6b];
export const MUL = [0x6c];
export const AND = [0x71];
export const OR = [0x72];
export const XOR = [0x73];
export const SHL = [0x74];
export const SHR_U = [0x76];
export const SELECT = [0x1b];
export const STORE_HALF = [0x3b];
export const I64_CONST = [0x42];
export const I64_EQ = [0x51];
export const I64_AND = [0x83];
export const I64_OR = [0x84];
export const I64_OF_WORD = [0xad];
export const I64_GE_U = [0x5a];
export const I64_TO_WORD = [0xa7];
export const I64_TO_DOUBLE = [0xb9];
export const V_LOAD = simd(0x00);
export const V_CONST = simd(0x0c);
export const V_SWIZZLE = simd(0x0e);
export const V_SPLAT = simd(0x0f);
export const V_LOW_I64 = [...simd(0x1d), 0];
export const V_EQ = simd(0x23);
export const V_LT_U = simd(0x26);
export const V_AND = simd(0x4e);
export const V_OR = simd(0x50);
export const V_BITMASK = simd(0x64);
export const V_NARROW = simd(0x66);
export const V_ADD = simd(0x6e);
export const V_SUB = simd(0x71);
export const V_PAIRS_SHR_U = simd(0x8d);
