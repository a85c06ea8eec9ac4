/**
 * 57-bit linear addresses (Intel SDM vol. 1, 3.3.7.1; vol. 3A, 4.5 "4-Level Paging and 5-Level Paging"): with CR4.LA57 = 1 an address
 * is canonical when bits 63:56 are equal, and the PML5E is chosen by bits 56:48.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { captureCpus, restoreCpus } from "../../../arch/cpu/cpu-state.ts";
import {
  type Cpu,
  cachedTables,
  cachedTranslations,
  GeneralProtectionFault,
  PageFault,
  PTE_PAGE_SIZE,
} from "../../../arch/index.ts";
import { linearAddressToBigInt, orderOfPage, pageOfOrder } from "../../../arch/isa/linear-address.ts";
import { ALL, Guest, thrown } from "../guest.ts";

const PRESETS = ["icelake", "sapphire-rapids", "zen4", "zen5"] as const;
const PAGE = 4096n;
/** Where halves and the 48-bit addresses end, and what lies beside. */
const EDGES = [0n, 1n << 47n, 1n << 48n, 1n << 56n, 1n << 57n, -(1n << 56n), -(1n << 48n), -(1n << 47n), -PAGE];

const guestOf = (preset: string) => new Guest({ preset, pagingLevels: 5, memoryBytes: 2 ** 26 });

/** Any 64 bits, often near an edge. */
const anyAddress = fc.oneof(
  fc.bigInt(0n, (1n << 64n) - 1n),
  fc.tuple(fc.constantFrom(...EDGES), fc.bigInt(-5000n, 5000n)).map(([edge, by]) => BigInt.asUintN(64, edge + by)),
  fc.bigInt(-(1n << 56n), (1n << 56n) - 1n).map((address) => BigInt.asUintN(64, address)),
);

/** The manual's rule. */
const isCanonical57 = (address: bigint): boolean => {
  const upper = (address >> 56n) & 0xffn;
  return upper === 0n || upper === 0xffn;
};

const outcome = (cpu: Cpu, access: () => unknown): string => {
  try {
    return `ok ${access()}`;
  } catch (error) {
    if (error instanceof PageFault) return `#PF ${BigInt.asUintN(64, BigInt(cpu.cr2)).toString(16)}`;
    if (error instanceof GeneralProtectionFault) return "#GP";
    throw error;
  }
};

