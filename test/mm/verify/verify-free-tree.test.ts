import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KernelLog } from "../../../mm/lib/kernel-log.ts";
import { Findings } from "../../../mm/verify/verify-findings.ts";
import { ShapeCheck } from "../../../mm/verify/verify-trees.ts";
import { FreeTree } from "../../../mm/vmalloc/areas/free-tree.ts";
import { VmapAreas } from "../../../mm/vmalloc/areas/vmap-areas.ts";

const PAGE = 4096;

/** A tree of gaps of the given sizes (pages) with one busy page behind each, inserted in the given order. */
function treeOfGaps(sizes: readonly number[], order: readonly number[]) {
  const areas = new VmapAreas();
  const tree = new FreeTree(areas, new KernelLog());
  const busy: number[] = [];
  const gaps: [start: number, end: number][] = [];
  let at = PAGE;
  for (const size of sizes) {
    gaps.push([at, at + size * PAGE]);
    busy.push(at + size * PAGE);
    at += (size + 1) * PAGE;
  }
  for (const gap of order) tree.insertVmapArea(areas.make(...gaps[gap]));
  return {
    areas,
    tree,
    giveBack: (page: number) => tree.mergeOrAddVmapArea(areas.make(busy[page], busy[page] + PAGE)),
  };
}

function findings(areas: VmapAreas, tree: FreeTree): string[] {
  const found = new Findings();
  new ShapeCheck(areas, found).tree(tree, "free tree", true);
  return found.result();
}

describe("the free tree's augmentation", () => {
  it("stays right when both neighbours are merged and removing one of them rotates the other", () => {
    const { areas, tree, giveBack } = treeOfGaps([4, 1, 9, 7, 4, 12, 9, 5, 11, 3], [8, 2, 9, 6, 7, 5, 4, 3, 1, 0]);
    giveBack(6);
    expect(findings(areas, tree)).toEqual([]);
  });

  it("stays right whatever is given back in whatever order", () => {
    const gaps = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 2, maxLength: 24 });
    const shuffled = gaps.chain((sizes) => {
      const indices = sizes.map((_, i) => i);
      const order = fc.shuffledSubarray(indices, { minLength: sizes.length });
      return fc.tuple(fc.constant(sizes), order, order);
    });
    fc.assert(
      fc.property(shuffled, ([sizes, inserted, givenBack]) => {
        const { areas, tree, giveBack } = treeOfGaps(sizes, inserted);
        for (const page of givenBack) {
          giveBack(page);
          expect(findings(areas, tree)).toEqual([]);
        }
      }),
      { numRuns: 3000 },
    );
  });
});
