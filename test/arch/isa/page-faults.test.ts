/** Walks, reserved bits, access rights, A and D bits (Intel SDM vol. 3A, 4.5 to 4.8). */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  CR4_SMAP,
  CR4_SMEP,
  GeneralProtectionFault,
  MachineUsageError,
  PageFault,
  PF_FETCH,
  PF_PRESENT,
  PF_RESERVED,
  PF_USER,
  PF_WRITE,
  PTE_RW,
  PTE_USER,
} from "../../../arch/index.ts";
import { ALL, BASE, Guest, LEAF_BYTES, thrown } from "../guest.ts";

const TARGET = 2 ** 30;

function errorCode(call: () => unknown): number {
  return thrown(PageFault, call).errorCode;
}

test("a page fault traces the stack only for those who ask for it, and leaves that of other errors alone", () => {
  const stackOf = () => thrown(PageFault, () => new Guest().cpu.load(BASE, 4)).stack ?? "";
  const { stackTraceLimit } = Error;
  expect(stackOf()).not.toContain("    at ");
  expect(Error.stackTraceLimit).toBe(stackTraceLimit);
  expect(new Error("other").stack).toContain("    at ");
  PageFault.capturesStack = true;
  try {
    expect(stackOf()).toContain("page-faults.test");
  } finally {
    PageFault.capturesStack = false;
  }
});

describe("a page that is not present", () => {
  test.each([1, 2, 3, 4])("at level %i: error code without P, CR2 set, A set in the entries above", (level) => {
    const guest = new Guest();
    guest.map(BASE + 8, TARGET);
    guest.write(BASE, level, guest.read(BASE, level) & ~1n);
    const fault = thrown(PageFault, () => guest.cpu.load(BASE + 8, 4));
    expect(fault.errorCode).toBe(0);
    expect(fault.linearAddress).toBe(BASE + 8);
    expect(guest.cpu.cr2).toBe(BASE + 8);
    expect(fault.message).toBe("#PF(0) at 0x400000000008 on CPU 0");
    for (let above = level + 1; above <= 4; above++) expect(guest.flags(BASE, above).accessed).toBe(true);
    guest.cpu.setCpl(3);
    expect(errorCode(() => guest.cpu.store(BASE, 4, 0))).toBe(PF_WRITE | PF_USER);
    expect(errorCode(() => guest.cpu.fetch(BASE, 4))).toBe(PF_FETCH | PF_USER);
  });

  test("an entry with P = 0 is ignored whole, reserved bits and all", () => {
    const guest = new Guest({ maxPhyAddr: 36 });
    guest.map(BASE, TARGET);
    guest.write(BASE, 1, 0xffff_ffff_ffff_fffen);
    expect(errorCode(() => guest.cpu.load(BASE, 4))).toBe(0);
  });
});

