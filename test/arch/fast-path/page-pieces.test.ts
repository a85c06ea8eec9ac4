/** Pages of 1 GiB that the second level holds in pieces of 2 MiB, on the fast path: as on the general one, and as the page tables say. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  CR4_PCIDE,
  captureMachine,
  type MachineState,
  type Preset,
  presetByName,
  restoreMachine,
} from "../../../arch/index.ts";
import { ALL, BASE, GLOBAL, Guest } from "../guest.ts";
import { countGeneral, hardwareState, takeGeneralPath } from "./compare.ts";

const RUNS = Number(process.env.MMULAB_INPUTS ?? 8);
const GIGABYTE = 2 ** 30;
const PIECE = 2 ** 21;
const A_AND_D = 0x60;
/** Linear pages of 1 GiB, more than any first level holds; physical ones that they may be, of which the first is that of the tables. */
const PAGES = 100;
const FIRST_TARGET = 1;
const TARGETS = 3;

const skylake = presetByName("skylake");
const SHAPES: readonly Preset[] = [
  presetByName("zen2"),
  presetByName("zen5"),
  presetByName("haswell"),
  // Pieces of 4 KiB.
  presetByName("ivy-bridge"),
  // With a limited number of PCIDs, and a first level that a few pages of 1 GiB fill.
  {
    ...skylake,
    name: "skylake without L2 TLB 1G",
    tlbs: skylake.tlbs.filter(({ name }) => name !== "L2 TLB 1G"),
  },
];

const pageOf = (number: number): number => BASE + number * GIGABYTE;

/** What somebody does to a CPU whose pages are of 1 GiB. */
type Step =
  | {
      readonly do: "run";
      readonly first: number;
      readonly count: number;
      readonly kind: number;
      readonly part: number;
      readonly user: boolean;
    }
  | { readonly do: "small"; readonly count: number }
  | {
      readonly do: "remap";
      readonly page: number;
      readonly target: number;
      readonly bits: number;
      readonly part: number;
    }
  | { readonly do: "split"; readonly page: number; readonly target: number; readonly part: number }
  | { readonly do: "invlpg"; readonly page: number; readonly part: number }
  | { readonly do: "flush" }
  | { readonly do: "switch"; readonly pcid: number; readonly keep: boolean }
  | { readonly do: "restore" };

const page = fc.nat(PAGES - 1);
/** Which part of a page is accessed or named: parts are 13 pieces from each other. */
const PARTS = 32;
const PART = 13 * PIECE;
const part = fc.nat(PARTS - 1);
const target = fc.nat(TARGETS - 1);
const BITS = [ALL | A_AND_D, ALL | A_AND_D | GLOBAL, ALL | 0x20, ALL, (ALL | A_AND_D) & ~2, (ALL | A_AND_D) & ~4];
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("run" as const),
      first: page,
      count: fc.integer({ min: 1, max: 2 * PAGES }),
      kind: fc.nat(2),
      part,
      user: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("small" as const), count: fc.integer({ min: 1, max: 120 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("remap" as const),
      page,
      target,
      bits: fc.constantFrom(...BITS),
      part,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("split" as const), page, target, part }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("invlpg" as const), page, part }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("flush" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("switch" as const), pcid: fc.nat(5), keep: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restore" as const) }) },
);

const addressOf = (number: number, partOf: number): number =>
  pageOf(number) + (partOf % PARTS) * PART + ((number + partOf) & 127) * 4096;
const SMALL = BASE + 2 ** 42;

/** A guest of {@link PAGES} pages of 1 GiB and some small ones; what each of them is mapped to is known to the test. */
class PiecesGuest extends Guest {
  /** By page: the physical GiB of each of its pieces, as the tables say. */
  readonly targets = Array.from({ length: PAGES }, (_, i) => FIRST_TARGET + (i % TARGETS));
  private readonly directories = new Map<number, number>();

  constructor(preset: Preset) {
    super({ preset, memoryBytes: (FIRST_TARGET + TARGETS) * GIGABYTE });
    for (let i = 0; i < PAGES; i++) this.map(pageOf(i), this.targets[i] * GIGABYTE, BITS[i % 4], 3);
    for (let i = 0; i < PAGES; i++) this.write(pageOf(i), 4, this.read(pageOf(i), 4) | 0x20n);
    for (let i = 0; i < 120; i++) this.map(SMALL + i * 4096, FIRST_TARGET * GIGABYTE + i * 4096, ALL | A_AND_D);
    if (this.machine.features.pcid) this.cpu.writeCr4(this.cpu.cr4 + CR4_PCIDE);
  }

  /** Maps a page as 512 of 2 MiB, to another physical GiB. */
  split(number: number, to: number): void {
    const directory = this.directories.get(number) ?? this.table();
    this.directories.set(number, directory);
    this.write(pageOf(number), 3, BigInt(directory * 4096 + (ALL | 0x20)));
    for (let i = 0; i < 512; i += 13) this.map(pageOf(number) + i * PIECE, to * GIGABYTE + i * PIECE, ALL | A_AND_D, 2);
  }
}

/** Where an access of a kind went, or the fault. */
function access(guest: PiecesGuest, kind: number, la: number): string {
  try {
    return `${guest.cpu.touchAs(kind as 0 | 1 | 2, la)}`;
  } catch (error) {
    return (error as Error).message;
  }
}

