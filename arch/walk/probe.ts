/**
 * A walk without side effects, for tools and checkers: it sets no A bit, fills and reads no TLB or paging-structure cache,
 * counts nothing and costs nothing. It explains each level.
 */
import { formatLinearAddress, linearAddressToBigInt, WIDE_PAGES } from "../isa/linear-address.ts";
import type { PagingMode } from "../isa/paging-mode.ts";
import { entryFrame, PTE_ACCESSED, PTE_PAGE_SIZE, PTE_PRESENT, PTE_RW, PTE_USER, PTE_XD_HIGH } from "../isa/pte.ts";
import {
  SIZE_NAMES,
  TR_DIRTY,
  TR_GLOBAL,
  TR_KEY_SHIFT,
  TR_PAT_SHIFT,
  TR_RW,
  TR_SIZE_SHIFT,
  TR_UPPER_RW,
  TR_USER,
  TR_XD,
} from "../isa/translation.ts";
import type { PhysicalMemory } from "../memory/physical-memory.ts";
import { combineTypes, MEMORY_TYPE_NAMES, type MemoryTypes } from "./memory-type.ts";
import { leafFlags, leafFrame, tableIndex } from "./page-walk.ts";
import type { SecondStage } from "./second-stage.ts";
import { formatSecondStage, probeSecondStage, type SecondStageProbe } from "./second-stage-probe.ts";

/** Names of the entries, by level (1 to 5). */
export const LEVEL_NAMES = ["", "PTE", "PDE", "PDPTE", "PML4E", "PML5E"] as const;

/** One entry on the way. */
export interface ProbeLevel {
  /** 1 (PTE) to 5 (PML5E). */
  readonly level: number;
  /** `PTE` to `PML5E`. */
  readonly name: (typeof LEVEL_NAMES)[number];
  /** Physical address of the entry; of a guest's entry, its guest-physical address. */
  readonly entryAddress: number;
  /** Index in its table. */
  readonly index: number;
  /** The 64 bits of the entry. */
  readonly entry: bigint;
  /** P. */
  readonly present: boolean;
  /** Bits that are set though reserved; 0n when none is. */
  readonly reservedBits: bigint;
  /** Whether it maps a page. */
  readonly leaf: boolean;
  /** R/W. */
  readonly writable: boolean;
  /** U/S. */
  readonly user: boolean;
  /** XD. */
  readonly executeDisable: boolean;
  /** A. */
  readonly accessed: boolean;
  /** In a guest: how the second stage translates the address of the table. */
  readonly secondStage?: SecondStageProbe;
}

/** What a walk for an address would find. */
export interface ProbeResult {
  /** The address that was looked up: in 48-bit form, or 64 bits of a wide one (linear-address.ts). */
  readonly linearAddress: number | bigint;
  /** The entries, from the top table down to where the walk ends. */
  readonly levels: readonly ProbeLevel[];
  /** `mapped`, or why there is no translation; `second stage`: it maps no page there, as `secondStage` says. */
  readonly outcome: "mapped" | "not present" | "reserved bit" | "no memory" | "second stage";
  /** Physical address of the byte; null when not mapped. */
  readonly physical: number | null;
  /** Size of the page; null when not mapped. */
  readonly pageSize: (typeof SIZE_NAMES)[number] | null;
  /** Rights over all levels; all false when not mapped. */
  readonly writable: boolean;
  /** U/S over all levels. */
  readonly user: boolean;
  /** Whether XD is 0 in all levels. */
  readonly executable: boolean;
  /** D of the leaf. */
  readonly dirty: boolean;
  /** G of the leaf, with CR4.PGE = 1. */
  readonly global: boolean;
  /** Whether the leaf makes the page a shadow-stack page: R/W = 0, D = 1, and R/W = 1 in all entries above. */
  readonly shadowStack: boolean;
  /** 0 to 15. */
  readonly protectionKey: number;
  /** The effective memory type of PAT and MTRRs; null when not mapped. */
  readonly memoryType: (typeof MEMORY_TYPE_NAMES)[number] | null;
  /** In a guest: the guest-physical address of the byte, where the guest's tables map it. */
  readonly guestPhysical?: number;
  /** In a guest: how the second stage translates that, or the address of the table where the walk ended. Its rights are its own. */
  readonly secondStage?: SecondStageProbe;
}

