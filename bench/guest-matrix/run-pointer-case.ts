/** Carries out cases of the pointer matrix on an emulated CPU, natively or in a guest, through the public interface only. */
import {
  ACCESS_FETCH,
  ACCESS_IMPLICIT_LOAD,
  ACCESS_IMPLICIT_STORE,
  ACCESS_LOAD,
  ACCESS_STORE,
  type Cpu,
  CR3_LAM_U48,
  CR3_LAM_U57,
  CR4_LA57,
  CR4_LAM_SUP,
  CR4_LASS,
  CR4_PAE,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LMA,
  EFER_LME,
  EFER_NXE,
  EFER_UAIE,
  EptViolation,
  encodeEptp,
  GeneralProtectionFault,
  linearAddressToBigInt,
  Machine,
  MSR_EFER,
  NestedPageFault,
  PageFault,
  type PhysicalMemory,
  Vcpu,
} from "../../arch/index.ts";
import { ACCESS_BYTES, describePointerCase, LEAF, type PointerCase, type PointerSetting } from "./pointer-cases.ts";
import { expectPointer, isLeftOpen, type PointerExpectation } from "./pointer-model.ts";

/** Frames of the second stage's tables: the first GiB is mapped as it is, of the second the 2 MiB that the pages are in. */
const [STAGE_ROOT, STAGE_PDPT, STAGE_PD] = [1, 2, 3];
/** The top nested table where there are five levels: AMD's second stage has as many as the host. */
const STAGE_PML5 = 4;
/** Frame of the top page table, which is the guest's at the same guest-physical address; others follow. */
const ROOT = 0x100;
/** Frame of the page at which an access begins; the page after it has the next. */
const PAGE_FRAME = 0x4_0000;
const TABLE_BITS = 0x27;
const EPT_ENTRY = 0x7;
const NPT_ENTRY = 0x27;
const WRITE_BACK = 6 << 3;
const LARGE = 0x80;
const ACCESS_OF = {
  load: ACCESS_LOAD,
  store: ACCESS_STORE,
  fetch: ACCESS_FETCH,
  "implicit load": ACCESS_IMPLICIT_LOAD,
  "implicit store": ACCESS_IMPLICIT_STORE,
} as const;

/** A machine of one vendor and number of levels, and the page tables made so far. */
interface Bench {
  readonly cpu: Cpu;
  readonly memory: PhysicalMemory;
  nextTable: number;
}

/** CPUs of one vendor. */
export class PointerCaseRunner {
  private readonly vendor: PointerSetting["vendor"];
  private readonly benches = new Map<number, Bench>();
  private setting: PointerSetting | null = null;
  private bench: Bench;
  /** Guests, without and with accessed and dirty flags of EPT. */
  private vcpus: readonly Vcpu[] = [];

  constructor(vendor: PointerSetting["vendor"]) {
    this.vendor = vendor;
    this.bench = this.benchOf(4);
  }

  /** Puts the CPU, and its guests, into a setting. */
  use(setting: PointerSetting): void {
    const { levels, lamU48, lamU57, lamSup, lass, smap, smep, uai } = setting;
    this.setting = setting;
    this.bench = this.benchOf(levels);
    const { cpu } = this.bench;
    cpu.setCpl(0);
    const cr4 =
      CR4_PAE +
      (levels === 5 ? CR4_LA57 : 0) +
      (lamSup ? CR4_LAM_SUP : 0) +
      (lass ? CR4_LASS : 0) +
      (smap ? CR4_SMAP : 0) +
      (smep ? CR4_SMEP : 0);
    const efer = EFER_LME + EFER_LMA + EFER_NXE + (uai ? EFER_UAIE : 0);
    cpu.writeCr4(cr4);
    cpu.wrmsr(MSR_EFER, efer);
    cpu.writeCr3(BigInt(ROOT * 4096) | (lamU48 ? CR3_LAM_U48 : 0n) | (lamU57 ? CR3_LAM_U57 : 0n));
    this.vcpus = [false, true].map((accessedDirty) => {
      const eptp = encodeEptp({ rootFrame: STAGE_ROOT, levels: 4, accessedDirty });
      return new Vcpu({
        id: 1,
        secondStage:
          this.vendor === "intel" ? { eptp } : { nestedCr3: (levels === 5 ? STAGE_PML5 : STAGE_ROOT) * 4096 },
        registers: { cr3: ROOT * 4096, lamUser: (lamU57 ? 1 : 0) + (lamU48 ? 2 : 0), cr4, efer },
      });
    });
  }

