/** Accesses that do not wait for each other: the same effects as all others, in less time. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ACCESS_STORE, type Cpu, cachedTranslations, PageFault, PRESETS, presetByName } from "../../../arch/index.ts";
import { ALL, BASE, Guest } from "../guest.ts";

const TARGET = 2 ** 31;
/** Accessed and dirty: no walk has a bit to set. */
const BITS = ALL | 0x60;
const PAGES = 4096;

function guestOf(preset: string, bits = BITS): Guest {
  const guest = new Guest({ preset });
  for (let i = 0; i < PAGES; i++) guest.map(BASE + i * 4096, TARGET + i * 4096, bits);
  return guest;
}

const clockOf = ({ machine }: Guest): number => machine.loop.clockCycles[0];

/** Counters but for the cycles of walks, which those of independent accesses may share. */
function events(cpu: Cpu): Record<string, number> {
  return Object.fromEntries(Object.entries(cpu.counters()).filter(([name]) => !/walk_(active|pending)$/.test(name)));
}

/** Cycles of all page walks, each for itself. */
function walkLatency(cpu: Cpu): number {
  const counters = cpu.counters();
  return ["dtlb_load_misses", "dtlb_store_misses", "itlb_misses"].reduce(
    (sum, unit) => sum + (counters[`${unit}.walk_pending`] ?? counters[`${unit}.walk_active`]),
    0,
  );
}

describe.each(PRESETS.map(({ name }) => name))("%s", (preset) => {
  test("leave TLBs and counters as dependent ones do, and take no longer; accounts add up", () => {
    const step = fc.record({ page: fc.nat(PAGES - 1), what: fc.nat(9) });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 400 }), fc.nat(3), (steps, spread) => {
        const [dependent, independent] = [guestOf(preset), guestOf(preset)];
        const makers = [dependent.cpu, independent.cpu.independent];
        for (const { page, what } of steps) {
          const la = BASE + (page >> spread) * 4096;
          for (const cpu of makers) {
            if (what < 4) cpu.touch(la);
            else if (what < 6) cpu.load(la + what, 4);
            else if (what < 8) cpu.store(la, 4, page);
            else if (what === 8) cpu.fetch(la, 1);
            else cpu.touchAs(ACCESS_STORE, la);
          }
        }
        expect(events(independent.cpu)).toEqual(events(dependent.cpu));
        expect(cachedTranslations(independent.cpu)).toEqual(cachedTranslations(dependent.cpu));
        expect(walkLatency(independent.cpu)).toBe(walkLatency(dependent.cpu));
        expect(clockOf(independent)).toBeLessThanOrEqual(clockOf(dependent));
        const parts = [...independent.machine.loop.accounts.ofCpu(0).values()];
        expect(parts.every((cycles) => cycles >= 0)).toBe(true);
        expect(parts.reduce((sum, cycles) => sum + cycles, 0)).toBe(clockOf(independent));
      }),
      { numRuns: 6 },
    );
  });

  test("walks share the walkers that the preset has", () => {
    const guest = guestOf(preset);
    const { cpu } = guest;
    const { walkers } = presetByName(preset).overlap;
    const scan = (touch: (la: number) => void): number => {
      cpu.flushTlbAll();
      const before = clockOf(guest);
      // Pages of one table, apart by more than a line of its entries.
      for (let i = 0; i < 512; i++) touch(BASE + ((i * 17) % 512) * 4096);
      return clockOf(guest) - before;
    };
    scan((la) => cpu.touch(la));
    const ratio = scan((la) => cpu.touch(la)) / scan((la) => cpu.independent.touch(la));
    expect(ratio).toBeGreaterThan(0.8 * walkers.value);
    expect(ratio).toBeLessThan(1.2 * walkers.value);
  });
});

test("hits of the second level are hidden as long as the window lasts", () => {
  const guest = guestOf("skylake");
  const { cpu } = guest;
  for (let round = 0; round < 2; round++) for (let i = 0; i < 512; i++) cpu.touch(BASE + i * 4096);
  const before = clockOf(guest);
  for (let i = 0; i < 512; i++) cpu.independent.touch(BASE + i * 4096);
  const { load, secondLevelHit } = presetByName("skylake").costs;
  expect(clockOf(guest) - before).toBe(512 * load.value + secondLevelHit.value);
});

test("a dependent access, an instruction, a walk that sets A or D and a fault are each waited for, and wait", () => {
  const guest = guestOf("skylake", ALL);
  const { cpu } = guest;
  const taken = (access: () => void): number => {
    const before = clockOf(guest);
    access();
    return clockOf(guest) - before;
  };
  // The first access to a page sets A: nothing overlaps.
  for (let i = 0; i < 4; i++) expect(taken(() => cpu.independent.touch(BASE + i * 4096))).toBeGreaterThan(200);
  cpu.flushTlbAll();
  cpu.touch(BASE + 5 * 4096);
  const alone = taken(() => cpu.touch(BASE));
  cpu.flushTlbAll();
  cpu.touch(BASE + 5 * 4096);
  expect(taken(() => cpu.independent.touch(BASE))).toBe(alone);
  expect(taken(() => cpu.independent.touch(BASE + 4096))).toBeLessThan(alone / 2);
  expect(taken(() => cpu.touch(BASE + 2 * 4096))).toBe(alone);
  expect(taken(() => cpu.independent.touch(BASE + 3 * 4096))).toBe(alone);
  cpu.flushTlbAll();
  cpu.touch(BASE + 5 * 4096);
  cpu.independent.touch(BASE);
  expect(() => cpu.independent.touch(BASE - 4096)).toThrow(PageFault);
  expect(taken(() => cpu.independent.touch(BASE + 4096))).toBe(alone);
});

test("bulk translations stop at the first fault, as dependent ones do", () => {
  const guest = guestOf("zen3");
  const kinds = Uint8Array.of(0, 1, 2, 0, 0);
  const addresses = Float64Array.of(BASE, BASE + 4096, BASE + 8192, BASE - 4096, BASE);
  expect(guest.cpu.independent.bulk.touch(kinds, addresses, 0, 5)).toBe(3);
  expect(guest.cpu.counters()["page-faults"]).toBe(1);
  expect(guest.cpu.independent.bulk.touch(kinds, addresses, 4, 5)).toBe(5);
});

test("a flush pays for its refills what they held the CPU up, not more", () => {
  const guest = guestOf("sapphire-rapids");
  const { cpu, machine } = guest;
  const attribution = cpu.attributeFlushes();
  const scan = (): void => {
    for (let i = 0; i < 512; i++) cpu.independent.touch(BASE + ((i * 17) % 512) * 4096);
  };
  scan();
  attribution.currentFlush = 7;
  cpu.flushTlbAll();
  attribution.currentFlush = 0;
  const before = machine.loop.accounts.ofCpu(0).get("page walks") ?? 0;
  scan();
  const { refills, walkCycles } = attribution.costOf(7);
  expect(refills).toBe(512);
  expect(walkCycles).toBe((machine.loop.accounts.ofCpu(0).get("page walks") ?? 0) - before);
  expect(walkCycles).toBeLessThan(walkLatency(cpu) / 4);
});
