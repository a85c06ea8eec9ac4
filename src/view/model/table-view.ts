/** One page table: its entries by index, as the page unfolds them. */
import { LEVEL_BYTES, PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import { PTE_PAGE_SIZE, PTE_PRESENT } from "../../../arch/isa/pte.ts";
import type { Kernel } from "../../machine/kernel.ts";

/** An entry that is present. */
export interface TableEntry {
  readonly index: number;
  /** First linear address that it leads to. */
  readonly la: number;
  /** The 64 bits, as `0x` and 16 digits. */
  readonly entry: string;
  /** Whether it maps a page rather than leads to a table. */
  readonly leaf: boolean;
}

/** The table at `level` (4: PML4 to 1: page table) that translates an address. */
export interface TableView {
  readonly level: number;
  /** `PML4E` to `PTE`. */
  readonly entryName: string;
  /** First linear address of the table. */
  readonly la: number;
  /** Entries that are present, by index. */
  readonly entries: readonly TableEntry[];
  /** The index of the entry that translates the address. */
  readonly walkedIndex: number;
}

const ENTRIES = 512;

/** The tables that translate an address, from the top one down, as the CPU's CR3 has them. */
export function tableViews(kernel: Kernel, cpuNumber: number, address: number): TableView[] {
  const { cpus, memory } = kernel.machine;
  return cpus[cpuNumber].probe(address).levels.map(({ level, name, index, entryAddress }) => {
    const bytes = LEVEL_BYTES[level];
    const la = Math.floor(address / (bytes * ENTRIES)) * bytes * ENTRIES;
    const frame = Math.floor(entryAddress / PAGE_SIZE);
    const entries: TableEntry[] = [];
    for (let i = 0; i < ENTRIES; i++) {
      const low = memory.readWord(frame, 2 * i);
      if ((low & PTE_PRESENT) === 0) continue;
      const leaf = level === 1 || (level < 4 && (low & PTE_PAGE_SIZE) !== 0);
      entries.push({
        index: i,
        la: la + i * bytes,
        entry: `0x${hex(memory.readWord(frame, 2 * i + 1))}${hex(low)}`,
        leaf,
      });
    }
    return { level, entryName: name, la, entries, walkedIndex: index };
  });
}

/** Eight digits. */
function hex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, "0");
}
