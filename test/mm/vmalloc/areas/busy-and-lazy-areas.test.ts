import fc from "fast-check";
import { expect, it } from "vitest";
import { KernelLog, VMALLOC_START, VmapAreas } from "../../../../mm/index.ts";
import { AreasByStart } from "../../../../mm/vmalloc/areas/areas-by-start.ts";
import { BusyAreas } from "../../../../mm/vmalloc/areas/busy-areas.ts";
import { LazyAreas } from "../../../../mm/vmalloc/areas/lazy-areas.ts";
import type { VmapAreas as Areas } from "../../../../mm/vmalloc/areas/vmap-areas.ts";
import { VmapZones } from "../../../../mm/vmalloc/areas/vmap-zones.ts";

const PAGE = 4096;
const PAGES = 200;

function listed(areas: Areas, head: number): number[] {
  const found: number[] = [];
  for (let area = areas.nextOf(head); area !== head; area = areas.nextOf(area)) found.push(areas.startOf(area));
  return found;
}

/** The busy areas of `nodes` nodes with zones of 16 pages. */
function busyOf(
  areas: Areas,
  nodes: number,
  log = new KernelLog(),
): { all: BusyAreas[]; of: (la: number) => BusyAreas } {
  const zones = new VmapZones(16 * PAGE, nodes);
  const parts = { areas, log, zones, starts: new AreasByStart() };
  const all = Array.from({ length: nodes }, (_, id) => new BusyAreas(parts, id));
  return { all, of: (la) => all[zones.nodeIdOf(la)] };
}

/** What is done at a page: 0 to 5 insert that many pages and one, or free there; 6 to 8 look in three ways; 9 at the tree. */
const steps = fc.array(fc.record({ page: fc.nat(PAGES - 1), what: fc.nat(9) }), { maxLength: 400 });

it.each([
  ["near the start of the range", VMALLOC_START, 1],
  ["beyond the table of starts", VMALLOC_START + 2 ** 34, 1],
  ["across the end of the table", VMALLOC_START + 2 ** 34 - 100 * PAGE, 1],
  ["of four nodes", VMALLOC_START, 4],
  ["of three nodes", VMALLOC_START, 3],
  ["of four nodes across the end of the table", VMALLOC_START + 2 ** 34 - 100 * PAGE, 4],
])("busy areas are found as a plain list of them says, %s", (_, base, nodes) => {
  fc.assert(
    fc.property(steps, (todo) => {
      const areas = new VmapAreas();
      const { all: busy, of } = busyOf(areas, nodes);
      const model: { start: number; end: number; area: number }[] = [];
      for (const { page, what } of todo) {
        const start = base + page * PAGE;
        const at = model.findIndex((each) => start >= each.start && start < each.end);
        const there = model[at];
        if (what > 5) {
          // Each node is asked, and knows of the areas that start in its zones.
          for (const node of busy) {
            const own = model.filter((each) => of(each.start) === node).sort((a, b) => a.start - b.start);
            const found = there !== undefined && own.includes(there) ? there.area : 0;
            const above = own.find(({ end }) => end > start);
            if (what === 6) expect(node.__findVmapArea(start + 8)).toBe(found);
            if (what === 7) expect(node.findStart(start)).toBe(there?.start === start ? found : 0);
            if (what === 8) expect(node.__findVmapAreaExceedAddr(start)).toBe(above?.area ?? 0);
            if (what === 9) expect(listed(areas, node.tree.head)).toEqual(own.map((each) => each.start));
          }
        } else if (there !== undefined) {
          model.splice(at, 1);
          of(there.start).unlinkVa(there.area);
          areas.release(there.area);
        } else {
          const end = start + (what + 1) * PAGE;
          if (model.some((each) => each.start < end && each.end > start)) continue;
          const area = areas.make(start, end);
          of(start).insertVmapArea(area);
          model.push({ start, end, area });
        }
      }
    }),
  );
});

