/** What each invalidation removes and what it keeps (Intel SDM vol. 3A, 4.10.4.1; AMD APM vol. 3, INVLPGB). */
import { beforeEach, describe, expect, test } from "vitest";
import {
  type Cpu,
  CR4_PCIDE,
  CR4_PGE,
  CR4_SMEP,
  EFER_LMA,
  EFER_LME,
  GeneralProtectionFault,
  InvalidOpcode,
  MSR_EFER,
  PRESETS,
} from "../../../arch/index.ts";
import { ALL, BASE, GLOBAL, Guest, thrown } from "../guest.ts";

const OLD = 2 ** 30;
const NEW = 2 ** 30 + 2 ** 21;
/** Two pages that are not global and one that is. */
const PAGE = BASE;
const OTHER = BASE + 2 ** 30;
const SHARED = BASE + 2 ** 31;

let guest: Guest;
let cpu: Cpu;

/** Which translations are still the old ones: PCIDs 1 and 2 of two pages, and the global page. */
function survivors(): string[] {
  const kept: string[] = [];
  for (const pcid of [1, 2]) {
    cpu.writeCr3(guest.root * 4096 + pcid, true);
    if (cpu.load(PAGE, 4) === 1) kept.push(`page/${pcid}`);
    if (cpu.load(OTHER, 4) === 1) kept.push(`other/${pcid}`);
  }
  if (cpu.load(SHARED, 4) === 1) kept.push("global");
  return kept;
}

beforeEach(() => {
  guest = new Guest({ preset: "skylake" });
  cpu = guest.cpu;
  guest.mark(OLD, 1);
  guest.mark(NEW, 2);
  guest.map(PAGE, OLD);
  guest.map(OTHER, OLD);
  guest.map(SHARED, OLD, ALL | GLOBAL);
  cpu.writeCr4(cpu.cr4 + CR4_PCIDE);
  for (const pcid of [1, 2]) {
    cpu.writeCr3(guest.root * 4096 + pcid, true);
    cpu.load(PAGE, 4);
    cpu.load(OTHER, 4);
    cpu.load(SHARED, 4);
  }
  guest.map(PAGE, NEW);
  guest.map(OTHER, NEW);
  guest.map(SHARED, NEW, ALL | GLOBAL);
  cpu.writeCr3(guest.root * 4096 + 1, true);
});

const EVERYTHING = ["page/1", "other/1", "page/2", "other/2", "global"];
const without = (...gone: string[]): string[] => EVERYTHING.filter((each) => !gone.includes(each));

describe("with PCIDs 1 (current) and 2 and a global page cached", () => {
  test("nothing: all of them are used, though the tables have changed", () => {
    expect(survivors()).toEqual(EVERYTHING);
  });

  test("INVLPG removes the page in the current PCID", () => {
    cpu.invlpg(PAGE);
    expect(survivors()).toEqual(without("page/1"));
  });

  test("INVLPG of a global page removes it, whatever the PCID", () => {
    cpu.invlpg(SHARED);
    expect(survivors()).toEqual(without("global"));
  });

  test("INVPCID type 0 removes one page in one PCID, and no global one", () => {
    cpu.invpcid(0, 2, PAGE);
    cpu.invpcid(0, 2, SHARED);
    expect(survivors()).toEqual(without("page/2"));
  });

  test("INVPCID type 1 removes one PCID but global pages", () => {
    cpu.invpcid(1, 2, 0);
    expect(survivors()).toEqual(without("page/2", "other/2"));
  });

  test("INVPCID type 2 removes everything", () => {
    cpu.invpcid(2, 0, 0);
    expect(survivors()).toEqual([]);
  });

  test("INVPCID type 3 removes everything but global pages", () => {
    cpu.invpcid(3, 0, 0);
    expect(survivors()).toEqual(["global"]);
  });

  test("MOV to CR3 removes the new PCID but global pages; with bit 63 = 1 nothing", () => {
    cpu.writeCr3(guest.root * 4096 + 2);
    expect(survivors()).toEqual(without("page/2", "other/2"));
    cpu.writeCr3(BigInt(guest.root * 4096 + 1) | (1n << 63n));
    expect(survivors()).toContain("page/1");
  });

  test.each([
    ["CR4.PGE from 1 to 0", () => cpu.writeCr4(cpu.cr4 - CR4_PGE)],
    [
      "CR4.PGE from 0 to 1",
      () => {
        cpu.writeCr4(cpu.cr4 - CR4_PGE);
        for (const pcid of [2, 1]) {
          cpu.writeCr3(guest.root * 4096 + pcid, true);
          cpu.load(PAGE, 4);
        }
        guest.map(PAGE, OLD);
        cpu.writeCr4(cpu.cr4 + CR4_PGE);
        guest.map(PAGE, NEW);
      },
    ],
    ["EFER.NXE", () => cpu.wrmsr(MSR_EFER, EFER_LME + EFER_LMA)],
  ])("a change of %s removes everything", (_, change) => {
    change();
    expect(survivors()).toEqual([]);
  });

  test("CR4.PCIDE from 1 to 0 removes everything", () => {
    cpu.writeCr3(guest.root * 4096, true);
    cpu.writeCr4(cpu.cr4 - CR4_PCIDE);
    expect(cpu.load(PAGE, 4)).toBe(2);
    expect(cpu.load(SHARED, 4)).toBe(2);
  });

  test("CR4.SMEP from 0 to 1 removes the current PCID; from 1 to 0 nothing", () => {
    cpu.writeCr4(cpu.cr4 + CR4_SMEP);
    expect(survivors()).toEqual(without("page/1", "other/1"));
    guest.map(PAGE, OLD);
    cpu.writeCr4(cpu.cr4 - CR4_SMEP);
    expect(survivors()).toContain("page/2");
  });

  test("a page fault removes what is cached for its address, so that it does not recur", () => {
    guest.map(PAGE, OLD, ALL & ~2);
    cpu.invlpg(PAGE);
    cpu.load(PAGE, 4);
    guest.map(PAGE, NEW);
    cpu.store(PAGE, 4, 7);
    expect(guest.memory.readWord(NEW / 4096, 0)).toBe(7);
    expect(cpu.load(PAGE, 4)).toBe(7);
  });
});

