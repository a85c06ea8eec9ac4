/** Payloads of remote actions (remote-actions.ts): what each of their fields means, and what is refused. */
import { MachineUsageError } from "../isa/errors.ts";
import { isCanonical, PAGE_SIZE, PMD_SIZE, PUD_SIZE } from "../isa/linear-address.ts";
import type { PhysicalMemory } from "../memory/physical-memory.ts";

/** Type: as INVLPG or MOV to CR3, on CPUs that have the payload's CR3 loaded. */
export const RAR_INVPG = 0;
/** As {@link RAR_INVPG}, whatever is loaded. */
export const RAR_INVPG_NO_CR3 = 1;
/** As INVPCID. */
export const RAR_INVPCID = 2;

/** Subtypes of these: pages of an address range, one PCID (not with INVPG), everything with global translations, or without. */
export const RAR_SUBTYPES = { addresses: 0, onePcid: 1, all: 2, allNonGlobal: 3 } as const;

/** The most pages that a payload can name. */
export const RAR_PAGES_MAX = 63;

/** Sizes of pages by the number that stands for them. */
const PAGE_SIZES = [PAGE_SIZE, PMD_SIZE, PUD_SIZE];

/** A payload in the terms of a program. */
export interface RarPayload {
  /** One of `RAR_INVPG`, `RAR_INVPG_NO_CR3`, `RAR_INVPCID`. */
  readonly type: number;
  /** One of {@link RAR_SUBTYPES}. */
  readonly subtype: number;
  /** The CR3 that must be loaded; of `RAR_INVPCID` the PCID, in bits 11:0. */
  readonly cr3: bigint;
  /** First linear address, canonical, and how many pages from there on. */
  readonly la: bigint;
  readonly pages: number;
  /** Size of each: 4096 bytes, 2 MiB or 1 GiB. */
  readonly pageBytes: number;
}

/**
 * Writes a payload to a physical address.
 * @throws MachineUsageError for what its fields cannot hold
 */
export function writeRarPayload(memory: PhysicalMemory, at: number, payload: RarPayload): void {
  const { type, subtype, cr3, la, pages, pageBytes } = payload;
  const pageSize = PAGE_SIZES.indexOf(pageBytes);
  if (pageSize < 0) throw new MachineUsageError("RAR page size", pageBytes, PAGE_SIZES.join(", "));
  if (!Number.isInteger(pages) || pages < 0 || pages > RAR_PAGES_MAX) {
    throw new MachineUsageError("RAR pages", pages, `0 to ${RAR_PAGES_MAX}`);
  }
  const frame = Math.floor(at / PAGE_SIZE);
  const word = (at % PAGE_SIZE) / 4;
  memory.writeWord(frame, word, type << 8);
  memory.writeWord(frame, word + 1, subtype | (pageSize << 3) | (pages << 5));
  writeLong(memory, frame, word + 2, 0n);
  writeLong(memory, frame, word + 4, cr3);
  writeLong(memory, frame, word + 6, la);
}

/** The payload at a physical address; null for one that is refused: reserved bits, types and sizes that are not modelled. */
export function decodeRarPayload(memory: PhysicalMemory, at: number): RarPayload | null {
  const frame = Math.floor(at / PAGE_SIZE);
  const word = (at % PAGE_SIZE) / 4;
  const low = memory.readWord(frame, word);
  const high = memory.readWord(frame, word + 1);
  const type = (low >>> 8) & 0xff;
  const subtype = high & 7;
  const pageBytes = PAGE_SIZES[(high >>> 3) & 3];
  const la = readLong(memory, frame, word + 6);
  const reserved = low >>> 16 !== 0 || high >>> 11 !== 0 || readLong(memory, frame, word + 2) !== 0n;
  if (reserved || type > RAR_INVPCID || subtype > RAR_SUBTYPES.allNonGlobal || pageBytes === undefined) return null;
  if (subtype === RAR_SUBTYPES.addresses && !isCanonical(la)) return null;
  return { type, subtype, cr3: readLong(memory, frame, word + 4), la, pages: (high >>> 5) & 0x3f, pageBytes };
}

function readLong(memory: PhysicalMemory, frame: number, word: number): bigint {
  const low = BigInt(memory.readWord(frame, word) >>> 0);
  return low | (BigInt(memory.readWord(frame, word + 1) >>> 0) << 32n);
}

function writeLong(memory: PhysicalMemory, frame: number, word: number, value: bigint): void {
  memory.writeWord(frame, word, Number(BigInt.asIntN(32, value)));
  memory.writeWord(frame, word + 1, Number(BigInt.asIntN(32, value >> 32n)));
}
