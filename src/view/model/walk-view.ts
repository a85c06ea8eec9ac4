/** The page walk of an address as a CPU would do it: each level's entry with its bits, what is cached of it, and what an access would get. */
import {
  type CachedTable,
  type CachedTranslation,
  cachedGuestTranslations,
  cachedTables,
  cachedTranslations,
} from "../../../arch/cpu/cached-translations.ts";
import type { Cpu } from "../../../arch/cpu/cpu.ts";
import { ACCESS_FETCH, ACCESS_LOAD, ACCESS_STORE, type Access } from "../../../arch/isa/access.ts";
import {
  formatErrorCode,
  PF_FETCH,
  PF_PRESENT,
  PF_PROTECTION_KEY,
  PF_RESERVED,
  PF_USER,
  PF_WRITE,
} from "../../../arch/isa/faults.ts";
import { TR_DIRTY, TR_KEY_SHIFT, TR_RW, TR_USER, TR_XD } from "../../../arch/isa/translation.ts";
import type { ProbeLevel, ProbeResult } from "../../../arch/walk/probe.ts";
import { formatSecondStage } from "../../../arch/walk/second-stage-probe.ts";
import type { Kernel } from "../../machine/kernel.ts";

/** One bit of an entry, or a group of bits. */
export interface EntryBit {
  /** As the manual calls it: `P`, `R/W`, `U/S`, ... */
  readonly name: string;
  readonly isSet: boolean;
  /** What its value means. */
  readonly meaning: string;
}

/** One level of a walk. */
export interface WalkLevel {
  /** `PML4E` to `PTE`. */
  readonly name: string;
  readonly level: number;
  readonly index: number;
  /** Physical address that the entry is fetched from. */
  readonly entryAddress: number;
  /** The 64 bits, as `0x` and 16 digits. */
  readonly entry: string;
  readonly present: boolean;
  readonly leaf: boolean;
  readonly bits: readonly EntryBit[];
  /** The paging-structure caches that hold this entry for this CPU. */
  readonly cachedIn: readonly string[];
  /** In a guest: how the second stage translates the address of the table, a line a level; else empty. */
  readonly secondStage: readonly string[];
}

/** What an access would get from the page tables. */
export interface AccessOutcome {
  /** `load`, `store` or `fetch`. */
  readonly access: string;
  /** The error code of the page fault; null when the access is allowed. */
  readonly errorCode: number | null;
  /** `P|W`, or `allowed`. */
  readonly code: string;
  /** One sentence a bit of the error code. */
  readonly why: readonly string[];
}

/** A walk, explained. */
export interface WalkView {
  readonly address: number;
  readonly cpu: number;
  readonly outcome: ProbeResult["outcome"];
  readonly physical: number | null;
  readonly pageSize: string | null;
  readonly memoryType: string | null;
  readonly levels: readonly WalkLevel[];
  /** In a guest: how the second stage translates the page's address; else empty. */
  readonly secondStage: readonly string[];
  /** R/W, U/S and XD over all levels. */
  readonly combined: readonly EntryBit[];
  /** TLBs of this CPU that translate the address, with the frame that they lead to. */
  readonly tlbs: readonly { readonly tlb: string; readonly frame: number }[];
  readonly outcomes: readonly AccessOutcome[];
}

/** The walk of `address` on a CPU; nothing of the machine changes. */
export function walkView(kernel: Kernel, cpuNumber: number, address: number): WalkView {
  const cpu = kernel.machine.cpus[cpuNumber];
  const result = cpu.probe(address);
  const { pcid } = cpu.mmu.mode;
  const covers = (entry: CachedTable | CachedTranslation): boolean =>
    entry.la <= address && address < entry.la + entry.sizeBytes && (entry.pcid === null || entry.pcid === pcid);
  const tables = cachedTables(cpu).filter(covers);
  return {
    address,
    cpu: cpuNumber,
    outcome: result.outcome,
    physical: result.physical,
    pageSize: result.pageSize,
    memoryType: result.memoryType,
    levels: result.levels.map((level) => ({
      name: level.name,
      level: level.level,
      index: level.index,
      entryAddress: level.entryAddress,
      entry: `0x${level.entry.toString(16).padStart(16, "0")}`,
      present: level.present,
      leaf: level.leaf,
      bits: bitsOf(level),
      cachedIn: tables.filter((table) => table.level === level.level).map(({ structure }) => structure),
      secondStage: level.secondStage === undefined ? [] : formatSecondStage(level.secondStage),
    })),
    secondStage: result.secondStage === undefined ? [] : formatSecondStage(result.secondStage),
    combined: result.physical === null ? [] : combinedRights(result),
    tlbs: translationsOf(cpu)
      .filter(covers)
      .map(({ tlb, frame }) => ({ tlb, frame })),
    outcomes: [
      outcomeOf(cpu, "load", ACCESS_LOAD, result),
      outcomeOf(cpu, "store", ACCESS_STORE, result),
      outcomeOf(cpu, "fetch", ACCESS_FETCH, result),
    ],
  };
}

