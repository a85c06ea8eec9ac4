/** Counts of each TLB and paging-structure cache: against a slow, plain model of them, and whether they add up. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PRESETS, type Preset, presetByName, type StructureReport } from "../../../arch/index.ts";
import { type ReferenceOptions, replayReferences } from "../../../src/references/reference-replay.ts";
import { renderComparison, renderReferenceCsv, renderReferenceReport } from "../../../src/references/reference-text.ts";
import { temporaryFolder } from "../fixtures.ts";

const folder = temporaryFolder();

/** Skylake with small TLBs, all of them LRU, so that a plain model can be written. */
const SKYLAKE = presetByName("skylake");
const SMALL: Preset = {
  ...SKYLAKE,
  tlbs: SKYLAKE.tlbs.map((tlb) => ({
    ...tlb,
    sets: tlb.name === "L2 TLB" ? 8 : Math.min(2, tlb.sets),
    ways: 4,
    replacement: "lru" as const,
  })),
};
const OPTIONS: ReferenceOptions = {
  preset: SMALL,
  memoryBytes: 2 ** 30,
  windowReferences: 1000,
  pageSize: "4K",
  structures: true,
};

interface Reference {
  readonly kind: "L" | "S" | "I";
  readonly page: number;
}

async function replay(references: readonly Reference[], more: Partial<ReferenceOptions> = {}) {
  const file = join(folder.path, "a.trace");
  const lines = references.map(
    ({ kind, page }) => `${kind === "I" ? "I " : ` ${kind}`} ${(page * 4096).toString(16)},4`,
  );
  writeFileSync(file, `${lines.join("\n")}\n`);
  return await replayReferences(file, { ...OPTIONS, ...more });
}

/** One LRU structure: entries by set, the one used last first. */
class Lru {
  readonly counts = { lookups: 0, hits: 0, misses: 0, fills: 0, evictions: 0 };
  private readonly sets = new Map<number, number[]>();
  private readonly ways: number;
  private readonly setOf: (entry: number) => number;
  constructor(ways: number, setOf: (entry: number) => number) {
    this.ways = ways;
    this.setOf = setOf;
  }
  has(entry: number): boolean {
    return this.of(entry).includes(entry);
  }
  lookup(entry: number): boolean {
    const found = this.has(entry);
    this.counts.lookups++;
    this.counts[found ? "hits" : "misses"]++;
    if (found) this.use(entry);
    return found;
  }
  fill(entry: number): void {
    this.counts.fills++;
    const all = this.of(entry);
    all.unshift(entry);
    if (all.length > this.ways) {
      all.pop();
      this.counts.evictions++;
    }
  }
  drop(entry: number): void {
    const all = this.of(entry);
    if (all.includes(entry)) all.splice(all.indexOf(entry), 1);
  }
  private use(entry: number): void {
    const all = this.of(entry);
    all.splice(all.indexOf(entry), 1);
    all.unshift(entry);
  }
  private of(entry: number): number[] {
    const set = this.setOf(entry);
    const all = this.sets.get(set) ?? [];
    this.sets.set(set, all);
    return all;
  }
}

/** The structures of `SMALL` for pages of 4 KiB, and page tables that fill as they are touched. */
class Model {
  readonly data = new Lru(4, (page) => page % 2);
  readonly instructions = new Lru(4, (page) => page % 2);
  readonly second = new Lru(4, (page) => (page ^ (page >> 3)) % 8);
  /** By level: PDE 2, PDPTE 3, PML4E 4. */
  readonly tables = [null, null, new Lru(4, (pde) => pde % 8), new Lru(4, () => 0), new Lru(2, () => 0)] as const;
  private readonly present = new Set<string>();
  private readonly dirty = new Set<number>();
  /** Pages whose cached translations know that D is set. */
  private readonly knownDirty = new Set<number>();

  access({ kind, page }: Reference): void {
    const first = kind === "I" ? this.instructions : this.data;
    while (!this.tryAccess(first, kind === "S", page));
  }

