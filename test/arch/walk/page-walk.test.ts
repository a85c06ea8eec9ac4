/** What a page walk fetches and what that costs, which bits it sets, and what it finds where no memory is. */
import { describe, expect, test } from "vitest";
import {
  ACCESS_LOAD,
  ACCESS_STORE,
  PageFault,
  PF_FETCH,
  PF_PRESENT,
  PF_RESERVED,
  PTE_ACCESSED,
  PTE_DIRTY,
  presetByName,
} from "../../../arch/index.ts";
import { leafFrame, tableIndex, WALK_OK } from "../../../arch/walk/page-walk.ts";
import { ALL, BASE, Guest, thrown } from "../guest.ts";

const SKYLAKE = presetByName("skylake");
const MEMORY_CYCLES = SKYLAKE.memory.value;
const NEAR_CYCLES = SKYLAKE.dataCaches[0].hitCycles.value;

describe("fetches of entries", () => {
  const fetchCycles = (guest: Guest, la: number): number => {
    const { walker } = guest.cpu.mmu;
    expect(walker.walk(la, ACCESS_LOAD)).toBe(WALK_OK);
    return walker.fetchCycles;
  };

  test("one for each level that is not cached; eight entries share a line", () => {
    const guest = new Guest();
    for (const page of [0, 1, 7, 8]) guest.map(BASE + page * 4096, 2 ** 30);
    // Cold: the entries of four levels are in four lines.
    expect(fetchCycles(guest, BASE)).toBe(4 * MEMORY_CYCLES);
    // The PDE is cached now; PTEs 0 to 7 are in one line.
    expect(fetchCycles(guest, BASE + 4096)).toBe(NEAR_CYCLES);
    expect(fetchCycles(guest, BASE + 7 * 4096)).toBe(NEAR_CYCLES);
    expect(fetchCycles(guest, BASE + 8 * 4096)).toBe(MEMORY_CYCLES);
    expect(fetchCycles(guest, BASE)).toBe(NEAR_CYCLES);
  });

  test("entries of different tables are in different lines", () => {
    const guest = new Guest();
    // Page tables 64 frames apart; an entry of the first in its second line, one of the other in its first line.
    const [first, other] = [100, 164];
    guest.write(BASE, 2, BigInt((first << 12) | ALL));
    guest.write(BASE + 2 ** 21, 2, BigInt((other << 12) | ALL));
    guest.map(BASE + 8 * 4096, 2 ** 30);
    guest.map(BASE + 2 ** 21, 2 ** 30);
    fetchCycles(guest, BASE + 8 * 4096);
    // Both PDEs are in one line, and the PDPTE is cached.
    expect(fetchCycles(guest, BASE + 2 ** 21)).toBe(NEAR_CYCLES + MEMORY_CYCLES);
  });
});

describe("A and D", () => {
  test("are set where they are clear, and counted there only", () => {
    const guest = new Guest();
    guest.map(BASE, 2 ** 30);
    const { walker, structures } = guest.cpu.mmu;
    const bitsSet = (access: typeof ACCESS_LOAD | typeof ACCESS_STORE): number => {
      structures.clear();
      expect(walker.walk(BASE, access)).toBe(WALK_OK);
      return walker.bitsSet;
    };
    expect(bitsSet(ACCESS_LOAD)).toBe(4);
    expect(bitsSet(ACCESS_LOAD)).toBe(0);
    expect(guest.flags(BASE, 1)).toEqual({ accessed: true, dirty: false });
    expect(bitsSet(ACCESS_STORE)).toBe(1);
    expect(guest.flags(BASE, 1)).toEqual({ accessed: true, dirty: true });
    expect(bitsSet(ACCESS_STORE)).toBe(0);
  });

  test("the translation of a store's walk is dirty: the next store needs no walk", () => {
    const guest = new Guest();
    guest.map(BASE, 2 ** 30);
    guest.cpu.store(BASE, 4, 1);
    guest.cpu.store(BASE, 4, 2);
    expect(guest.cpu.counters()["dtlb_store_misses.walk_completed"]).toBe(1);
  });

  test("the translation of a load's walk is dirty when the entry was", () => {
    const guest = new Guest();
    guest.map(BASE, 2 ** 30, ALL | PTE_ACCESSED | PTE_DIRTY);
    guest.cpu.load(BASE, 4);
    guest.cpu.store(BASE, 4, 1);
    expect(guest.cpu.counters()["dtlb_store_misses.walk_completed"]).toBe(0);
  });
});

