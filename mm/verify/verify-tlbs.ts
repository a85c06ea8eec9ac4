/**
 * Checks TLBs and paging-structure caches, of every PCID. An entry may differ from the page tables only where a flush is
 * still owed before it can be used: in lazily freed areas and in the dirty ranges of vmap blocks, on a CPU that has put its flush
 * off until it leaves user mode, under a PCID that is flushed when it is next loaded.
 */

import {
  type CachedTable,
  type CachedTranslation,
  cachedTables,
  cachedTranslations,
} from "../../arch/cpu/cached-translations.ts";
import type { Cpu } from "../../arch/cpu/cpu.ts";
import { PAGE_SIZE, UPPER_HALF } from "../../arch/isa/linear-address.ts";
import { entryFrame, PTE_PAGE_SIZE, PTE_PRESENT, PTE_RW, PTE_XD_HIGH } from "../../arch/isa/pte.ts";
import { TR_RW, TR_XD } from "../../arch/isa/translation.ts";
import type { HostMemory } from "../../arch/memory/host-memory.ts";
import { VMALLOC_START } from "../lib/memory-layout.ts";
import type { PageTables } from "../page-tables/page-tables.ts";
import type { Vmalloc } from "../vmalloc/vmalloc-state.ts";
import type { AreaCensus } from "./verify-areas.ts";
import { Contexts } from "./verify-contexts.ts";
import { address, type Findings, frameName } from "./verify-findings.ts";
import { guestEntries, tablesOfVcpu, translationsOfVcpu, verifyGuestPages } from "./verify-guest.ts";

/** Address ranges, disjoint, in address order. */
interface Ranges {
  readonly starts: readonly number[];
  readonly ends: readonly number[];
}

/** Checks every CPU's TLBs and paging-structure caches. */
export function verifyTlbs(
  state: Vmalloc,
  census: AreaCensus,
  blockOf: ReadonlyMap<number, number>,
  findings: Findings,
): void {
  const contexts = new Contexts(state.mm);
  const owed = owedFlushes(state, census, blockOf);
  for (const cpu of state.machine.cpus) {
    // A CPU in user mode that flushes everything when it next enters the kernel may hold anything until then.
    if (state.flushing.userMode.owes(cpu.id)) continue;
    // Likewise a vCPU that flushes everything when it next runs.
    if (state.flushing.host?.owesFlush(cpu.id)) continue;
    const root = Math.floor(cpu.cr3 / PAGE_SIZE);
    const { pcid } = cpu.mmu;
    const cached = entriesOf(cpu, state.machine.hostMemory, findings);
    for (const entry of cached.translations) {
      const tables = entry.pcid === null ? state.tables : contexts.tablesOf(cpu, entry.pcid, entry.la);
      if (tables === null) continue;
      if (entry.pcid === pcid && !sharesKernel(state.tables, root, entry.la)) continue;
      const wrong = translationDifference(tables, entry);
      if (wrong === null || isOwed(owed, entry)) continue;
      const entryShown = `${address(entry.la)} to ${frameName(entry.frame)}${ofPcid(entry.pcid, pcid)}`;
      findings.add(`CPU ${cpu.id}: its ${entry.tlb} translates ${entryShown}, but ${wrong}, and no flush is owed`);
    }
    for (const entry of cached.tables) {
      const tables = contexts.tablesOf(cpu, entry.pcid, entry.la);
      if (tables === null) continue;
      if (entry.pcid === pcid && !sharesKernel(state.tables, root, entry.la)) continue;
      const wrong = tableDifference(tables, entry);
      if (wrong === null) continue;
      const entryShown = `${address(entry.la)} to the table in ${frameName(entry.frame)}${ofPcid(entry.pcid, pcid)}`;
      findings.add(
        `CPU ${cpu.id}: its ${entry.structure} leads from ${entryShown}, but ${wrong}, and no flush is owed`,
      );
    }
  }
}

/** What a CPU has cached; of a vCPU, with guest-physical frames. */
function entriesOf(
  cpu: Cpu,
  memory: HostMemory | null,
  findings: Findings,
): { readonly translations: readonly CachedTranslation[]; readonly tables: readonly CachedTable[] } {
  if (memory === null) return { translations: cachedTranslations(cpu), tables: cachedTables(cpu) };
  verifyGuestPages(cpu, memory, findings);
  return {
    translations: guestEntries(cpu, memory, translationsOfVcpu(cpu), ({ tlb }) => tlb, findings),
    tables: guestEntries(cpu, memory, tablesOfVcpu(cpu), ({ structure }) => structure, findings),
  };
}

/** ` under PCID n` for one that the CPU has not loaded. */
function ofPcid(pcid: number | null, loaded: number): string {
  return pcid === null || pcid === loaded ? "" : ` under PCID ${pcid}, which is not loaded`;
}

