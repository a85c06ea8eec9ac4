/** What is looked at of a guest: what its vCPUs have cached, of their own memory and of the host's. */
import {
  type CachedGuestTable,
  type CachedGuestTranslation,
  cachedGuestPages,
  cachedGuestTables,
  cachedGuestTranslations,
} from "../../../arch/cpu/cached-translations.ts";
import { TLB_CONTROL_NOTHING } from "../../../arch/cpu/vcpu.ts";
import {
  type CachedTable,
  type CachedTranslation,
  type Cpu,
  cachedTables,
  cachedTranslations,
  PAGE_SIZE,
} from "../../../arch/index.ts";
import { NOT_GIVEN } from "../../../arch/memory/host-memory.ts";
import type { GuestHost } from "../../guests/guest-host.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { OracleFailure } from "./failure.ts";

/** Something cached that leads to frames of the machine. */
interface Cached {
  readonly frame: number;
  readonly sizeBytes: number;
}

/** What a CPU has cached of its kernel's translations; of a vCPU, with guest-physical frames. */
export function translationsOf(kernel: Kernel, cpu: Cpu): readonly CachedTranslation[] {
  const { host } = kernel;
  return host === null ? cachedTranslations(cpu) : inGuest(kernel, ofVcpu(host, cpu, cachedGuestTranslations(cpu)));
}

/** What a CPU's paging-structure caches have of its kernel's tables; of a vCPU, with guest-physical frames. */
export function tablesOf(kernel: Kernel, cpu: Cpu): readonly CachedTable[] {
  const { host } = kernel;
  return host === null ? cachedTables(cpu) : inGuest(kernel, ofVcpu(host, cpu, cachedGuestTables(cpu)));
}

/** Entries of the vCPU that is a CPU of the guest, whether it runs or not. */
function ofVcpu<Entry extends CachedGuestTable | CachedGuestTranslation>(
  { vcpus }: GuestHost,
  { id }: Cpu,
  entries: readonly Entry[],
): Entry[] {
  return entries.filter((entry) => entry.id === vcpus[id].id);
}

function inGuest<Entry extends Cached>({ machine }: Kernel, entries: readonly Entry[]): Entry[] {
  const { hostMemory } = machine;
  return entries.flatMap((entry) => {
    const frame = hostMemory?.guestFrameOf(entry.frame) ?? NOT_GIVEN;
    return frame === NOT_GIVEN ? [] : [{ ...entry, frame }];
  });
}

/** Whether a vCPU flushes everything of its own before it does anything more: it is in the host, or is entered first. */
export function flushesBeforeUse({ host }: Kernel, cpu: Cpu): boolean {
  if (host === null) return false;
  const owes = host.paravirt?.owesFlush(cpu.id) === true || host.vcpus[cpu.id].tlbControl !== TLB_CONTROL_NOTHING;
  return owes && isEnteredFirst(host, cpu);
}

function isEnteredFirst({ scheduler }: GuestHost, cpu: Cpu): boolean {
  return cpu.vcpu === null || scheduler.isEnteredFirst(cpu.id);
}

/**
 * Pages of the host are given back: nothing that a vCPU has cached may lead to them, combined or guest-physical, unless it invalidates all of
 * the guest's memory before it is used.
 * @param firstFrames of the pages
 */
export function lookAtHostPages({ host, machine }: Kernel, firstFrames: readonly number[]): void {
  if (host === null) return;
  const { pageFrames } = host.hypervisor;
  const isFreed = ({ frame, sizeBytes }: Cached): boolean =>
    firstFrames.some((first) => frame < first + pageFrames && frame + sizeBytes / PAGE_SIZE > first);
  for (const cpu of machine.cpus) {
    const owes =
      host.unmapping?.owesInvalidation(cpu.id) === true || host.vcpus[cpu.id].tlbControl !== TLB_CONTROL_NOTHING;
    if (owes && isEnteredFirst(host, cpu)) continue;
    const stale =
      ofVcpu(host, cpu, cachedGuestTranslations(cpu)).find(isFreed)?.tlb ??
      // A table is one frame, whatever its entry leads to.
      ofVcpu(host, cpu, cachedGuestTables(cpu)).find((table) => isFreed({ ...table, sizeBytes: PAGE_SIZE }))?.structure;
    const hasPage = cachedGuestPages(cpu).some(
      (page) => (page.id === null || page.id === host.vcpus[cpu.id].id) && isFreed(page),
    );
    if (stale === undefined && !hasPage) continue;
    const what = stale === undefined ? "cache of guest-physical pages" : stale;
    throw new OracleFailure(
      "stale translation",
      `a page of the host is given back while vCPU ${cpu.id}'s ${what} still leads to it, and no flush is owed`,
    );
  }
}