describe("a table where no memory is reads as ones", () => {
  /** A guest whose entry of `level` for BASE leads to a table beyond the end of memory. */
  const withoutTable = (level: number, maxPhyAddr: number): Guest => {
    const guest = new Guest({ memoryBytes: 2 ** 30, maxPhyAddr });
    guest.write(BASE, level, BigInt(2 ** 36) | BigInt(ALL));
    return guest;
  };
  const errorCodeOf = (call: () => unknown): number => thrown(PageFault, call).errorCode;

  test("so a reserved address bit is set in its entries", () => {
    for (const level of [2, 3, 4]) {
      const { cpu } = withoutTable(level, 46);
      expect(errorCodeOf(() => cpu.load(BASE, 4))).toBe(PF_PRESENT | PF_RESERVED);
    }
  });

  test("and with 52 bits of address its PTEs map the last frame there can be, not to be executed", () => {
    const { cpu } = withoutTable(2, 52);
    expect(cpu.load(BASE, 4)).toBe(0xffff_ffff);
    expect(errorCodeOf(() => cpu.fetch(BASE, 4))).toBe(PF_PRESENT | PF_FETCH);
    expect(cpu.mmu.walker.walk(BASE, ACCESS_LOAD)).toBe(WALK_OK);
    expect(cpu.mmu.walker.frame).toBe(2 ** 40 - 1);
  });

  test("and its PDEs and PDPTEs have reserved bits below the frame of a large page", () => {
    for (const level of [3, 4]) {
      const { cpu } = withoutTable(level, 52);
      expect(errorCodeOf(() => cpu.load(BASE, 4))).toBe(PF_PRESENT | PF_RESERVED);
    }
  });
});

describe("where an entry is, and which frame a leaf maps", () => {
  test("the fifth level has one entry for each half of the addresses", () => {
    expect(tableIndex(0, 5)).toBe(0);
    expect(tableIndex(2 ** 35 - 1, 5)).toBe(0);
    expect(tableIndex(2 ** 35, 5)).toBe(511);
    expect(tableIndex(2 ** 36 - 1, 5)).toBe(511);
  });

  test("nine bits of the page number for each level below", () => {
    const vpn = 1 * 2 ** 27 + 2 * 2 ** 18 + 3 * 2 ** 9 + 4;
    expect([4, 3, 2, 1].map((level) => tableIndex(vpn, level))).toEqual([1, 2, 3, 4]);
    expect([4, 3, 2, 1].map((level) => tableIndex(2 ** 36 - 1, level))).toEqual([511, 511, 511, 511]);
  });

  test("a 4 KiB page is a frame, of a larger page the low bits of the page number choose one", () => {
    const vpn = 5 * 2 ** 18 + 6 * 2 ** 9 + 7;
    const low = 0x4000_0000;
    expect(leafFrame(low | 0x1000, 0, 1, vpn)).toBe(0x40001);
    expect(leafFrame(low, 0, 2, vpn)).toBe(0x40000 + 7);
    expect(leafFrame(low, 0, 3, vpn)).toBe(0x40000 + 6 * 2 ** 9 + 7);
    // Bit 12 of a large leaf is PAT.
    expect(leafFrame(low | 0x1000, 0, 2, vpn)).toBe(0x40000 + 7);
  });
});
