/** A probe explains what an access would do: for any entries, it and the accesses themselves agree. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CR4_PGE, formatProbe, PageFault, PF_PRESENT, PF_RESERVED, type Vendor } from "../../../arch/index.ts";
import { BASE, Guest } from "../guest.ts";

const PRESET: Record<Vendor, string> = { intel: "sapphire-rapids", amd: "zen4" };
const LA = BASE + 0x1234_5678;

/** An entry that is plain in most of its bits, so that walks come to their end. */
const entryBits = fc.record({
  present: fc.nat(9).map((n) => n > 0),
  low: fc.nat(0xfff),
  plain: fc.boolean(),
  xd: fc.nat(3).map((n) => n === 0),
  key: fc.nat(15),
  reservedAddress: fc.nat(19).map((n) => n === 0),
  lowAddress: fc.nat(7).map((n) => (n === 0 ? 1 : 0)),
  large: fc.nat(3).map((n) => n === 0),
});

describe.each(["intel", "amd"] as const)("%s", (vendor) => {
  test.each([4, 5] as const)("with %i levels, a probe and the accesses agree on any entries", (levels) => {
    const setting = fc.record({ page1g: fc.boolean(), pge: fc.boolean() });
    fc.assert(
      fc.property(fc.array(entryBits, { minLength: 5, maxLength: 5 }), setting, (entries, { page1g, pge }) => {
        const guest = new Guest({
          preset: PRESET[vendor],
          pagingLevels: levels,
          maxPhyAddr: 40,
          memoryBytes: 2 ** 34,
          features: { page1g },
        });
        const { cpu } = guest;
        if (!pge) cpu.writeCr4(cpu.cr4 - CR4_PGE);
        guest.map(LA - (LA % 4096), 2 ** 30);
        for (let level = 1; level <= levels; level++) {
          const each = entries[level - 1];
          // Bit 12 and up of the address stay as they are, but for a leaf of its own.
          const large = each.large && (level === 2 || level === 3);
          const address = large ? (2n ** 32n) | (BigInt(each.lowAddress) << 13n) : guest.read(LA, level) & ~0xfffn;
          const low = BigInt(each.plain ? 7 : each.low & ~0x80) | (each.present ? 1n : 0n) | (large ? 0x80n : 0n);
          const high = (each.xd ? 1n << 63n : 0n) | (BigInt(each.key) << 59n) | (each.reservedAddress ? 1n << 45n : 0n);
          guest.write(LA, level, (each.present ? low : low & ~1n) | address | high);
        }
        const seen = cpu.probe(LA);
        const attempt = (access: () => unknown, cpl = 0): number => {
          cpu.invlpg(LA);
          cpu.setCpl(cpl);
          try {
            access();
            return -1;
          } catch (error) {
            if (error instanceof PageFault) return error.errorCode;
            throw error;
          } finally {
            cpu.setCpl(0);
          }
        };
        let physical = 0;
        const code = attempt(() => {
          physical = cpu.touch(LA);
        });
        expect(seen.outcome).toBe(
          code === -1 ? "mapped" : code === (PF_PRESENT | PF_RESERVED) ? "reserved bit" : "not present",
        );
        expect(formatProbe(seen).split("\n")).toHaveLength(seen.levels.length + 1);
        if (seen.outcome !== "mapped") {
          const last = seen.levels[seen.levels.length - 1];
          expect([seen.physical, last.leaf && last.reservedBits === 0n]).toEqual([null, false]);
          return;
        }
        expect(seen.physical).toBe(physical);
        expect(seen.writable).toBe(attempt(() => cpu.store(LA, 1, 0)) === -1);
        expect(seen.user).toBe(attempt(() => cpu.load(LA, 1), 3) === -1);
        expect(seen.executable).toBe(attempt(() => cpu.fetch(LA, 1)) === -1);
        expect(seen.global).toBe(pge && (seen.levels[seen.levels.length - 1].entry & 0x100n) !== 0n);
        expect(seen.levels.every(({ accessed }) => accessed)).toBe(
          seen.levels.every(({ entry }) => (entry & 0x20n) !== 0n),
        );
        expect(cpu.probe(LA).levels.every(({ accessed }) => accessed)).toBe(true);
      }),
      { numRuns: 150 },
    );
  });
});

test("the text of a probe names what there is to say", () => {
  const guest = new Guest({ preset: "sapphire-rapids" });
  guest.map(BASE, 2 ** 30);
  guest.write(BASE, 1, (1n << 63n) | (5n << 59n) | BigInt(2 ** 30 + 0x161));
  expect(formatProbe(guest.cpu.probe(BASE))).toBe(
    [
      "0x400000000000: 0x40000000, 4K, read-only, supervisor, no-execute, WB, dirty, global, shadow stack, key 5",
      "  PML4E [128] at 0x0000001400: 0x0000000000002007 P RW US x a",
      "  PDPTE [  0] at 0x0000002000: 0x0000000000003007 P RW US x a",
      "  PDE   [  0] at 0x0000003000: 0x0000000000004007 P RW US x a",
      "  PTE   [  0] at 0x0000004000: 0xa800000040000161 P ro sup XD A leaf",
    ].join("\n"),
  );
  guest.write(BASE, 3, guest.read(BASE, 3) | (1n << 7n));
  expect(formatProbe(guest.cpu.probe(2 ** 47)).split("\n")).toEqual([
    "0xffff800000000000: not present",
    "  PML4E [256] at 0x0000001800: 0x0000000000000000 not present",
  ]);
  expect(formatProbe(guest.cpu.probe(BASE))).toBe(
    [
      "0x400000000000: reserved bit",
      "  PML4E [128] at 0x0000001400: 0x0000000000002007 P RW US x a",
      "  PDPTE [  0] at 0x0000002000: 0x0000000000003087 P RW US x a reserved bits 0x2000 leaf",
    ].join("\n"),
  );
});
