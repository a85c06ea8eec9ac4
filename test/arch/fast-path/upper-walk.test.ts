/** Walks of the fast path that begin above the PDE (arch/fast-path/upper-walk.ts) do what those of the general path do. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { PRESETS, type Preset } from "../../../arch/index.ts";
import { ALL, BASE, Guest } from "../guest.ts";
import { countGeneral, hardwareState, takeGeneralPath } from "./compare.ts";
import { access } from "./programs.ts";

const TARGET = 2 ** 24;
const ACCESSED = 0x20n;
const XD = 1n << 63n;
const PAGES = 32;
/** Four page tables to a page directory, two directories to a table above, and so on: walks begin at every level. */
const laOf = (page: number) =>
  BASE + (page & 3) * 2 ** 21 + ((page >> 2) & 1) * 2 ** 30 + ((page >> 3) & 1) * 2 ** 39 + (page >> 4) * 4096;

/** An entry on the way to a page gets other low bits: read-only, the supervisor's, A clear, PS or G where it may be reserved, not present. */
const changes = fc.array(
  fc.record({
    page: fc.nat(PAGES - 1),
    level: fc.constantFrom(2, 3, 4),
    bits: fc.constantFrom(0x27n, 0x25n, 0x23n, 0x27n | XD, 0x25n | XD, 0x07n, 0x127n, 0xa7n, 0x26n),
  }),
  { maxLength: 6 },
);
const accesses = fc.array(
  fc.record({ page: fc.nat(PAGES - 1), kind: fc.nat(2), user: fc.nat(9).map((n) => n === 0), invlpg: fc.boolean() }),
  { minLength: 1, maxLength: 60 },
);

/** A guest all of whose entries have A set, those of pages D too. */
function makeGuest(preset: Preset): Guest {
  const guest = new Guest({ preset, memoryBytes: 2 ** 30 });
  for (let page = 0; page < PAGES; page++) guest.map(laOf(page), TARGET + page * 4096, ALL | 0x60);
  for (let page = 0; page < PAGES; page++) {
    for (const level of [2, 3, 4]) guest.write(laOf(page), level, guest.read(laOf(page), level) | ACCESSED);
  }
  return guest;
}

test.each(PRESETS)("random entries of tables: same values, faults, counters, cycles, entries, $name", (preset) => {
  fc.assert(
    fc.property(changes, accesses, (entries, program) => {
      const [quick, general] = [makeGuest(preset), makeGuest(preset)];
      takeGeneralPath(general);
      const run = (guest: Guest): string[] => {
        for (const { page, level, bits } of entries) {
          const entry = guest.read(laOf(page), level);
          guest.write(laOf(page), level, (entry & 0xf_ffff_ffff_f000n) | bits);
        }
        return program.map(({ page, kind, user, invlpg }) => {
          if (invlpg) guest.cpu.invlpg(laOf(page));
          guest.cpu.setCpl(user ? 3 : 0);
          const seen = access(guest, kind, laOf(page));
          guest.cpu.setCpl(0);
          return seen;
        });
      };
      expect(run(quick)).toEqual(run(general));
      expect(quick.cpu.counters()).toEqual(general.cpu.counters());
      expect(quick.machine.loop.clockCycles[0]).toBe(general.machine.loop.clockCycles[0]);
      expect(hardwareState(quick)).toEqual(hardwareState(general));
    }),
    { numRuns: 30 },
  );
});

test.each(PRESETS)("the rights of a cached entry are those of all entries down to it and no more, $name", (preset) => {
  const states = [false, true].map((isGeneral) => {
    const guest = makeGuest(preset);
    const { cpu } = guest;
    if (isGeneral) takeGeneralPath(guest);
    guest.write(laOf(0), 3, guest.read(laOf(0), 3) & ~2n);
    guest.write(laOf(0), 2, guest.read(laOf(0), 2) | XD);
    const general = countGeneral(guest);
    const begun = [16, 0, 1, 4].map((page) => {
      cpu.load(laOf(page), 4);
      if (page === 16) cpu.invlpg(laOf(page));
      return general();
    });
    // The first access of a context is one of the general path.
    if (!isGeneral) expect(begun).toEqual([1, 1, 1, 1]);
    return hardwareState(guest);
  });
  expect(states[0]).toEqual(states[1]);
});