/** What the CPU uses now: those of the host, or of the virtual CPU that it runs. */
function translationsOf(cpu: Cpu): readonly CachedTranslation[] {
  const { vcpu } = cpu;
  return vcpu === null ? cachedTranslations(cpu) : cachedGuestTranslations(cpu).filter(({ id }) => id === vcpu.id);
}

/** The bits of an entry that say something at its level (Intel SDM vol. 3A, tables 4-15 to 4-20). */
function bitsOf({ entry, present, leaf, level, writable, user, executeDisable, accessed }: ProbeLevel): EntryBit[] {
  const bit = (at: number): boolean => ((entry >> BigInt(at)) & 1n) === 1n;
  const named = (name: string, isSet: boolean, set: string, clear: string): EntryBit => ({
    name,
    isSet,
    meaning: isSet ? set : clear,
  });
  const bits = [named("P", present, "present", "not present: the other bits mean nothing")];
  if (!present) return bits;
  bits.push(
    named("R/W", writable, "writes are allowed", "writes are refused"),
    named("U/S", user, "user mode may use it", "supervisor only"),
    named("A", accessed, "a walk has used it", "no walk has used it"),
  );
  if (level > 1 && level < 4) bits.push(named("PS", leaf, "maps a large page", "leads to a table"));
  if (leaf) {
    bits.push(
      named("D", bit(6), "the page has been written", "the page has not been written"),
      named("G", bit(8), "global: survives a change of CR3", "not global"),
    );
  }
  bits.push(
    named("PWT", bit(3), "bit 0 of the PAT index is 1", "bit 0 of the PAT index is 0"),
    named("PCD", bit(4), "bit 1 of the PAT index is 1", "bit 1 of the PAT index is 0"),
    named("XD", executeDisable, "instruction fetches are refused", "instruction fetches are allowed"),
  );
  return bits;
}

function combinedRights(result: ProbeResult): EntryBit[] {
  return [
    {
      name: "R/W",
      isSet: result.writable,
      meaning: result.writable ? "1 in every entry" : "0 in some entry: read-only",
    },
    { name: "U/S", isSet: result.user, meaning: result.user ? "1 in every entry" : "0 in some entry: supervisor" },
    {
      name: "XD",
      isSet: !result.executable,
      meaning: result.executable ? "0 in every entry: executable" : "1 in some entry: no fetches",
    },
  ];
}

/** What an access of a kind, at the CPU's present privilege level, would get from a walk (Intel SDM vol. 3A, 4.6 and 4.7). */
function outcomeOf(cpu: Cpu, name: string, access: Access, result: ProbeResult): AccessOutcome {
  const errorCode = errorCodeOf(cpu, access, result);
  if (errorCode === null) return { access: name, errorCode, code: "allowed", why: [] };
  return { access: name, errorCode, code: formatErrorCode(errorCode), why: explain(errorCode) };
}

function errorCodeOf({ mmu: { mode } }: Cpu, access: Access, result: ProbeResult): number | null {
  const ofAccess = mode.errorBits[access];
  if (result.outcome === "reserved bit") return ofAccess | PF_PRESENT | PF_RESERVED;
  if (result.outcome !== "mapped") return ofAccess;
  const { writable, user, executable, dirty, protectionKey } = result;
  const flags =
    (writable ? TR_RW : 0) |
    (user ? TR_USER | (16 << TR_KEY_SHIFT) : 0) |
    (executable ? 0 : TR_XD) |
    (dirty ? TR_DIRTY : 0) |
    (protectionKey << TR_KEY_SHIFT);
  const refusal = mode.refusal(access, flags);
  return refusal < 0 ? null : ofAccess | PF_PRESENT | refusal;
}

function explain(errorCode: number): string[] {
  const has = (bit: number): boolean => (errorCode & bit) !== 0;
  const why = [has(PF_PRESENT) ? "P = 1: a present translation refused it" : "P = 0: an entry is not present"];
  why.push(has(PF_WRITE) ? "W = 1: it was a write" : "W = 0: it was a read");
  why.push(has(PF_USER) ? "U = 1: in user mode" : "U = 0: in supervisor mode");
  if (has(PF_RESERVED)) why.push("RSVD = 1: a reserved bit is set in an entry");
  if (has(PF_PROTECTION_KEY)) why.push("PK = 1: a protection key refused it");
  if (has(PF_FETCH)) why.push("I = 1: it was an instruction fetch");
  return why;
}
