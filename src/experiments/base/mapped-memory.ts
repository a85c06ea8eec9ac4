/** The memory of experiments that map a machine's memory themselves, without a kernel, and load from it. */
import { PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_RW, PTE_USER } from "../../../arch/index.ts";
import type { ParameterSpec } from "../../input/parameters.ts";

/** Bytes of the machine's memory: as much as any experiment needs; what is not touched costs nothing. */
export const MACHINE_MEMORY_BYTES = 2 ** 40;
/** Linear address at which it is mapped: a multiple of every page size, and of every power of two that chooses a set. */
export const MAPPED_AT = 0x1000_0000_0000;
/** Bits of the entries that map its pages, beside their size: of user memory, with A and D set, so that no walk sets them. */
export const MAPPED_BITS = PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED | PTE_DIRTY;

const GIB_MIB = 1024;

/** The parameter `size`: footprints in MiB. */
export function footprintsParameter(initial: readonly number[]): ParameterSpec {
  return {
    name: "size",
    kind: "integers",
    unit: "MiB",
    low: 1,
    high: 2 ** 19,
    default: initial,
    summary: "footprints in MiB",
  };
}

/** Whether a footprint is a whole number of pages of a size. */
export function isWholePages(sizeMiB: number, page: string): boolean {
  return sizeMiB % (page === "1G" ? GIB_MIB : page === "2M" ? 2 : 1) === 0;
}

/** A figure of a table, to a fraction of `1 / of`. */
export function roundedTo(value: number, of: number): number {
  return Math.round(value * of) / of;
}
