/** What a CPU has cached of the page tables, listed without side effects: for checkers and views. */

import { LEVEL_BYTES, PAGE_SIZE } from "../isa/linear-address.ts";
import { GLOBAL_CONTEXT, SIZE_BYTES, SIZE_TABLE, TR_MASK } from "../isa/translation.ts";
import { NO_ROOT } from "../tlb/guest-numbers.ts";
import { structureLevel } from "../tlb/paging-structure-caches.ts";
import type { Tlb } from "../tlb/tlb.ts";
import { pageSizeOf } from "../tlb/tlb-sweeps.ts";
import type { Cpu } from "./cpu.ts";

/** One entry of a TLB. */
export interface CachedTranslation {
  /** Name of the TLB. */
  readonly tlb: string;
  /** First linear address that it translates. */
  readonly la: number;
  /** 4096, 2 MiB or 1 GiB. */
  readonly sizeBytes: number;
  /** First 4 KiB frame. */
  readonly frame: number;
  /** The PCID it belongs to; null for a global translation. */
  readonly pcid: number | null;
  /** Rights and attributes (`TR_*` of translation.ts). */
  readonly flags: number;
}

/** One entry of a TLB that belongs to a guest: a combined one, or a linear one if the guest has no second stage. */
export interface CachedGuestTranslation extends CachedTranslation {
  /** VPID or ASID. */
  readonly id: number;
  /** Frame of the second stage's top table; -1 without a second stage. AMD does not look at it when it uses an entry. */
  readonly rootFrame: number;
  /** Bytes of the page in the guest's own tables; more than `sizeBytes` for a piece. */
  readonly guestSizeBytes: number;
}

/** One cached guest-physical mapping of a page. */
export interface CachedGuestPage {
  /** AMD's ASID that it belongs to; null for Intel's, which belong to all VPIDs with one root of the second stage. */
  readonly id: number | null;
  /** First 4 KiB frame, guest-physical. */
  readonly guestFrame: number;
  /** First 4 KiB frame of the machine. */
  readonly frame: number;
  /** 4096, 2 MiB or 1 GiB. */
  readonly sizeBytes: number;
}

/** One entry of a paging-structure cache. */
export interface CachedTable {
  /** Name of the cache, or of the TLB that holds such entries too. */
  readonly structure: string;
  /** Level of the cached entry: 2 (PDE) to 5 (PML5E). */
  readonly level: number;
  /** First linear address that it leads to. */
  readonly la: number;
  /** Bytes of addresses that it leads to. */
  readonly sizeBytes: number;
  /** Frame of the page table that it names, which is one level below. */
  readonly frame: number;
  /** The PCID it belongs to: entries of tables are never global. */
  readonly pcid: number;
  /** Rights over all levels down to it (`TR_*` of translation.ts). */
  readonly flags: number;
}

/** One entry of a paging-structure cache that belongs to a guest. */
export interface CachedGuestTable extends CachedTable {
  /** VPID or ASID. */
  readonly id: number;
}

/** Every entry in the paging-structure caches of `cpu`, but for those of guests. */
export function cachedTables(cpu: Cpu): CachedTable[] {
  const found: CachedTable[] = [];
  for (const structure of cpu.mmu.structures.all()) addTables(structure, 0, found);
  return found;
}

/** Every entry of a guest in the paging-structure caches of `cpu`: its frames are the machine's. */
export function cachedGuestTables(cpu: Cpu): CachedGuestTable[] {
  const { numbers } = cpu.virtualization;
  const all = cpu.mmu.structures.all();
  return numbers.all().flatMap((number) => {
    const id = numbers.idOf(number);
    const found: CachedTable[] = [];
    for (const structure of all) addTables(structure, number, found);
    return found.map((table) => ({ ...table, id }));
  });
}