  /** Runs one case; null when all is as the model expects, or the manuals leave it open, else what was not. */
  run(each: PointerCase): string | null {
    const { setting } = this;
    if (setting === null) throw new Error("no setting was chosen");
    if (isLeftOpen(setting, each)) return null;
    const expected = expectPointer(setting, each);
    // Where it is refused before paging there is a page all the same, at each address that the pointer could be taken for.
    const pages =
      expected.pages.length > 0 ? expected.pages.map(({ page }) => page) : candidates(each.pointer, setting);
    const leaves = pages.map((page, at) => this.mapPage(setting.levels, page, leafOf(each.leaf, PAGE_FRAME + at)));
    this.writeSecondStage(each);
    const got = this.attempt(each);
    const flags = leaves.map(({ table, index }) => this.flagsAt(table, index, 5));
    const used =
      expected.pages.length > 0 ? expected.pages.map((page) => page.flags) : pages.map(() => initialFlags(each));
    const second = each.place === "native" ? 0 : this.flagsAt(STAGE_PD, 0, this.vendor === "intel" ? 8 : 5);
    for (const { table, index } of leaves) this.write(table, index, 0, 0);
    const isAsExpected =
      got.outcome === expected.outcome &&
      got.code === expected.code &&
      got.linear === expected.linear &&
      flags.join() === used.join() &&
      second === expected.second;
    return isAsExpected ? null : failureText(describePointerCase(setting, each), expected, { ...got, flags, second });
  }

  private benchOf(levels: 4 | 5): Bench {
    const known = this.benches.get(levels);
    if (known !== undefined) return known;
    const features = this.vendor === "intel" ? { lam: true, lass: true } : {};
    const preset = this.vendor === "intel" ? "sapphire-rapids" : "zen4";
    const { cpus, memory } = new Machine({ memoryBytes: 2 ** 31, preset, features, pagingLevels: levels });
    const made: Bench = { cpu: cpus[0], memory, nextTable: ROOT + 1 };
    this.benches.set(levels, made);
    return made;
  }

  /** Writes the entry of a page, at which tables that are missing are made. */
  private mapPage(levels: number, page: bigint, leaf: readonly [number, number]): { table: number; index: number } {
    const { memory } = this.bench;
    let table = ROOT;
    for (let level = levels; ; level--) {
      const index = Number((page >> BigInt(3 + 9 * level)) & 511n);
      if (level === 1) {
        this.write(table, index, ...leaf);
        return { table, index };
      }
      const entry = memory.readWord(table, index * 2);
      const next = entry === 0 ? this.bench.nextTable++ : entry >>> 12;
      if (entry === 0) this.write(table, index, (next << 12) | TABLE_BITS, 0);
      table = next;
    }
  }

  private writeSecondStage({ place }: PointerCase): void {
    const isIntel = this.vendor === "intel";
    const entry = isIntel ? EPT_ENTRY : NPT_ENTRY;
    const type = isIntel ? WRITE_BACK : 0;
    this.write(STAGE_PML5, 0, (STAGE_ROOT << 12) | entry, 0);
    this.write(STAGE_ROOT, 0, (STAGE_PDPT << 12) | entry, 0);
    this.write(STAGE_PDPT, 0, LARGE | type | entry, 0);
    this.write(STAGE_PDPT, 1, (STAGE_PD << 12) | entry, 0);
    const noFetch = place === "no fetch";
    const rights = isIntel
      ? { native: 0, all: 7, "no write": 5, "no fetch": 3, absent: 0 }[place]
      : { native: 0, all: 7, "no write": 5, "no fetch": 7, absent: 0 }[place];
    this.write(STAGE_PD, 0, (PAGE_FRAME << 12) | LARGE | type | rights, noFetch && !isIntel ? 0x8000_0000 | 0 : 0);
  }