function carryOut(guest: PiecesGuest, step: Step): string {
  const { cpu } = guest;
  switch (step.do) {
    case "run": {
      const seen: string[] = [];
      cpu.setCpl(step.user ? 3 : 0);
      for (let i = 0; i < step.count; i++) {
        const number = (step.first + i) % PAGES;
        const la = addressOf(number, step.part + number);
        const went = access(guest, step.kind, la);
        // Tables are invalidated whenever they change: what was reached is what they say.
        if (/^[0-9]+$/.test(went)) expect(Number(went)).toBe(guest.targets[number] * GIGABYTE + (la - pageOf(number)));
        seen.push(went);
      }
      cpu.setCpl(0);
      return seen.join(",");
    }
    case "small":
      for (let i = 0; i < step.count; i++) access(guest, i % 3, SMALL + i * 4096);
      return "";
    case "remap":
    case "split":
      guest.targets[step.page] = FIRST_TARGET + step.target;
      if (step.do === "split") guest.split(step.page, guest.targets[step.page]);
      else guest.map(pageOf(step.page), guest.targets[step.page] * GIGABYTE, step.bits, 3);
      // All PCIDs may hold it; the flush of one page by any part of it is that of the present PCID and of global ones.
      if (step.part > PARTS / 2) cpu.flushTlbAll();
      else forAllPcids(guest, () => cpu.invlpg(addressOf(step.page, step.part)));
      return "";
    case "invlpg":
      cpu.invlpg(addressOf(step.page, step.part));
      return "";
    case "flush":
      cpu.flushTlbAll();
      return "";
    case "switch":
      if (guest.machine.features.pcid) cpu.writeCr3(guest.root * 4096 + step.pcid, step.keep);
      else cpu.writeCr3(guest.root * 4096);
      return "";
    case "restore":
      saveAndRestore(guest);
      return "";
  }
}

function forAllPcids(guest: PiecesGuest, invalidate: () => void): void {
  const { cpu } = guest;
  const { cr3 } = cpu;
  const pcids = guest.machine.features.pcid ? [0, 1, 2, 3, 4, 5] : [0];
  for (const pcid of pcids) {
    if (guest.machine.features.pcid) cpu.writeCr3(guest.root * 4096 + pcid, true);
    invalidate();
  }
  if (guest.machine.features.pcid) cpu.writeCr3(cr3, true);
}

/** Brings the machine into the state that it is in, by way of a saved one. */
function saveAndRestore({ machine }: PiecesGuest): void {
  const saved: MachineState = structuredClone(captureMachine(machine, () => null));
  restoreMachine(machine, saved, () => {
    throw new Error("no work was queued");
  });
}

describe.each(SHAPES)("$name", (preset) => {
  test("random programs: the same places, faults, counters, cycles, entries and replacement state as on the general path, and what the tables say", () => {
    fc.assert(
      fc.property(fc.array(steps, { minLength: 1, maxLength: 40 }), (program) => {
        const [quick, general] = [new PiecesGuest(preset), new PiecesGuest(preset)];
        takeGeneralPath(general);
        for (const step of program) {
          expect(carryOut(quick, step)).toBe(carryOut(general, step));
        }
        expect(quick.cpu.counters()).toEqual(general.cpu.counters());
        expect(quick.machine.loop.clockCycles[0]).toBe(general.machine.loop.clockCycles[0]);
        expect(hardwareState(quick)).toEqual(hardwareState(general));
      }),
      { numRuns: RUNS },
    );
  });

  test("the fast path is what runs: hits of pieces, and walks that put them in", () => {
    const guest = new PiecesGuest(preset);
    const { cpu } = guest;
    for (let i = 0; i < PAGES; i++) guest.map(pageOf(i), FIRST_TARGET * GIGABYTE, ALL | A_AND_D, 3);
    const loop = () => {
      for (let i = 0; i < PAGES; i++) cpu.touch(addressOf(i, i));
    };
    loop();
    loop();
    const general = countGeneral(guest);
    const before = cpu.counters()["dtlb_load_misses.stlb_hit"];
    loop();
    expect(cpu.counters()["dtlb_load_misses.stlb_hit"] - before).toBeGreaterThan(PAGES / 4);
    // A page that the first level no longer holds, and a part of it that the second never held.
    const walks = cpu.counters()["dtlb_load_misses.walk_completed"];
    cpu.touch(addressOf(0, PARTS / 2));
    expect(cpu.counters()["dtlb_load_misses.walk_completed"] - walks).toBe(1);
    expect(general()).toBe(0);
  });

  test("INVLPG of any address of a page removes all of its pieces", () => {
    const guest = new PiecesGuest(preset);
    const { cpu } = guest;
    guest.map(pageOf(0), FIRST_TARGET * GIGABYTE, ALL | A_AND_D, 3);
    for (let round = 0; round < 8; round++) {
      cpu.touch(addressOf(0, round));
      // Out of the first level, so that the next part is walked for or found in pieces.
      for (let i = 0; i < 120; i++) cpu.touch(SMALL + i * 4096);
      for (let i = 1; i < 6; i++) cpu.touch(addressOf(i, 0));
    }
    const held = () => [0, 1, 2, 3, 4, 5, 6, 7].filter((i) => cpu.mmu.tlbs.holds([0], addressOf(0, i), 0));
    expect(held()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    cpu.invlpg(addressOf(0, 5));
    expect(held()).toEqual([]);
  });
});
