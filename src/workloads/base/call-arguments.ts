/** Arguments of the calls that workloads make, checked before the emulated kernel sees them. */
import { LINEAR_SPACE_BYTES, PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import type { PhysicalMemory } from "../../../arch/memory/physical-memory.ts";
import { CACHE_MODES, type CacheMode } from "../../../mm/index.ts";
import { ValueError } from "../../input/errors.ts";

/** The commonest mistake: a call without `yield*` gives a generator where its result is expected. */
const MISSING_YIELD = "; calls that may wait are made with yield*";

/** The longest sleep and the most cycles at a time: some days of the emulated machine. */
const USEC_MAX = 1e12;
const CYCLES_MAX = 1e15;

function wrong(call: string, value: unknown, expected: string): ValueError {
  const isGenerator = Object.prototype.toString.call(value) === "[object Generator]";
  const hint = isGenerator ? MISSING_YIELD : "";
  return new ValueError(call, value, expected, `${call} of ${shown(value)}: expected ${expected}${hint}`);
}

function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.slice(0, 4).map(shown).join(", ")}${value.length > 4 ? ", ..." : ""}]`;
  return String(value).slice(0, 60);
}

/** A whole number from `low` to `high`. @throws ValueError naming the call */
export function wholeArgument(call: string, value: unknown, low: number, high: number, what: string): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= low && value <= high) return value;
  throw wrong(call, value, `${what}, a whole number from ${low} to ${high}`);
}

/** A number of bytes; 0 is for the kernel to refuse. @throws ValueError */
export function sizeArgument(call: string, value: unknown): number {
  return wholeArgument(call, value, 0, LINEAR_SPACE_BYTES, "a size in bytes");
}

/** A linear address, 0 for NULL. @throws ValueError */
export function addressArgument(call: string, value: unknown): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value < LINEAR_SPACE_BYTES) return value;
  throw wrong(call, value, "an address, a whole number below 2^48");
}

/** Numbers of frames that `memory` has. @throws ValueError */
export function framesArgument(call: string, value: unknown, memory: PhysicalMemory): Uint32Array {
  if (!(value instanceof Uint32Array) && !Array.isArray(value)) {
    throw wrong(call, value, "an array of frame numbers from allocFrames");
  }
  for (const frame of value as ArrayLike<unknown> & Iterable<unknown>) {
    if (typeof frame === "number" && Number.isInteger(frame) && frame > 0 && memory.has(frame)) continue;
    throw wrong(call, value, `frame numbers from allocFrames, not ${shown(frame)}`);
  }
  return value instanceof Uint32Array ? value : Uint32Array.from(value as number[]);
}

/** Bytes of one load or store. @throws ValueError */
export function accessSizeArgument(call: string, value: unknown): number {
  return wholeArgument(call, value, 1, 4, "a size in bytes");
}

/** A whole number, whose low 32 bits are stored or compared. @throws ValueError */
export function wordArgument(call: string, value: unknown): number {
  return wholeArgument(call, value, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, "a value");
}

/** Microseconds. @throws ValueError */
export function usecArgument(call: string, value: unknown): number {
  if (typeof value === "number" && value >= 0 && value <= USEC_MAX) return value;
  throw wrong(call, value, `microseconds, a number from 0 to ${USEC_MAX}`);
}

/** Cycles. @throws ValueError */
export function cyclesArgument(call: string, value: unknown): number {
  if (typeof value === "number" && value >= 0 && value <= CYCLES_MAX) return value;
  throw wrong(call, value, `cycles, a number from 0 to ${CYCLES_MAX}`);
}

/** A cache mode, or undefined for the default. @throws ValueError */
export function cacheModeArgument(call: string, value: unknown): CacheMode | undefined {
  const known = CACHE_MODES.find((mode) => mode === value);
  if (value === undefined || known !== undefined) return known;
  throw wrong(call, value, `a cache mode, one of ${CACHE_MODES.join(", ")}`);
}

/** A name for the report. @throws ValueError */
export function nameArgument(call: string, value: unknown): string {
  if (typeof value === "string" && value !== "") return value;
  throw wrong(call, value, "the name of a call");
}

/** A call of the kernel: a generator, or a function that makes the call. @throws ValueError */
export function callArgument(call: string, value: unknown): void {
  const kind = Object.prototype.toString.call(value);
  if (kind === "[object Generator]" || kind === "[object Function]") return;
  const expected = "a call of the kernel: a generator, or a function that makes it";
  throw new ValueError(call, value, expected, `${call} of ${shown(value)}: expected ${expected}`);
}

/** Pages in the whole address space: more than any call can ask for. */
export const PAGES_MAX = LINEAR_SPACE_BYTES / PAGE_SIZE;
