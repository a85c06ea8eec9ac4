/** Events that make wrong what the fast path remembers (arch/fast-path/README.md): each test fails where one is not told. */
import { describe, expect, test } from "vitest";
import {
  ACCESS_IMPLICIT_LOAD,
  CR0_WP,
  CR4_PCIDE,
  CR4_PKE,
  CR4_PKS,
  CR4_SMAP,
  MSR_PKRS,
  PageFault,
  type Preset,
  PTE_ACCESSED,
  presetByName,
} from "../../../arch/index.ts";
import { ALL, BASE, GLOBAL, Guest } from "../guest.ts";
import { countGeneral, hardwareState, takeGeneralPath } from "./compare.ts";

const TARGET = 2 ** 24;
const A_AND_D = 0x60;
const USER_RW = ALL | A_AND_D;
const SUPERVISOR_RW = USER_RW & ~4;
const READ_ONLY = USER_RW & ~2;
/** Pages with the same prediction, and in the same set of each first-level TLB. */
const SAME_PREDICTION_PAGES = 256;

/** Skylake with protection keys for the supervisor, and an instruction TLB whose sets have four ways as those for data. */
const PRESET: Preset = {
  ...presetByName("skylake"),
  tlbs: presetByName("skylake").tlbs.map((tlb) => (tlb.name === "L1 iTLB 4K" ? { ...tlb, sets: 32, ways: 4 } : tlb)),
};
const FEATURES = { pks: true };

/** By what means the fast path translates the page at BASE, if nothing has changed; which pages to access before. */
const WAYS = {
  "a predicted hit": [0],
  "a first-level hit": [0, SAME_PREDICTION_PAGES],
  "a second-level hit": [0, 1, 2, 3, 4, 5, 6, 7, 8].map((i) => i * SAME_PREDICTION_PAGES),
  "a walk": [],
} as const;
type Way = keyof typeof WAYS;
const ways = Object.keys(WAYS) as Way[];
/** Other pages, from which the fast path learns the attributes that the page at BASE has too. */
const LEARNT_FROM = [1, 2, 3, 4, 5, 6, 7, 8].map((i) => 1 + i * SAME_PREDICTION_PAGES);

/** A guest whose pages have the same attributes. */
function makeGuest(attributes: number | bigint): Guest {
  const guest = new Guest({ preset: PRESET, features: FEATURES, memoryBytes: 2 ** 30 });
  for (const page of [0, 1, ...LEARNT_FROM, ...WAYS["a second-level hit"]]) {
    const la = BASE + page * 4096;
    guest.write(la, 1, BigInt(TARGET + page * 4096) | BigInt(attributes));
    for (const level of [2, 3, 4]) guest.write(la, level, guest.read(la, level) | BigInt(PTE_ACCESSED));
  }
  return guest;
}

type Reference = "load" | "store" | "fetch";

function access(guest: Guest, reference: Reference, la: number): number {
  const { cpu } = guest;
  if (reference === "store") cpu.store(la, 4, 1);
  else return reference === "load" ? cpu.load(la, 4) : cpu.fetch(la, 4);
  return 0;
}

/** Makes the accesses after which the fast path translates the page at BASE in a way. */
function prepare(guest: Guest, way: Way, reference: Reference): void {
  // Walks, then second-level hits of the first of them, then a walk in the page table of BASE.
  for (const page of [...LEARNT_FROM, ...LEARNT_FROM, 1, ...WAYS[way]]) access(guest, reference, BASE + page * 4096);
}

/** A change that forbids an access which was allowed before. */
interface Change {
  readonly reference: Reference;
  /** Of the pages; the protection key in bits 62:59. */
  readonly attributes: number | bigint;
  readonly prepareRegisters?: (guest: Guest) => void;
  readonly event: (guest: Guest) => void;
}

