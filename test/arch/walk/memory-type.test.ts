/** Memory types: PAT, MTRRs, and what they combine to (Intel SDM vol. 3A, 11.5.2.2, 11.11, 11.12). */
import { describe, expect, test } from "vitest";
import { formatProbe, MSR_PAT, PTE_PAT, PTE_PAT_LARGE, PTE_PCD, PTE_PWT } from "../../../arch/index.ts";
import { combineTypes } from "../../../arch/walk/memory-type.ts";
import { ALL, BASE, Guest } from "../guest.ts";

const TARGET = 2 ** 30;
const [UC, WC, WT, WP, WB, UC_MINUS] = [0, 1, 4, 5, 6, 7];

test.each([
  ["UC", UC, [UC, UC, WC, UC, UC, UC]],
  ["WC", WC, [UC, WC, WC, UC, WC, UC]],
  ["WT", WT, [UC, UC, WC, WT, WT, WP]],
  ["WB", WB, [UC, UC, WC, WT, WB, WP]],
  ["WP", WP, [UC, WC, WC, WT, WP, WP]],
])("MTRR type %s with the PAT types UC, UC-, WC, WT, WB, WP (table 11-7)", (_, mtrr, effective) => {
  expect([UC, UC_MINUS, WC, WT, WB, WP].map((pat) => combineTypes(pat, mtrr))).toEqual(effective);
});

describe("the PAT index", () => {
  test.each([
    [1, PTE_PAT],
    [2, PTE_PAT_LARGE],
    [3, PTE_PAT_LARGE],
  ])("is PAT, PCD, PWT of the leaf (level %i)", (level, patBit) => {
    const guest = new Guest();
    guest.cpu.wrmsr(MSR_PAT, 0x0506_0701_0400_0106n);
    const types = ["WB", "WC", "UC", "WT", "WC", "UC", "WB", "WP"];
    types.forEach((type, index) => {
      const bits = ALL | (index & 1 ? PTE_PWT : 0) | (index & 2 ? PTE_PCD : 0) | (index & 4 ? patBit : 0);
      guest.map(BASE, TARGET, bits, level);
      expect([index, guest.cpu.memoryType(BASE)]).toEqual([index, type]);
    });
  });

  test("gives WB, WT, UC-, UC twice after reset", () => {
    const guest = new Guest();
    expect(guest.cpu.rdmsr(MSR_PAT)).toBe(0x0007_0406_0007_0406n);
    guest.map(BASE, TARGET, ALL | PTE_PCD);
    expect(guest.cpu.memoryType(BASE)).toBe("UC");
    expect(guest.cpu.memoryType(BASE + 2 ** 40)).toBeNull();
  });
});

describe("MTRRs", () => {
  test("a variable range changes the type of its addresses; UC wins where ranges overlap", () => {
    const guest = new Guest();
    guest.map(BASE, TARGET);
    guest.map(BASE + 4096, TARGET + 2 ** 20);
    expect(guest.cpu.memoryType(BASE)).toBe("WB");
    const mask = (bytes: number): bigint => ((1n << 46n) - BigInt(bytes)) | 0x800n;
    guest.cpu.wrmsr(0x200, BigInt(TARGET) | 4n);
    guest.cpu.wrmsr(0x201, mask(2 ** 30));
    expect([guest.cpu.memoryType(BASE), guest.cpu.memoryType(BASE + 4096)]).toEqual(["WT", "WT"]);
    guest.cpu.wrmsr(0x202, BigInt(TARGET));
    guest.cpu.wrmsr(0x203, mask(2 ** 20));
    expect([guest.cpu.memoryType(BASE), guest.cpu.memoryType(BASE + 4096)]).toEqual(["UC", "WT"]);
    guest.cpu.wrmsr(0x2ff, 0);
    expect(guest.cpu.memoryType(BASE + 4096)).toBe("UC");
  });

  test("the fixed ranges speak below 1 MiB", () => {
    const guest = new Guest();
    guest.map(BASE, 0xa_0000);
    expect(guest.cpu.memoryType(BASE)).toBe("WB");
    guest.cpu.wrmsr(0x259, 0x0606_0606_0606_0601n);
    expect(guest.cpu.memoryType(BASE)).toBe("WC");
    expect(guest.cpu.rdmsr(0x259)).toBe(0x0606_0606_0606_0601n);
  });

  test("the fixed ranges end at 1 MiB: the last byte below is theirs, the first above is not", () => {
    const guest = new Guest();
    guest.map(BASE, 0xf_f000);
    guest.map(BASE + 0x1000, 0x10_0000);
    for (let index = 0x268; index <= 0x26f; index++) guest.cpu.wrmsr(index, 0x0404_0404_0404_0404n);
    expect(guest.cpu.memoryType(BASE + 0xfff)).toBe("WT");
    expect(guest.cpu.memoryType(BASE + 0x1000)).toBe("WB");
  });
});

test("probe explains every level and changes nothing", () => {
  const guest = new Guest();
  guest.map(BASE, TARGET, ALL & ~2, 2);
  const words = [...guest.memory.frameBytes(guest.root)];
  const before = guest.cpu.counters();
  const result = guest.cpu.probe(BASE + 0x1_2345);
  expect(formatProbe(result)).toBe(
    [
      "0x400000012345: 0x40012345, 2M, read-only, user, executable, WB",
      "  PML4E [128] at 0x0000001400: 0x0000000000002007 P RW US x a",
      "  PDPTE [  0] at 0x0000002000: 0x0000000000003007 P RW US x a",
      "  PDE   [  0] at 0x0000003000: 0x0000000040000085 P ro US x a leaf",
    ].join("\n"),
  );
  expect(result).toMatchObject({ outcome: "mapped", physical: TARGET + 0x1_2345, pageSize: "2M", writable: false });
  expect([...guest.memory.frameBytes(guest.root)]).toEqual(words);
  expect(guest.cpu.counters()).toEqual(before);
  guest.write(BASE, 2, guest.read(BASE, 2) | (1n << 50n));
  expect(guest.cpu.probe(BASE)).toMatchObject({ outcome: "reserved bit", physical: null });
  expect(guest.cpu.probe(BASE).levels[2].reservedBits).toBe(1n << 50n);
  expect(guest.cpu.probe(BASE + 2 ** 39)).toMatchObject({ outcome: "not present", physical: null });
});

test("variable ranges that overlap: WT over WB, and UC for every pair that the manual leaves undefined (11.11.4.1)", () => {
  const types = [UC, WC, WT, WP, WB];
  for (const a of types) {
    for (const b of types) {
      const guest = new Guest();
      guest.map(BASE, TARGET);
      const mask = ((1n << 46n) - (1n << 30n)) | 0x800n;
      for (const [i, type] of [a, b].entries()) {
        guest.cpu.wrmsr(0x200 + 2 * i, BigInt(TARGET) | BigInt(type));
        guest.cpu.wrmsr(0x201 + 2 * i, mask);
      }
      const throughBoth = [a, b].includes(WT) && [a, b].includes(WB);
      const expected = a === b ? a : throughBoth ? WT : UC;
      const name = { [UC]: "UC", [WC]: "WC", [WT]: "WT", [WP]: "WP", [WB]: "WB" }[expected];
      expect([a, b, guest.cpu.memoryType(BASE)]).toEqual([a, b, name]);
    }
  }
});