test.each(PRESETS.map(({ name }) => name))(
  "%s: flushTlbAll removes global pages too, whatever the CPU has for it",
  (preset) => {
    const { cpu: other, ...rest } = new Guest({ preset });
    const made = Object.assign(Object.create(Guest.prototype) as Guest, rest, { cpu: other });
    made.mark(OLD, 1);
    made.mark(NEW, 2);
    made.map(SHARED, OLD, ALL | GLOBAL);
    expect(other.load(SHARED, 4)).toBe(1);
    made.map(SHARED, NEW, ALL | GLOBAL);
    expect(other.load(SHARED, 4)).toBe(1);
    other.flushTlbAll();
    expect(other.load(SHARED, 4)).toBe(2);
  },
);

test("INVLPG of any address in a large page removes it, pieces included (SDM 4.10.2.3)", () => {
  const zen = new Guest({ preset: "zen2", memoryBytes: 2 ** 34 });
  zen.mark(2 ** 32, 1);
  zen.mark(2 ** 33, 2);
  zen.map(BASE, 2 ** 32, ALL, 3);
  for (let i = 0; i < 200; i++) zen.cpu.load(BASE + i * 2 ** 21, 4);
  expect(zen.cpu.load(BASE, 4)).toBe(1);
  zen.map(BASE, 2 ** 33, ALL, 3);
  zen.cpu.invlpg(BASE + 2 ** 29 + 12_345);
  const walks = zen.cpu.counters()["dtlb_load_misses.walk_completed_1g"];
  expect(zen.cpu.load(BASE, 4)).toBe(2);
  expect(zen.cpu.counters()["dtlb_load_misses.walk_completed_1g"]).toBe(walks + 1);
});

