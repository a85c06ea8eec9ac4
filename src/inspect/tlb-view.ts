/** The TLBs and paging-structure caches of a CPU as sets x ways, with the entries that disagree with the page tables. */
import type { Cpu } from "../../arch/cpu/cpu.ts";
import { LEVEL_BYTES } from "../../arch/isa/linear-address.ts";
import {
  GLOBAL_CONTEXT,
  SIZE_BYTES,
  SIZE_TABLE,
  TR_DIRTY,
  TR_NO_FETCH,
  TR_NO_READ,
  TR_NO_WRITE,
  TR_RW,
  TR_USER,
  TR_XD,
} from "../../arch/isa/translation.ts";
import { structureLevel } from "../../arch/tlb/paging-structure-caches.ts";
import type { Tlb } from "../../arch/tlb/tlb.ts";
import { pageSizeOf } from "../../arch/tlb/tlb-sweeps.ts";
import type { Kernel } from "../machine/kernel.ts";
import { TranslationTruth } from "./translation-truth.ts";

/** What an entry of a guest has beside others. */
export interface GuestOfSlot {
  /** VPID or ASID. */
  readonly id: number;
  /** Bytes of the page in the guest's own tables; more than the entry's for a piece of one. */
  readonly guestSizeBytes: number;
  /** Bytes of the page in the second stage; null when that is not known: it is as large as the entry at least. */
  readonly hostSizeBytes: number | null;
  /** What the second stage allows, `RWX`; `-` for what needs another walk: what it refuses, and writes that must set its dirty flag. */
  readonly hostRights: string;
}

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
  /** 0 for the youngest of its set, and so on up to the one that is evicted next; null for one that fills alone never evict. */
  readonly age: number | null;
  /** In what it disagrees with the page tables; null when it agrees, or when the tables of its PCID are not loaded. */
  readonly stale: string | null;
  /** What will flush it; empty when it is not stale. */
  readonly owedBy: string;
  /** Of a guest: a translation, or an entry of a table, which then leads from a linear address to the machine's frame of the guest's table. */
  readonly guest: GuestOfSlot | null;
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

/** All structures of a CPU. */
export function tlbView(kernel: Kernel, cpuNumber: number, truth = new TranslationTruth(kernel)): TlbView {
  const cpu = kernel.machine.cpus[cpuNumber];
  const views = structuresOf(cpu).map((tlb) => structureView(cpu, tlb, truth));
  const staleCount = views.reduce((sum, { slots }) => sum + slots.filter(({ stale }) => stale !== null).length, 0);
  return { cpu: cpuNumber, pcid: cpu.mmu.pcid, structures: views, staleCount };
}

/** How many of a CPU's entries are stale. */
export function countStale(cpu: Cpu, truth: TranslationTruth): number {
  let count = 0;
  for (const tlb of structuresOf(cpu)) {
    if (tlb.isEmpty) continue;
    for (let slot = 0; slot < tlb.slots; slot++)
      if (tlb.isUsed(slot) && staleIn(cpu, tlb, slot, truth) !== null) count++;
  }
  return count;
}

function structuresOf(cpu: Cpu): Tlb[] {
  const { tlbs, structures } = cpu.mmu;
  return [...new Set([...tlbs.first, ...tlbs.second, ...structures.all()])];
}

function structureView(cpu: Cpu, tlb: Tlb, truth: TranslationTruth): TlbStructure {
  const { name, sets, ways, kinds } = tlb;
  const slots: TlbSlot[] = [];
  const nextVictims: number[] = [];
  for (let set = 0; set < sets; set++) {
    const before = slots.length;
    const isUsed = (way: number): boolean => tlb.isUsed(set * ways + way);
    let ages: readonly number[] | null = null;
    for (let way = 0; way < ways; way++) {
      if (!isUsed(way)) continue;
      ages ??= tlb.replacement.ages(set, isUsed);
      const age = ages[way] === -1 ? null : ages[way];
      slots.push({ set, way, age, ...slotView(cpu, tlb, set * ways + way, truth) });
    }
    // Not `replacement.victim`, which a fill asks: it may change what it looks through, and who looks changes nothing.
    nextVictims.push(ages !== null && slots.length - before === ways ? ages.indexOf(Math.max(...ages)) : -1);
  }
  return { name, kinds: kinds.length === 0 ? "tables" : kinds.join(" "), sets, ways, slots, nextVictims };
}

function slotView(cpu: Cpu, tlb: Tlb, slot: number, truth: TranslationTruth): Omit<TlbSlot, "set" | "way" | "age"> {
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
  const stale = staleIn(cpu, tlb, slot, truth);
  const number = tlb.guestOf(slot);
  const owner = number === 0 ? cpu : truth.vcpuOf(cpu, cpu.virtualization.numbers.idOf(number));
  const owedBy = stale === null || owner === null ? "" : truth.owedBy(owner, la, pcid);
  const guest = guestOf(cpu, tlb, slot, sizeBytes, tableLevel > 0, truth.hostPageBytes);
  return { la, sizeBytes, tableLevel, frame, pcid, rights, stale, owedBy, guest };
}

/** What an entry has of a guest; null for one of the host. */
function guestOf(
  cpu: Cpu,
  tlb: Tlb,
  slot: number,
  sizeBytes: number,
  isTable: boolean,
  hostPageBytes: number | null,
): GuestOfSlot | null {
  const number = tlb.guestOf(slot);
  if (number === 0) return null;
  const id = cpu.virtualization.numbers.idOf(number);
  if (isTable) return { id, guestSizeBytes: sizeBytes, hostSizeBytes: hostPageBytes, hostRights: "" };
  const flags = tlb.flagsOf(slot);
  const guestSizeBytes = SIZE_BYTES[pageSizeOf(flags)];
  const letter = (refused: number, name: string): string => ((flags & refused) === 0 ? name : "-");
  const hostRights = `${letter(TR_NO_READ, "R")}${letter(TR_NO_WRITE, "W")}${letter(TR_NO_FETCH, "X")}`;
  return { id, guestSizeBytes, hostSizeBytes: sizeBytes < guestSizeBytes ? sizeBytes : hostPageBytes, hostRights };
}

/** In what a used slot disagrees with the page tables; null when it does not. */
function staleIn(cpu: Cpu, tlb: Tlb, slot: number, truth: TranslationTruth): string | null {
  const [la, frame, flags, context] = [tlb.addressOf(slot), tlb.frameOf(slot), tlb.flagsOf(slot), tlb.pcidOf(slot)];
  const size = tlb.sizeOf(slot);
  const guest = tlb.guestOf(slot);
  if (size !== SIZE_TABLE) {
    const pcid = context === GLOBAL_CONTEXT ? null : context;
    const entry = { tlb: tlb.name, la, sizeBytes: SIZE_BYTES[size], frame, pcid, flags };
    return guest === 0
      ? truth.ofTranslation(cpu, entry)
      : truth.ofGuest(cpu, cpu.virtualization.numbers.idOf(guest), entry);
  }
  const level = structureLevel(tlb.tagOf(slot));
  const entry = { structure: tlb.name, level, la, sizeBytes: LEVEL_BYTES[level], frame, pcid: context, flags };
  return guest === 0
    ? truth.ofTable(cpu, entry)
    : truth.ofGuestTable(cpu, cpu.virtualization.numbers.idOf(guest), entry);
}