/**
 * Walks the tables that `mode` names for the address at `offset` in `page` (linear-address.ts).
 * @param stage the second stage of the guest that runs; null in the host, or where there is none
 */
export function probe(
  page: number,
  offset: number,
  memory: PhysicalMemory,
  mode: PagingMode,
  types: MemoryTypes,
  stage: SecondStage | null,
): ProbeResult {
  const vpn = page / 4096;
  const la = page < WIDE_PAGES ? page + offset : linearAddressToBigInt(page) + BigInt(offset);
  const levels: ProbeLevel[] = [];
  let frame = mode.rootFrame;
  let rights = TR_RW | TR_USER;
  for (let level = mode.levels; level >= 1; level--) {
    const secondStage = stage === null ? null : probeSecondStage(frame, stage, memory);
    if (secondStage?.frame === null) return { ...unmapped(la, levels, "second stage"), secondStage };
    const table = secondStage === null ? frame : secondStage.frame;
    if (!memory.has(table)) return unmapped(la, levels, "no memory");
    const index = tableIndex(vpn, level);
    const low = memory.readWord(table, index * 2);
    const high = memory.readWord(table, index * 2 + 1);
    const at = explain(level, index, frame * 4096 + index * 8, low, high, mode);
    levels.push(secondStage === null ? at : { ...at, secondStage });
    if (!at.present) return unmapped(la, levels, "not present");
    if (at.reservedBits !== 0n) return unmapped(la, levels, "reserved bit");
    if (at.leaf) {
      const flags = leafFlags(rights, low, high, level, mode.globalPages);
      const found = leafFrame(low, high, level, vpn);
      if (stage === null) return mapped(la, levels, flags, found * 4096 + offset, types);
      return mappedInGuest(la, levels, flags, found, offset, types, probeSecondStage(found, stage, memory));
    }
    rights = leafFlags(rights, low, high, level, false) & (TR_RW | TR_USER | TR_XD);
    frame = entryFrame(low, high);
  }
  throw new Error("a PTE is always a leaf");
}

function explain(
  level: number,
  index: number,
  entryAddress: number,
  low: number,
  high: number,
  mode: PagingMode,
): ProbeLevel {
  const reservedLow = mode.reservedLowOf(low, level);
  const entry = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
  const present = (low & PTE_PRESENT) !== 0;
  const reserved = (BigInt(mode.reservedHigh >>> 0) << 32n) | BigInt(reservedLow);
  const large = (low & PTE_PAGE_SIZE) !== 0 && (reservedLow & PTE_PAGE_SIZE) === 0;
  return {
    level,
    name: LEVEL_NAMES[level],
    entryAddress,
    index,
    entry,
    present,
    reservedBits: present ? entry & reserved : 0n,
    leaf: present && (level === 1 || large),
    writable: (low & PTE_RW) !== 0,
    user: (low & PTE_USER) !== 0,
    executeDisable: (high & PTE_XD_HIGH) !== 0,
    accessed: (low & PTE_ACCESSED) !== 0,
  };
}

/** The result for a page of a guest: where it is in the machine, how large both stages map it at once, and of what memory type. */
function mappedInGuest(
  la: number | bigint,
  levels: ProbeLevel[],
  flags: number,
  guestFrame: number,
  offset: number,
  types: MemoryTypes,
  secondStage: SecondStageProbe,
): ProbeResult {
  const guestPhysical = guestFrame * 4096 + offset;
  if (secondStage.frame === null) return { ...unmapped(la, levels, "second stage"), guestPhysical, secondStage };
  const own = mapped(la, levels, flags, secondStage.frame * 4096 + offset, types);
  const size = Math.min((flags >> TR_SIZE_SHIFT) & 3, secondStage.size);
  const { memoryType: second } = secondStage;
  const pat = types.patType((flags >> TR_PAT_SHIFT) & 7);
  const type = second === null ? null : second.ignoresPat ? second.type : combineTypes(pat, second.type);
  const memoryType = type === null ? own.memoryType : MEMORY_TYPE_NAMES[type];
  return { ...own, pageSize: SIZE_NAMES[size], memoryType, guestPhysical, secondStage };
}

