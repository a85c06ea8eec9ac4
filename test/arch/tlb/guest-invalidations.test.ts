/**
 * Random guests on random second stages: two VPIDs with two PCIDs each use the same tables, whose entries change, and everything that
 * removes translations is done at random. A walker of the test's own, which has no caches, says what an access must come to whenever the
 * manual requires that no older translation is used: when each entry on the way was changed before the last invalidation that covers
 * it (Intel SDM vol. 3C, 29.4.3; AMD APM vol. 2, 15.16). On AMD "VPID" stands for the ASID.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { CR4_PAE, CR4_PCIDE, CR4_PGE, EptViolation, NestedPageFault, PageFault, Vcpu } from "../../../arch/index.ts";
import { ALL, BASE } from "../guest.ts";
import { EPT_ALL, VirtualMachine } from "../virtual-machine.ts";

/** Linear pages: two of a page table, one of the next, one of another page directory. */
const PAGES = [BASE, BASE + 0x1000, BASE + 0x20_0000, BASE + 0x4000_0000];
/** Guest-physical pages: two of a table of the second stage, one of the next. */
const GUEST_PAGES = [0x4000_0000, 0x4000_1000, 0x4020_0000];
/** Pages of the machine, marked with 1 to 5. */
const FRAMES = [0x1_4000_0000, 0x1_4000_1000, 0x1_5000_0000, 0x1_6000_0000, 0x1_7000_0000];
const GUEST_BITS = [ALL, ALL & ~2, ALL & ~4, 0];
const EPT_BITS = [EPT_ALL, EPT_ALL & ~2, EPT_ALL & ~4, 0];
/** Without the right to write, not for user accesses, which all are, and not present. */
const NESTED_BITS = [ALL, ALL & ~2, ALL & ~4, 0];
const VPIDS = [1, 2] as const;
const PCIDS = [0, 1] as const;
const CR4 = CR4_PAE + CR4_PGE + CR4_PCIDE;

type Kind = "load" | "store" | "fetch";

/** One step: which, and numbers from which it takes what it needs. */
interface Step {
  readonly what: string;
  readonly vpid: 1 | 2;
  readonly pcid: 0 | 1;
  readonly page: number;
  readonly other: number;
  readonly bits: number;
}

const ACCESSES = ["load", "store", "fetch"];
const CHANGES = ["map", "remap", "second"];
const IN_GUEST = ["invlpg", "mov cr3", "toggle pge", ...[0, 1, 2, 3].map((type) => `invpcid ${type}`)];
const OF_INTEL = [...[0, 1, 2, 3].map((type) => `invvpid ${type}`), "invept 1", "invept 2"];
const OF_AMD = ["invlpga", "invlpgb page", "invlpgb all", ...[1, 3, 7].map((value) => `tlb_control ${value}`)];

const stepsOf = (invalidations: readonly string[]) =>
  fc.array(
    fc.record<Step>({
      what: fc.oneof(
        { weight: 6, arbitrary: fc.constantFrom(...ACCESSES) },
        { weight: 2, arbitrary: fc.constantFrom(...CHANGES) },
        { weight: 2, arbitrary: fc.constantFrom(...IN_GUEST, ...invalidations) },
      ),
      vpid: fc.constantFrom(...VPIDS),
      pcid: fc.constantFrom(...PCIDS),
      page: fc.nat(PAGES.length - 1),
      other: fc.nat(29),
      bits: fc.nat(3),
    }),
    { minLength: 20, maxLength: 80 },
  );

/** A guest, and what is known of when what was changed and invalidated. */
class Run {
  private readonly vm: VirtualMachine;
  private readonly vcpus: readonly Vcpu[];
  /** A second page table of the guest, and which of the two the first page directory's entry names. */
  private readonly tables: readonly bigint[];
  private now = 0;
  private readonly guestChanged = PAGES.map(() => 0);
  private readonly secondChanged = GUEST_PAGES.map(() => 0);
  /** By VPID - 1, PCID and page. */
  private readonly removed = VPIDS.map(() => PCIDS.map(() => PAGES.map(() => 0)));
  /** By VPID - 1. */
  private readonly secondRemoved = VPIDS.map(() => 0);
  /** Accesses whose outcome the manual fixes. */
  checked = 0;

