/** The G bit of a leaf and CR4.PGE (Intel SDM vol. 3A, 4.10.2.4; AMD APM vol. 2, 5.5.2), on both of the walk's paths. */
import { describe, expect, test } from "vitest";
import { CR4_PGE, cachedTranslations, PRESETS } from "../../../arch/index.ts";
import { ALL, BASE, GLOBAL, Guest } from "../guest.ts";

const OLD = 2 ** 30;
const NEW = 2 ** 31;
const LEVELS = [
  ["4 KiB", 1],
  ["2 MiB", 2],
  ["1 GiB", 3],
] as const;

describe.each(PRESETS.map(({ name }) => name))("%s", (preset) => {
  test.each(LEVELS)("a page of %s with G = 1 outlives MOV to CR3 with CR4.PGE = 1, and no other way", (_, level) => {
    for (const pge of [true, false]) {
      for (const global of [true, false]) {
        const guest = new Guest({ preset, memoryBytes: 2 ** 34 });
        const { cpu } = guest;
        if (!pge) cpu.writeCr4(cpu.cr4 - CR4_PGE);
        guest.mark(OLD, 1);
        guest.mark(NEW, 2);
        guest.map(BASE, OLD, global ? ALL | GLOBAL : ALL, level);
        cpu.load(BASE, 4);
        guest.map(BASE, NEW, global ? ALL | GLOBAL : ALL, level);
        cpu.writeCr3(cpu.cr3);
        expect(cpu.load(BASE, 4), `PGE ${pge}, G ${global}`).toBe(pge && global ? 1 : 2);
        expect(cpu.probe(BASE).global).toBe(pge && global);
      }
    }
  });

  test("no translation is global while CR4.PGE = 0, whichever path walks for it; with PGE = 1 those with G = 1 are", () => {
    for (const pge of [true, false]) {
      const guest = new Guest({ preset });
      const { cpu } = guest;
      if (!pge) cpu.writeCr4(cpu.cr4 - CR4_PGE);
      // The first page of each table is walked for by the general path, most others by the short one.
      for (let page = 0; page < 64; page++) guest.map(BASE + page * 4096, OLD + page * 4096, ALL | GLOBAL | 0x60);
      for (let round = 0; round < 2; round++) {
        for (let page = 0; page < 64; page++) {
          cpu.load(BASE + page * 4096, 4);
          cpu.store(BASE + page * 4096, 4, page);
        }
      }
      const globals = cachedTranslations(cpu).filter(({ pcid }) => pcid === null);
      expect(globals.length > 0, `PGE ${pge}`).toBe(pge);
      cpu.writeCr3(cpu.cr3);
      expect(cachedTranslations(cpu).length > 0, `PGE ${pge}`).toBe(pge);
    }
  });
});