/** Whether a top table has the kernel's entry for a kernel address, as those of user address spaces have. */
function sharesKernel({ rootFrame, levels, memory }: PageTables, root: number, la: number): boolean {
  if (root === rootFrame || la < UPPER_HALF) return true;
  const word = 2 * (levels === 5 ? 511 : Math.floor(la / 2 ** 39) % 512);
  const low = memory.readWord(root, word);
  const high = memory.readWord(root, word + 1);
  const kernelLow = memory.readWord(rootFrame, word);
  return entryFrame(low, high) === entryFrame(kernelLow, memory.readWord(rootFrame, word + 1)) && low !== 0;
}

/** Where stale entries may still be. */
function owedFlushes(state: Vmalloc, census: AreaCensus, blockOf: ReadonlyMap<number, number>): Ranges {
  const { areas, blocks } = state;
  const starts: number[] = [];
  const ends: number[] = [];
  census.all.forEach((area, i) => {
    const place = census.places[i];
    const block = blockOf.get(area);
    if (place === "lazily freed" || place === "being purged") {
      starts.push(areas.startOf(area));
      ends.push(areas.endOf(area));
    } else if (place === "busy" && block !== undefined && blocks.dirtyMax[block] > 0) {
      starts.push(areas.startOf(area) + blocks.dirtyMin[block] * PAGE_SIZE);
      ends.push(areas.startOf(area) + blocks.dirtyMax[block] * PAGE_SIZE);
    }
  });
  return { starts, ends };
}

/** Whether all that an entry translates lies in ranges (touching ones count as one). */
function isOwed({ starts, ends }: Ranges, entry: CachedTranslation): boolean {
  let [low, high] = [0, starts.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ends[middle] > entry.la) high = middle;
    else low = middle + 1;
  }
  let reached = entry.la;
  for (let i = low; i < starts.length && starts[i] <= reached && reached < entry.la + entry.sizeBytes; i++) {
    reached = ends[i];
  }
  return reached >= entry.la + entry.sizeBytes;
}

/** Where a level's entry for an address is in its table. */
function entryIndex(la: number, level: number): number {
  if (level === 5) return la < UPPER_HALF ? 0 : 511;
  return Math.floor(la / 2 ** (12 + 9 * (level - 1))) % 512;
}

/** In what the page tables differ from a cached entry of a table; null when they lead to the same table. */
export function tableDifference({ memory, rootFrame, levels }: PageTables, entry: CachedTable): string | null {
  let table = rootFrame;
  for (let level = levels as number; level >= entry.level; level--) {
    const index = entryIndex(entry.la, level);
    const low = memory.readWord(table, 2 * index);
    if ((low & PTE_PRESENT) === 0) return "there is no table";
    if (level <= 3 && (low & PTE_PAGE_SIZE) !== 0) return "a large page is mapped there";
    table = entryFrame(low, memory.readWord(table, 2 * index + 1));
  }
  return table === entry.frame ? null : `the table there is in ${frameName(table)}`;
}

/**
 * In what the page tables differ from a cached translation; null when they agree. Rights of user pages, and of the direct map, may be less
 * than the tables allow: a CPU that uses them faults and reads the tables again.
 */
export function translationDifference(tables: PageTables, entry: CachedTranslation): string | null {
  const { memory } = tables;
  let table = tables.rootFrame;
  let writable = true;
  let executable = true;
  for (let level = tables.levels as number; level >= 1; level--) {
    const index = entryIndex(entry.la, level);
    const low = memory.readWord(table, 2 * index);
    const high = memory.readWord(table, 2 * index + 1);
    if ((low & PTE_PRESENT) === 0) return "nothing is mapped there";
    writable &&= (low & PTE_RW) !== 0;
    executable &&= (high & PTE_XD_HIGH) === 0;
    table = entryFrame(low, high);
    if (level > 1 && (low & PTE_PAGE_SIZE) === 0) continue;
    const pages = 2 ** (9 * (level - 1));
    if (pages * PAGE_SIZE < entry.sizeBytes) return `the tables map pages of ${pages * PAGE_SIZE} bytes there`;
    const frame = table - (table % pages) + (Math.floor(entry.la / PAGE_SIZE) % pages);
    if (frame !== entry.frame) return `the tables map ${frameName(frame)} there`;
    if (entry.la < UPPER_HALF) return null;
    // Pages come back to the direct map without a flush (`set_direct_map_valid_noflush`).
    if (writable && entry.la < VMALLOC_START) return null;
    if (writable !== ((entry.flags & TR_RW) !== 0)) return `the tables ${writable ? "allow" : "forbid"} writing there`;
    if (executable === ((entry.flags & TR_XD) !== 0))
      return `the tables ${executable ? "allow" : "forbid"} execution there`;
    return null;
  }
  return null;
}
