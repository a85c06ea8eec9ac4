/** Per-CPU lists of free frames: a run of frames goes onto the list of one zone, up to the first frame that is another zone's. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { CpuFrameLists, type FrameList, LIST_CAPACITY, pushRun } from "../../../mm/frames/frame-list.ts";
import { FRAME_CALLER, FRAME_FREE } from "../../../mm/frames/frame-uses.ts";
import { Zone } from "../../../mm/frames/zone.ts";

const FIRST_FRAME = 1024;
const FRAMES = 256;

function usedZone(): Zone {
  const zone = new Zone(1, FIRST_FRAME, FIRST_FRAME + FRAMES);
  while (zone.__rmqueueSmallest(0) !== 0);
  return zone;
}

it("a run is put on the list as far as its frames are the zone's and there is room, and only these are marked", () => {
  const frame = fc.oneof(
    { weight: 20, arbitrary: fc.integer({ min: FIRST_FRAME, max: FIRST_FRAME + FRAMES - 1 }) },
    fc.constantFrom(0, FIRST_FRAME - 1, FIRST_FRAME + FRAMES, 2 ** 31 - 1, 2 ** 32 - 1),
  );
  fc.assert(
    fc.property(
      fc.uniqueArray(frame, { maxLength: 60 }),
      fc.nat(5),
      fc.integer({ min: LIST_CAPACITY - 80, max: LIST_CAPACITY }),
      (run, skipped, alreadyThere) => {
        const zone = usedZone();
        const list: FrameList = { frames: new Uint32Array(LIST_CAPACITY), count: alreadyThere };
        const offset = Math.min(skipped, run.length);
        const wanted = run.slice(offset);
        const isForeign = (each: number) => each < FIRST_FRAME || each >= FIRST_FRAME + FRAMES;
        const firstForeign = wanted.findIndex(isForeign);
        const ofZone = firstForeign < 0 ? wanted : wanted.slice(0, firstForeign);
        const expected = ofZone.slice(0, LIST_CAPACITY - alreadyThere);

        const pushed = pushRun(zone, list, Uint32Array.from(run), offset, wanted.length, FRAME_CALLER);

        expect(pushed).toBe(expected.length);
        expect(list.count).toBe(alreadyThere + expected.length);
        expect([...list.frames.subarray(alreadyThere, list.count)]).toEqual(expected);
        const marked = Array.from(zone.use, (use, index) => (use === FRAME_CALLER ? FIRST_FRAME + index : 0)).filter(
          Boolean,
        );
        expect(marked).toEqual(expected.toSorted((a, b) => a - b));
        expect(zone.use.filter((use) => use !== FRAME_FREE && use !== FRAME_CALLER)).toHaveLength(0);
      },
    ),
  );
});

it("lists of all CPUs and zones are apart, each as long as it is filled, and the two arrays say what each list does", () => {
  const [cpus, zones] = [3, 2];
  const all = new CpuFrameLists(cpus, zones);
  const numberOf = (cpu: number, zone: number, i: number): number => 1 + i + LIST_CAPACITY * (zone + zones * cpu);
  const countOf = (cpu: number, zone: number): number => (zone === 0 ? LIST_CAPACITY : cpu);

  all.lists.forEach((ofZones, cpu) => {
    ofZones.forEach((list, zone) => {
      while (list.count < countOf(cpu, zone)) list.frames[list.count] = numberOf(cpu, zone, list.count++);
    });
  });

  for (let cpu = 0; cpu < cpus; cpu++) {
    for (let zone = 0; zone < zones; zone++) {
      const expected = Array.from({ length: countOf(cpu, zone) }, (_, i) => numberOf(cpu, zone, i));
      const { frames, count } = all.lists[cpu][zone];
      expect([...frames.subarray(0, count)]).toEqual(expected);
      expect(frames).toHaveLength(LIST_CAPACITY);
      const place = all.place(cpu, zone);
      expect(all.counts[place]).toBe(count);
      expect([...all.frames.subarray(all.begin(place), all.begin(place) + count)]).toEqual(expected);
    }
  }
});
