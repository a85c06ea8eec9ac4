/** Carries out cases of the access matrix on an emulated CPU, through the public interface only. */
import {
  type Cpu,
  CR0_WP,
  CR4_PKE,
  CR4_SMEP,
  EFER_LMA,
  EFER_LME,
  EFER_NXE,
  Machine,
  MSR_EFER,
  PageFault,
  type PhysicalMemory,
} from "../../arch/index.ts";
import { ACCESS, type Case, describeCase, PDE, PTE, type Setting, UPPER } from "./cases.ts";
import { type Expectation, expect } from "./model.ts";

const LA = 0x1234_0600_1000;
const ROOT = 1;
const PDPT = 2;
const PD = 3;
const PT = 4;
/** Frame that the PTE maps, and first frame of the page that a large PDE maps. */
const SMALL_FRAME = 0x300;
const LARGE_FRAME = 0x200;
const TABLE_BITS = 0x67;
/** A preset of each vendor that has protection keys. */
const PRESET = { intel: "skylake", amd: "zen4" } as const;
const PML4_INDEX = Math.floor(LA / 2 ** 39) & 511;
const PDPT_INDEX = Math.floor(LA / 2 ** 30) & 511;
const PD_INDEX = Math.floor(LA / 2 ** 21) & 511;
const PT_INDEX = Math.floor(LA / 2 ** 12) & 511;

/** A CPU with tables for one address. */
export class CaseRunner {
  private readonly cpu: Cpu;
  private readonly memory: PhysicalMemory;
  private readonly expectation: Expectation = { errorCode: -1, pte: 0, pde: 0 };
  private readonly vendor: Setting["vendor"];
  private setting: Setting | null = null;

  constructor(vendor: Setting["vendor"]) {
    const machine = new Machine({ memoryBytes: 2 ** 24, maxPhyAddr: 36, preset: PRESET[vendor] });
    this.vendor = vendor;
    this.cpu = machine.cpus[0];
    this.memory = machine.memory;
    this.cpu.writeCr3(ROOT * 4096);
  }

  /** Puts the CPU into a setting. */
  use(setting: Setting): void {
    if (setting.vendor !== this.vendor) throw new Error(`a setting of ${setting.vendor} on a CPU of ${this.vendor}`);
    const { cpu } = this;
    const without = (register: number, bit: number): number => (register & ~bit) >>> 0;
    cpu.writeCr0(without(cpu.cr0, CR0_WP) + (setting.writeProtect ? CR0_WP : 0));
    cpu.wrmsr(MSR_EFER, EFER_LME + EFER_LMA + (setting.nxe ? EFER_NXE : 0));
    cpu.writeCr4(without(without(cpu.cr4, CR4_PKE), CR4_SMEP) + (setting.smep ? CR4_SMEP : 0) + CR4_PKE);
    cpu.writePkru(0x30 | (setting.accessDisable ? 4 : 0) | (setting.writeDisable ? 8 : 0));
    if (!setting.pke) cpu.writeCr4(without(cpu.cr4, CR4_PKE));
    this.setting = setting;
  }

  /** Runs one case; null when all is as the model expects, else what was not. */
  run(each: Case): string | null {
    const { cpu, expectation, memory, setting } = this;
    if (setting === null) throw new Error("no setting was chosen");
    this.writeEntries(each);
    cpu.invlpg(LA);
    expect(setting, each, expectation);
    if ((each.access & ACCESS.twice) !== 0) attempt(cpu, 0);
    const errorCode = attempt(cpu, each.access);
    const pde = pdeBitsOf(memory.readWord(PD, PD_INDEX * 2), memory.readWord(PD, PD_INDEX * 2 + 1));
    const pte = pteBits(memory.readWord(PT, PT_INDEX * 2), memory.readWord(PT, PT_INDEX * 2 + 1));
    if (errorCode === expectation.errorCode && pde === expectation.pde && pte === expectation.pte) return null;
    const shown = (code: number): string => (code < 0 ? "no fault" : `#PF(0x${code.toString(16)})`);
    return [
      describeCase(setting, each),
      `expected ${shown(expectation.errorCode)}, PDE 0x${expectation.pde.toString(16)}, PTE 0x${expectation.pte.toString(16)}`,
      `got ${shown(errorCode)}, PDE 0x${pde.toString(16)}, PTE 0x${pte.toString(16)} (case bits)`,
    ].join("\n  ");
  }

  private writeEntries(each: Case): void {
    const { memory } = this;
    const { pde, pte, upper } = each;
    const isLarge = (pde & PDE.large) !== 0;
    const frame = isLarge ? LARGE_FRAME : PT;
    const pdeKey = each.key ? (isLarge ? 1 : 2) : 0;
    const pml4eBits = (upper & (UPPER.pml4eBit7 | UPPER.pml4eBit8)) << 7;
    const pdpteBits = (each.readOnlyPdpte ? TABLE_BITS & ~2 : TABLE_BITS) | ((upper & UPPER.pdpteBit8) << 6);
    const pdeBits = lowBits(pde) | (isLarge ? 128 : 0) | ((pde & PDE.bit13) << 4) | ((upper & UPPER.pdeBit8) << 5);
    memory.writeWord(ROOT, PML4_INDEX * 2, (PDPT << 12) | TABLE_BITS | pml4eBits);
    memory.writeWord(PDPT, PDPT_INDEX * 2, (PD << 12) | pdpteBits);
    memory.writeWord(PD, PD_INDEX * 2, (frame << 12) | pdeBits);
    memory.writeWord(PD, PD_INDEX * 2 + 1, highBits(pde) | (pdeKey << 27));
    memory.writeWord(PT, PT_INDEX * 2, (SMALL_FRAME << 12) | lowBits(pte));
    memory.writeWord(PT, PT_INDEX * 2 + 1, highBits(pte) | ((each.key ? 1 : 0) << 27));
  }
}

/** Makes an access; the error code of the page fault, or -1. */
function attempt(cpu: Cpu, access: number): number {
  const isUser = (access & ACCESS.user) !== 0;
  if (isUser) cpu.setCpl(3);
  try {
    if ((access & ACCESS.fetch) !== 0) cpu.fetch(LA, 4);
    else if ((access & ACCESS.write) !== 0) cpu.store(LA, 4, 0x1234);
    else cpu.load(LA, 4);
    return -1;
  } catch (error) {
    if (!(error instanceof PageFault)) throw error;
    return error.linearAddress === LA && cpu.cr2 === LA ? error.errorCode : -2;
  } finally {
    if (isUser) cpu.setCpl(0);
  }
}

/** P, R/W, U/S, A, D of an entry from case bits. */
function lowBits(bits: number): number {
  return (bits & 7) | ((bits & (PTE.accessed | PTE.dirty)) << 2);
}

/** XD, bit 51, bit 36 of an entry from case bits. */
function highBits(bits: number): number {
  return ((bits & PTE.nx) << 26) | ((bits & PTE.bit51) << 13) | ((bits & PTE.bit36) >> 3);
}

function pteBits(low: number, high: number): number {
  return (
    (low & 7) |
    ((low >> 2) & (PTE.accessed | PTE.dirty)) |
    ((high >>> 26) & PTE.nx) |
    ((high >> 13) & PTE.bit51) |
    ((high << 3) & PTE.bit36)
  );
}

function pdeBitsOf(low: number, high: number): number {
  const isLarge = (low & 128) !== 0;
  return pteBits(low, high) | (isLarge ? PDE.large | ((low >> 4) & PDE.bit13) : 0);
}
