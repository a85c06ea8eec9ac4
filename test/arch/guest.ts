/** Page tables for tests: a machine, and maps of pages of any size made by hand. */
import {
  type Cpu,
  entryFrame,
  Machine,
  type MachineConfig,
  type PhysicalMemory,
  PTE_ACCESSED,
  PTE_GLOBAL,
  PTE_PAGE_SIZE,
  PTE_PRESENT,
  PTE_RW,
  PTE_USER,
} from "../../arch/index.ts";

/** Bytes of the page sizes by level of their leaf. */
export const LEAF_BYTES = [0, 4096, 2 ** 21, 2 ** 30] as const;
/** P, R/W, U/S: everything is allowed. */
export const ALL = PTE_PRESENT | PTE_RW | PTE_USER;
export const GLOBAL = PTE_GLOBAL;
/** First linear address that tests map. */
export const BASE = 0x4000_0000_0000;

/** A machine of one or more CPUs, with one tree of tables that all CPUs are on. */
export class Guest {
  readonly machine: Machine;
  readonly memory: PhysicalMemory;
  readonly cpu: Cpu;
  readonly root: number;
  private nextTable = 1;

  /** @param cpu number of the CPU that tests use */
  constructor(config: MachineConfig = {}, cpu = 0) {
    this.machine = new Machine({ memoryBytes: 2 ** 34, ...config });
    this.memory = this.machine.memory;
    this.cpu = this.machine.cpus[cpu];
    this.root = this.table();
    for (const cpu of this.machine.cpus) cpu.writeCr3(this.root * 4096);
  }

  /** A frame for a table. */
  table(): number {
    return this.nextTable++;
  }

  /** Frame and index of the entry of `level` for `la`, with tables made down to there; tables allow everything. */
  entry(la: number | bigint, level: number, root = this.root): { frame: number; index: number } {
    let frame = root;
    for (let at = this.machine.config.pagingLevels as number; at > level; at--) {
      const index = indexOf(la, at);
      const low = this.memory.readWord(frame, index * 2);
      if ((low & PTE_PRESENT) === 0) {
        const made = this.table();
        this.memory.writeWord(frame, index * 2, (made << 12) | ALL);
        frame = made;
      } else {
        frame = entryFrame(low, this.memory.readWord(frame, index * 2 + 1));
      }
    }
    return { frame, index: indexOf(la, level) };
  }

  /** Writes the 64 bits of the entry of `level` for `la`. */
  write(la: number | bigint, level: number, entry: bigint, root = this.root): void {
    const { frame, index } = this.entry(la, level, root);
    this.memory.writeWord(frame, index * 2, Number(BigInt.asIntN(32, entry)));
    this.memory.writeWord(frame, index * 2 + 1, Number(BigInt.asIntN(32, entry >> 32n)));
  }

  /** The 64 bits of the entry of `level` for `la`. */
  read(la: number | bigint, level: number, root = this.root): bigint {
    const { frame, index } = this.entry(la, level, root);
    const low = BigInt(this.memory.readWord(frame, index * 2) >>> 0);
    return low | (BigInt(this.memory.readWord(frame, index * 2 + 1) >>> 0) << 32n);
  }

  /** Maps a page of level 1 (4 KiB), 2 (2 MiB) or 3 (1 GiB) to the page frame that begins at physical `address`. */
  map(la: number | bigint, address: number, bits: number = ALL, level = 1, root = this.root): void {
    const size = level > 1 ? PTE_PAGE_SIZE : 0;
    this.write(la, level, BigInt(address) | BigInt(bits | size), root);
  }

  /** Whether the entry of `level` for `la` has A, and D. */
  flags(la: number | bigint, level: number): { accessed: boolean; dirty: boolean } {
    const low = Number(this.read(la, level) & 0xffn);
    return { accessed: (low & PTE_ACCESSED) !== 0, dirty: (low & 0x40) !== 0 };
  }

  /** Puts a value that names the page at the start of the page frame at physical `address`. */
  mark(address: number, value: number): void {
    this.memory.writeWord(address / 4096, 0, value);
  }
}

/** What a call throws, of a class of errors; fails when it throws nothing or something else. */
export function thrown<T extends Error>(type: abstract new (...args: never[]) => T, call: () => unknown): T {
  try {
    call();
  } catch (error) {
    if (error instanceof type) return error;
    throw error;
  }
  throw new Error(`nothing was thrown; expected ${type.name}`);
}

function indexOf(la: number | bigint, level: number): number {
  if (typeof la === "bigint") return Number((la >> BigInt(12 + 9 * (level - 1))) & 511n);
  if (level === 5) return la >= 2 ** 47 ? 511 : 0;
  return Math.floor(la / 2 ** (12 + 9 * (level - 1))) % 512;
}
