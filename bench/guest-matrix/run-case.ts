/** Carries out cases of the guest matrix on an emulated CPU, through the public interface only. */
import {
  type Cpu,
  CR0_WP,
  CR4_PAE,
  CR4_SMEP,
  EFER_LMA,
  EFER_LME,
  EFER_NXE,
  EptMisconfiguration,
  EptViolation,
  encodeEptp,
  Machine,
  MSR_EFER,
  NestedPageFault,
  PageFault,
  type PhysicalMemory,
  presetByName,
  Vcpu,
  VmExit,
} from "../../arch/index.ts";
import { ABOVE, ACCESS, type Case, describeCase, EPT, GUEST, NPT, type Setting, TABLE, UPPER } from "./cases.ts";
import * as model from "./model.ts";

const LA = 0x1234_0600_0000;
/** Guest-physical address of the page; it is the start of a 1 GiB page, so that all sizes map it. */
const PAGE_GPA = 0x8000_0000;
/** Guest-physical frames of the guest's tables, PML4 to PT, and where in the machine they lie: each in a 2 MiB region of its own. */
const GUEST_TABLES = [0x200, 0x400, 0x600, 0x800] as const;
const TABLE_FRAMES = [0x21, 0x22, 0x23, 0x24] as const;
/** Frames of the second stage's tables. */
const [ROOT, PDPT, TABLES_PD, PAGE_PD, PAGE_PT] = [1, 2, 3, 4, 5];
/** The page tables of the second stage for the guest's tables. */
const TABLE_PTS = [6, 7, 8, 9] as const;
/** All of it lies at physical 0x8000_0000 of the machine, or below, in pages of each size. */
const PAGE_FRAME = PAGE_GPA / 4096;
/** A physical-address width of 36 bits makes this bit of the high word reserved. */
const RESERVED_HIGH = 1 << 10;
const EPT_FULL = 0x407 | (6 << 3);
const EPT_TABLE = 0x407;
const NPT_FULL = 0x27;

/** A CPU with a guest and tables for one address. */
export class CaseRunner {
  private readonly expectation: model.Expectation = {
    outcome: 0,
    code: 0,
    atTable: false,
    guest: 0,
    above: false,
    second: 0,
    table: 0,
  };
  private readonly machines = new Map<boolean, { readonly cpu: Cpu; readonly memory: PhysicalMemory }>();
  private readonly vendor: Setting["vendor"];
  private cpu: Cpu;
  private memory: PhysicalMemory;
  private vcpu: Vcpu;
  private setting: Setting | null = null;
  /** The guest's registers at CPL 0 and at CPL 3. */
  private registers: readonly Vcpu["saved"][] = [null, null];

  constructor(vendor: Setting["vendor"]) {
    this.vendor = vendor;
    const { cpu, memory } = this.machine(true);
    this.cpu = cpu;
    this.memory = memory;
    this.vcpu = new Vcpu({ id: 1, secondStage: null });
  }

  /** Puts the CPU, and its guest, into a setting. */
  use(setting: Setting): void {
    const { cpu, memory } = this.machine(setting.executeOnly);
    this.cpu = cpu;
    this.memory = memory;
    this.setting = setting;
    const nxe = setting.nxe ? EFER_NXE : 0;
    const eptp = encodeEptp({ rootFrame: ROOT, levels: 4, accessedDirty: setting.accessedDirty });
    this.vcpu = new Vcpu({
      id: 1,
      secondStage: this.vendor === "intel" ? { eptp, modeBasedExecute: setting.modeBased } : { nestedCr3: ROOT * 4096 },
      registers: {
        cr0: 0x8000_0033 + (setting.writeProtect ? CR0_WP : 0),
        cr3: GUEST_TABLES[0] * 4096,
        cr4: CR4_PAE + (setting.smep ? CR4_SMEP : 0),
        efer: EFER_LME + EFER_LMA + nxe,
      },
    });
    cpu.wrmsr(MSR_EFER, EFER_LME + EFER_LMA + (this.vendor === "amd" ? nxe : EFER_NXE));
    cpu.enterGuest(this.vcpu);
    cpu.exitGuest();
    const { saved } = this.vcpu;
    if (saved === null) throw new Error("a VM exit has saved no registers");
    this.registers = [saved, { ...saved, cpl: 3 }];
  }

  /** Runs one case; null when all is as the model expects, else what was not. */
  run(each: Case): string | null {
    const { expectation, setting } = this;
    if (setting === null) throw new Error("no setting was chosen");
    this.writeEntries(setting, each);
    this.forget();
    model.expect(setting, each, expectation);
    if ((each.access & ACCESS.twice) !== 0) this.attempt(0);
    const failure = this.attempt(each.access);
    const { outcome, code, atTable } = endOf(failure, tableGpa(each));
    const flags = this.flags(each);
    const isAsExpected =
      outcome === expectation.outcome &&
      code === expectation.code &&
      (atTable === expectation.atTable || outcome <= model.PAGE_FAULT) &&
      flags.guest === expectation.guest &&
      flags.above === expectation.above &&
      flags.second === expectation.second &&
      flags.table === expectation.table;
    if (isAsExpected) return null;
    return [
      describeCase(setting, each),
      `expected ${JSON.stringify(expectation)}`,
      `got ${JSON.stringify({ outcome, code, atTable, ...flags })}`,
    ].join("\n  ");
  }

