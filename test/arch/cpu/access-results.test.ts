/** What accesses return and what they cost, on every path that an access can take: predicted, first level, second level, walk. */
import { describe, expect, test } from "vitest";
import {
  ACCESS_FETCH,
  ACCESS_IMPLICIT_LOAD,
  ACCESS_IMPLICIT_STORE,
  ACCESS_LOAD,
  ACCESS_STORE,
  cachedTranslations,
  PRESETS,
  type Preset,
} from "../../../arch/index.ts";
import { ALL, BASE, Guest } from "../guest.ts";

const TARGET = 2 ** 30;
/** Accessed and dirty: no walk has a bit to set. */
const BITS = ALL | 0x60;

/** Whether the second level holds pages of a level as they are, for every kind of access. */
function isInSecondLevel({ tlbs }: Preset, level: 1 | 2): boolean {
  const size = level === 1 ? "4K" : "2M";
  const kinds = tlbs.filter((tlb) => tlb.level === 2 && tlb.pageSizes.includes(size)).flatMap((tlb) => tlb.kinds);
  return ["load", "store", "fetch"].every((kind) => kinds.some((each) => each === kind));
}

describe.each(PRESETS.map((preset) => [preset.name, preset] as const))("%s", (_, preset) => {
  const { load, store, fetch } = preset.costs;

  test("a first-level hit costs what the preset says for its kind, again and again", () => {
    const guest = new Guest({ preset });
    const { cpu } = guest;
    const clock = guest.machine.loop.clockCycles;
    guest.map(BASE, TARGET, BITS);
    const kinds = [
      [load.value, () => cpu.load(BASE + 8, 4)],
      [load.value, () => cpu.load(BASE + 9, 1)],
      [load.value, () => cpu.load(BASE + 9, 3)],
      [load.value, () => cpu.load64(BASE + 16)],
      [load.value, () => cpu.touch(BASE + 5)],
      [load.value, () => cpu.loadAs(ACCESS_IMPLICIT_LOAD, BASE, 4)],
      [store.value, () => cpu.store(BASE + 8, 4, 1)],
      [store.value, () => cpu.store(BASE + 9, 1, 1)],
      [store.value, () => cpu.store(BASE + 9, 3, 1)],
      [store.value, () => cpu.store64(BASE + 16, 1n)],
      [store.value, () => cpu.touchAs(ACCESS_STORE, BASE)],
      [store.value, () => cpu.storeAs(ACCESS_IMPLICIT_STORE, BASE, 4, 1)],
      [fetch.value, () => cpu.fetch(BASE + 8, 4)],
      [fetch.value, () => cpu.fetch(BASE + 9, 1)],
      [fetch.value, () => cpu.touchAs(ACCESS_FETCH, BASE)],
    ] as const;
    for (const [, access] of kinds) access();
    for (let round = 0; round < 3; round++) {
      kinds.forEach(([cycles, access], number) => {
        const before = clock[0];
        access();
        expect(clock[0] - before, `access ${number}`).toBe(cycles);
      });
    }
  });

  const inSecond = ([1, 2] as const).filter((level) => isInSecondLevel(preset, level));
  test.each(inSecond)("a second-level hit adds what the preset says, for pages of level %i", (level) => {
    const guest = new Guest({ preset, memoryBytes: 2 ** 36 });
    const { cpu } = guest;
    const clock = guest.machine.loop.clockCycles;
    const bytes = level === 1 ? 4096 : 2 ** 21;
    const hits = (): number =>
      Object.entries(cpu.counters()).reduce((sum, [name, count]) => sum + (name.endsWith("stlb_hit") ? count : 0), 0);
    const accesses = [
      [load.value, (la: number) => cpu.load(la, 4)],
      [store.value, (la: number) => cpu.store(la, 4, 1)],
      [fetch.value, (la: number) => cpu.fetch(la, 4)],
    ] as const;
    const pages = 300;
    for (let page = 0; page < pages; page++) guest.map(BASE + page * bytes, 2 ** 32 + page * bytes, BITS, level);
    for (const [cycles, access] of accesses) {
      let seen = 0;
      for (let round = 0; round < 3; round++) {
        for (let page = 0; page < pages; page++) {
          const [before, hitsBefore] = [clock[0], hits()];
          access(BASE + page * bytes);
          if (hits() === hitsBefore) continue;
          seen++;
          expect(clock[0] - before).toBe(cycles + preset.costs.secondLevelHit.value);
        }
      }
      expect(seen).toBeGreaterThan(0);
    }
  });

  test("touch and touchAs return the physical address of the byte, whatever the caches hold", () => {
    const guest = new Guest({ preset, memoryBytes: 2 ** 34 });
    const { cpu } = guest;
    for (let page = 0; page < 8; page++) guest.map(BASE + page * 4096, TARGET + page * 8192, BITS);
    guest.map(BASE + 2 ** 21, TARGET + 2 ** 22, BITS, 2);
    guest.map(BASE + 2 ** 30, 2 ** 33, BITS, 3);
    for (let round = 0; round < 3; round++) {
      for (const access of [ACCESS_LOAD, ACCESS_STORE, ACCESS_FETCH, ACCESS_IMPLICIT_LOAD] as const) {
        for (const offset of [0, 1, 2, 5, 4095]) {
          for (let page = 0; page < 8; page++) {
            const physical = TARGET + page * 8192 + offset;
            expect(cpu.touchAs(access, BASE + page * 4096 + offset)).toBe(physical);
            expect(cpu.touch(BASE + page * 4096 + offset)).toBe(physical);
          }
          expect(cpu.touchAs(access, BASE + 2 ** 21 + 0x1_2000 + offset)).toBe(TARGET + 2 ** 22 + 0x1_2000 + offset);
          expect(cpu.touch(BASE + 2 ** 30 + 0x345_6000 + offset)).toBe(2 ** 33 + 0x345_6000 + offset);
        }
      }
    }
  });

  test("every size at every place in a word reads and writes just its bytes, predicted or not", () => {
    const guest = new Guest({ preset });
    const { cpu } = guest;
    guest.map(BASE, TARGET, BITS);
    guest.map(BASE + 4096, TARGET + 8192, BITS);
    const bytes = new Uint8Array(8192).map((_byte, i) => (i * 7 + 3) & 255);
    for (let i = 0; i < bytes.length; i++) cpu.store(BASE + i, 1, bytes[i]);
    const expected = (at: number, sizeBytes: number): number =>
      Array.from({ length: sizeBytes }, (_byte, i) => bytes[at + i] * 256 ** i).reduce((sum, each) => sum + each, 0);
    for (const at of [0, 1, 2, 3, 4, 5, 4090, 4092, 4093, 4094, 4095, 4096]) {
      for (const sizeBytes of [1, 2, 3, 4]) {
        expect(cpu.load(BASE + at, sizeBytes), `load ${sizeBytes} at ${at}`).toBe(expected(at, sizeBytes));
        expect(cpu.fetch(BASE + at, sizeBytes), `fetch ${sizeBytes} at ${at}`).toBe(expected(at, sizeBytes));
        const value = 0xa1b2_c3d4;
        cpu.store(BASE + at, sizeBytes, value);
        for (let i = 0; i < sizeBytes; i++) bytes[at + i] = (value >>> (8 * i)) & 255;
        for (let i = -2; i < 6; i++) {
          if (at + i >= 0) expect(cpu.load(BASE + at + i, 1), `byte ${at + i}`).toBe(bytes[at + i]);
        }
      }
    }
  });

  test("what is cached is listed with its size, frame and PCID, and no entry of a table is among it", () => {
    const guest = new Guest({ preset, memoryBytes: 2 ** 34 });
    const { cpu } = guest;
    guest.map(BASE, TARGET, BITS);
    guest.map(BASE + 2 ** 21, TARGET + 2 ** 22, BITS | 0x100, 2);
    cpu.load(BASE, 4);
    cpu.load(BASE + 2 ** 21 + 4096, 4);
    const listed = cachedTranslations(cpu);
    expect(listed.length).toBeGreaterThan(0);
    const forms = new Set(listed.map(({ la, sizeBytes, frame, pcid }) => `${la - BASE} ${sizeBytes} ${frame} ${pcid}`));
    // A second level that holds 4 KiB pages only has the piece of the larger one that was used.
    const pieces = isInSecondLevel(preset, 2) ? [] : [`${2 ** 21 + 4096} 4096 ${(TARGET + 2 ** 22) / 4096 + 1} null`];
    expect([...forms].sort()).toEqual(
      [`0 4096 ${TARGET / 4096} 0`, `${2 ** 21} ${2 ** 21} ${(TARGET + 2 ** 22) / 4096} null`, ...pieces].sort(),
    );
  });
});