  constructor(preset: string, accessedDirty: boolean) {
    const vm = new VirtualMachine({ preset, accessedDirty });
    this.vm = vm;
    FRAMES.forEach((address, at) => {
      vm.mark(address, at + 1);
    });
    GUEST_PAGES.forEach((gpa, at) => {
      vm.mapSecond(gpa, FRAMES[at]);
    });
    PAGES.forEach((la, at) => {
      vm.mapGuest(la, GUEST_PAGES[at % GUEST_PAGES.length]);
    });
    const first = vm.readGuest(BASE, 2);
    const second = vm.guestTable();
    this.tables = [first, BigInt(second * 4096 + ALL)];
    vm.writeGuest(BASE, 2, this.tables[1]);
    for (const la of PAGES.slice(0, 2)) vm.mapGuest(la, GUEST_PAGES[2]);
    vm.writeGuest(BASE, 2, this.tables[0]);
    const registers = { cr3: vm.guestRoot * 4096, cr4: CR4 };
    this.vcpus = VPIDS.map((id) => new Vcpu({ id, secondStage: vm.pointer, registers }));
  }

  step(step: Step): void {
    this.now++;
    if (ACCESSES.includes(step.what)) this.access(step.what as Kind, step);
    else if (CHANGES.includes(step.what)) this.change(step);
    else this.invalidate(step);
  }

  private change({ what, page, other, bits }: Step): void {
    const { vm, now } = this;
    if (what === "map") {
      vm.mapGuest(PAGES[page], GUEST_PAGES[other % GUEST_PAGES.length], GUEST_BITS[bits]);
      this.guestChanged[page] = now;
    } else if (what === "remap") {
      vm.writeGuest(BASE, 2, this.tables[other % 2]);
      this.guestChanged[0] = now;
      this.guestChanged[1] = now;
    } else {
      const at = page % GUEST_PAGES.length;
      vm.mapSecond(GUEST_PAGES[at], FRAMES[other % FRAMES.length], (vm.isAmd ? NESTED_BITS : EPT_BITS)[bits]);
      this.secondChanged[at] = now;
    }
  }

  /** Does an invalidation, and notes what it covers. */
  private invalidate({ what, vpid, pcid, page, other }: Step): void {
    const { vm } = this;
    const { cpu } = vm;
    const la = PAGES[page];
    const target = (other % 2) as 0 | 1;
    const [name, type] = [what.split(" ")[0], Number(what.split(" ")[1])];
    if (name === "invept") {
      cpu.invept(type, vm.eptp);
      for (const id of VPIDS) this.coverAll(id);
    } else if (name === "tlb_control") {
      const vcpu = this.vcpus[vpid - 1];
      vcpu.tlbControl = type;
      this.inGuest(vpid, pcid, () => {});
      vcpu.tlbControl = 0;
      for (const id of type === 1 ? VPIDS : [vpid]) this.coverAll(id);
    } else if (name === "invlpga") {
      cpu.invlpga(la, vpid);
      this.cover(vpid, PCIDS, [page]);
    } else if (name === "invlpgb") {
      const ofAsid = { asid: vpid, includeGlobals: true };
      cpu.invalidations.invlpgb(what === "invlpgb all" ? ofAsid : { ...ofAsid, la, pages: 1 });
      this.cover(vpid, PCIDS, what === "invlpgb all" ? PAGES.keys() : [page]);
    } else if (name === "invvpid") {
      cpu.invvpid(type, vpid, la);
      for (const id of type === 2 ? VPIDS : [vpid]) this.cover(id, PCIDS, type === 0 ? [page] : PAGES.keys());
    } else {
      this.inGuest(vpid, pcid, () => {
        if (what === "invlpg") cpu.invlpg(la);
        else if (what === "mov cr3") cpu.writeCr3(cpu.cr3);
        else if (name === "invpcid") cpu.invpcid(type, target, la);
        else {
          cpu.writeCr4(CR4 - CR4_PGE);
          cpu.writeCr4(CR4);
        }
      });
      if (what === "invlpg") this.cover(vpid, [pcid], [page]);
      else if (what === "mov cr3") this.cover(vpid, [pcid], PAGES.keys());
      else if (name === "invpcid" && type < 2) this.cover(vpid, [target], type === 0 ? [page] : PAGES.keys());
      else this.cover(vpid, PCIDS, PAGES.keys());
    }
  }

