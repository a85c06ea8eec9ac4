/** A host with one guest for tests: second-stage tables of either vendor, and the guest's own tables in guest-physical memory. */
import {
  type Cpu,
  EPT_EXECUTE,
  EPT_EXECUTE_USER,
  EPT_PAGE_SIZE,
  EPT_READ,
  EPT_WRITE,
  encodeEptp,
  entryFrame,
  Machine,
  type MachineConfig,
  type PhysicalMemory,
  PTE_PAGE_SIZE,
  type SecondStagePointer,
  Vcpu,
} from "../../arch/index.ts";
import { ALL } from "./guest.ts";

/** Settings of a {@link VirtualMachine}. */
export interface VirtualMachineConfig extends MachineConfig {
  /** VPID or ASID. Default 1. */
  readonly id?: number;
  /** Levels of the second stage. Default 4. */
  readonly secondLevels?: 4 | 5;
  /** Whether EPT has accessed and dirty flags. Default: yes. */
  readonly accessedDirty?: boolean;
  readonly modeBasedExecute?: boolean;
}

/** Guest-physical frames of the guest's tables begin here; their frames in the machine are `TABLES_OFFSET` above. */
const GUEST_TABLES = 0x800;
const TABLES_OFFSET = 0x1000;
/** All rights of an entry of EPT, and write-back. */
export const EPT_ALL = EPT_READ | EPT_WRITE | EPT_EXECUTE | EPT_EXECUTE_USER | (6 << 3);
/** All rights of an entry that refers to a table, which has no memory type. */
const EPT_TABLE = EPT_READ | EPT_WRITE | EPT_EXECUTE | EPT_EXECUTE_USER;

/** The machine, one virtual CPU, and tools of the hypervisor. */
export class VirtualMachine {
  readonly machine: Machine;
  readonly memory: PhysicalMemory;
  readonly cpu: Cpu;
  readonly vcpu: Vcpu;
  readonly isAmd: boolean;
  readonly secondRoot: number;
  readonly guestRoot: number;
  readonly guestLevels: number;
  readonly pointer: SecondStagePointer;
  private readonly secondLevels: number;
  private nextHostTable = 1;
  private nextGuestTable = GUEST_TABLES;

  constructor(config: VirtualMachineConfig = {}) {
    const { id = 1, secondLevels = 4, accessedDirty = true, modeBasedExecute = false, ...machine } = config;
    this.machine = new Machine({ memoryBytes: 2 ** 34, preset: "sapphire-rapids", ...machine });
    this.memory = this.machine.memory;
    this.cpu = this.machine.cpus[0];
    this.isAmd = this.machine.preset.vendor === "amd";
    this.secondLevels = secondLevels;
    this.guestLevels = this.machine.config.pagingLevels;
    this.secondRoot = this.nextHostTable++;
    const eptp = encodeEptp({ rootFrame: this.secondRoot, levels: secondLevels, accessedDirty });
    this.pointer = this.isAmd ? { nestedCr3: this.secondRoot * 4096 } : { eptp, modeBasedExecute };
    this.guestRoot = this.guestTable();
    const registers = { cr3: this.guestRoot * 4096 };
    this.vcpu = new Vcpu({ id, secondStage: this.pointer, registers });
  }

  /** The EPTP. */
  get eptp(): bigint {
    return this.pointer !== null && "eptp" in this.pointer ? this.pointer.eptp : 0n;
  }

  /** Frame of the machine and index of the second stage's entry of `level` for a guest-physical address; tables are made. */
  secondEntry(gpa: number, level: number): { frame: number; index: number } {
    let frame = this.secondRoot;
    for (let at = this.secondLevels; at > level; at--) {
      const index = indexOf(gpa, at);
      const low = this.memory.readWord(frame, index * 2);
      if ((low & 7) === 0) {
        const made = this.nextHostTable++;
        this.memory.writeWord(frame, index * 2, (made << 12) | (this.isAmd ? ALL : EPT_TABLE));
        frame = made;
      } else {
        frame = entryFrame(low, this.memory.readWord(frame, index * 2 + 1));
      }
    }
    return { frame, index: indexOf(gpa, level) };
  }

  /** Writes an entry of the second stage. */
  writeSecond(gpa: number, level: number, entry: bigint): void {
    writeEntry(this.memory, this.secondEntry(gpa, level), entry);
  }

