/** Refills that a flush made necessary, and no others, are laid at its door. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ALL, BASE, Guest } from "../guest.ts";

const TARGET = 2 ** 30;

function guestWith(pages: number): Guest {
  const guest = new Guest({ preset: "skylake" });
  for (let i = 0; i < pages; i++) guest.map(BASE + i * 4096, TARGET + i * 4096, ALL | 0x60);
  return guest;
}

function flush(guest: Guest, number: number, how: () => void): void {
  const attribution = guest.cpu.attributeFlushes();
  attribution.currentFlush = number;
  how();
  attribution.currentFlush = 0;
}

const walksOf = (guest: Guest): number => guest.cpu.counters()["dtlb_load_misses.walk_completed"];

describe("refills", () => {
  test("each page used again after a full flush is one, with its walk's cycles", () => {
    const guest = guestWith(100);
    const attribution = guest.cpu.attributeFlushes();
    for (let i = 0; i < 100; i++) guest.cpu.load(BASE + i * 4096, 4);
    flush(guest, 7, () => guest.cpu.flushTlbAll());
    const before = guest.cpu.counters()["dtlb_load_misses.walk_active"];
    for (let i = 0; i < 60; i++) guest.cpu.load(BASE + i * 4096, 4);
    const cycles = guest.cpu.counters()["dtlb_load_misses.walk_active"] - before;
    expect(attribution.costOf(7)).toEqual({ refills: 60, walkCycles: cycles });
    for (let i = 0; i < 60; i++) guest.cpu.load(BASE + i * 4096, 4);
    expect(attribution.costOf(7).refills).toBe(60);
    expect(attribution.costOf(8)).toEqual({ refills: 0, walkCycles: 0 });
  });

  test("a page is refilled for the last flush that removed it", () => {
    const guest = guestWith(10);
    const attribution = guest.cpu.attributeFlushes();
    for (let i = 0; i < 10; i++) guest.cpu.load(BASE + i * 4096, 4);
    flush(guest, 1, () => guest.cpu.flushTlbAll());
    for (let i = 0; i < 5; i++) guest.cpu.load(BASE + i * 4096, 4);
    flush(guest, 2, () => guest.cpu.invlpg(BASE));
    for (let i = 0; i < 10; i++) guest.cpu.load(BASE + i * 4096, 4);
    expect(attribution.costOf(1).refills).toBe(10);
    expect(attribution.costOf(2).refills).toBe(1);
  });

  test("what capacity would have taken anyway is nobody's", () => {
    const guest = guestWith(8192);
    const attribution = guest.cpu.attributeFlushes();
    guest.cpu.load(BASE, 4);
    flush(guest, 1, () => guest.cpu.flushTlbAll());
    for (let i = 1; i < 8192; i++) guest.cpu.load(BASE + i * 4096, 4);
    guest.cpu.load(BASE, 4);
    expect(attribution.costOf(1)).toEqual({ refills: 0, walkCycles: 0 });
  });

  test("a new mapping of a flushed address is no refill; nor is a flush that nobody numbers", () => {
    const guest = guestWith(2);
    const attribution = guest.cpu.attributeFlushes();
    guest.cpu.load(BASE, 4);
    guest.cpu.load(BASE + 4096, 4);
    guest.map(BASE, TARGET + 2 ** 21, ALL | 0x60);
    flush(guest, 1, () => guest.cpu.invlpg(BASE));
    guest.cpu.load(BASE, 4);
    guest.cpu.flushTlbAll();
    guest.cpu.load(BASE + 4096, 4);
    expect([...attribution.allCosts()]).toEqual([]);
  });

  test("loads and fetches are refilled apart where their TLBs are (Zen 2)", () => {
    const guest = new Guest({ preset: "zen2" });
    guest.map(BASE, TARGET, ALL | 0x60);
    const attribution = guest.cpu.attributeFlushes();
    guest.cpu.load(BASE, 4);
    guest.cpu.fetch(BASE, 4);
    flush(guest, 3, () => guest.cpu.flushTlbAll());
    guest.cpu.load(BASE, 4);
    expect(attribution.costOf(3).refills).toBe(1);
    guest.cpu.fetch(BASE, 4);
    expect(attribution.costOf(3).refills).toBe(2);
  });
});

test("refills are the walks that the same program does not make without its flushes, as long as nothing is evicted", () => {
  const program = fc.array(fc.oneof({ weight: 9, arbitrary: fc.nat(40) }, { weight: 1, arbitrary: fc.constant(-1) }), {
    minLength: 1,
    maxLength: 300,
  });
  fc.assert(
    fc.property(program, (steps) => {
      const flushed = guestWith(41);
      const unflushed = guestWith(41);
      const attribution = flushed.cpu.attributeFlushes();
      let flushes = 0;
      for (const step of steps) {
        if (step >= 0) {
          flushed.cpu.load(BASE + step * 4096, 4);
          unflushed.cpu.load(BASE + step * 4096, 4);
        } else {
          flush(flushed, ++flushes, () => flushed.cpu.flushTlbAll());
        }
      }
      const refills = [...attribution.allCosts()].reduce((sum, [, cost]) => sum + cost.refills, 0);
      expect(refills).toBe(walksOf(flushed) - walksOf(unflushed));
      expect(attribution.unexplainedWalks).toBe(0);
    }),
    { numRuns: 50 },
  );
});