describe("reserved bits (SDM 4.5, tables 4-15 to 4-20)", () => {
  test.each([36, 39, 40, 46, 48, 52])(
    "with MAXPHYADDR %i: exactly the address bits from there to 51 fault, at every level",
    (width) => {
      for (const leaf of [1, 2, 3]) {
        const guest = new Guest({ maxPhyAddr: width, memoryBytes: 2 ** 31 });
        guest.map(BASE, 0, ALL, leaf);
        for (let level = leaf; level <= 4; level++) {
          const entry = guest.read(BASE, level);
          for (let bit = 32; bit < 52; bit++) {
            guest.write(BASE, level, entry | (1n << BigInt(bit)));
            guest.cpu.invlpg(BASE);
            if (bit >= width) {
              expect(errorCode(() => guest.cpu.store(BASE, 4, 0))).toBe(PF_PRESENT | PF_WRITE | PF_RESERVED);
            } else if (level === leaf) {
              expect(guest.cpu.load(BASE, 4)).toBe(0xffff_ffff);
            }
          }
          guest.write(BASE, level, entry);
        }
      }
    },
  );

  test.each([2, 3])("low address bits of a large leaf of level %i, but not its PAT bit 12", (level) => {
    for (let bit = 12; bit < 12 + 9 * (level - 1); bit++) {
      const guest = new Guest();
      guest.map(BASE, TARGET, ALL, level);
      guest.write(BASE, level, guest.read(BASE, level) | (1n << BigInt(bit)));
      if (bit === 12) expect(guest.cpu.load(BASE, 4)).toBe(0);
      else expect(errorCode(() => guest.cpu.load(BASE, 4))).toBe(PF_PRESENT | PF_RESERVED);
    }
  });

  test("PS in a PDPTE without 1 GiB pages, whatever it would map", () => {
    for (const page1g of [true, false]) {
      const guest = new Guest({ features: { page1g } });
      guest.map(BASE, TARGET, ALL, 3);
      if (page1g) expect(guest.cpu.load(BASE, 4)).toBe(0);
      else expect(errorCode(() => guest.cpu.load(BASE, 4))).toBe(PF_PRESENT | PF_RESERVED);
    }
  });

  test("PS in a PML4E or PML5E; in a PDPTE without 1 GiB pages", () => {
    const guest = new Guest({ preset: "zen4", pagingLevels: 5, features: { page1g: false } });
    for (const level of [3, 4, 5]) {
      guest.map(BASE, TARGET);
      const was = guest.read(BASE, level);
      guest.write(BASE, level, was | 0x80n);
      guest.cpu.flushTlbAll();
      expect(errorCode(() => guest.cpu.load(BASE, 4))).toBe(PF_PRESENT | PF_RESERVED);
      guest.write(BASE, level, was);
    }
  });

  test("XD, at every level, while EFER.NXE = 0; the fetch bit of the error code needs NXE or SMEP", () => {
    for (let level = 1; level <= 4; level++) {
      const guest = new Guest({ features: { nx: false } });
      guest.map(BASE, TARGET);
      guest.write(BASE, level, guest.read(BASE, level) | (1n << 63n));
      expect(errorCode(() => guest.cpu.fetch(BASE, 4))).toBe(PF_PRESENT | PF_RESERVED);
      guest.cpu.writeCr4(guest.cpu.cr4 + CR4_SMEP);
      expect(errorCode(() => guest.cpu.fetch(BASE, 4))).toBe(PF_PRESENT | PF_RESERVED | PF_FETCH);
    }
  });

  test("ignored bits 52 to 58 and 9 to 11, and 59 to 62 without protection keys, do nothing", () => {
    const guest = new Guest();
    guest.map(BASE, TARGET);
    const ignored = (0x7f_ffn << 48n) | 0xe00n;
    for (let level = 1; level <= 4; level++) {
      guest.write(BASE, level, guest.read(BASE, level) | (ignored & ~(0xfn << 48n)));
    }
    guest.cpu.flushTlbAll();
    expect(guest.cpu.load(BASE, 4)).toBe(0);
  });
});

describe("access rights combine over all levels", () => {
  test.each([1, 2, 3, 4])("R/W = 0, U/S = 0 or XD = 1 at level %i alone decides", (level) => {
    const guest = new Guest();
    guest.map(BASE, TARGET);
    const entry = guest.read(BASE, level);
    const { cpu } = guest;
    guest.write(BASE, level, entry & ~BigInt(PTE_RW));
    expect(errorCode(() => cpu.store(BASE, 4, 1))).toBe(PF_PRESENT | PF_WRITE);
    guest.write(BASE, level, entry & ~BigInt(PTE_USER));
    cpu.invlpg(BASE);
    cpu.setCpl(3);
    expect(errorCode(() => cpu.load(BASE, 4))).toBe(PF_PRESENT | PF_USER);
    cpu.setCpl(0);
    guest.write(BASE, level, entry | (1n << 63n));
    cpu.invlpg(BASE);
    expect(errorCode(() => cpu.fetch(BASE, 4))).toBe(PF_PRESENT | PF_FETCH);
    expect(cpu.load(BASE, 4)).toBe(0);
  });

  test("SMAP: an explicit supervisor access to a user page needs EFLAGS.AC, an implicit one is always refused", () => {
    const guest = new Guest();
    const { cpu } = guest;
    guest.map(BASE, TARGET);
    guest.map(BASE + 4096, TARGET, ALL & ~PTE_USER);
    cpu.load(BASE, 4);
    cpu.writeCr4(cpu.cr4 + CR4_SMAP);
    expect(errorCode(() => cpu.load(BASE, 4))).toBe(PF_PRESENT);
    expect(errorCode(() => cpu.store(BASE, 4, 0))).toBe(PF_PRESENT | PF_WRITE);
    expect(errorCode(() => cpu.loadAs(3, BASE, 4))).toBe(PF_PRESENT);
    cpu.setAlignmentCheck(true);
    expect(cpu.load(BASE, 4)).toBe(0);
    expect(errorCode(() => cpu.loadAs(3, BASE, 4))).toBe(PF_PRESENT);
    expect(errorCode(() => cpu.storeAs(4, BASE, 4, 0))).toBe(PF_PRESENT | PF_WRITE);
    cpu.setCpl(3);
    expect(errorCode(() => cpu.loadAs(3, BASE, 4))).toBe(PF_PRESENT);
    expect(cpu.loadAs(3, BASE + 4096, 4)).toBe(0);
    expect(cpu.fetch(BASE, 4)).toBe(0);
  });
});

