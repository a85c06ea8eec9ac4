/**
 * `set_memory_ro`, `set_memory_rox` and their like (`arch/x86/mm/pat/set_memory.c`): rights of kernel pages that are mapped. Each call
 * first purges all that is lazily freed, since stale translations may lead to the same frames with the old rights, and flushes
 * afterwards: of what vmalloc maps whole TLBs, as the direct map's aliases change as well.
 */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { PTE_DIRTY, PTE_PRESENT, PTE_RW, PTE_XD_HIGH } from "../../arch/isa/pte.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { flushTlbAll, flushTlbKernelRange } from "../flush/tlb-flush.ts";
import { probedCode, type SetMemoryCall } from "../kernel/call-probes.ts";
import { ADDRESS_MAX } from "../lib/memory-layout.ts";
import { directMapAddress } from "../page-tables/direct-map.ts";
import { __changePageAttrSetClr, type AttributeChange, CpaData, cpaCollapseLargePages } from "./change-page-attr.ts";
import { vmUnmapAliases } from "./vm-unmap-aliases.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

const NOTHING: AttributeChange = { setLow: 0, setHigh: 0, clearLow: 0, clearHigh: 0 };
const READ_ONLY: AttributeChange = { ...NOTHING, clearLow: PTE_RW | PTE_DIRTY };
const WRITABLE: AttributeChange = { ...NOTHING, setLow: PTE_RW };
const EXECUTABLE: AttributeChange = { ...NOTHING, clearHigh: PTE_XD_HIGH };
const NOT_EXECUTABLE: AttributeChange = { ...NOTHING, setHigh: PTE_XD_HIGH };
const READ_ONLY_EXECUTABLE: AttributeChange = { ...READ_ONLY, clearHigh: PTE_XD_HIGH };
/** `__set_pages_p` and `__set_pages_np`. */
const VALID: AttributeChange = { ...NOTHING, setLow: PTE_PRESENT | PTE_RW };
const INVALID: AttributeChange = { ...NOTHING, clearLow: PTE_PRESENT | PTE_RW | PTE_DIRTY };

/** Makes `pages` pages from `address` on read-only; 0 or a negative errno. */
export function setMemoryRo(state: Vmalloc, address: number, pages: number): KernelCode<number> {
  return setOneAttribute(state, "set_memory_ro", address, pages, READ_ONLY);
}

/** Makes pages writable; 0 or a negative errno. */
export function setMemoryRw(state: Vmalloc, address: number, pages: number): KernelCode<number> {
  return setOneAttribute(state, "set_memory_rw", address, pages, WRITABLE);
}

/** Makes pages executable; 0 or a negative errno. */
export function setMemoryX(state: Vmalloc, address: number, pages: number): KernelCode<number> {
  return setOneAttribute(state, "set_memory_x", address, pages, EXECUTABLE);
}

/** Makes pages not executable; 0 or a negative errno. */
export function setMemoryNx(state: Vmalloc, address: number, pages: number): KernelCode<number> {
  return setOneAttribute(state, "set_memory_nx", address, pages, NOT_EXECUTABLE);
}

/** A call of the family that makes one change and puts no large pages together; 0 or a negative errno. */
function setOneAttribute(
  state: Vmalloc,
  name: Parameters<typeof setMemory>[1],
  address: number,
  pages: number,
  change: AttributeChange,
): KernelCode<number> {
  return setMemory(state, name, address, pages, changePageAttrSetClr(state, address, pages, change, false));
}

/**
 * Makes pages read-only and executable; where the version of the kernel does, puts them together to large ones afterwards.
 * @returns 0 or a negative errno
 */
export function setMemoryRox(state: Vmalloc, address: number, pages: number): KernelCode<number> {
  // What has no function of that name makes two calls.
  if (!state.version.hasSetMemoryRox) return readOnlyThenExecutable(state, address, pages);
  const { joinsRoxPages } = state.version;
  const code = changePageAttrSetClr(state, address, pages, READ_ONLY_EXECUTABLE, joinsRoxPages);
  return setMemory(state, "set_memory_rox", address, pages, code);
}

function* readOnlyThenExecutable(state: Vmalloc, address: number, pages: number): KernelCode<number> {
  const result = yield* setMemoryRo(state, address, pages);
  return result < 0 ? result : yield* setMemoryX(state, address, pages);
}

/** One of the calls, which probes see. */
function setMemory(
  { probes }: Vmalloc,
  name: SetMemoryCall,
  address: number,
  pages: number,
  code: KernelCode<number>,
): KernelCode<number> {
  return probes === null ? code : probedCode(probes, name, [address, pages], code);
}

/** `change_page_attr_set_clr`. @param joins whether pages are put together to large ones afterwards (`CPA_COLLAPSE`) */
function* changePageAttrSetClr(
  state: Vmalloc,
  address: number,
  pages: number,
  change: AttributeChange,
  joins: boolean,
): KernelCode<number> {
  const { mm, tables, flushing } = state;
  yield* vmUnmapAliases(state);
  const owed = tables.owed.owe(0, ADDRESS_MAX);
  const cpa = new CpaData(change, owed, true);
  const result = yield* __changePageAttrSetClr(mm, cpa, address, pages);
  const end = address + pages * PAGE_SIZE;
  if (!cpa.isChanged) tables.owed.waive(owed);
  else if (result < 0 || cpa.forceFlushAll) {
    tables.owed.settle(owed, 0, ADDRESS_MAX);
    yield* flushTlbAll(flushing, "set_memory");
  } else {
    // Nothing but [address, end) was changed: no alias was looked for.
    tables.owed.waive(owed);
    yield* flushTlbKernelRange(flushing, address, end, "set_memory");
  }
  if (cpa.isChanged && result === 0 && joins) yield* cpaCollapseLargePages(mm, address, end);
  return result;
}

/**
 * Makes `pages` pages of the direct map present and writable, or takes them out of it, without a flush
 * (`set_direct_map_valid_noflush`). Of pages that are taken out the caller flushes the addresses.
 * @returns 0, or -ENOMEM when a large page could not be split
 */
export function* setDirectMapValidNoflush(
  state: Vmalloc,
  frame: number,
  pages: number,
  valid: boolean,
): KernelCode<number> {
  const { owed } = state.tables;
  const address = directMapAddress(frame * PAGE_SIZE);
  const debt = owed.owe(address, address + pages * PAGE_SIZE);
  const cpa = new CpaData(valid ? VALID : INVALID, debt, false);
  const result = yield* __changePageAttrSetClr(state.mm, cpa, address, pages);
  owed.waive(debt);
  return result;
}
