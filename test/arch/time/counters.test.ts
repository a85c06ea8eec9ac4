/** Counters under perf's names, and costs: exact. */
import { expect, test } from "vitest";
import { CR4_PGE, counterDifference, presetByName, sumCounters } from "../../../arch/index.ts";
import { ALL, BASE, Guest, LEAF_BYTES } from "../guest.ts";

const TARGET = 2 ** 30;

test("each access counts once, whatever its size and however it was translated", () => {
  const guest = new Guest();
  for (let i = 0; i < 100; i++) guest.map(BASE + i * 4096, TARGET + i * 4096);
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 100; i++) {
      guest.cpu.load(BASE + i * 4096, 4);
      guest.cpu.load(BASE + i * 4096 + 1, 2);
      guest.cpu.store(BASE + i * 4096, 4, i);
      guest.cpu.load64(BASE + i * 4096);
      guest.cpu.fetch(BASE + i * 4096, 1);
      guest.cpu.touch(BASE + i * 4096);
    }
  }
  expect(guest.cpu.counters()).toMatchObject({
    "dTLB-loads": 1200,
    "dTLB-stores": 300,
    "iTLB-loads": 300,
    "dTLB-load-misses": 100,
    "dTLB-store-misses": 100,
    "iTLB-load-misses": 0,
    "itlb_misses.stlb_hit": 100,
    "page-faults": 0,
  });
});

test.each([
  [1, "4k"],
  [2, "2m_4m"],
  [3, "1g"],
])("walks count by the size of the page (level %i)", (level, size) => {
  const guest = new Guest();
  guest.map(BASE, TARGET, ALL, level);
  guest.cpu.load(BASE + LEAF_BYTES[level] - 4, 4);
  expect(guest.cpu.counters()).toMatchObject({
    "dtlb_load_misses.walk_completed": 1,
    [`dtlb_load_misses.walk_completed_${size}`]: 1,
  });
  guest.cpu.setCpl(0);
  expect(() => guest.cpu.load(BASE + 2 ** 40, 4)).toThrow("#PF");
  expect(guest.cpu.counters()).toMatchObject({
    "dTLB-loads": 1,
    "dtlb_load_misses.walk_completed": 2,
    [`dtlb_load_misses.walk_completed_${size}`]: 1,
    "page-faults": 1,
  });
});

test("a walk costs what the entries it fetches cost: cold, near, and with paging-structure caches (Skylake)", () => {
  const { costs, memory, dataCaches } = presetByName("skylake");
  const guest = new Guest({ preset: "skylake" });
  const near = dataCaches[0].hitCycles.value;
  for (let i = 0; i < 512; i++) guest.map(BASE + i * 4096, TARGET);
  for (let level = 1; level <= 4; level++) guest.write(BASE, level, guest.read(BASE, level) | 0x20n);
  for (let i = 1; i < 512; i++) guest.map(BASE + i * 4096, TARGET, ALL | 0x20);
  const cost = (la: number): number => {
    const before = guest.machine.loop.clockCycles[0];
    guest.cpu.load(la, 4);
    return guest.machine.loop.clockCycles[0] - before;
  };
  const rest = costs.walk.value + costs.load.value;
  expect(cost(BASE)).toBe(rest + 4 * memory.value);
  expect(cost(BASE)).toBe(costs.load.value);
  expect(cost(BASE + 4096)).toBe(rest + near);
  expect(cost(BASE + 8 * 4096)).toBe(rest + memory.value);
  guest.cpu.invlpg(BASE);
  expect(cost(BASE)).toBe(rest + 4 * near);
  for (let i = 0; i < 4; i++) cost(BASE + (i + 1) * 16 * 4096);
  expect(cost(BASE)).toBe(costs.secondLevelHit.value + costs.load.value);
});

test("setting A or D costs, a page fault costs, and so does every instruction by its profile", () => {
  const { costs } = presetByName("skylake");
  const guest = new Guest({ preset: "skylake" });
  const spent = (call: () => void): number => {
    const before = guest.machine.loop.clockCycles[0];
    call();
    return guest.machine.loop.clockCycles[0] - before;
  };
  guest.map(BASE, TARGET);
  guest.map(BASE + 4096, TARGET);
  guest.cpu.load(BASE + 4096, 4);
  const cold = spent(() => guest.cpu.load(BASE, 4));
  expect(cold).toBe(costs.load.value + costs.walk.value + 4 + costs.setAccessedDirty.value);
  expect(guest.cpu.counters()["accessed-dirty-updates"]).toBe(5);
  expect(spent(() => guest.cpu.invlpg(BASE))).toBe(costs.invlpg.value);
  expect(spent(() => guest.cpu.invpcid(2, 0, 0))).toBe(costs.invpcidAll.value);
  expect(spent(() => guest.cpu.writeCr3(guest.root * 4096))).toBe(costs.movCr3.value);
  expect(spent(() => guest.cpu.writeCr4(guest.cpu.cr4 - CR4_PGE))).toBe(costs.movCr4.value + costs.movCr4Flush.value);
});

test("snapshots subtract and add up", () => {
  const guest = new Guest({ cpus: 2 });
  guest.map(BASE, TARGET);
  const before = guest.cpu.counters();
  guest.cpu.load(BASE, 4);
  guest.machine.cpus[1].store(BASE, 4, 1);
  const difference = counterDifference(before, guest.cpu.counters());
  expect(difference["dTLB-loads"]).toBe(1);
  const sum = sumCounters(guest.machine.cpus.map((cpu) => cpu.counters()));
  expect([sum["dTLB-loads"], sum["dTLB-stores"], sum["page-faults"]]).toEqual([1, 1, 0]);
});

test("flushes count by kind and under perf's names", () => {
  const guest = new Guest();
  guest.cpu.invlpg(BASE);
  guest.cpu.invpcid(1, 0, 0);
  guest.cpu.invpcid(3, 0, 0);
  guest.cpu.flushTlbAll();
  expect(guest.cpu.counters()).toMatchObject({
    invlpg: 1,
    "invpcid.type_1": 1,
    "invpcid.type_2": 1,
    "invpcid.type_3": 1,
    "mov_cr3.flush": 1,
    "tlb_flush.stlb_any": 4,
  });
});