it.each([1, 4])(
  "busy areas that came and went by the thousand are all in the trees as soon as these are looked at, each once, of %i nodes",
  (nodes) => {
    const areas = new VmapAreas();
    const { all, of } = busyOf(areas, nodes);
    const make = (slot: number): number =>
      areas.make(VMALLOC_START + 2 * slot * PAGE, VMALLOC_START + (2 * slot + 1) * PAGE);
    const live = Array.from({ length: 3000 }, (_, slot) => make(slot));
    const busyOfSlot = (slot: number): BusyAreas => of(areas.startOf(live[slot]));
    for (const [slot, area] of live.entries()) busyOfSlot(slot).insertVmapArea(area);
    for (let round = 0; round < 3; round++) {
      // Freed in one order and taken again in another, so that areas change their places.
      for (let i = 0; i < 6000; i++) {
        const [one, other] = [(i * 7) % 3000, (i * 11 + round) % 3000];
        if (one === other) continue;
        for (const slot of [one, other]) {
          busyOfSlot(slot).unlinkVa(live[slot]);
          areas.release(live[slot]);
        }
        for (const slot of [one, other]) {
          live[slot] = make(slot);
          busyOfSlot(slot).insertVmapArea(live[slot]);
        }
      }
      for (const node of all) {
        const own = live.map((area) => areas.startOf(area)).filter((start) => of(start) === node);
        expect(listed(areas, node.tree.head)).toEqual(own);
      }
      expect(live.every((area, slot) => busyOfSlot(slot).findStart(areas.startOf(area)) === area)).toBe(true);
    }
  },
);

it("a busy area that overlaps another is warned of and left out when the tree is looked at", () => {
  const areas = new VmapAreas();
  const log = new KernelLog();
  const [busy] = busyOf(areas, 1, log).all;
  const first = areas.make(VMALLOC_START, VMALLOC_START + 4 * PAGE);
  busy.insertVmapArea(first);
  busy.insertVmapArea(areas.make(VMALLOC_START + 2 * PAGE, VMALLOC_START + 3 * PAGE));
  expect(listed(areas, busy.tree.head)).toEqual([VMALLOC_START]);
  expect(log.lines.join("\n")).toContain("overlaps with");
  expect(busy.__findVmapArea(VMALLOC_START + 2 * PAGE)).toBe(first);
});

it.each([
  ["near each other", PAGE],
  ["a gigabyte apart", 2 ** 30],
  ["so far apart that the tree puts them in order", 2 ** 40],
])("lazily freed areas are taken out by address, %s", (_, distance) => {
  const any = fc.uniqueArray(fc.nat(500), { maxLength: 300 });
  const order = fc.oneof(
    any,
    any.map((slots) => slots.sort((a, b) => a - b)),
  );
  fc.assert(
    fc.property(order, fc.nat(300), (slots, look) => {
      const areas = new VmapAreas();
      const lazy = new LazyAreas(areas, new KernelLog());
      const to = areas.makeListHead();
      for (let round = 0; round < 2; round++) {
        expect(lazy.isEmpty).toBe(true);
        slots.forEach((slot, i) => {
          lazy.insertVmapArea(areas.make(slot * distance, slot * distance + PAGE));
          if (i === look) lazy.tree.__findVmapArea(0);
        });
        const sorted = [...slots].sort((a, b) => a - b).map((slot) => slot * distance);
        if (round === 1 && slots.length > 0) expect(listed(areas, lazy.tree.head)).toEqual(sorted);
        lazy.detachAll(to);
        expect(listed(areas, to)).toEqual(sorted);
        while (!areas.listIsEmpty(to)) {
          const area = areas.nextOf(to);
          areas.listRemove(area);
          areas.release(area);
        }
      }
    }),
  );
});

it("a lazily freed area that overlaps another is warned of and left out", () => {
  const areas = new VmapAreas();
  const log = new KernelLog();
  const lazy = new LazyAreas(areas, log);
  const to = areas.makeListHead();
  for (const page of [4, 2, 3]) lazy.insertVmapArea(areas.make(page * PAGE, (page + (page === 2 ? 2 : 1)) * PAGE));
  lazy.detachAll(to);
  expect(listed(areas, to)).toEqual([2 * PAGE, 4 * PAGE]);
  expect(log.lines.join("\n")).toContain("overlaps with");
});

it("an area that overlaps another across the end of the table of starts is warned of and not found", () => {
  const areas = new VmapAreas();
  const [busy] = busyOf(areas, 1).all;
  const end = VMALLOC_START + 2 ** 34;
  const first = areas.make(end - PAGE, end + PAGE);
  busy.insertVmapArea(first);
  busy.insertVmapArea(areas.make(end - 2 * PAGE, end + 2 * PAGE));
  expect(busy.findStart(end - 2 * PAGE)).toBe(0);
  expect(busy.__findVmapArea(end + 8)).toBe(first);
});
