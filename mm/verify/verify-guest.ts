/**
 * Checks what CPUs have cached of a guest, whose kernel this is, in both dimensions: a combined entry leads to a frame of the machine that
 * the guest has, and to that which its page tables say; so do entries of its tables, and guest-physical mappings. What a vCPU flushes
 * before it runs again may be anything.
 */
import {
  type CachedGuestTable,
  type CachedGuestTranslation,
  cachedGuestPages,
  cachedGuestTables,
  cachedGuestTranslations,
} from "../../arch/cpu/cached-translations.ts";
import type { Cpu } from "../../arch/cpu/cpu.ts";
import { type HostMemory, NOT_GIVEN } from "../../arch/memory/host-memory.ts";
import { address, type Findings, frameName } from "./verify-findings.ts";

/**
 * What a CPU has cached of its vCPU, with guest-physical frames in place of the machine's. Entries that lead to memory which the guest does not have
 * are findings; those that lead to registers of devices are left out.
 */
export function guestEntries<Entry extends { readonly la: number; readonly frame: number }>(
  cpu: Cpu,
  memory: HostMemory,
  entries: readonly Entry[],
  nameOf: (entry: Entry) => string,
  findings: Findings,
): Entry[] {
  return entries.flatMap((entry) => {
    if (!memory.has(entry.frame)) return [];
    const frame = memory.guestFrameOf(entry.frame);
    if (frame !== NOT_GIVEN) return [{ ...entry, frame }];
    const where = `${address(entry.la)} to ${frameName(entry.frame)} of the host`;
    findings.add(`CPU ${cpu.id}: its ${nameOf(entry)} leads from ${where}, which the guest does not have`);
    return [];
  });
}

/** Translations of the vCPU that a CPU runs. */
export function translationsOfVcpu(cpu: Cpu): CachedGuestTranslation[] {
  const { vcpu } = cpu;
  return vcpu === null ? [] : cachedGuestTranslations(cpu).filter(({ id }) => id === vcpu.id);
}

/** Entries of tables of the vCPU that a CPU runs. */
export function tablesOfVcpu(cpu: Cpu): CachedGuestTable[] {
  const { vcpu } = cpu;
  return vcpu === null ? [] : cachedGuestTables(cpu).filter(({ id }) => id === vcpu.id);
}

/** Checks the guest-physical mappings that a CPU has cached. */
export function verifyGuestPages(cpu: Cpu, memory: HostMemory, findings: Findings): void {
  for (const { id, guestFrame, frame } of cachedGuestPages(cpu)) {
    // Another vCPU of the same physical CPU may have to flush its own before it uses them.
    if (id !== null && id !== cpu.vcpu?.id) continue;
    if (!memory.has(frame) || memory.guestFrameOf(frame) === guestFrame) continue;
    const where = `guest-physical ${frameName(guestFrame)} to ${frameName(frame)} of the host`;
    findings.add(`CPU ${cpu.id}: its guest-physical pages lead from ${where}, which is not what the guest has there`);
  }
}
