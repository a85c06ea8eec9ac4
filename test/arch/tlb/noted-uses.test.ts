/** After a flush, sets whose pages all are in the TLBs without flushes too note uses; these TLBs are told before anything depends on them. */
import { describe, expect, test } from "vitest";
import { type Cpu, PRESETS } from "../../../arch/index.ts";
import type { FlushAttribution } from "../../../arch/tlb/flush-attribution.ts";
import type { NotedUses } from "../../../arch/tlb/noted-uses.ts";
import { attributionState, takeGeneralPath } from "../fast-path/compare.ts";
import { makeGuest } from "../fast-path/programs.ts";
import { BASE, type Guest } from "../guest.ts";

/** Pages that all first levels hold, and pages that they do not. */
const FEW = 16;
const SOME = 256;
const ALL_PAGES = 1024;
const ROUNDS = 200;

function loop({ cpu }: Guest, pages: number, rounds: number): void {
  for (let round = 0; round < rounds; round++) for (let i = 0; i < pages; i++) cpu.load(BASE + i * 4096, 4);
}

/** A guest after a flush of everything that was not used last, while its TLBs without flushes are full. */
function afterFlush(preset: string, isGeneral = false): { guest: Guest; attribution: FlushAttribution } {
  const guest = makeGuest(preset);
  const attribution = guest.cpu.attributeFlushes();
  if (isGeneral) takeGeneralPath(guest);
  loop(guest, ALL_PAGES, 3);
  attribution.currentFlush = 1;
  guest.cpu.flushTlbAll();
  attribution.currentFlush = 0;
  return { guest, attribution };
}

function usesOf(attribution: FlushAttribution, { mmu }: Cpu, level: "first" | "second"): NotedUses {
  return attribution.setsOf(mmu.tlbs.tlbsByKind()[0][level][0][0]).uses;
}

describe.each(PRESETS)("$name", ({ name }) => {
  test.each([
    ["first", FEW],
    ["second", SOME],
  ] as const)(
    "a loop over pages that the %s level holds notes uses, until one of its pages is flushed",
    (level, pages) => {
      const { guest, attribution } = afterFlush(name);
      const uses = usesOf(attribution, guest.cpu, level);
      expect(uses.trailing).toBe(0);
      loop(guest, pages, ROUNDS);
      expect(uses.trailing).toBeGreaterThan(0);
      for (let i = 0; i < pages; i++) guest.cpu.invlpg(BASE + i * 4096);
      expect(uses.trailing).toBe(0);
    },
  );

  test.each([
    ["first", FEW],
    ["second", SOME],
  ] as const)("what uses of the %s level leave behind is what they leave when each is told", (_, pages) => {
    const [noted, told] = [false, true].map((isGeneral) => {
      const { guest, attribution } = afterFlush(name, isGeneral);
      loop(guest, pages, ROUNDS);
      for (let i = pages - 1; i > 0; i -= 3) guest.cpu.load(BASE + i * 4096, 4);
      for (let i = 0; i < pages; i += 2) guest.cpu.load(BASE + i * 4096, 4);
      return attributionState(attribution);
    });
    expect(noted).toEqual(told);
  });
});