  /** False when the access has faulted, and its page is there now. */
  private tryAccess(first: Lru, isStore: boolean, page: number): boolean {
    // A store that finds a translation of a page without D walks again: what is cached is as good as nothing.
    const isRefused = isStore && !this.knownDirty.has(page);
    if (first.has(page) && isRefused) {
      first.counts.lookups++;
      first.counts.misses++;
      this.second.counts.lookups++;
      this.second.counts.misses++;
      return this.walk(first, true, page);
    }
    if (first.lookup(page)) return true;
    if (this.second.has(page) && isRefused) {
      // It is brought into the first level before it is looked at.
      this.second.counts.lookups++;
      this.second.counts.misses++;
      first.fill(page);
      return this.walk(first, true, page);
    }
    if (this.second.lookup(page)) {
      first.fill(page);
      return true;
    }
    return this.walk(first, isStore, page);
  }

  private walk(first: Lru, isStore: boolean, page: number): boolean {
    for (const tlb of [this.data, this.instructions, this.second]) tlb.drop(page);
    let level = 4;
    for (const from of [2, 3, 4]) {
      if (!this.tables[from as 2 | 3 | 4].lookup(entry(page, from))) continue;
      level = from - 1;
      break;
    }
    for (; level > 1; level--) {
      if (!this.present.has(`${level} ${entry(page, level)}`)) return this.fault(isStore, page);
      this.tables[level as 2 | 3 | 4].fill(entry(page, level));
    }
    if (!this.present.has(`1 ${page}`)) return this.fault(isStore, page);
    if (isStore) this.dirty.add(page);
    if (this.dirty.has(page)) this.knownDirty.add(page);
    else this.knownDirty.delete(page);
    this.second.fill(page);
    first.fill(page);
    return true;
  }

  private fault(isStore: boolean, page: number): false {
    for (const level of [2, 3, 4] as const) this.tables[level].drop(entry(page, level));
    for (const level of [1, 2, 3, 4]) this.present.add(`${level} ${entry(page, level)}`);
    if (isStore) this.dirty.add(page);
    return false;
  }
}

const entry = (page: number, level: number): number => Math.floor(page / 512 ** (level - 1));

const countsOf = ({ lookups, hits, misses, fills, evictions }: StructureReport) => ({
  lookups,
  hits,
  misses,
  fills,
  evictions,
});

/** Pages near each other, in other page tables, directories and quarters of the address space. */
const page = fc
  .tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 0, max: 11 }), fc.integer({ min: 0, max: 3 }), fc.nat(2))
  .map(([pte, pde, pdpte, pml4e]) => pte + 512 * (pde + 512 * (pdpte + 512 * pml4e)));
const trace = fc.array(fc.record({ kind: fc.constantFrom("L" as const, "S" as const, "I" as const), page }), {
  minLength: 1,
  maxLength: 300,
});

