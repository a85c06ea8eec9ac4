/** Where the vmalloc and the module range of a kernel lie: by the text itself, by what a person says, or as without KASLR. */
import { orderOfPage, parseLinearAddress } from "../../arch/isa/linear-address.ts";
import { MODULES_END, MODULES_VADDR, VMALLOC_START } from "../../mm/lib/memory-layout.ts";
import type { LiveFile } from "./live-file.ts";

/** A window of the address space in which areas are placed, in the order of 57 bits. */
export interface AddressWindow {
  readonly name: "vmalloc" | "modules";
  readonly start: number;
  readonly end: number;
  /** How its place is known. */
  readonly basis: string;
}

/** What a person says of the layout. */
export interface LayoutChoice {
  readonly range: AddressWindow["name"];
  /** Levels of page tables; by the addresses when absent. */
  readonly levels?: 4 | 5;
  /** Where the range begins (`vmalloc_base`, `MODULES_VADDR` with KASLR), in the order of 57 bits. */
  readonly base?: number;
}

const GIB = 2 ** 30;
const TIB = 2 ** 40;
/** `Documentation/arch/x86/x86_64/mm.rst`: the range has 32 TiB with four levels and 12,800 TiB with five; its base without KASLR. */
const VMALLOC_BYTES = { 4: 32 * TIB, 5: 12_800 * TIB } as const;
const VMALLOC_BASES = { 4: orderOfPage(VMALLOC_START), 5: 2 ** 57 - 2 ** 56 + 0xa0_0000_0000_0000 } as const;
/** With `CONFIG_RANDOMIZE_BASE` the kernel's image may take 1 GiB, and modules begin behind it. */
const MODULES_BASE_KASLR = orderOfPage(parseLinearAddress("0xffffffffc0000000"));
const MODULES_LAST = orderOfPage(MODULES_END);

/** The window that is meant. */
export function windowOf(file: LiveFile, { range, levels, base }: LayoutChoice): AddressWindow {
  const marker = file.markers.find(({ name }) => name === (range === "vmalloc" ? "vmalloc() Area" : "Modules"));
  if (range === "modules") {
    if (base !== undefined) return { name: range, start: base, end: MODULES_LAST, basis: "as given" };
    if (marker !== undefined)
      return { name: range, start: marker.start, end: endOfModules(file), basis: "the dump's markers" };
    return modulesWindow(file);
  }
  const known = levels ?? levelsOf(file, base);
  const bytes = VMALLOC_BYTES[known];
  const window = (start: number, basis: string): AddressWindow => ({ name: range, start, end: start + bytes, basis });
  if (base !== undefined) return window(base, "as given");
  if (marker !== undefined) return window(marker.start, "the dump's markers");
  const standard = VMALLOC_BASES[known];
  const inRange = file.ranges.filter(({ start }) => start < orderOfPage(MODULES_VADDR));
  if (file.isHidden || inRange.length === 0) return window(standard, "assumed: no KASLR");
  const lowest = Math.floor(inRange[0].start / GIB) * GIB;
  if (lowest === standard) return window(standard, "the lowest area is where it is without KASLR");
  return window(lowest, "assumed: the lowest area, rounded down to 1 GiB (KASLR)");
}

function modulesWindow(file: LiveFile): AddressWindow {
  const isBelow = file.ranges.some(({ start }) => start >= orderOfPage(MODULES_VADDR) && start < MODULES_BASE_KASLR);
  const start = isBelow ? orderOfPage(MODULES_VADDR) : MODULES_BASE_KASLR;
  const basis = isBelow ? "areas below 0xffffffffc0000000: no RANDOMIZE_BASE" : "assumed: a kernel with RANDOMIZE_BASE";
  return { name: "modules", start, end: MODULES_LAST, basis };
}

function endOfModules({ markers }: LiveFile): number {
  return markers.find(({ name }) => name === "End Modules")?.start ?? MODULES_LAST;
}

/** Five levels when anything is below the kernel's half of 48-bit addresses. */
function levelsOf({ ranges, markers }: LiveFile, base: number | undefined): 4 | 5 {
  const half = orderOfPage(2 ** 47);
  const kernelPlaces = [...ranges.map(({ start }) => start), ...markers.map(({ start }) => start), base ?? half];
  return kernelPlaces.some((start) => start >= 2 ** 56 && start < half) ? 5 : 4;
}