describe("A and D (SDM 4.8)", () => {
  test.each([1, 2, 3])("a read sets A at every level, a write D in the leaf only (level %i)", (level) => {
    const guest = new Guest();
    guest.map(BASE, TARGET, ALL, level);
    guest.cpu.load(BASE, 4);
    for (let at = level; at <= 4; at++) expect(guest.flags(BASE, at)).toEqual({ accessed: true, dirty: false });
    guest.cpu.store(BASE, 4, 1);
    for (let at = level; at <= 4; at++) expect(guest.flags(BASE, at)).toEqual({ accessed: true, dirty: at === level });
  });

  test("a write through a translation that a read cached with D = 0 walks again and sets D; the next does not walk", () => {
    const guest = new Guest();
    guest.map(BASE, TARGET);
    guest.cpu.load(BASE, 4);
    guest.cpu.store(BASE, 4, 1);
    expect(guest.flags(BASE, 1).dirty).toBe(true);
    expect(guest.cpu.counters()["dtlb_store_misses.walk_completed"]).toBe(1);
    guest.cpu.store(BASE, 4, 2);
    expect(guest.cpu.counters()["dtlb_store_misses.walk_completed"]).toBe(1);
  });

  test("an access that is refused sets neither in the leaf", () => {
    const guest = new Guest();
    guest.map(BASE, TARGET, 1);
    expect(errorCode(() => guest.cpu.store(BASE, 4, 1))).toBe(PF_PRESENT | PF_WRITE);
    expect(guest.flags(BASE, 1)).toEqual({ accessed: false, dirty: false });
    expect(guest.flags(BASE, 2).accessed).toBe(true);
  });

  test("software that clears A or D sees it set again only once the translation is gone", () => {
    const guest = new Guest();
    guest.map(BASE, TARGET);
    guest.cpu.store(BASE, 4, 1);
    guest.map(BASE, TARGET);
    guest.cpu.store(BASE, 4, 1);
    expect(guest.flags(BASE, 1)).toEqual({ accessed: false, dirty: false });
    guest.cpu.invlpg(BASE);
    guest.cpu.store(BASE, 4, 1);
    expect(guest.flags(BASE, 1)).toEqual({ accessed: true, dirty: true });
  });
});

describe("accesses that cross pages", () => {
  test("a store whose second page faults writes nothing; CR2 is the second page", () => {
    const guest = new Guest();
    guest.map(BASE, TARGET);
    guest.map(BASE + 4096, TARGET + 2 ** 21, 1);
    for (const sizeBytes of [2, 3, 4]) {
      const fault = thrown(PageFault, () => guest.cpu.store(BASE + 4095, sizeBytes, 0x0102_0304));
      expect([fault.linearAddress, fault.errorCode]).toEqual([BASE + 4096, PF_PRESENT | PF_WRITE]);
      expect(guest.memory.readByte(TARGET / 4096, 4095)).toBe(0);
    }
    expect(thrown(PageFault, () => guest.cpu.store64(BASE + 4092, 0n)).linearAddress).toBe(BASE + 4096);
  });

  test("bytes go to both pages, wherever they are, and count as one access", () => {
    const guest = new Guest();
    guest.map(BASE, TARGET);
    guest.map(BASE + 4096, TARGET + 2 ** 22);
    guest.cpu.store64(BASE + 4091, 0x0807_0605_0403_0201n);
    expect(guest.memory.readByte(TARGET / 4096, 4095)).toBe(5);
    expect(guest.memory.readByte((TARGET + 2 ** 22) / 4096, 0)).toBe(6);
    expect(guest.cpu.load64(BASE + 4091)).toBe(0x0807_0605_0403_0201n);
    expect(guest.cpu.load(BASE + 4094, 4)).toBe(0x0706_0504);
    expect(guest.cpu.counters()["dTLB-stores"]).toBe(1);
    expect(guest.cpu.counters()["dTLB-loads"]).toBe(2);
  });

  test("into the non-canonical range: #GP; around the end of the address space: the first page", () => {
    const guest = new Guest();
    guest.map(2 ** 47 - 4096, TARGET);
    guest.map(2 ** 48 - 4096, TARGET);
    guest.map(0, TARGET + 4096);
    expect(() => guest.cpu.load(2 ** 47 - 2, 4)).toThrow(GeneralProtectionFault);
    guest.cpu.store(2 ** 48 - 2, 4, 0x0403_0201);
    expect(guest.memory.readByte(TARGET / 4096 + 1, 1)).toBe(4);
  });
});