function mapped(
  la: number | bigint,
  levels: ProbeLevel[],
  flags: number,
  physical: number,
  types: MemoryTypes,
): ProbeResult {
  const writable = (flags & TR_RW) !== 0;
  const dirty = (flags & TR_DIRTY) !== 0;
  return {
    linearAddress: la,
    levels,
    outcome: "mapped",
    physical,
    pageSize: SIZE_NAMES[levels[levels.length - 1].level - 1],
    writable,
    user: (flags & TR_USER) !== 0,
    executable: (flags & TR_XD) === 0,
    dirty,
    global: (flags & TR_GLOBAL) !== 0,
    shadowStack: !levels[levels.length - 1].writable && dirty && (flags & TR_UPPER_RW) !== 0,
    protectionKey: (flags >> TR_KEY_SHIFT) & 15,
    memoryType: MEMORY_TYPE_NAMES[types.effectiveType((flags >> TR_PAT_SHIFT) & 7, physical)],
  };
}

function unmapped(la: number | bigint, levels: ProbeLevel[], outcome: ProbeResult["outcome"]): ProbeResult {
  return {
    linearAddress: la,
    levels,
    outcome,
    physical: null,
    pageSize: null,
    writable: false,
    user: false,
    executable: false,
    dirty: false,
    global: false,
    shadowStack: false,
    protectionKey: 0,
    memoryType: null,
  };
}

/** A probe's result as text, one line a level, for people; of a guest, with the second stage's levels below each. */
export function formatProbe(result: ProbeResult): string {
  const lines = [`${formatLinearAddress(result.linearAddress)}: ${summary(result)}`];
  for (const at of result.levels) {
    const bits = [
      at.present ? "P" : "not present",
      ...(at.present
        ? [at.writable ? "RW" : "ro", at.user ? "US" : "sup", at.executeDisable ? "XD" : "x", at.accessed ? "A" : "a"]
        : []),
      ...(at.reservedBits === 0n ? [] : [`reserved bits 0x${at.reservedBits.toString(16)}`]),
      ...(at.leaf ? ["leaf"] : []),
    ];
    const address = at.entryAddress.toString(16).padStart(10, "0");
    const entry = at.entry.toString(16).padStart(16, "0");
    lines.push(
      `  ${at.name.padEnd(5)} [${String(at.index).padStart(3)}] at 0x${address}: 0x${entry} ${bits.join(" ")}`,
    );
    if (at.secondStage !== undefined) lines.push(...formatSecondStage(at.secondStage).map((line) => `      ${line}`));
  }
  if (result.secondStage === undefined) return lines.join("\n");
  lines.push(...formatSecondStage(result.secondStage).map((line) => `  ${line}`));
  const { guest, secondStage } = entriesOf(result);
  lines.push(`  entries with nothing cached: ${guest} of the guest's tables, ${secondStage} of the second stage`);
  return lines.join("\n");
}

/** How many entries a walk fetches that no cache helps, of each dimension; of the second stage, in a guest only. */
export function entriesOf({ levels, secondStage }: ProbeResult): {
  readonly guest: number;
  readonly secondStage: number;
} {
  const ofTables = levels.reduce((sum, at) => sum + (at.secondStage?.levels.length ?? 0), 0);
  return { guest: levels.length, secondStage: ofTables + (secondStage?.levels.length ?? 0) };
}

function summary(result: ProbeResult): string {
  if (result.physical === null) return result.outcome;
  const words = [
    `0x${result.physical.toString(16)}`,
    String(result.pageSize),
    result.writable ? "writable" : "read-only",
    result.user ? "user" : "supervisor",
    result.executable ? "executable" : "no-execute",
    String(result.memoryType),
  ];
  if (result.dirty) words.push("dirty");
  if (result.global) words.push("global");
  if (result.shadowStack) words.push("shadow stack");
  if (result.protectionKey !== 0) words.push(`key ${result.protectionKey}`);
  return words.join(", ");
}
