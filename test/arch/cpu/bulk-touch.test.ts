/** Many translations at once leave the state that as many by themselves leave. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MUST_HIT } from "../../../arch/cpu/bulk-touch.ts";
import { type Access, PageFault, PRESETS } from "../../../arch/index.ts";
import { captureWalkCacheLines } from "../../../arch/tlb/walk-cache-lines.ts";
import { attributionState, hardwareState } from "../fast-path/compare.ts";
import { close, makeGuest, spread } from "../fast-path/programs.ts";
import { BASE } from "../guest.ts";

/** A reference: kind, page and byte in it. Few pages, so that most hit, or more than any TLB holds. */
const reference = fc.tuple(fc.nat(2), fc.oneof(fc.nat(20), fc.nat(2500)), fc.nat(4095));
const references = fc.array(reference, { minLength: 1, maxLength: 3000 });

describe.each(PRESETS)("bulk translations on $name", (preset) => {
  it.each([
    ["", false],
    [" while an attribution watches", true],
  ])("are those of touchAs one by one, faults, counters, clock and TLBs too%s", (_, isWatched) => {
    fc.assert(
      fc.property(references, fc.constantFrom(close, spread), fc.nat(1), (all, laOf, bits) => {
        const bulk = makeGuest(preset, laOf);
        const single = makeGuest(preset, laOf);
        const attributions = isWatched ? [bulk, single].map(({ cpu }) => cpu.attributeFlushes()) : [];
        const kinds = Uint8Array.from(all, ([kind]) => kind | (bits << 2));
        const addresses = Float64Array.from(all, ([, page, byte]) => laOf(page) + byte);
        const faults: number[] = [];
        for (let at = 0; at < all.length; at++) {
          at = bulk.cpu.bulk.touch(kinds, addresses, at, all.length);
          if (at < all.length) faults.push(at);
        }
        const expected: number[] = [];
        all.forEach(([kind], i) => {
          try {
            single.cpu.touchAs(kind as Access, addresses[i]);
          } catch (error) {
            if (!(error instanceof PageFault)) throw error;
            expected.push(i);
          }
        });
        expect(faults).toEqual(expected);
        expect(bulk.cpu.counters()).toEqual(single.cpu.counters());
        expect(bulk.machine.loop.clockCycles[0]).toBe(single.machine.loop.clockCycles[0]);
        expect(hardwareState(bulk)).toEqual(hardwareState(single));
        const [bulkLines, singleLines] = [bulk, single].map(({ cpu }) => captureWalkCacheLines([cpu.mmu.walkCaches]));
        expect(bulkLines).toEqual(singleLines);
        const [ofBulk, ofSingle] = attributions.map(attributionState);
        expect(ofBulk).toEqual(ofSingle);
      }),
      { numRuns: 3 },
    );
  });
});

it("a reference that faults is told by its index, and is made again from there", () => {
  const { cpu } = makeGuest("skylake", close);
  const unmapped = BASE + 2 ** 40;
  const addresses = Float64Array.of(BASE, BASE + 4096, unmapped, BASE);
  const kinds = Uint8Array.of(0, 1, 0, 2);
  expect(cpu.bulk.touch(kinds, addresses, 0, 4)).toBe(2);
  expect(cpu.cr2).toBe(unmapped);
  expect(cpu.bulk.touch(kinds, addresses, 3, 4)).toBe(4);
});

it("a reference that must hit and is not predicted to is not made, nor those after it", () => {
  const { cpu } = makeGuest("skylake", close);
  const addresses = Float64Array.of(BASE, BASE, BASE + 4096, BASE);
  const kinds = Uint8Array.of(0, MUST_HIT, MUST_HIT, MUST_HIT);
  expect(cpu.bulk.touch(kinds, addresses, 0, 4)).toBe(~2);
  expect(cpu.counters()["dTLB-loads"]).toBe(2);
  cpu.bulk.repeatHits(3, 0, 0);
  expect(cpu.counters()["dTLB-loads"]).toBe(5);
});
