import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KernelLog } from "../../../../mm/lib/kernel-log.ts";
import { FreeTree } from "../../../../mm/vmalloc/areas/free-tree.ts";
import { VmapAreas } from "../../../../mm/vmalloc/areas/vmap-areas.ts";

const SPACE = 1 << 20;
const PAGE = 4096;

function freshTree(): { areas: VmapAreas; tree: FreeTree; log: KernelLog } {
  const areas = new VmapAreas();
  const log = new KernelLog();
  const tree = new FreeTree(areas, log);
  tree.insertVmapArea(areas.make(PAGE, SPACE * PAGE));
  return { areas, tree, log };
}

/** Checks order, colours, black height, parent links, list and augmentation; returns the gaps in address order. */
function checkTree(areas: VmapAreas, tree: FreeTree): [number, number][] {
  const gaps: [number, number][] = [];
  const visit = (node: number, parent: number): { blackHeight: number; max: number } => {
    if (node === 0) return { blackHeight: 1, max: 0 };
    expect(areas.parentOf(node)).toBe(parent);
    if (!areas.blackOf(node)) expect(parent !== 0 && areas.blackOf(parent)).toBeTruthy();
    const left = visit(areas.leftOf(node), node);
    gaps.push([areas.startOf(node), areas.endOf(node)]);
    const right = visit(areas.rightOf(node), node);
    expect(left.blackHeight).toBe(right.blackHeight);
    const max = Math.max(areas.sizeBytes(node), left.max, right.max);
    expect(areas.subtreeMaxSizeOf(node)).toBe(max);
    return { blackHeight: left.blackHeight + areas.blackOf(node), max };
  };
  visit(tree.root, 0);
  const listed: [number, number][] = [];
  for (let area = areas.nextOf(tree.head); area !== tree.head; area = areas.nextOf(area)) {
    listed.push([areas.startOf(area), areas.endOf(area)]);
  }
  expect(listed).toEqual(gaps);
  for (let i = 1; i < gaps.length; i++) expect(gaps[i][0]).toBeGreaterThan(gaps[i - 1][1]);
  return gaps;
}

/** Free space as a sorted list of gaps: slow and obviously right. */
class GapList {
  gaps: [number, number][] = [[PAGE, SPACE * PAGE]];

  alloc(size: number, align: number, vstart: number): number | null {
    for (const [start, end] of this.gaps) {
      const at = Math.ceil(Math.max(start, vstart) / align) * align;
      if (at + size <= end) return at;
    }
    return null;
  }

  take(at: number, size: number): void {
    this.gaps = this.gaps.flatMap(([start, end]): [number, number][] => {
      if (at < start || at >= end) return [[start, end]];
      const left: [number, number][] = at > start ? [[start, at]] : [];
      const right: [number, number][] = at + size < end ? [[at + size, end]] : [];
      return [...left, ...right];
    });
  }

  give(at: number, size: number): void {
    const sorted = [...this.gaps, [at, at + size] as [number, number]].sort((a, b) => a[0] - b[0]);
    this.gaps = [];
    for (const gap of sorted) {
      const last = this.gaps.at(-1);
      if (last !== undefined && last[1] === gap[0]) last[1] = gap[1];
      else this.gaps.push([gap[0], gap[1]]);
    }
  }
}

const step = fc.record({
  pages: fc.integer({ min: 1, max: 40 }),
  alignPages: fc.constantFrom(1, 1, 1, 2, 8, 64),
  fromPages: fc.constantFrom(0, 0, 0, 100, 5000),
  freeIndex: fc.option(fc.nat(), { nil: undefined }),
});