const changes: Record<string, Change> = {
  "CPL from 0 to 3, page of the supervisor": {
    reference: "load",
    attributes: SUPERVISOR_RW,
    event: ({ cpu }) => cpu.setCpl(3),
  },
  "CR4.SMAP set, page of the user": {
    reference: "load",
    attributes: USER_RW,
    event: ({ cpu }) => cpu.writeCr4(cpu.cr4 + CR4_SMAP),
  },
  "EFLAGS.AC cleared under SMAP, page of the user": {
    reference: "store",
    attributes: USER_RW,
    prepareRegisters: ({ cpu }) => {
      cpu.writeCr4(cpu.cr4 + CR4_SMAP);
      cpu.setAlignmentCheck(true);
    },
    event: ({ cpu }) => cpu.setAlignmentCheck(false),
  },
  "CPL from 0 to 3, code of the supervisor": {
    reference: "fetch",
    attributes: SUPERVISOR_RW,
    event: ({ cpu }) => cpu.setCpl(3),
  },
  "CR0.WP set, read-only page": {
    reference: "store",
    attributes: READ_ONLY,
    prepareRegisters: ({ cpu }) => cpu.writeCr0(cpu.cr0 - CR0_WP),
    event: ({ cpu }) => cpu.writeCr0(cpu.cr0 + CR0_WP),
  },
  "PKRU denies the page's key": {
    reference: "load",
    attributes: BigInt(USER_RW) | (1n << 59n),
    prepareRegisters: ({ cpu }) => cpu.writeCr4(cpu.cr4 + CR4_PKE),
    event: ({ cpu }) => cpu.writePkru(1 << 2),
  },
  "PKRS denies the page's key": {
    reference: "load",
    attributes: BigInt(SUPERVISOR_RW) | (1n << 59n),
    prepareRegisters: ({ cpu }) => cpu.writeCr4(cpu.cr4 + CR4_PKS),
    event: ({ cpu }) => cpu.wrmsr(MSR_PKRS, 1 << 2),
  },
};

describe.each(Object.keys(changes))("an access that a change of context forbids faults: %s", (name) => {
  const { reference, attributes, prepareRegisters, event } = changes[name];

  test.each(ways)("after %s", (way) => {
    const guest = makeGuest(attributes);
    prepareRegisters?.(guest);
    prepare(guest, way, reference);
    event(guest);
    expect(() => access(guest, reference, BASE)).toThrow(PageFault);
  });

  test.each(ways)("the fast path does %s as long as nothing changes", (way) => {
    const guest = makeGuest(attributes);
    prepareRegisters?.(guest);
    prepare(guest, way, reference);
    const general = countGeneral(guest);
    access(guest, reference, BASE);
    expect(general()).toBe(0);
  });
});

test.each(["icelake", "zen2", "zen4"])("a predicted hit of any shape of first level: CPL from 0 to 3, %s", (preset) => {
  const guest = new Guest({ preset, memoryBytes: 2 ** 30 });
  guest.map(BASE, TARGET, SUPERVISOR_RW);
  for (const reference of ["load", "store", "fetch"] as const) {
    access(guest, reference, BASE);
    const general = countGeneral(guest);
    access(guest, reference, BASE);
    expect(general()).toBe(0);
    guest.cpu.setCpl(3);
    expect(() => access(guest, reference, BASE)).toThrow(PageFault);
    guest.cpu.setCpl(0);
  }
});

describe("after MOV to CR3 that keeps translations", () => {
  test.each(ways)("a page of another PCID at the same address is what is read, though the first was %s", (way) => {
    const guest = makeGuest(USER_RW);
    const { cpu, memory } = guest;
    const other = guest.table();
    guest.map(BASE, TARGET + 2 ** 20, USER_RW, 1, other);
    memory.writeWord(TARGET / 4096, 0, 1);
    memory.writeWord((TARGET + 2 ** 20) / 4096, 0, 2);
    cpu.writeCr4(cpu.cr4 + CR4_PCIDE);
    // Both PCIDs are known to the second level and have their PDEs cached.
    cpu.writeCr3(other * 4096 + 2);
    cpu.load(BASE, 4);
    cpu.writeCr3(guest.root * 4096 + 1);
    prepare(guest, way, "load");
    cpu.writeCr3(other * 4096 + 2, true);
    expect(cpu.load(BASE, 4)).toBe(2);
    cpu.writeCr3(guest.root * 4096 + 1, true);
    expect(cpu.load(BASE, 4)).toBe(1);
  });

  test("a walk to a global page starts from the PDE of the current PCID, not from the one of the last walk", () => {
    const states = [false, true].map((isGeneral) => {
      const guest = makeGuest(USER_RW | GLOBAL);
      if (isGeneral) takeGeneralPath(guest);
      const { cpu } = guest;
      for (let page = 0; page < 32; page++) guest.map(BASE + page * 4096, TARGET + page * 4096, USER_RW | GLOBAL);
      cpu.writeCr4(cpu.cr4 + CR4_PCIDE);
      for (const pcid of [1, 2]) {
        cpu.writeCr3(guest.root * 4096 + pcid, true);
        cpu.load(BASE + pcid * 4096, 4);
      }
      for (const pcid of [1, 2, 3]) {
        cpu.writeCr3(guest.root * 4096 + pcid, true);
        cpu.load(BASE + (8 + pcid) * 4096, 4);
      }
      return [hardwareState(guest), cpu.counters(), guest.machine.loop.clockCycles[0]];
    });
    expect(states[0]).toEqual(states[1]);
  });
});

