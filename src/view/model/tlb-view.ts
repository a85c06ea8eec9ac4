/** The TLBs and paging-structure caches of a CPU as sets x ways, with the entries that disagree with the page tables. */
import type { CachedTable, CachedTranslation } from "../../../arch/cpu/cached-translations.ts";
import type { Cpu } from "../../../arch/cpu/cpu.ts";
import { LEVEL_BYTES, PAGE_SIZE, UPPER_HALF } from "../../../arch/isa/linear-address.ts";
import {
  GLOBAL_CONTEXT,
  SIZE_BYTES,
  SIZE_TABLE,
  TR_DIRTY,
  TR_RW,
  TR_USER,
  TR_XD,
} from "../../../arch/isa/translation.ts";
import { structureLevel } from "../../../arch/tlb/paging-structure-caches.ts";
import type { Tlb } from "../../../arch/tlb/tlb.ts";
import { tableDifference, translationDifference } from "../../../mm/verify/verify-tlbs.ts";
import type { Kernel } from "../../machine/kernel.ts";
import type { SpaceView } from "./space-view.ts";

/** A used slot. */
export interface TlbSlot {
  readonly set: number;
  readonly way: number;
  /** First linear address. */
  readonly la: number;
  readonly sizeBytes: number;
  /** Level of an entry of a table that is cached, 2 (PDE) to 5; 0 for a translation. */
  readonly tableLevel: number;
  readonly frame: number;
  /** null for a global translation. */
  readonly pcid: number | null;
  /** `RW` or `ro`, `NX` or `x`, `USR`, `D`. */
  readonly rights: string;
  /** In what it disagrees with the page tables; null when it agrees, or when the tables of its PCID are not loaded. */
  readonly stale: string | null;
  /** What will flush it; empty when it is not stale. */
  readonly owedBy: string;
}

/** One structure. */
export interface TlbStructure {
  readonly name: string;
  /** What it holds: `load store`, or `tables` for a paging-structure cache. */
  readonly kinds: string;
  readonly sets: number;
  readonly ways: number;
  /** Used slots, by set and way. */
  readonly slots: readonly TlbSlot[];
  /** The way that is evicted next, of each set that is full; -1 for others. */
  readonly nextVictims: readonly number[];
}

/** What a CPU has cached. */
export interface TlbView {
  readonly cpu: number;
  /** The PCID that is loaded. */
  readonly pcid: number;
  readonly structures: readonly TlbStructure[];
  readonly staleCount: number;
}

/** All structures of a CPU; `space` says which flush is owed for what is stale. */
export function tlbView(kernel: Kernel, cpuNumber: number, space: SpaceView): TlbView {
  const cpu = kernel.machine.cpus[cpuNumber];
  const { tlbs, structures } = cpu.mmu;
  const all = [...new Set([...tlbs.first, ...tlbs.second, ...structures.all()])];
  const views = all.map((tlb) => structureView(kernel, cpu, tlb, space));
  const staleCount = views.reduce((sum, { slots }) => sum + slots.filter(({ stale }) => stale !== null).length, 0);
  return { cpu: cpuNumber, pcid: cpu.mmu.mode.pcid, structures: views, staleCount };
}

function structureView(kernel: Kernel, cpu: Cpu, tlb: Tlb, space: SpaceView): TlbStructure {
  const { name, sets, ways, kinds } = tlb;
  const slots: TlbSlot[] = [];
  const nextVictims: number[] = [];
  for (let set = 0; set < sets; set++) {
    const before = slots.length;
    for (let way = 0; way < ways; way++) {
      const slot = set * ways + way;
      if (tlb.isUsed(slot)) slots.push({ set, way, ...slotView(kernel, cpu, tlb, slot, space) });
    }
    nextVictims.push(slots.length - before === ways ? tlb.replacement.victim(set) - set * ways : -1);
  }
  return { name, kinds: kinds.length === 0 ? "tables" : kinds.join(" "), sets, ways, slots, nextVictims };
}

function slotView(kernel: Kernel, cpu: Cpu, tlb: Tlb, slot: number, space: SpaceView): Omit<TlbSlot, "set" | "way"> {
  const size = tlb.sizeOf(slot);
  const tableLevel = size === SIZE_TABLE ? structureLevel(tlb.tagOf(slot)) : 0;
  const [la, frame, flags, context] = [tlb.addressOf(slot), tlb.frameOf(slot), tlb.flagsOf(slot), tlb.pcidOf(slot)];
  const sizeBytes = size === SIZE_TABLE ? LEVEL_BYTES[tableLevel] : SIZE_BYTES[size];
  const pcid = context === GLOBAL_CONTEXT ? null : context;
  const rights = [
    ...((flags & TR_USER) !== 0 ? ["USR"] : []),
    (flags & TR_RW) !== 0 ? "RW" : "ro",
    (flags & TR_XD) !== 0 ? "NX" : "x",
    ...((flags & TR_DIRTY) !== 0 && tableLevel === 0 ? ["D"] : []),
  ].join(" ");
  const stale =
    tableLevel === 0
      ? staleTranslation(kernel, cpu, { tlb: tlb.name, la, sizeBytes, frame, pcid, flags })
      : staleTable(kernel, cpu, { structure: tlb.name, level: tableLevel, la, sizeBytes, frame, pcid: context, flags });
  return { la, sizeBytes, tableLevel, frame, pcid, rights, stale, owedBy: stale === null ? "" : owedBy(la, space) };
}

/** Kernel addresses are compared with the kernel's tables; user addresses with those that are loaded, when they are their PCID's. */
function staleTranslation(kernel: Kernel, cpu: Cpu, entry: CachedTranslation): string | null {
  if (entry.la >= UPPER_HALF) return translationDifference(kernel.tables, entry);
  if (entry.pcid !== cpu.mmu.mode.pcid) return null;
  const { physical } = cpu.probe(entry.la);
  if (physical === null) return "nothing is mapped there";
  const frame = Math.floor(physical / PAGE_SIZE);
  return frame === entry.frame ? null : `the tables map frame ${frame} there`;
}

function staleTable(kernel: Kernel, cpu: Cpu, entry: CachedTable): string | null {
  // The entry of a top table is each address space's own.
  if (entry.la >= UPPER_HALF && entry.level < 4) return tableDifference(kernel.tables, entry);
  if (entry.pcid !== cpu.mmu.mode.pcid) return null;
  const at = cpu.probe(entry.la).levels.find(({ level }) => level === entry.level);
  if (at === undefined || !at.present) return "there is no table";
  if (at.leaf) return "a large page is mapped there";
  const frame = Number((at.entry >> 12n) & 0xff_ffff_ffffn);
  return frame === entry.frame ? null : `the table there is in frame ${frame}`;
}

/** What will flush a stale entry of an address. */
function owedBy(la: number, { areas }: SpaceView): string {
  const area = areas.find(({ start, end }) => start <= la && la < end);
  if (area?.kind === "lazily freed") return "the purge of its lazily freed area";
  if (area?.kind === "block") return "vm_unmap_aliases, or the purge of its block";
  return "";
}
