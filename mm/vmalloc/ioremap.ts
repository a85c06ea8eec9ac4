/** `ioremap`: device registers at kernel addresses (`arch/x86/mm/ioremap.c`). */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { wait } from "../kernel/blocking.ts";
import { probedCode } from "../kernel/call-probes.ts";
import { formatRange } from "../lib/kernel-log.ts";
import { isModeAllowed, memtypeFree, memtypeReserve, modeNumber } from "../page-tables/memtype.ts";
import { type CacheMode, ioProtection } from "../page-tables/protection.ts";
import { VM_IOREMAP } from "./areas/vm-structs.ts";
import { findVmArea, freeVmArea, getVmArea, releaseWithoutPages, removeVmArea, UNKNOWN_CALLER } from "./vm-area.ts";
import { isVmallocAddr } from "./vmalloc-lookup.ts";
import type { Vmalloc } from "./vmalloc-state.ts";
import { vmapPageRange } from "./vmap-pages.ts";

/** One past the highest physical address that an entry of a page table can hold (52 bits). */
const PHYSICAL_SPACE_BYTES = 2 ** 52;

/**
 * Maps physical addresses [phys, phys + sizeBytes), which must not be RAM, uncached unless `mode` says otherwise; a mapping that is
 * there already, or the MTRRs, may say otherwise again (`memtype.ts`).
 * @returns the address of `phys` itself, or 0 (NULL)
 */
export function ioremap(
  state: Vmalloc,
  phys: number,
  sizeBytes: number,
  mode: CacheMode = "uc-",
  caller: string = UNKNOWN_CALLER,
): KernelCode<number> {
  const { probes } = state;
  const code = mapDevice(state, phys, sizeBytes, mode, caller);
  return probes === null ? code : probedCode(probes, "ioremap", [phys, sizeBytes, modeNumber(mode), caller], code);
}

function* mapDevice(
  state: Vmalloc,
  phys: number,
  sizeBytes: number,
  mode: CacheMode,
  caller: string,
): KernelCode<number> {
  const last = phys + sizeBytes - 1;
  if (!(sizeBytes > 0)) return 0;
  if (!physAddrValid(state, phys) || last >= PHYSICAL_SPACE_BYTES) {
    state.log.print(`ioremap: invalid physical address ${phys.toString(16)}`);
    state.log.warnOnce("ioremap", "ioremap of an invalid physical address");
    return 0;
  }
  if (touchesRam(state, phys, last)) {
    state.log.warnOnce("ioremap on RAM", `ioremap on RAM at 0x${phys.toString(16)} - 0x${last.toString(16)}`);
    return 0;
  }
  const offset = phys % PAGE_SIZE;
  const base = phys - offset;
  const pages = Math.floor((last - base) / PAGE_SIZE) + 1;
  const end = base + pages * PAGE_SIZE;
  const reserved = memtypeReserve(state.mm, base, end, mode);
  if (typeof reserved === "number") {
    state.log.print(`ioremap memtype_reserve failed ${reserved}`);
    return 0;
  }
  if (!isModeAllowed(mode, reserved)) {
    const range = `0x${base.toString(16)}-0x${end.toString(16)}`;
    const modes = `requested 0x${modeNumber(mode).toString(16)}, got 0x${modeNumber(reserved).toString(16)}`;
    state.log.print(`ioremap error for ${range}, ${modes}`);
    memtypeFree(state.mm, base, end);
    return 0;
  }
  const vm = yield* wait(getVmArea(state, pages * PAGE_SIZE, VM_IOREMAP, caller));
  if (vm === 0) {
    memtypeFree(state.mm, base, end);
    return 0;
  }
  const { vms } = state;
  vms.physAddr[vm] = base;
  const start = vms.addr[vm];
  const maxShift = state.config.ioremapMaxPageShift;
  const result = yield* vmapPageRange(
    state.mm,
    start,
    start + pages * PAGE_SIZE,
    base,
    ioProtection(reserved),
    maxShift,
  );
  if (result < 0) {
    yield* freeVmArea(state, vm);
    memtypeFree(state.mm, base, end);
    return 0;
  }
  return start + offset;
}

/**
 * Undoes an `ioremap`. An address outside the vmalloc range is warned of once, one where nothing is is reported; nothing else
 * happens.
 */
export function iounmap(state: Vmalloc, address: number): KernelCode<void> {
  const { probes } = state;
  const code = unmapDevice(state, address);
  return probes === null ? code : probedCode(probes, "iounmap", [address], code);
}

function* unmapDevice(state: Vmalloc, address: number): KernelCode<void> {
  if (!isVmallocAddr(address)) {
    state.log.warnOnce("iounmap", `iounmap of ${formatRange(address, address)}: not a vmalloc address`);
    return;
  }
  const page = address - (address % PAGE_SIZE);
  // Found under the lock of its tree and used without: the caller keeps others from unmapping the same (`arch/x86/mm/ioremap.c`).
  const vm = yield* findVmArea(state, page);
  if (vm === 0) {
    state.log.warn(`iounmap: bad address ${formatRange(address, address)}`);
    return;
  }
  const { vms } = state;
  memtypeFree(state.mm, vms.physAddr[vm], vms.physAddr[vm] + vms.usableSizeBytes(vm));
  const removed = yield* wait(removeVmArea(state, page));
  if (removed === vm) releaseWithoutPages(state, vm);
  else
    state.log.warnOnce("iounmap", `iounmap of ${formatRange(address, address)}: unmapped by somebody else meanwhile`);
}

/** Whether the CPU has so many physical address bits (`phys_addr_valid`); of a range Linux asks for the first address only. */
function physAddrValid({ machine }: Vmalloc, phys: number): boolean {
  return phys >= 0 && phys < 2 ** machine.config.maxPhyAddr;
}

function touchesRam(state: Vmalloc, phys: number, last: number): boolean {
  const { memory } = state.machine;
  const lastFrame = Math.floor(last / PAGE_SIZE);
  for (let frame = Math.floor(phys / PAGE_SIZE); frame <= lastFrame && frame < memory.frames; frame++) {
    if (memory.has(frame)) return true;
  }
  return false;
}