  /** Reads an entry of the second stage. */
  readSecond(gpa: number, level: number): bigint {
    return readEntry(this.memory, this.secondEntry(gpa, level));
  }

  /** Maps a guest-physical page of a level (1: 4 KiB, 2: 2 MiB, 3: 1 GiB); `bits` are those of the kind of table, without the size. */
  mapSecond(gpa: number, address: number, bits = this.isAmd ? ALL : EPT_ALL, level = 1): void {
    const size = level === 1 ? 0 : this.isAmd ? PTE_PAGE_SIZE : EPT_PAGE_SIZE;
    this.writeSecond(gpa, level, BigInt(address) | BigInt(bits | size));
  }

  /** A new table of the guest, with its page mapped; its guest-physical frame. */
  guestTable(): number {
    const frame = this.nextGuestTable++;
    this.mapSecond(frame * 4096, (frame + TABLES_OFFSET) * 4096);
    return frame;
  }

  /** Guest-physical frame and index of the guest's entry of `level` for a linear address; tables are made. */
  guestEntry(la: number, level: number): { frame: number; index: number } {
    let frame = this.guestRoot;
    for (let at = this.guestLevels; at > level; at--) {
      const index = linearIndex(la, at);
      const low = this.memory.readWord(frame + TABLES_OFFSET, index * 2);
      if ((low & 1) === 0) {
        const made = this.guestTable();
        this.memory.writeWord(frame + TABLES_OFFSET, index * 2, (made << 12) | ALL);
        frame = made;
      } else {
        frame = entryFrame(low, this.memory.readWord(frame + TABLES_OFFSET, index * 2 + 1));
      }
    }
    return { frame, index: linearIndex(la, level) };
  }

  /** Guest-physical address of the guest's entry of `level` for a linear address. */
  guestEntryAddress(la: number, level: number): number {
    const { frame, index } = this.guestEntry(la, level);
    return frame * 4096 + index * 8;
  }

  /** Writes an entry of the guest's tables. */
  writeGuest(la: number, level: number, entry: bigint): void {
    const { frame, index } = this.guestEntry(la, level);
    writeEntry(this.memory, { frame: frame + TABLES_OFFSET, index }, entry);
  }

  /** Reads an entry of the guest's tables. */
  readGuest(la: number, level: number): bigint {
    const { frame, index } = this.guestEntry(la, level);
    return readEntry(this.memory, { frame: frame + TABLES_OFFSET, index });
  }

  /** Maps a linear page of the guest to a guest-physical one. */
  mapGuest(la: number, gpa: number, bits: number = ALL, level = 1): void {
    this.writeGuest(la, level, BigInt(gpa) | BigInt(bits | (level > 1 ? PTE_PAGE_SIZE : 0)));
  }

  /** Puts a value that names the page at the start of the page frame at a physical address of the machine. */
  mark(address: number, value: number): void {
    this.memory.writeWord(address / 4096, 0, value);
  }

  /** Enters the guest, has `access` done, and exits; what `access` returns, or the VM exit or fault that it throws. */
  inGuest<T>(access: (cpu: Cpu) => T): T {
    this.cpu.enterGuest(this.vcpu);
    try {
      return access(this.cpu);
    } finally {
      if (this.cpu.vcpu !== null) this.cpu.exitGuest();
    }
  }
}

function indexOf(gpa: number, level: number): number {
  return Math.floor(gpa / 2 ** (12 + 9 * (level - 1))) % 512;
}

function linearIndex(la: number, level: number): number {
  return level === 5 ? (la >= 2 ** 47 ? 511 : 0) : indexOf(la, level);
}

function writeEntry(memory: PhysicalMemory, { frame, index }: { frame: number; index: number }, entry: bigint): void {
  memory.writeWord(frame, index * 2, Number(BigInt.asIntN(32, entry)));
  memory.writeWord(frame, index * 2 + 1, Number(BigInt.asIntN(32, entry >> 32n)));
}

function readEntry(memory: PhysicalMemory, { frame, index }: { frame: number; index: number }): bigint {
  const low = BigInt(memory.readWord(frame, index * 2) >>> 0);
  return low | (BigInt(memory.readWord(frame, index * 2 + 1) >>> 0) << 32n);
}
