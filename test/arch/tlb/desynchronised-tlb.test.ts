/** TLB desynchronisation: a changed entry is not seen while the old translation is cached (TLB;DR, section 4; SDM 4.10.2). */
import { describe, expect, test } from "vitest";
import { PRESETS, type Preset } from "../../../arch/index.ts";
import { BASE, Guest, LEAF_BYTES } from "../guest.ts";

type Kind = "load" | "store" | "fetch";
const KINDS: readonly Kind[] = ["load", "store", "fetch"];
const OLD = 8 * 2 ** 30;
const NEW = 9 * 2 ** 30;
/** Pages to push a translation out of the first level with, and out of both levels. */
const PAGES = 6200;

/** Makes an access of a kind; which page it reached: 1 the old one, 2 the new one. */
function reached(guest: Guest, kind: Kind, la: number): number {
  if (kind === "store") {
    guest.cpu.store(la + 8, 4, 99);
    const old = guest.memory.readWord(OLD / 4096, 2);
    const now = guest.memory.readWord(NEW / 4096, 2);
    guest.memory.writeWord(OLD / 4096, 2, 0);
    guest.memory.writeWord(NEW / 4096, 2, 0);
    return old === 99 ? 1 : now === 99 ? 2 : 0;
  }
  return kind === "load" ? guest.cpu.load(la, 4) : guest.cpu.fetch(la, 4);
}

function guestFor(preset: Preset): Guest {
  const guest = new Guest({ preset, memoryBytes: 2 ** 35 });
  guest.mark(OLD, 1);
  guest.mark(NEW, 2);
  return guest;
}

describe.each(PRESETS.map((preset) => [preset.name, preset] as const))("%s", (_, preset) => {
  describe.each(KINDS)("%s", (kind) => {
    test.each([1, 2, 3])("of a page of level %i: the old page on a hit, the new page after INVLPG", (level) => {
      const guest = guestFor(preset);
      guest.map(BASE, OLD, undefined, level);
      expect(reached(guest, kind, BASE)).toBe(1);
      guest.map(BASE, NEW, undefined, level);
      expect(reached(guest, kind, BASE)).toBe(1);
      guest.cpu.invlpg(BASE);
      expect(reached(guest, kind, BASE)).toBe(2);
    });

    const inSecond = [1, 2].filter((level) =>
      preset.tlbs.some((tlb) => tlb.level === 2 && tlb.pageSizes.includes(level === 1 ? "4K" : "2M")),
    );
    test.each(inSecond)(
      "of a page of level %i: the old page from the second level, the new one once that lost it",
      (level) => {
        const guest = guestFor(preset);
        guest.map(BASE, OLD, undefined, level);
        expect(reached(guest, kind, BASE)).toBe(1);
        guest.map(BASE, NEW, undefined, level);
        for (let i = 1; i <= PAGES; i++) guest.map(BASE + i * LEAF_BYTES[level], OLD, undefined, level);
        const event = { load: "dtlb_load_misses", store: "dtlb_store_misses", fetch: "itlb_misses" }[kind];
        const firstLevel = preset.tlbs
          .filter(
            (tlb) => tlb.level === 1 && tlb.kinds.includes(kind) && tlb.pageSizes.includes(level === 1 ? "4K" : "2M"),
          )
          .reduce((sum, { sets, ways }) => sum + sets * ways, 0);
        for (let i = 1; i <= firstLevel; i++) reached(guest, kind, BASE + i * LEAF_BYTES[level]);
        const before = guest.cpu.counters();
        expect(reached(guest, kind, BASE)).toBe(1);
        const after = guest.cpu.counters();
        expect(after[`${event}.stlb_hit`] - before[`${event}.stlb_hit`]).toBe(1);
        expect(after[`${event}.walk_completed`]).toBe(before[`${event}.walk_completed`]);
        for (let i = 1; i <= PAGES; i++) reached(guest, kind, BASE + i * LEAF_BYTES[level]);
        expect(reached(guest, kind, BASE)).toBe(2);
      },
    );
  });
});