  private machine(executeOnly: boolean): { readonly cpu: Cpu; readonly memory: PhysicalMemory } {
    const known = this.machines.get(executeOnly);
    if (known !== undefined) return known;
    const preset = presetByName(this.vendor === "intel" ? "sapphire-rapids" : "zen4");
    const { virtualization } = preset;
    const features = { ...virtualization.features, eptExecuteOnly: executeOnly };
    const machine = new Machine({
      memoryBytes: 2 ** 33,
      maxPhyAddr: 36,
      preset: { ...preset, virtualization: { ...virtualization, features } },
    });
    const made = { cpu: machine.cpus[0], memory: machine.memory };
    this.writeFixedEntries(made.memory);
    this.machines.set(executeOnly, made);
    return made;
  }

  /** Entries that no case changes. */
  private writeFixedEntries(memory: PhysicalMemory): void {
    const table = this.vendor === "intel" ? EPT_TABLE : NPT_FULL;
    memory.writeWord(ROOT, 0, (PDPT << 12) | table);
    memory.writeWord(PDPT, 0, (TABLES_PD << 12) | table);
    GUEST_TABLES.forEach((gpa, at) => {
      memory.writeWord(TABLES_PD, (gpa >> 9) * 2, (TABLE_PTS[at] << 12) | table);
    });
    memory.writeWord(TABLE_FRAMES[0], indexOf(LA, 4) * 2, (GUEST_TABLES[1] << 12) | 0x27);
  }

  private writeEntries({ vendor }: Setting, each: Case): void {
    const { memory } = this;
    const isIntel = vendor === "intel";
    const table = isIntel ? EPT_TABLE : NPT_FULL;
    const full = isIntel ? EPT_FULL : NPT_FULL;
    // The second stage for the guest's tables; the case says what of the one with the last entry.
    GUEST_TABLES.forEach((_, at) => {
      memory.writeWord(TABLE_PTS[at], 0, (TABLE_FRAMES[at] << 12) | full);
      memory.writeWord(TABLE_PTS[at], 1, 0);
    });
    this.writeTableEntry(isIntel, each);
    // The second stage for the page, from the level of the PDPTE down.
    const upper = upperBits(isIntel, each.upper, table);
    const leaf = isIntel ? eptLeaf(each) : nestedLeaf(each);
    const [pdpte, pde] = [(PAGE_PD << 12) | table, (PAGE_PT << 12) | table];
    const pdpteIndex = PAGE_GPA / 2 ** 30;
    if (each.secondLevel === 3) {
      this.write(PDPT, pdpteIndex * 2, leaf.low, leaf.high);
      return;
    }
    if (each.secondLevel === 2) {
      this.write(PDPT, pdpteIndex * 2, each.upper === UPPER.absent ? 0 : (PAGE_PD << 12) | upper.low, upper.high);
      this.write(PAGE_PD, 0, leaf.low, leaf.high);
      return;
    }
    this.write(PDPT, pdpteIndex * 2, pdpte, 0);
    this.write(PAGE_PD, 0, each.upper === UPPER.absent ? 0 : (pde & ~0xfff) | upper.low, upper.high);
    this.write(PAGE_PT, 0, leaf.low, leaf.high);
  }

  private write(frame: number, word: number, low: number, high: number): void {
    this.memory.writeWord(frame, word, low);
    this.memory.writeWord(frame, word + 1, high);
  }

  /** The guest's last two entries, and the second stage's for the last one's table. */
  private writeTableEntry(isIntel: boolean, each: Case): void {
    const last = each.guestLarge ? 2 : 3;
    const above = last - 1;
    const aboveBits = 5 | ((each.above & ABOVE.write) << 1) | ((each.above & ABOVE.accessed) << 4);
    this.write(TABLE_FRAMES[1], indexOf(LA, 3) * 2, (GUEST_TABLES[2] << 12) | 0x27, 0);
    this.write(TABLE_FRAMES[2], indexOf(LA, 2) * 2, (GUEST_TABLES[3] << 12) | 0x27, 0);
    this.write(TABLE_FRAMES[above], indexOf(LA, 4 - above) * 2, (GUEST_TABLES[last] << 12) | aboveBits, 0);
    const low =
      (each.guest & 7) |
      ((each.guest & (GUEST.accessed | GUEST.dirty)) << 2) |
      (each.guestLarge ? 0x80 : 0) |
      (PAGE_GPA | 0);
    const high =
      ((each.guest & GUEST.nx) !== 0 ? 0x8000_0000 | 0 : 0) | ((each.guest & GUEST.reserved) !== 0 ? RESERVED_HIGH : 0);
    this.write(TABLE_FRAMES[last], indexOf(LA, 4 - last) * 2, low, high);
    const frame = TABLE_FRAMES[last] << 12;
    const bits = isIntel ? [EPT_FULL, EPT_FULL & ~2, 0, 7 | (7 << 3), EPT_FULL | 0x300] : [7, 5, 0, 7, 0x67];
    const reserved = !isIntel && each.table === TABLE.misconfigured ? RESERVED_HIGH : 0;
    this.write(TABLE_PTS[last], 0, bits[each.table] === 0 ? 0 : frame | bits[each.table], reserved);
  }