describe("INVLPGB and TLBSYNC (Zen 4)", () => {
  test("another CPU may use the old page until the TLBSYNC of the CPU that broadcast", () => {
    const zen = new Guest({ preset: "zen4", cpus: 2 });
    const [first, second] = zen.machine.cpus;
    zen.mark(OLD, 1);
    zen.mark(NEW, 2);
    zen.map(PAGE, OLD, ALL | GLOBAL);
    expect([first.load(PAGE, 4), second.load(PAGE, 4)]).toEqual([1, 1]);
    zen.map(PAGE, NEW, ALL | GLOBAL);
    first.invalidations.invlpgb({ la: PAGE, pages: 1, includeGlobals: true });
    expect([first.load(PAGE, 4), second.load(PAGE, 4)]).toEqual([2, 1]);
    first.invalidations.tlbsync();
    expect(second.load(PAGE, 4)).toBe(2);
  });

  test("a stride of 2 MiB goes from one page of that size to the next, one of 4 KiB from page to page", () => {
    for (const strideBytes of [4096, 2 ** 21]) {
      const zen = new Guest({ preset: "zen4" });
      zen.mark(OLD, 1);
      zen.mark(NEW, 2);
      const offsets = [0, 1, 2, 3, 4].flatMap((i) => [i * 4096, i * 2 ** 21, i * 2 ** 21 + 4096]);
      const places = [...new Set(offsets)].map((offset) => PAGE + offset);
      for (const place of places) zen.map(place, OLD);
      for (const place of places) zen.cpu.load(place, 4);
      for (const place of places) zen.map(place, NEW);
      zen.cpu.invalidations.invlpgb({ la: PAGE, pages: 4, strideBytes, includeGlobals: false });
      const gone = places.filter((place) => zen.cpu.load(place, 4) === 2).map((place) => (place - PAGE) / strideBytes);
      expect(gone.sort()).toEqual([0, 1, 2, 3]);
    }
  });

  test("each TLBSYNC waits for the INVLPGBs of its own CPU since the last one: for all of them, and once", () => {
    const zen = new Guest({ preset: "zen4", cpus: 3 });
    const [first, second, third] = zen.machine.cpus;
    zen.mark(OLD, 1);
    zen.mark(NEW, 2);
    const places = [PAGE, OTHER, SHARED];
    const mapAll = (address: number): void => {
      for (const place of places) zen.map(place, address);
    };
    const stale = (): boolean[] => places.map((place) => third.load(place, 4) === 1);
    mapAll(OLD);
    for (const place of places) third.load(place, 4);
    mapAll(NEW);
    first.invalidations.invlpgb({ la: PAGE, includeGlobals: false });
    first.invalidations.invlpgb({ la: OTHER, includeGlobals: false });
    second.invalidations.invlpgb({ la: SHARED, includeGlobals: false });
    first.invalidations.tlbsync();
    expect(stale()).toEqual([false, false, true]);
    second.invalidations.tlbsync();
    expect(stale()).toEqual([false, false, false]);
    // What was waited for is over: later TLBSYNCs flush nothing.
    mapAll(OLD);
    for (const place of places) third.invlpg(place);
    for (const place of places) third.load(place, 4);
    mapAll(NEW);
    first.invalidations.tlbsync();
    second.invalidations.tlbsync();
    third.invalidations.tlbsync();
    expect(stale()).toEqual([true, true, true]);
  });

  test("with a PCID and globals and no address: that PCID's translations and global ones go, those of other PCIDs stay", () => {
    for (const includeGlobals of [true, false]) {
      const zen = new Guest({ preset: "zen4", cpus: 2 });
      const [first, second] = zen.machine.cpus;
      zen.mark(OLD, 1);
      zen.mark(NEW, 2);
      zen.map(PAGE, OLD);
      zen.map(SHARED, OLD, ALL | GLOBAL);
      for (const each of [first, second]) each.writeCr4(each.cr4 + CR4_PCIDE);
      for (const pcid of [1, 2]) {
        second.writeCr3(zen.root * 4096 + pcid, true);
        second.load(PAGE, 4);
        second.load(SHARED, 4);
      }
      zen.map(PAGE, NEW);
      zen.map(SHARED, NEW, ALL | GLOBAL);
      first.invalidations.invlpgb({ pcid: 2, includeGlobals });
      first.invalidations.tlbsync();
      const seen = [1, 2].map((pcid) => {
        second.writeCr3(zen.root * 4096 + pcid, true);
        return second.load(PAGE, 4);
      });
      expect(seen).toEqual([1, 2]);
      expect(second.load(SHARED, 4)).toBe(includeGlobals ? 2 : 1);
    }
  });

  test("global pages stay unless asked for; too many pages are a #GP; other CPUs do not have the instruction", () => {
    const zen = new Guest({ preset: "zen4" });
    zen.mark(OLD, 1);
    zen.mark(NEW, 2);
    zen.map(SHARED, OLD, ALL | GLOBAL);
    zen.cpu.load(SHARED, 4);
    zen.map(SHARED, NEW, ALL | GLOBAL);
    zen.cpu.invalidations.invlpgb({ includeGlobals: false });
    expect(zen.cpu.load(SHARED, 4)).toBe(1);
    zen.cpu.invalidations.invlpgb({ includeGlobals: true });
    expect(zen.cpu.load(SHARED, 4)).toBe(2);
    expect(() => zen.cpu.invalidations.invlpgb({ la: PAGE, pages: 4096, includeGlobals: true })).toThrow(
      GeneralProtectionFault,
    );
    expect(thrown(InvalidOpcode, () => cpu.invalidations.invlpgb({ includeGlobals: true })).instruction).toBe(
      "INVLPGB",
    );
  });
});
