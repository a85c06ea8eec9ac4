/**
 * The binary form of WebAssembly (Core Specification 2.0, chapter 5), as far as modules written by hand need it; and the part of its
 * JavaScript interface that they use: TypeScript has that only together with all of a browser's types.
 */

/** `WebAssembly`, as all hosts have it but those that may not make code (`node --jitless`). */
interface WebAssemblyApi {
  readonly Memory: new (limits: { readonly initial: number; readonly maximum: number }) => WasmMemory;
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  readonly Instance: new (module: object, imports?: object) => { readonly exports: unknown };
}

/** A memory of WebAssembly. */
export interface WasmMemory {
  readonly buffer: ArrayBuffer;
  /** Makes it larger by a number of WebAssembly pages. */
  grow(pages: number): number;
}

export const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: WebAssemblyApi };

/** Size of a page of WebAssembly's memory. */
export const WASM_PAGE_BYTES = 65_536;

/** What every module begins with. */
export const MAGIC_AND_VERSION = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00] as const;
export const SECTION_TYPES = 1;
export const SECTION_IMPORTS = 2;
export const SECTION_FUNCTIONS = 3;
export const SECTION_MEMORIES = 5;
export const SECTION_EXPORTS = 7;
export const SECTION_CODE = 10;
export const FUNCTION_TYPE = 0x60;
export const KIND_FUNCTION = 0;
export const KIND_MEMORY = 2;
/** Limits of a memory without a maximum. */
export const LIMITS_MINIMUM = 0;

/** A section with its entries. */
export function section(id: number, entries: readonly (readonly number[])[]): number[] {
  const content = vector(entries);
  return [id, ...unsigned(content.length), ...content];
}

/** Entries, after their number. */
export function vector(entries: readonly (readonly number[])[]): number[] {
  return [...unsigned(entries.length), ...entries.flat()];
}

/** A name: a vector of bytes. */
export function name(text: string): number[] {
  return vector([...new TextEncoder().encode(text)].map((byte) => [byte]));
}

/** LEB128, the form of all unsigned numbers (5.2.2). */
export function unsigned(value: number): number[] {
  const bytes: number[] = [];
  let left = value;
  do {
    const low = left % 128;
    left = Math.floor(left / 128);
    bytes.push(left > 0 ? low | 0x80 : low);
  } while (left > 0);
  return bytes;
}

/** Signed LEB128, the form of an integer that an instruction holds; a whole number below 2^53. */
export function signed(value: number): number[] {
  const bytes: number[] = [];
  for (let left = value; ; ) {
    const low = ((left % 128) + 128) % 128;
    left = Math.floor(left / 128);
    const isLast = (left === 0 && low < 64) || (left === -1 && low >= 64);
    bytes.push(isLast ? low : low | 0x80);
    if (isLast) return bytes;
  }
}
