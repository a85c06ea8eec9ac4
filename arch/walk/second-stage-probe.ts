/** A walk of the second stage without side effects: it sets no flag, fills and reads no cache, counts nothing. It explains each level. */

import type { PhysicalMemory } from "../memory/physical-memory.ts";
import { MEMORY_TYPE_NAMES } from "./memory-type.ts";
import * as second from "./second-stage.ts";

const LEVEL_NAMES = ["", "PTE", "PDE", "PDPTE", "PML4E", "PML5E"] as const;

/** One entry of the second stage on the way. */
export interface SecondStageLevel {
  /** 1 (PTE) to 5 (PML5E). */
  readonly level: number;
  /** Address of the entry in the machine's memory. */
  readonly entryAddress: number;
  /** Index in its table. */
  readonly index: number;
  /** The 64 bits of the entry. */
  readonly entry: bigint;
  readonly present: boolean;
  /** Whether it is misconfigured (EPT), or has a reserved bit set (nested page tables). */
  readonly reserved: boolean;
  /** Whether it maps a page. */
  readonly leaf: boolean;
  /** What it allows. */
  readonly readable: boolean;
  readonly writable: boolean;
  /** Fetches; with mode-based execute control those from supervisor-mode addresses. */
  readonly executable: boolean;
  /** Fetches from user-mode addresses. */
  readonly userExecutable: boolean;
  /** The accessed flag; null where entries have none (EPT without bit 6 of the EPTP), and in an entry that is not present. */
  readonly accessed: boolean | null;
  /** The dirty flag of an entry that maps a page; null where there is none. */
  readonly dirty: boolean | null;
  /** EPT's memory type of an entry that maps a page; null for any other. */
  readonly memoryType: { readonly type: number; readonly ignoresPat: boolean } | null;
}

/** What the second stage makes of a guest-physical address. */
export interface SecondStageProbe {
  /** The address, of the page's first byte. */
  readonly guestPhysical: number;
  /** The entries, from the top table down to where the walk ends. */
  readonly levels: readonly SecondStageLevel[];
  /** `mapped`, or why there is no translation. */
  readonly outcome: "mapped" | "not present" | "misconfigured";
  /** Frame of the 4 KiB page in the machine; null when not mapped. */
  readonly frame: number | null;
  /** Size of the page: 0 for 4 KiB, 1 for 2 MiB, 2 for 1 GiB. */
  readonly size: number;
  /** Rights over all levels. */
  readonly readable: boolean;
  readonly writable: boolean;
  readonly executable: boolean;
  readonly userExecutable: boolean;
  /** The memory type of EPT's last entry, and whether the guest's PAT is ignored; null with nested page tables, and when not mapped. */
  readonly memoryType: { readonly type: number; readonly ignoresPat: boolean } | null;
}

/** Walks the second stage for a guest-physical frame. */
export function probeSecondStage(
  guestFrame: number,
  { format, rootFrame }: second.SecondStage,
  memory: PhysicalMemory,
): SecondStageProbe {
  const levels: SecondStageLevel[] = [];
  let rights = second.SECOND_ALL;
  let frame = rootFrame;
  const isBeyond = guestFrame >= 2 ** (9 * format.levels);
  for (let level = format.levels; level >= 1 && !isBeyond; level--) {
    const index = second.secondIndex(guestFrame, level);
    const isMemory = memory.has(frame);
    const low = isMemory ? memory.readWord(frame, index * 2) : -1;
    const high = isMemory ? memory.readWord(frame, index * 2 + 1) : -1;
    const present = format.isPresent(low);
    const reserved = present && format.isReserved(low, high, level);
    const leaf = present && !reserved && format.isLeaf(low, level);
    const entry = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
    const own = present ? format.rightsOf(low, high) : 0;
    const entryAddress = frame * 4096 + index * 8;
    const flagOf = (bit: number): boolean | null => (present && bit !== 0 ? (low & bit) !== 0 : null);
    levels.push({
      ...{ level, entryAddress, index, entry, present, reserved, leaf },
      ...inWords(own),
      accessed: flagOf(format.accessed),
      dirty: leaf ? flagOf(format.dirty) : null,
      memoryType: leaf ? format.memoryTypeOf(low) : null,
    });
    rights &= own;
    if (!present) break;
    if (reserved) return result(guestFrame, levels, "misconfigured", null, 0, 0, null);
    frame = format.frameOf(low, high);
    if (!leaf) continue;
    const pages = 512 ** (level - 1);
    const found = frame - (frame % pages) + (guestFrame % pages);
    return result(guestFrame, levels, "mapped", found, level - 1, rights, format.memoryTypeOf(low));
  }
  return result(guestFrame, levels, "not present", null, 0, 0, null);
}

function result(
  guestFrame: number,
  levels: readonly SecondStageLevel[],
  outcome: SecondStageProbe["outcome"],
  frame: number | null,
  size: number,
  rights: number,
  memoryType: SecondStageProbe["memoryType"],
): SecondStageProbe {
  return { guestPhysical: guestFrame * 4096, levels, outcome, frame, size, memoryType, ...inWords(rights) };
}

function inWords(rights: number): Pick<SecondStageProbe, "readable" | "writable" | "executable" | "userExecutable"> {
  return {
    readable: (rights & second.SECOND_READ) !== 0,
    writable: (rights & second.SECOND_WRITE) !== 0,
    executable: (rights & second.SECOND_FETCH) !== 0,
    userExecutable: (rights & second.SECOND_FETCH_USER) !== 0,
  };
}

/** A memory type of EPT in words: `WB`, or `WB (PAT ignored)`. */
export function memoryTypeWords({ type, ignoresPat }: NonNullable<SecondStageLevel["memoryType"]>): string {
  return `${MEMORY_TYPE_NAMES[type]}${ignoresPat ? " (PAT ignored)" : ""}`;
}

/** The walk as text for people, a line for its result and one a level. */
export function formatSecondStage(probe: SecondStageProbe): string[] {
  const { guestPhysical, outcome, frame, levels } = probe;
  const found = frame === null ? outcome : `0x${(frame * 4096).toString(16)}, ${["4K", "2M", "1G"][probe.size]}`;
  const lines = [
    `guest-physical 0x${guestPhysical.toString(16)}: ${found}${frame === null ? "" : `, ${secondStageRights(probe)}`}`,
  ];
  for (const at of levels) {
    const words = at.present ? [secondStageRights(at)] : ["not present"];
    if (at.accessed !== null) words.push(at.accessed ? "A" : "a");
    if (at.dirty !== null) words.push(at.dirty ? "D" : "d");
    if (at.memoryType !== null) words.push(memoryTypeWords(at.memoryType));
    if (at.reserved) words.push("misconfigured");
    if (at.leaf) words.push("leaf");
    const address = at.entryAddress.toString(16).padStart(10, "0");
    const entry = at.entry.toString(16).padStart(16, "0");
    lines.push(
      `  ${LEVEL_NAMES[at.level].padEnd(5)} [${String(at.index).padStart(3)}] at 0x${address}: 0x${entry} ${words.join(" ")}`,
    );
  }
  return lines;
}

/** Rights as `RWX`, with `-` for each that is missing, and `U` or `-` for user-mode fetches where these differ from others. */
export function secondStageRights(
  rights: Pick<SecondStageProbe, "readable" | "writable" | "executable" | "userExecutable">,
): string {
  const user = rights.userExecutable === rights.executable ? "" : rights.userExecutable ? "U" : "-";
  return `${rights.readable ? "R" : "-"}${rights.writable ? "W" : "-"}${rights.executable ? "X" : "-"}${user}`;
}