/** Every guest-physical mapping of a page that `cpu` has cached, of whichever guest. */
export function cachedGuestPages(cpu: Cpu): CachedGuestPage[] {
  const { numbers, guestPhysicalCaches } = cpu.virtualization;
  const pages = guestPhysicalCaches?.ofPages ?? null;
  if (pages === null || pages.isEmpty) return [];
  const found: CachedGuestPage[] = [];
  for (let slot = 0; slot < pages.slots; slot++) {
    if (!pages.isUsed(slot)) continue;
    const guestFrame = pages.addressOf(slot) / PAGE_SIZE;
    const guest = pages.guestOf(slot);
    const id = numbers.rootOf(guest) === NO_ROOT ? numbers.idOf(guest) : null;
    found.push({ id, guestFrame, frame: pages.frameOf(slot), sizeBytes: SIZE_BYTES[pages.sizeOf(slot)] });
  }
  return found;
}

/** Adds the entries of a guest, or of the host (0). */
function addTables(tlb: Tlb, guest: number, found: CachedTable[]): void {
  if (tlb.isEmpty) return;
  for (let slot = 0; slot < tlb.slots; slot++) {
    if (!tlb.isUsed(slot) || tlb.sizeOf(slot) !== SIZE_TABLE || tlb.guestOf(slot) !== guest) continue;
    const level = structureLevel(tlb.tagOf(slot));
    found.push({
      structure: tlb.name,
      level,
      la: tlb.addressOf(slot),
      sizeBytes: LEVEL_BYTES[level],
      frame: tlb.frameOf(slot),
      pcid: tlb.pcidOf(slot),
      flags: tlb.flagsOf(slot),
    });
  }
}

/** Every translation of the host in the TLBs of `cpu`, both levels; entries of paging-structure caches are left out. */
export function cachedTranslations(cpu: Cpu): CachedTranslation[] {
  const { first, second } = cpu.mmu.tlbs;
  const found: CachedTranslation[] = [];
  for (const tlb of first) addTranslations(tlb, found);
  for (const tlb of second) addTranslations(tlb, found);
  return found;
}

/** In plain loops: the schedule explorer lists them several times in each schedule. */
function addTranslations(tlb: Tlb, found: CachedTranslation[]): void {
  if (tlb.isEmpty) return;
  for (let slot = 0; slot < tlb.slots; slot++) {
    if (!tlb.isUsed(slot) || tlb.sizeOf(slot) === SIZE_TABLE || tlb.guestOf(slot) !== 0) continue;
    found.push(translationIn(tlb, slot));
  }
}

/** Every translation of a guest in the TLBs of `cpu`, both levels: its frames are the machine's. */
export function cachedGuestTranslations(cpu: Cpu): CachedGuestTranslation[] {
  const { tlbs } = cpu.mmu;
  const { numbers } = cpu.virtualization;
  return [...tlbs.first, ...tlbs.second].flatMap((tlb) =>
    usedSlots(tlb).flatMap((slot) => {
      const number = tlb.guestOf(slot);
      if (number === 0) return [];
      const guestSizeBytes = SIZE_BYTES[pageSizeOf(tlb.flagsOf(slot))];
      const [id, rootFrame] = [numbers.idOf(number), numbers.rootOf(number)];
      return [{ ...translationIn(tlb, slot), id, rootFrame, guestSizeBytes }];
    }),
  );
}

function usedSlots(tlb: Tlb): number[] {
  const used: number[] = [];
  if (tlb.isEmpty) return used;
  for (let slot = 0; slot < tlb.slots; slot++) {
    if (tlb.isUsed(slot) && tlb.sizeOf(slot) !== SIZE_TABLE) used.push(slot);
  }
  return used;
}

function translationIn(tlb: Tlb, slot: number): CachedTranslation {
  const pcid = tlb.pcidOf(slot);
  return {
    tlb: tlb.name,
    la: tlb.addressOf(slot),
    sizeBytes: SIZE_BYTES[tlb.sizeOf(slot)],
    frame: tlb.frameOf(slot),
    pcid: pcid === GLOBAL_CONTEXT ? null : pcid,
    flags: tlb.flagsOf(slot) & TR_MASK,
  };
}