describe("the free tree", () => {
  it("stays ordered, balanced and augmented, and covers exactly what is free, under any sequence of calls", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const { areas, tree, log } = freshTree();
        const model = new GapList();
        const live: [number, number][] = [];
        for (const { pages, alignPages, fromPages, freeIndex } of steps) {
          if (freeIndex !== undefined && live.length > 0) {
            const [at, size] = live.splice(freeIndex % live.length, 1)[0];
            tree.mergeOrAddVmapArea(areas.make(at, at + size));
            model.give(at, size);
          } else {
            const size = pages * PAGE;
            const vend = SPACE * PAGE;
            const at = tree.__allocVmapArea(size, alignPages * PAGE, fromPages * PAGE, vend);
            if (alignPages === 1) expect(at).toBe(model.alloc(size, PAGE, fromPages * PAGE) ?? vend);
            if (at === vend) continue;
            expect(at % (alignPages * PAGE)).toBe(0);
            expect(at).toBeGreaterThanOrEqual(fromPages * PAGE);
            model.take(at, size);
            live.push([at, size]);
          }
          expect(checkTree(areas, tree)).toEqual(model.gaps);
        }
        expect(log.warnings).toBe(0);
        expect(areas.liveCount).toBe(model.gaps.length);
      }),
      { numRuns: 150 },
    );
  });

  it("fails a search whose chosen gap passes the window's end, even if another gap would do", () => {
    const { tree } = freshTree();
    const vend = 64 * PAGE;
    expect(tree.__allocVmapArea(60 * PAGE, PAGE, 8 * PAGE, vend)).toBe(vend);
    expect(tree.__allocVmapArea(56 * PAGE, PAGE, 8 * PAGE, vend)).toBe(8 * PAGE);
  });

  it("finds a gap of exactly the window of an aligned request, with no room to move it in", () => {
    const align = 64 * PAGE;
    for (const size of [64 * PAGE, 16 * PAGE]) {
      const { areas, tree } = freshTree();
      // One gap of exactly the size, at an aligned address, below a root that has no room.
      tree.vaClip(tree.root, PAGE, (SPACE - 1) * PAGE);
      tree.mergeOrAddVmapArea(areas.make(10 * PAGE, 11 * PAGE));
      tree.mergeOrAddVmapArea(areas.make(4 * align, 4 * align + size));
      tree.mergeOrAddVmapArea(areas.make(2 * PAGE, 3 * PAGE));
      expect(tree.__allocVmapArea(size, align, 0, SPACE * PAGE)).toBe(SPACE * PAGE);
      expect(tree.__allocVmapArea(size, align, 4 * align, 4 * align + size)).toBe(4 * align);
      expect(checkTree(areas, tree)).toHaveLength(2);
    }
  });

  it("keeps the largest gap of every subtree right when the begin, the end, the middle or all of a gap is taken", () => {
    const cut = fc.record({ gap: fc.nat(), from: fc.constantFrom("begin", "end", "middle", "all"), pages: fc.nat(30) });
    fc.assert(
      fc.property(fc.array(cut, { maxLength: 40 }), (cuts) => {
        const { areas, tree } = freshTree();
        const model = new GapList();
        for (let i = 1; i < 40; i++) {
          const at = i * 1000 * PAGE;
          tree.vaClip(tree.__findVmapArea(at), at, (i % 7) * 20 * PAGE + PAGE);
          model.take(at, (i % 7) * 20 * PAGE + PAGE);
        }
        for (const { gap, from, pages } of cuts) {
          const [start, end] = model.gaps[gap % model.gaps.length];
          const left = (end - start) / PAGE;
          const size = from === "all" ? left : Math.min(left, Math.floor((left * pages) / 31) + 1);
          const at = from === "end" ? left - size : from === "middle" ? Math.floor((left - size) / 2) : 0;
          tree.vaClip(tree.__findVmapArea(start), start + at * PAGE, size * PAGE);
          model.take(start + at * PAGE, size * PAGE);
          expect(checkTree(areas, tree)).toEqual(model.gaps);
          if (model.gaps.length === 0) return;
        }
      }),
      { numRuns: 60 },
    );
  });

  it("warns of a range that is given back twice and keeps its shape", () => {
    const { areas, tree, log } = freshTree();
    const at = tree.__allocVmapArea(PAGE, PAGE, 0, SPACE * PAGE);
    tree.mergeOrAddVmapArea(areas.make(at, at + PAGE));
    tree.mergeOrAddVmapArea(areas.make(at, at + PAGE));
    expect(log.warnings).toBe(1);
    expect(checkTree(areas, tree)).toEqual([[PAGE, SPACE * PAGE]]);
  });
});