describe("counts of TLBs and paging-structure caches", () => {
  it("are those of a plain model of LRU structures", async () => {
    await fc.assert(
      fc.asyncProperty(trace, async (references) => {
        const model = new Model();
        for (const reference of references) model.access(reference);
        const { structures = [] } = await replay(references);
        const found = Object.fromEntries(structures.map((report) => [report.structure, countsOf(report)]));
        expect(found).toMatchObject({
          "L1 iTLB 4K": model.instructions.counts,
          "L1 dTLB 4K": model.data.counts,
          "L2 TLB": model.second.counts,
          "PDE cache": model.tables[2].counts,
          "PDPTE cache": model.tables[3].counts,
          "PML4E cache": model.tables[4].counts,
        });
      }),
      { numRuns: 60 },
    );
  });

  it("add up, and change nothing else, for every preset, pages of all sizes, and guests", async () => {
    const pages = fc.constantFrom("4K", "2M", "1G", "thp=0.5");
    const isGuest = fc.boolean();
    await fc.assert(
      fc.asyncProperty(
        trace,
        fc.constantFrom(...PRESETS),
        pages,
        isGuest,
        async (references, preset, pageSize, guest) => {
          const options = { preset, pageSize, memoryBytes: 2 ** 35, ...(guest ? { guest: {} } : {}) };
          const { structures = [], counters, ...rest } = await replay(references, options);
          const plain = await replay(references, { ...options, structures: false });
          expect({ ...rest, counters }).toEqual({ ...plain });
          const at = (level: 1 | 2 | undefined) => structures.filter((each) => each.level === level);
          for (const { structure, lookups, hits, misses, fills, evictions, bySize } of structures) {
            expect(hits + misses, structure).toBe(lookups);
            expect(misses, structure).toBeGreaterThanOrEqual(0);
            expect(evictions, structure).toBeLessThanOrEqual(fills);
            for (const what of ["hits", "fills", "evictions"] as const) {
              if (bySize === undefined) continue;
              const sum = Object.values(bySize).reduce((total, counts) => total + counts[what], 0);
              expect(sum, `${structure} ${what}`).toBe({ hits, fills, evictions }[what]);
            }
          }
          const hitsOf = (level: 1 | 2) => at(level).reduce((sum, { hits }) => sum + hits, 0);
          const stlb = ["dtlb_load_misses", "dtlb_store_misses", "itlb_misses"].map(
            (unit) => counters[`${unit}.stlb_hit`],
          );
          expect(hitsOf(2)).toBe(stlb.reduce((sum, each) => sum + each, 0));
          const sum = (events: readonly string[]): number =>
            events.reduce((total, event) => total + counters[event], 0);
          // Accesses that came to their end: hits of the first level, of the second, and walks that did not fault.
          const walks = sum(["dTLB-load-misses", "dTLB-store-misses", "iTLB-load-misses"]);
          const accesses = sum(["dTLB-loads", "dTLB-stores", "iTLB-loads"]);
          if (!guest) expect(hitsOf(1) + hitsOf(2) + walks - counters["page-faults"]).toBe(accesses);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("begin with the counted part, are shown with sizes of pages, and are lines of perf stat -x", async () => {
    const references = Array.from({ length: 200 }, (_, i) => ({ kind: "L" as const, page: 1 + (i % 20) }));
    const cold = await replay(references);
    const warm = await replay(references, { warmupReferences: 100 });
    const missesOf = (structures: readonly StructureReport[] = [], name: string) =>
      structures.find(({ structure }) => structure === name)?.misses;
    expect(missesOf(cold.structures, "PML4E cache")).toBeGreaterThan(0);
    expect(missesOf(warm.structures, "PML4E cache")).toBe(0);
    expect(missesOf(warm.structures, "L1 dTLB 4K")).toBe(100);
    expect(renderReferenceReport(cold)).toMatch(/L1 dTLB 4K +\d+ +\d+ +\d+ +[\d.]+ % +\d+ +\d+/);
    expect(renderReferenceReport(cold)).toMatch(/pages of 2M +0 +0 +0/);
    expect(renderReferenceCsv(cold, ",")).toContain(`${missesOf(cold.structures, "L2 TLB")},,L2 TLB.misses`);
    expect(renderReferenceReport(await replay(references, { structures: false }))).not.toContain("PML4E cache");
  });

  it("are laid side by side by name, with nothing where a machine has no such structure", async () => {
    const references = Array.from({ length: 100 }, (_, i) => ({ kind: "L" as const, page: 1 + (i % 20) }));
    const reports = [await replay(references), await replay(references, { preset: "zen4" })];
    const text = renderComparison(["small", "zen4"], reports);
    expect(text).toMatch(/L1 dTLB 4K misses +\d+ *$/m);
    expect(text).toMatch(/PML4E cache misses +\d+ +\d+( +[+-][\d.]+ %)? *$/m);
    const own = reports[1].structures?.find(({ level }) => level === 2)?.structure;
    expect(text).toMatch(new RegExp(`${own} misses +\\d+ *$`, "m"));
  });
});