describe.each(PRESETS)("with five levels, %s", (preset) => {
  test("an access is #GP where bits 63:56 of a byte's address differ, else #PF with all 64 bits in CR2", () => {
    const guest = guestOf(preset);
    const { cpu } = guest;
    fc.assert(
      fc.property(
        anyAddress,
        fc.integer({ min: 1, max: 8 }),
        fc.constantFrom("load", "store", "fetch"),
        (at, size, kind) => {
          const last = BigInt.asUintN(64, at + BigInt(size) - 1n);
          const expected = isCanonical57(at) && isCanonical57(last) ? `#PF ${at.toString(16)}` : "#GP";
          const access = {
            load: () => (size > 4 ? cpu.load64(at, size) : cpu.load(at, size)),
            store: () => (size > 4 ? cpu.store64(at, 0n, size) : cpu.store(at, size, 0)),
            fetch: () => cpu.fetch(at, Math.min(size, 4)),
          }[kind];
          const end = BigInt.asUintN(64, at + BigInt(Math.min(size, 4)) - 1n);
          const ofFetch = isCanonical57(at) && isCanonical57(end) ? `#PF ${at.toString(16)}` : "#GP";
          expect(outcome(cpu, access)).toBe(kind === "fetch" ? ofFetch : expected);
        },
      ),
      { numRuns: 600 },
    );
  });

  test("loads, stores and fetches of pages of every size reach the frame that bits 56:0 lead to", () => {
    fc.assert(
      fc.property(
        anyAddress.filter(isCanonical57),
        fc.constantFrom(1, 2, 3),
        fc.constantFrom(1, 2, 4),
        (at, level, size) => {
          const guest = guestOf(preset);
          const { cpu } = guest;
          const bytes = 1n << BigInt(12 + 9 * (level - 1));
          const start = at & ~(bytes - 1n);
          const base = level === 1 ? 0x50_0000 : 0;
          guest.map(start, base, ALL, level);
          const address = (at & ~7n) | BigInt(8 - size);
          const physical = BigInt(base) + (address & (bytes - 1n));
          const probed = cpu.probe(address);
          expect(probed.physical).toBe(Number(physical));
          expect(BigInt.asUintN(57, BigInt(probed.levels.length === 0 ? 0 : probed.levels[0].index) << 48n)).toBe(
            BigInt.asUintN(57, address) & (511n << 48n),
          );
          if (physical >= 2n ** 26n) return;
          if (physical < 0x10_000n) return;
          cpu.store(address, size, 0x5a5a_5a5a);
          const mask = 2 ** (8 * size) - 1;
          expect(cpu.load(address, size)).toBe(0x5a5a_5a5a & mask);
          expect(cpu.fetch(address, size)).toBe(0x5a5a_5a5a & mask);
          expect(Number(cpu.load64(address, size))).toBe(0x5a5a_5a5a & mask);
          expect(guest.memory.readWord(Math.floor(Number(physical) / 4096), (Number(physical) % 4096) >> 2)).not.toBe(
            0,
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  test.each([
    ["2^47", 1n << 47n],
    ["2^48", 1n << 48n],
    ["-2^48", -(1n << 48n)],
    ["-2^47", -(1n << 47n)],
    ["0", 0n],
  ])("an access crosses %s into the page behind", (_name, edge) => {
    const guest = guestOf(preset);
    const { cpu } = guest;
    const address = BigInt.asUintN(64, edge - 2n);
    guest.map(BigInt.asUintN(64, edge - PAGE), 0x50_0000);
    guest.map(BigInt.asUintN(64, edge), 0x70_0000);
    cpu.store(address, 4, 0x1122_3344);
    expect(guest.memory.readWord(0x500, 1023) >>> 16).toBe(0x3344);
    expect(guest.memory.readWord(0x700, 0) & 0xffff).toBe(0x1122);
    expect(cpu.load(address, 4)).toBe(0x1122_3344);
    guest.write(BigInt.asUintN(64, edge), 1, 0n);
    cpu.invlpg(edge);
    expect(outcome(cpu, () => cpu.load(address, 4))).toBe(`#PF ${BigInt.asUintN(64, edge).toString(16)}`);
  });

  test("addresses of all halves that agree in bits 47:0 or in bits 55:0 are different pages", () => {
    const guest = guestOf(preset);
    const { cpu } = guest;
    const low = 0x7fee_0000_0000n;
    const addresses = [
      low,
      low | (1n << 47n),
      low | (1n << 48n),
      low | (1n << 55n),
      BigInt.asUintN(64, low - (1n << 56n)),
    ];
    const all = [...addresses, BigInt.asUintN(64, low - (1n << 47n)), BigInt.asUintN(64, low - (1n << 48n))];
    all.forEach((address, i) => {
      guest.map(address, 0x50_0000 + i * 4096);
      guest.mark(0x50_0000 + i * 4096, 100 + i);
    });
    for (let round = 0; round < 2; round++)
      expect(all.map((at) => cpu.load(at, 4))).toEqual(all.map((_, i) => 100 + i));
  });

  test("INVLPG and INVPCID of an address drop its page and no other; for what is not canonical INVLPG does nothing, INVPCID #GP", () => {
    const [first, second] = [(1n << 55n) | 0x12_3000n, BigInt.asUintN(64, -(1n << 55n))];
    for (const drop of ["invlpg", "invpcid"] as const) {
      const guest = guestOf(preset);
      const { cpu } = guest;
      const invalidate = (at: bigint) => (drop === "invlpg" ? cpu.invlpg(at) : cpu.invpcid(0, 0, at));
      for (const [at, frame] of [
        [first, 0x500],
        [second, 0x501],
      ] as const) {
        guest.map(at, frame * 4096);
        guest.mark(frame * 4096, frame);
        guest.mark((frame + 16) * 4096, frame + 16);
        cpu.load(at, 4);
        guest.map(at, (frame + 16) * 4096);
      }
      expect([cpu.load(first, 4), cpu.load(second, 4)]).toEqual([0x500, 0x501]);
      const other = first ^ (1n << 60n);
      if (drop === "invlpg") invalidate(other);
      else expect(thrown(GeneralProtectionFault, () => invalidate(other)).reason).toContain("not canonical");
      expect(cpu.load(first, 4)).toBe(0x500);
      invalidate(first + 0xabcn);
      expect([cpu.load(first, 4), cpu.load(second, 4)]).toEqual([0x510, 0x501]);
      invalidate(second);
      expect(cpu.load(second, 4)).toBe(0x511);
    }
  });

  test("caches list wide pages and their tables at the addresses that lead to them, and a saved state brings them back", () => {
    const guest = guestOf(preset);
    const { cpu } = guest;
    const at = BigInt.asUintN(64, -(3n << 50n));
    guest.map(at, 0x50_0000);
    guest.map(at + (1n << 30n), 0, ALL, 2);
    expect(outcome(cpu, () => cpu.load(at + 0x1abcn, 1))).toBe(`#PF ${(at + 0x1abcn).toString(16)}`);
    cpu.load(at + 8n, 4);
    cpu.load(at + (1n << 30n) + 0x12_3450n, 4);
    const listed = (of: Cpu) => [
      ...cachedTranslations(of).map(({ la, sizeBytes }) => `${linearAddressToBigInt(la).toString(16)} ${sizeBytes}`),
      ...cachedTables(of).map(({ la, level }) => `${linearAddressToBigInt(la).toString(16)} level ${level}`),
    ];
    expect(new Set(listed(cpu))).toContain(`${at.toString(16)} 4096`);
    expect(new Set(listed(cpu))).toContain(`${(at + (1n << 30n)).toString(16)} ${2 ** 21}`);
    expect(new Set(listed(cpu))).toContain(`${at.toString(16)} level 2`);
    const other = guestOf(preset);
    restoreCpus(other.machine.cpus, captureCpus(guest.machine.cpus));
    expect(listed(other.cpu)).toEqual(listed(cpu));
    expect(other.cpu.cr2).toBe(at + 0x1abcn);
    expect(captureCpus(other.machine.cpus)).toEqual(captureCpus(guest.machine.cpus));
  });

  test("one cached PML5E leads to the 48-bit addresses and to the wide ones below it", () => {
    const guest = guestOf(preset);
    const { cpu } = guest;
    const pml5es = () => cachedTables(cpu).filter(({ level }) => level === 5).length;
    for (const [narrow, wide] of [
      [0x1000n, 1n << 47n],
      [BigInt.asUintN(64, -PAGE), BigInt.asUintN(64, -(1n << 48n))],
    ]) {
      cpu.writeCr3(cpu.cr3);
      guest.map(narrow, 0x50_0000);
      guest.map(wide, 0x50_1000);
      cpu.load(narrow, 4);
      const before = pml5es();
      cpu.load(wide, 4);
      expect(pml5es()).toBe(before);
    }
  });

  test("attribution of flushes tells wide pages apart", () => {
    const guest = guestOf(preset);
    const { cpu } = guest;
    const attribution = cpu.attributeFlushes();
    const pages = [1n << 47n, 1n << 54n, BigInt.asUintN(64, -(1n << 56n))];
    for (const at of pages) guest.map(at, 0x50_0000);
    for (const at of pages) cpu.load(at, 4);
    attribution.currentFlush = 7;
    for (const at of pages.slice(1)) cpu.invlpg(at);
    attribution.currentFlush = 0;
    for (const at of pages) cpu.load(at, 4);
    expect(attribution.costOf(7).refills).toBe(2);
    expect(attribution.unexplainedWalks).toBe(0);
  });
});

test("with four levels the same addresses are not canonical", () => {
  const { cpu } = new Guest({ preset: "icelake" });
  for (const at of [1n << 47n, 1n << 55n, BigInt.asUintN(64, -(1n << 56n))]) {
    expect(outcome(cpu, () => cpu.load(at, 4))).toBe("#GP");
    expect(() => cpu.probe(at)).toThrow(GeneralProtectionFault);
  }
});

test("a large page of an address whose tables say PS in a PML5E is a reserved bit", () => {
  const guest = guestOf("icelake");
  const at = 1n << 50n;
  guest.write(at, 5, BigInt(ALL | PTE_PAGE_SIZE));
  expect(thrown(PageFault, () => guest.cpu.load(at, 4)).errorCode & 8).toBe(8);
});

test("pages are counted in the order of their addresses, and back", () => {
  fc.assert(
    fc.property(fc.bigInt(0n, (1n << 45n) - 1n), (number) => {
      const order = Number(number) * 4096;
      expect(orderOfPage(pageOfOrder(order))).toBe(order);
      expect(BigInt.asUintN(57, linearAddressToBigInt(pageOfOrder(order)))).toBe(number << 12n);
    }),
  );
});