  /** Removes everything that is cached of the guest. */
  private forget(): void {
    if (this.vendor === "intel") {
      this.cpu.invept(2, 0n);
    } else {
      this.vcpu.tlbControl = 3;
      this.cpu.enterGuest(this.vcpu);
      this.cpu.exitGuest();
      this.vcpu.tlbControl = 0;
    }
  }

  /** Makes an access in the guest; what it throws, else null. */
  private attempt(access: number): unknown {
    const { cpu, vcpu } = this;
    vcpu.saved = this.registers[access & ACCESS.user];
    cpu.enterGuest(vcpu);
    try {
      if ((access & ACCESS.fetch) !== 0) cpu.fetch(LA, 4);
      else if ((access & ACCESS.write) !== 0) cpu.store(LA, 4, 0x1234);
      else cpu.load(LA, 4);
      return null;
    } catch (error) {
      return error;
    } finally {
      if (cpu.vcpu !== null) cpu.exitGuest();
    }
  }

  private flags(each: Case): { guest: number; above: boolean; second: number; table: number } {
    const { memory } = this;
    const last = each.guestLarge ? 2 : 3;
    const guest = memory.readWord(TABLE_FRAMES[last], indexOf(LA, 4 - last) * 2);
    const above = memory.readWord(TABLE_FRAMES[last - 1], indexOf(LA, 5 - last) * 2);
    const [frame, word] = [
      [PAGE_PT, 0],
      [PAGE_PD, 0],
      [PDPT, (PAGE_GPA / 2 ** 30) * 2],
    ][each.secondLevel - 1];
    const shift = this.vendor === "intel" ? 8 : 5;
    return {
      guest: (guest >> 5) & 3,
      above: (above & 0x20) !== 0,
      second: (memory.readWord(frame, word) >> shift) & 3,
      table: (memory.readWord(TABLE_PTS[last], 0) >> shift) & 3,
    };
  }
}

/** How an access ended. */
function endOf(error: unknown, gpaOfTable: number): { outcome: number; code: number; atTable: boolean } {
  if (error === null) return { outcome: model.DONE, code: 0, atTable: false };
  if (error instanceof PageFault) return { outcome: model.PAGE_FAULT, code: error.errorCode, atTable: false };
  if (!(error instanceof VmExit)) throw error;
  const atTable = error.guestPhysicalAddress === gpaOfTable;
  if (!atTable && error.guestPhysicalAddress !== PAGE_GPA)
    throw new Error(`a VM exit at guest-physical 0x${error.guestPhysicalAddress.toString(16)}`);
  if (error instanceof EptViolation) return { outcome: model.VIOLATION, code: error.qualification, atTable };
  if (error instanceof EptMisconfiguration) return { outcome: model.MISCONFIGURATION, code: 0, atTable };
  if (error instanceof NestedPageFault) return { outcome: model.NESTED_FAULT, code: error.exitInfo1, atTable };
  throw error;
}

/** Guest-physical address of the guest's last entry. */
function tableGpa(each: Case): number {
  const last = each.guestLarge ? 2 : 3;
  return GUEST_TABLES[last] * 4096 + indexOf(LA, 4 - last) * 8;
}

/** The entry above the last one of the second stage, without its address. */
function upperBits(isIntel: boolean, upper: number, table: number): { low: number; high: number } {
  if (upper === UPPER.absent) return { low: 0, high: 0 };
  if (upper === UPPER.noWrite) return { low: table & ~2, high: 0 };
  if (upper === UPPER.noFetch) return isIntel ? { low: 3, high: 0 } : { low: table, high: 0x8000_0000 | 0 };
  return { low: table, high: 0 };
}

function eptLeaf({ second, secondLevel }: Case): { low: number; high: number } {
  const low =
    (second & 7) |
    ((second & EPT.executeUser) << 7) |
    (((second & EPT.badType) !== 0 ? 7 : 6) << 3) |
    ((second & (EPT.accessed | EPT.dirty)) << 2) |
    (secondLevel > 1 ? 0x80 : 0) |
    (PAGE_FRAME << 12);
  return { low, high: (second & EPT.reserved) !== 0 ? RESERVED_HIGH : 0 };
}

function nestedLeaf({ second, secondLevel }: Case): { low: number; high: number } {
  const low =
    (second & 7) |
    (second & (NPT.accessed | NPT.dirty)) |
    ((second & NPT.global) << 1) |
    (secondLevel > 1 ? 0x80 : 0) |
    (PAGE_FRAME << 12);
  const high = ((second & NPT.nx) !== 0 ? 0x8000_0000 | 0 : 0) | ((second & NPT.reserved) !== 0 ? RESERVED_HIGH : 0);
  return { low, high };
}

function indexOf(la: number, level: number): number {
  return Math.floor(la / 2 ** (12 + 9 * (level - 1))) % 512;
}