  /** Everything of a VPID, and what is cached of the second stage. */
  private coverAll(vpid: number): void {
    this.secondRemoved[vpid - 1] = this.now;
    this.cover(vpid, PCIDS, PAGES.keys());
  }

  private cover(vpid: number, pcids: readonly number[], pages: Iterable<number>): void {
    for (const page of pages) for (const pcid of pcids) this.removed[vpid - 1][pcid][page] = this.now;
  }

  private access(kind: Kind, { vpid, pcid, page }: Step): void {
    const seen = this.inGuest(vpid, pcid, (cpu) => outcomeOf(cpu, kind, PAGES[page]));
    const walked = this.walk(kind, PAGES[page]);
    const isGuestFresh = this.guestChanged[page] <= this.removed[vpid - 1][pcid][page];
    const isSecondFresh = walked.guestPage < 0 || this.secondChanged[walked.guestPage] <= this.secondRemoved[vpid - 1];
    if (!isGuestFresh || !isSecondFresh) return;
    this.checked++;
    expect(seen).toBe(walked.outcome);
  }

  private inGuest<T>(vpid: number, pcid: number, act: (cpu: VirtualMachine["cpu"]) => T): T {
    const { cpu } = this.vm;
    cpu.enterGuest(this.vcpus[vpid - 1]);
    cpu.writeCr3(this.vm.guestRoot * 4096 + pcid, true);
    const result = act(cpu);
    if (cpu.vcpu !== null) cpu.exitGuest();
    return result;
  }

  /** What an access comes to by the tables as they are in memory: by the supervisor, with CR0.WP = 1. */
  private walk(kind: Kind, la: number): { outcome: string; guestPage: number } {
    const { vm } = this;
    const entry = Number(vm.readGuest(la, 1) & 0xffff_ffffn);
    const code = kind === "store" ? 2 : kind === "fetch" ? 16 : 0;
    if ((entry & 1) === 0) return { outcome: `#PF ${code}`, guestPage: -1 };
    if (kind === "store" && (entry & 2) === 0) return { outcome: `#PF ${code | 1}`, guestPage: -1 };
    const gpa = entry & 0x7fff_f000;
    const second = Number(vm.readSecond(gpa, 1));
    const guestPage = GUEST_PAGES.indexOf(gpa);
    const need = kind === "load" ? 1 : kind === "store" ? 2 : 4;
    const nestedNeed = kind === "store" ? 7 : 5;
    if (vm.isAmd ? (second & nestedNeed) === nestedNeed : (second & need) !== 0) {
      const frame = Math.floor(second / 4096) * 4096;
      return { outcome: kind === "load" ? `page ${FRAMES.indexOf(frame) + 1}` : "done", guestPage };
    }
    // EXITINFO1: the error code of a user access, and bit 32 for the page itself.
    if (vm.isAmd) return { outcome: `exit ${2 ** 32 + (code | 4 | (second & 1))}`, guestPage };
    const advanced = ((entry & 4) !== 0 ? 0x200 : 0) | ((entry & 2) !== 0 ? 0x400 : 0);
    return { outcome: `exit ${need | ((second & 7) << 3) | 0x180 | advanced}`, guestPage };
  }
}

/** What an access comes to. A store does not touch the mark. */
function outcomeOf(cpu: VirtualMachine["cpu"], kind: Kind, la: number): string {
  try {
    if (kind === "load") return `page ${cpu.load(la, 4)}`;
    if (kind === "store") cpu.store(la + 8, 4, 1);
    else cpu.fetch(la, 4);
    return "done";
  } catch (error) {
    if (error instanceof PageFault) return `#PF ${error.errorCode}`;
    if (error instanceof NestedPageFault) return `exit ${error.exitInfo1}`;
    if (error instanceof EptViolation) return `exit ${error.qualification}`;
    throw error;
  }
}

test.each([
  ["sapphire-rapids", OF_INTEL],
  ["zen4", OF_AMD],
])(
  "on %s accesses come to what a walk without caches finds, whenever no stale translation may be used",
  (preset, own) => {
    let checked = 0;
    fc.assert(
      fc.property(stepsOf(own), fc.boolean(), (all, accessedDirty) => {
        const run = new Run(preset, accessedDirty);
        for (const step of all) run.step(step);
        checked += run.checked;
      }),
      { numRuns: 120 },
    );
    expect(checked).toBeGreaterThan(500);
  },
);