  private write(frame: number, index: number, low: number, high: number): void {
    this.bench.memory.writeWord(frame, index * 2, low);
    this.bench.memory.writeWord(frame, index * 2 + 1, high);
  }

  private flagsAt(table: number, index: number, shift: number): number {
    return (this.bench.memory.readWord(table, index * 2) >> shift) & 3;
  }

  /** Makes the access with nothing cached. */
  private attempt(each: PointerCase): Pick<PointerExpectation, "outcome" | "code" | "linear"> {
    const { cpu } = this.bench;
    const { place, accessedDirty, cpl, alignmentCheck } = each;
    const vcpu = place === "native" ? null : this.vcpus[accessedDirty ? 1 : 0];
    if (vcpu === null) {
      cpu.writeCr3(cpu.readCr3());
    } else {
      if (this.vendor === "intel") cpu.invept(2, 0n);
      else vcpu.tlbControl = 3;
      cpu.enterGuest(vcpu);
    }
    cpu.setAlignmentCheck(alignmentCheck);
    cpu.setCpl(cpl);
    try {
      const access = ACCESS_OF[each.kind];
      if (each.kind.endsWith("store")) cpu.store64(each.pointer, 0x1234n, ACCESS_BYTES, access);
      else cpu.load64(each.pointer, ACCESS_BYTES, access);
      return { outcome: "done", code: 0, linear: null };
    } catch (error) {
      return endOf(error, each, cpu);
    } finally {
      cpu.setCpl(0);
      if (cpu.vcpu !== null) cpu.exitGuest();
    }
  }
}

/** How an access ended. */
function endOf(error: unknown, each: PointerCase, cpu: Cpu): Pick<PointerExpectation, "outcome" | "code" | "linear"> {
  if (error instanceof GeneralProtectionFault) return { outcome: "#GP", code: error.errorCode, linear: null };
  if (error instanceof PageFault) {
    if (cpu.cr2 !== error.linearAddress) throw new Error(`CR2 is 0x${cpu.cr2.toString(16)}: ${error.message}`);
    return { outcome: "#PF", code: error.errorCode, linear: full(error.linearAddress) };
  }
  if (!(error instanceof EptViolation || error instanceof NestedPageFault)) throw error;
  const expectedGpa = PAGE_FRAME * 4096 + Number(each.pointer & 0xfffn);
  if (error.guestPhysicalAddress !== expectedGpa) throw new Error(error.message);
  if (error instanceof NestedPageFault) return { outcome: "nested page fault", code: error.exitInfo1, linear: null };
  return { outcome: "EPT violation", code: error.qualification, linear: full(error.linearAddress ?? 0) };
}

/** All 64 bits of an address that the emulator reports. */
function full(address: number | bigint): bigint {
  return typeof address === "bigint" ? BigInt.asUintN(64, address) : linearAddressToBigInt(address);
}

function leafOf(leaf: number, frame: number): [number, number] {
  const low = (leaf & 7) | ((leaf & (LEAF.accessed | LEAF.dirty)) << 2) | (frame << 12);
  return [low, (leaf & LEAF.nx) !== 0 ? 0x8000_0000 | 0 : 0];
}

function initialFlags({ leaf }: PointerCase): number {
  return (leaf >> 3) & 3;
}

/** Pages that a pointer which must be refused might be taken for: its low bits, extended. */
function candidates(pointer: bigint, { levels }: PointerSetting): bigint[] {
  const widths = levels === 5 ? [48, 57] : [48];
  return [...new Set(widths.map((bits) => BigInt.asUintN(64, BigInt.asIntN(bits, pointer)) & ~0xfffn))];
}

function failureText(what: string, expected: PointerExpectation, got: object): string {
  const shown = (value: object): string =>
    JSON.stringify(value, (_, each: unknown) => (typeof each === "bigint" ? `0x${each.toString(16)}` : each));
  return `${what}\n  expected ${shown(expected)}\n  got ${shown(got)}`;
}
