import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  LEVEL_BYTES,
  LINEAR_SPACE_BYTES,
  PAGE_SIZE,
  UPPER_HALF,
  WIDE_PAGES,
} from "../../../arch/isa/linear-address.ts";
import { PTE_PAGE_SIZE, PTE_PRESENT, PTE_RW } from "../../../arch/isa/pte.ts";
import { Machine } from "../../../arch/machine.ts";
import {
  FaultInjection,
  KernelLog,
  PageAllocator,
  PageTableCursor,
  PageTables,
  pageTableRuns,
} from "../../../mm/index.ts";

const GIB = 2 ** 30;

function makeTables(levels: 4 | 5): PageTables {
  const { memory, loop } = new Machine({ memoryBytes: 2 ** 26, preset: "icelake", pagingLevels: levels });
  const faults = new FaultInjection();
  return new PageTables(memory, new PageAllocator(memory, 1, 1, faults), faults, new KernelLog(), loop, levels);
}

/** A page: at which address, of which level, to which frame. */
interface Leaf {
  readonly la: number;
  readonly level: number;
  readonly frame: number;
}

/** Pages in three GiB around each of these addresses: the ends of both halves among them. */
const REGIONS = [0, UPPER_HALF - 2 * GIB, UPPER_HALF, 0xc900_0000_0000, LINEAR_SPACE_BYTES - 3 * GIB];

const leaves = fc
  .array(
    fc.record({
      region: fc.constantFrom(...REGIONS),
      level: fc.constantFrom(1, 1, 1, 2, 3),
      at: fc.oneof(fc.nat(3 * 512 * 512 - 1), fc.nat(1100)),
    }),
    { maxLength: 40 },
  )
  .map((given) => {
    const taken: Leaf[] = [];
    for (const { region, level, at } of given) {
      const bytes = LEVEL_BYTES[level];
      const la = Math.floor((region + at * PAGE_SIZE) / bytes) * bytes;
      if (la + bytes > LINEAR_SPACE_BYTES) continue;
      const clashes = taken.some((leaf) => la < leaf.la + LEVEL_BYTES[leaf.level] && leaf.la < la + bytes);
      if (!clashes) taken.push({ la, level, frame: (taken.length + 1) * 512 * 512 });
    }
    return taken.sort((a, b) => a.la - b.la);
  });

function map({ cursor }: PageTables, all: readonly Leaf[]): void {
  for (const { la, level, frame } of all) {
    expect(cursor.make(la, level)).toBe(true);
    cursor.writeLeaf(frame, PTE_PRESENT | PTE_RW | (level > 1 ? PTE_PAGE_SIZE : 0), 0);
  }
}

describe.each([4, 5] as const)("a cursor over tables of %d levels", (levels) => {
  it("comes over the whole address space without a gap, and meets every page once", () => {
    fc.assert(
      fc.property(leaves, (all) => {
        const tables = makeTables(levels);
        map(tables, all);
        const cursor = new PageTableCursor(tables);
        const met: Leaf[] = [];
        const gaps: number[] = [];
        let reached = 0;
        for (cursor.seek(0); cursor.start < LINEAR_SPACE_BYTES; cursor.next()) {
          if (cursor.start !== reached) gaps.push(reached);
          reached = cursor.end;
          if (cursor.isInUse) met.push({ la: cursor.start, level: cursor.level, frame: cursor.frame });
        }
        expect(gaps).toEqual([]);
        expect(reached).toBe(LINEAR_SPACE_BYTES);
        expect(met).toEqual(all);
      }),
      { numRuns: 40 },
    );
  });

  it("finds the frame behind each address, or none", () => {
    fc.assert(
      fc.property(leaves, fc.array(fc.nat(4 * 512 * 512)), (all, offsets) => {
        const tables = makeTables(levels);
        map(tables, all);
        for (const [i, offset] of offsets.entries()) {
          const base = all.length === 0 ? REGIONS[i % REGIONS.length] : all[i % all.length].la;
          const la = (base + (offset - 100) * PAGE_SIZE + 5 + LINEAR_SPACE_BYTES) % LINEAR_SPACE_BYTES;
          const leaf = all.find((each) => la >= each.la && la < each.la + LEVEL_BYTES[each.level]);
          const expected = leaf === undefined ? -1 : leaf.frame + Math.floor((la - leaf.la) / PAGE_SIZE);
          expect(tables.cursor.frameAt(la)).toBe(expected);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("goes up to the entries that name its tables", () => {
    const tables = makeTables(levels);
    const { cursor } = tables;
    const la = 0xc912_3456_7000;
    expect(cursor.make(la, 1)).toBe(true);
    for (let level = 2; level <= levels; level++) {
      const below = cursor.table;
      cursor.up();
      expect([cursor.level, cursor.frame]).toEqual([level, below]);
      expect(la >= cursor.start && la < cursor.end).toBe(true);
    }
    const top = cursor.start;
    cursor.up();
    expect([cursor.level, cursor.start, cursor.table]).toEqual([levels, top, tables.rootFrame]);
  });

  it("makes only the tables that are missing, and none below a large page", () => {
    const tables = makeTables(levels);
    const { cursor } = tables;
    expect(cursor.make(3 * GIB, 2)).toBe(true);
    expect(tables.tablePages).toBe(levels - 1);
    cursor.writeLeaf(512, PTE_PRESENT | PTE_PAGE_SIZE, 0);
    expect(cursor.make(3 * GIB, 2)).toBe(true);
    expect(tables.tablePages).toBe(levels - 1);
    expect(cursor.make(3 * GIB + PAGE_SIZE, 1)).toBe(false);
    expect(tables.log.lines).toHaveLength(1);
    expect(cursor.make(3 * GIB + 2 ** 21, 1)).toBe(true);
    expect(tables.tablePages).toBe(levels);
  });
});

it("tables of five levels dump as those of four do, but for the names of the upper levels", () => {
  fc.assert(
    fc.property(leaves, (all) => {
      const dumps = ([4, 5] as const).map((levels) => {
        const tables = makeTables(levels);
        map(tables, all);
        const runs = pageTableRuns(tables, 0, LINEAR_SPACE_BYTES).filter(({ present }) => present);
        // What follows the lower half of 48 bits is a wide page where there are five levels.
        return runs.map((run) => (run.end === WIDE_PAGES + UPPER_HALF ? { ...run, end: UPPER_HALF } : run));
      });
      expect(dumps[1]).toEqual(dumps[0]);
    }),
    { numRuns: 30 },
  );
});