test("what one kind of access has cached, another that shares no TLB of either level does not see (Zen: fetches)", () => {
  const guest = new Guest({ preset: "zen2" });
  guest.mark(OLD, 1);
  guest.mark(NEW, 2);
  guest.map(BASE, OLD);
  expect(guest.cpu.load(BASE, 4)).toBe(1);
  guest.map(BASE, NEW);
  expect(guest.cpu.fetch(BASE, 4)).toBe(2);
  expect(guest.cpu.load(BASE, 4)).toBe(1);
});

test("a PDE that a paging-structure cache holds is used though it was changed; INVLPG of any address drops it (SDM 4.10.3)", () => {
  const guest = new Guest();
  guest.mark(OLD, 1);
  guest.mark(NEW, 2);
  guest.map(BASE, OLD);
  guest.map(BASE + 4096, OLD);
  expect(guest.cpu.load(BASE, 4)).toBe(1);
  const table = guest.table();
  guest.memory.writeWord(table, 2, (NEW % 2 ** 32) | 7);
  guest.memory.writeWord(table, 3, Math.floor(NEW / 2 ** 32));
  guest.write(BASE, 2, BigInt(table * 4096 + 7));
  expect(guest.cpu.load(BASE + 4096, 4)).toBe(1);
  guest.cpu.invlpg(BASE + 4096);
  expect(guest.cpu.load(BASE + 4096, 4)).toBe(2);
  guest.write(BASE, 2, 0n);
  guest.cpu.invlpg(0x1000);
  expect(() => guest.cpu.load(BASE + 2 * 4096, 4)).toThrow("#PF(0)");
});

describe("capacity", () => {
  test("Skylake's second level keeps entries of the four PCIDs used last (TLB;DR, section 5.5)", () => {
    const guest = new Guest({ preset: "skylake" });
    const { cpu } = guest;
    guest.mark(OLD, 1);
    guest.mark(NEW, 2);
    guest.map(BASE, OLD);
    cpu.writeCr4(cpu.cr4 + 2 ** 17);
    const useIn = (pcid: number): number => {
      cpu.writeCr3(guest.root * 4096 + pcid, true);
      for (let i = 1; i <= 64; i++) cpu.load(BASE + i * 4096, 4);
      return cpu.load(BASE, 4);
    };
    for (let i = 1; i <= 64; i++) guest.map(BASE + i * 4096, OLD);
    for (const pcid of [1, 2, 3, 4]) expect(useIn(pcid)).toBe(1);
    guest.map(BASE, NEW);
    expect(useIn(2)).toBe(1);
    expect(useIn(5)).toBe(2);
    expect([useIn(2), useIn(3), useIn(4)]).toEqual([1, 1, 1]);
    expect(useIn(1)).toBe(2);
  });

  test("sets of Skylake's second level are chosen by page-number bits 6:0 XOR 13:7, of its first level by bits 3:0", () => {
    /** Walks and second-level hits of a second pass over pages. */
    const secondPass = (pages: readonly number[]): { walks: number; secondLevelHits: number } => {
      const guest = new Guest({ preset: "skylake" });
      for (const page of pages) guest.map(BASE + page * 4096, OLD);
      for (const page of pages) guest.cpu.load(BASE + page * 4096, 4);
      const before = guest.cpu.counters();
      for (const page of pages) guest.cpu.load(BASE + page * 4096, 4);
      const after = guest.cpu.counters();
      const counted = (event: string): number => after[event] - before[event];
      return {
        walks: counted("dtlb_load_misses.walk_completed"),
        secondLevelHits: counted("dtlb_load_misses.stlb_hit"),
      };
    };
    const pages = (count: number, page: (i: number) => number): number[] =>
      Array.from({ length: count }, (_, i) => page(i));
    expect(secondPass(pages(100, (i) => i * 128))).toEqual({ walks: 0, secondLevelHits: 100 });
    expect(secondPass(pages(12, (i) => i * 128 + i)).walks).toBe(0);
    expect(secondPass(pages(100, (i) => i * 128 + i)).walks).toBeGreaterThan(80);
    expect(secondPass(pages(64, (i) => i))).toEqual({ walks: 0, secondLevelHits: 0 });
    expect(secondPass(pages(4, (i) => i * 16))).toEqual({ walks: 0, secondLevelHits: 0 });
    expect(secondPass(pages(5, (i) => i * 16)).secondLevelHits).toBeGreaterThan(0);
  });
});