describe("addresses", () => {
  test("a bigint that is not canonical is a #GP, one that is reaches the 48-bit address", () => {
    const guest = new Guest();
    guest.map(2 ** 48 - 4096, TARGET);
    guest.mark(TARGET, 77);
    expect(guest.cpu.load(0xffff_ffff_ffff_f000n, 4)).toBe(77);
    for (const address of [0x8000_0000_0000n, 0xfffe_ffff_ffff_ffffn, 1n << 63n]) {
      expect(() => guest.cpu.load(address, 4)).toThrow(GeneralProtectionFault);
      expect(() => guest.cpu.store(address, 4, 0)).toThrow(GeneralProtectionFault);
      expect(() => guest.cpu.fetch(address, 4)).toThrow(GeneralProtectionFault);
    }
  });

  test("a number that is no linear address, or a size that is none, is a mistake of the caller", () => {
    const { cpu } = new Guest();
    for (const la of [-1, 0.5, 2 ** 48, Number.NaN]) {
      expect(() => cpu.load(la, 4)).toThrow(MachineUsageError);
      expect(() => cpu.touch(la)).toThrow(MachineUsageError);
    }
    for (const size of [0, 5, 1.5]) expect(() => cpu.load(BASE, size)).toThrow(MachineUsageError);
    expect(thrown(MachineUsageError, () => cpu.load64(BASE, 9)).message).toBe("access size: 9: expected 1 to 8 bytes");
  });

  test("where no memory answers, loads read ones and stores vanish; tables there are full of reserved bits", () => {
    const guest = new Guest({ preset: "zen4", memoryBytes: 2 ** 30 });
    guest.map(BASE, 2 ** 40);
    guest.map(BASE + 4096, 2 ** 51);
    guest.cpu.store(BASE, 4, 5);
    expect(guest.cpu.load(BASE, 4)).toBe(0xffff_ffff);
    expect(guest.cpu.touch(BASE + 4096 + 12)).toBe(2 ** 51 + 12);
    expect(guest.cpu.touch(BASE + 4096 + 16)).toBe(2 ** 51 + 16);
    guest.write(BASE, 3, (1n << 40n) | 7n);
    guest.cpu.invlpg(BASE);
    expect(errorCode(() => guest.cpu.load(BASE, 4))).toBe(PF_PRESENT | PF_RESERVED);
  });
});

test("five levels walk one table more over the same addresses, upper half and lower", () => {
  const guest = new Guest({ preset: "zen4", pagingLevels: 5 });
  guest.map(BASE, TARGET);
  guest.map(2 ** 48 - 2 ** 21, TARGET + 4096);
  guest.mark(TARGET, 5);
  guest.mark(TARGET + 4096, 6);
  expect([guest.cpu.load(BASE, 4), guest.cpu.load(2 ** 48 - 2 ** 21, 4)]).toEqual([5, 6]);
  expect(guest.memory.readWord(guest.root, 0) & 0x20).toBe(0x20);
  expect(guest.memory.readWord(guest.root, 511 * 2) & 0x20).toBe(0x20);
  expect(guest.cpu.probe(BASE).levels.map(({ name }) => name)).toEqual(["PML5E", "PML4E", "PDPTE", "PDE", "PTE"]);
});

test("what a load reads is what memory holds where probe says, for random pages of all sizes", () => {
  const page = fc.record({
    slot: fc.nat(7),
    level: fc.constantFrom(1, 2, 3),
    target: fc.nat(7),
    offset: fc.nat(2 ** 30 - 4),
  });
  fc.assert(
    fc.property(fc.array(page, { minLength: 1, maxLength: 40 }), (pages) => {
      const guest = new Guest();
      for (const { slot, level, target, offset } of pages) {
        const la = BASE + slot * 2 ** 30;
        guest.write(la, 3, 0n);
        guest.map(la, target * 2 ** 30, ALL, level);
        guest.cpu.invlpg(la);
        const at = la + (offset % LEAF_BYTES[level]);
        const { physical } = guest.cpu.probe(at);
        expect(physical).toBe(target * 2 ** 30 + (offset % LEAF_BYTES[level]));
        expect(guest.cpu.touch(at)).toBe(physical);
        expect(guest.cpu.touch(at)).toBe(physical);
      }
    }),
    { numRuns: 50 },
  );
});