describe("a slot that is filled with another translation of a page", () => {
  /** A user's page that is predicted in slot 0 becomes the supervisor's; an implicit access then caches it again. */
  function makeSupervisors(guest: Guest): void {
    const [cpu, remote] = guest.machine.cpus;
    guest.map(BASE, TARGET, SUPERVISOR_RW);
    remote.invalidations.invlpgb({ la: BASE, includeGlobals: true });
    remote.invalidations.tlbsync();
    cpu.loadAs(ACCESS_IMPLICIT_LOAD, BASE, 4);
  }
  const dtlbOf = (guest: Guest) => guest.cpu.mmu.tlbs.first.filter(({ name }) => name === "L1 dTLB")[0];
  const slotOf = (guest: Guest) => dtlbOf(guest).find(BASE, BASE / 4096, 0);
  function loadPages(guest: Guest, from: number, to: number): void {
    for (let page = from; page <= to; page++) guest.cpu.load(BASE + page * 4096, 4);
  }

  test("by a walk of the general path: loads by the user fault", () => {
    const guest = new Guest({ preset: "zen4", memoryBytes: 2 ** 30, cpus: 2 });
    guest.map(BASE, TARGET, USER_RW);
    guest.cpu.setCpl(3);
    loadPages(guest, 0, 0);
    makeSupervisors(guest);
    expect(slotOf(guest)).toBe(0);
    expect(() => guest.cpu.load(BASE, 4)).toThrow(PageFault);
  });

  test("by a second-level hit of the general path: loads by the user fault", () => {
    const guest = new Guest({ preset: "zen4", memoryBytes: 2 ** 30, cpus: 2 });
    const { ways } = dtlbOf(guest);
    for (let page = 0; page < 2 * ways; page++) guest.map(BASE + page * 4096, TARGET + page * 4096, USER_RW);
    guest.cpu.setCpl(3);
    // One set under LRU: the page at BASE is evicted from slot 0, comes back to slot 1, is evicted, comes back to slot 0.
    loadPages(guest, 0, ways);
    makeSupervisors(guest);
    expect(slotOf(guest)).toBe(1);
    loadPages(guest, ways, 2 * ways - 1);
    expect(slotOf(guest)).toBe(-1);
    guest.cpu.loadAs(ACCESS_IMPLICIT_LOAD, BASE, 4);
    expect(slotOf(guest)).toBe(0);
    expect(() => guest.cpu.load(BASE, 4)).toThrow(PageFault);
  });

  test.each([0, 1, 2, 3, 4, 5, 6, 7])(
    "by a load on the fast path after %i others: stores to a page that is read-only by then fault",
    (others) => {
      const guest = makeGuest(USER_RW);
      const { cpu } = guest;
      // Pages of one set of the first level, with predictions of their own.
      const inSet = (page: number) => BASE + page * 16 * 4096;
      for (let page = 0; page <= 15; page++) guest.map(inSet(page), TARGET + page * 4096, USER_RW);
      for (const page of [1, 2, 3, 0, 0]) cpu.store(inSet(page), 4, 1);
      for (let page = 4; page <= 8; page++) cpu.load(inSet(page), 4);
      guest.map(BASE, TARGET, READ_ONLY);
      cpu.invlpg(BASE);
      // A page of another set, whose walk caches the PDE again.
      cpu.load(BASE + 4096, 4);
      for (let page = 9; page < 9 + others; page++) cpu.load(inSet(page), 4);
      const general = countGeneral(guest);
      cpu.load(BASE, 4);
      expect(general()).toBe(0);
      expect(() => cpu.store(BASE, 4, 2)).toThrow(PageFault);
    },
  );
});

test("an attribution sees accesses that were predicted before it began to watch", () => {
  const guest = makeGuest(USER_RW);
  const { cpu } = guest;
  for (const page of [0, 1, 1]) cpu.load(BASE + page * 4096, 4);
  const attribution = cpu.attributeFlushes();
  // The first is a predicted hit, the second a walk with attributes that are known.
  const pages = [0, 256];
  for (const page of pages) cpu.load(BASE + page * 4096, 4);
  attribution.currentFlush = 7;
  cpu.flushTlbAll();
  attribution.currentFlush = 0;
  for (const page of pages) cpu.load(BASE + page * 4096, 4);
  expect(attribution.costOf(7).refills).toBe(pages.length);
});

test("a page whose attributes are all 0 is not taken for one that is known to be allowed: CPL from 0 to 3, hit of the second level", () => {
  const guest = new Guest({ preset: PRESET, memoryBytes: 2 ** 30 });
  guest.map(BASE, TARGET, SUPERVISOR_RW & ~0x62);
  const { cpu } = guest;
  cpu.load(BASE, 4);
  cpu.setCpl(3);
  expect(() => cpu.fetch(BASE, 4)).toThrow(PageFault);
});
