/** The host memory whose pages are visited: where it lies, how much of it, and with pages of which size. */
import { readFileSync } from "node:fs";
import { WASM_PAGE_BYTES, type WasmMemory, WebAssembly } from "../../arch/wasm/encoding.ts";
import { CalibrationError } from "../calibration/calibration-error.ts";

const PAGE_BYTES = 4096;
const HUGE_PAGE_BYTES = 2 ** 21;
const GIBIBYTE = 2 ** 30;
/** Sizes that are tried, in GiB; only what is touched of it takes memory. */
const SIZES_GIB = [2.5, 1.75, 1.25, 0.75];
/** Page 0 of the probe has a page number that is a multiple of this: every index hash that is considered then sees its own bits. */
const ALIGNMENT_BYTES = 2 ** 28;
const HUGE_PAGES_FILE = "/sys/kernel/mm/transparent_hugepage/enabled";

/** Memory to visit. */
export interface HostMemory {
  readonly memory: WasmMemory;
  /** The byte at which page 0 begins. */
  readonly firstByte: number;
  /** 4 KiB pages from there on. */
  readonly pages: number;
  /** Whether the page number of page 0 is a multiple of 2^16; false where the system does not say where memory lies. */
  readonly isAligned: boolean;
  /** What the system says about transparent huge pages; empty when it says nothing. */
  readonly hugePages: string;
}

/**
 * Reserves the memory.
 * @throws CalibrationError when there is too little address space for it
 */
export function reserveHostMemory(): HostMemory {
  const hugePages = readOr(HUGE_PAGES_FILE, "").trim();
  const memory = largestMemory(hugePages.includes("[always]"));
  const bytes = memory.buffer.byteLength;
  const base = addressOf(bytes);
  const firstByte = base === null ? 0 : (ALIGNMENT_BYTES - (base % ALIGNMENT_BYTES)) % ALIGNMENT_BYTES;
  return { memory, firstByte, pages: (bytes - firstByte) / PAGE_BYTES, isAligned: base !== null, hugePages };
}

function largestMemory(avoidsHugePages: boolean): WasmMemory {
  for (const gib of SIZES_GIB) {
    const pages = (gib * GIBIBYTE) / WASM_PAGE_BYTES;
    try {
      if (avoidsHugePages) return grownMemory(pages);
      return new WebAssembly.Memory({ initial: pages, maximum: pages });
    } catch (error) {
      // Too little address space (a limit such as `ulimit -v`): a smaller one may fit.
      if (!(error instanceof RangeError)) throw error;
    }
  }
  const least = SIZES_GIB[SIZES_GIB.length - 1];
  throw new CalibrationError(`cannot reserve ${least} GiB of address space (ulimit -v, or the limits of a container)`);
}

/**
 * A memory without huge pages where the system gives them to everybody: it grows by less than one at a time, and the end of each part
 * is touched. As no huge page fits before the end, the kernel takes a small one, and with it a table of small ones.
 */
function grownMemory(pages: number): WasmMemory {
  const memory = new WebAssembly.Memory({ initial: 0, maximum: pages });
  const step = HUGE_PAGE_BYTES / WASM_PAGE_BYTES - 1;
  for (let size = 0; size < pages; ) {
    const more = Math.min(step, pages - size);
    memory.grow(more);
    size += more;
    new Uint8Array(memory.buffer, size * WASM_PAGE_BYTES - PAGE_BYTES, 1)[0] = 1;
  }
  return memory;
}

/** The address of the memory of this process that has this size and may be written; null where the system does not say. */
function addressOf(bytes: number): number | null {
  for (const line of readOr("/proc/self/maps", "").split("\n")) {
    const match = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line);
    if (match === null) continue;
    const [start, end] = [Number.parseInt(match[1], 16), Number.parseInt(match[2], 16)];
    if (end - start === bytes) return start;
  }
  return null;
}

/** The text of a file, or `otherwise` where there is none. */
export function readOr(file: string, otherwise: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return otherwise;
  }
}
