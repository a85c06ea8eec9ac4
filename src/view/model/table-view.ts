/** One page table: its entries by index, as the page unfolds them. */
import { LEVEL_BYTES } from "../../../arch/isa/linear-address.ts";
import type { ProbeLevel } from "../../../arch/walk/probe.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { bitsOf, type EntryBit } from "./walk-view.ts";

/** An entry that is present. */
export interface TableEntry {
  readonly index: number;
  /** First linear address that it leads to. */
  readonly la: number;
  /** The 64 bits, as `0x` and 16 digits. */
  readonly entry: string;
  /** Whether it maps a page rather than leads to a table. */
  readonly leaf: boolean;
  readonly bits: readonly EntryBit[];
}

/** The table at `level` (4: PML4 to 1: page table) on the way of an address. */
export interface TableView {
  readonly level: number;
  /** `PML4E` to `PTE`. */
  readonly entryName: string;
  /** First linear address of the table. */
  readonly la: number;
  /** Entries that are present, by index. */
  readonly entries: readonly TableEntry[];
  /** The index of the entry on the way of the address. */
  readonly onTheWay: number;
}

const ENTRIES = 512;

/** The tables on the way of an address, from the top one down, as the CPU's CR3 has them. */
export function tableViews(kernel: Kernel, cpuNumber: number, address: number): TableView[] {
  const cpu = kernel.machine.cpus[cpuNumber];
  return cpu.probe(address).levels.map(({ level, name, index }) => {
    const bytes = LEVEL_BYTES[level];
    const la = Math.floor(address / (bytes * ENTRIES)) * bytes * ENTRIES;
    const entries: TableEntry[] = [];
    for (let i = 0; i < ENTRIES; i++) {
      const at = cpu.probe(la + i * bytes).levels.find((each) => each.level === level) as ProbeLevel;
      if (!at.present) continue;
      const entry = `0x${at.entry.toString(16).padStart(16, "0")}`;
      entries.push({ index: i, la: la + i * bytes, entry, leaf: at.leaf, bits: bitsOf(at) });
    }
    return { level, entryName: name, la, entries, onTheWay: index };
  });
}
