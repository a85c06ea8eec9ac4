/** Who holds how much of a live machine's address space, its holes, and what would fit. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatLinearAddress16 } from "../../../arch/isa/linear-address.ts";
import { vmallocinfo } from "../../../mm/index.ts";
import { VMALLOC_START } from "../../../mm/lib/memory-layout.ts";
import { liveFileOf, readLiveFile } from "../../../src/inspect/live-file.ts";
import { spaceChanges } from "../../../src/inspect/space-changes.ts";
import { spaceReport } from "../../../src/inspect/space-report.ts";
import { renderSpace, renderSpaceChanges } from "../../../src/inspect/space-text.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { runOnKernel } from "../../../src/runs/run.ts";
import { loadWorkload } from "../../../src/workloads/index.ts";
import { fixtureLines, temporaryFolder } from "../fixtures.ts";

const folder = temporaryFolder();
const VMALLOC = { range: "vmalloc" } as const;
const PAGE = 4096;

/** Lines of areas given by their first page, counted from `base`, and their pages. */
function linesOf(areas: readonly (readonly [number, number, string])[], base = 0xffff_c900_0000_0000n): string[] {
  return areas.map(([page, pages, rest]) => {
    const start = base + BigInt(page * PAGE);
    const end = start + BigInt(pages * PAGE);
    return `0x${start.toString(16)}-0x${end.toString(16)} ${String(pages * PAGE).padStart(7)} ${rest}`;
  });
}

describe("a report on /proc/vmallocinfo", () => {
  it("says what each caller and each kind holds", () => {
    const lines = linesOf([
      [0, 5, "dup_task_struct+0x1/0x2 pages=4 vmalloc N0=4"],
      [8, 5, "dup_task_struct+0x9/0x20 pages=4 vmalloc N0=4"],
      [16, 2, "acpi_os_map_iomem+0x1/0x2 phys=0x00000000fed00000 ioremap"],
      [20, 3, "unpurged vm_area"],
      [24, 1, "init_it+0x1/0x20 [nf_tables] pages=1 vmalloc vpages"],
    ]);
    const report = spaceReport(liveFileOf("x", lines), VMALLOC, null);
    expect(report.holders[0]).toEqual({
      name: "dup_task_struct",
      ranges: 2,
      addressBytes: 40_960,
      memoryBytes: 32_768,
    });
    expect(report.holders.map(({ name }) => name)).toContain("init_it [nf_tables]");
    expect(report.kinds.map(({ name, ranges }) => [name, ranges])).toEqual([
      ["vmalloc", 3],
      ["unpurged vm_area", 1],
      ["ioremap", 1],
    ]);
    expect([report.usedBytes, report.lazyBytes]).toEqual([13 * PAGE, 3 * PAGE]);
  });

  it("finds the holes, the largest for each alignment and the lowest place, as a page-by-page search does", () => {
    const areas = fc.array(fc.tuple(fc.nat(255), fc.integer({ min: 1, max: 9 }), fc.boolean()), { maxLength: 30 });
    fc.assert(
      fc.property(areas, fc.integer({ min: 1, max: 40 }), fc.nat(6), (wanted, pages, shift) => {
        const taken = new Array<"busy" | "lazy" | undefined>(256).fill(undefined);
        const chosen: [number, number, string][] = [];
        for (const [page, length, isLazy] of wanted) {
          if (page + length > 256 || taken.slice(page, page + length).some((each) => each !== undefined)) continue;
          taken.fill(isLazy ? "lazy" : "busy", page, page + length);
          chosen.push([page, length, isLazy ? "unpurged vm_area" : "f+0x1/0x2 vmap"]);
        }
        const align = 2 ** shift;
        const placeAmong = (isFree: (page: number) => boolean): string | null => {
          for (let page = 0; page < 512; page += align) {
            let fits = true;
            for (let i = page; i <= page + pages; i++) fits &&= i >= 256 || isFree(i);
            if (fits) return formatLinearAddress16(VMALLOC_START + page * PAGE);
          }
          return null;
        };
        const question = { sizeBytes: pages * PAGE, alignBytes: align * PAGE };
        const report = spaceReport(
          liveFileOf("x", linesOf(chosen)),
          { ...VMALLOC, base: 2 ** 57 - 2 ** 48 + VMALLOC_START },
          question,
        );
        expect(report.fit?.address).toBe(placeAmong((page) => taken[page] === undefined));
        expect(report.fit?.addressAfterPurge).toBe(placeAmong((page) => taken[page] !== "busy"));
        const runs =
          taken
            .map((each) => (each === undefined ? "." : "#"))
            .join("")
            .match(/\.+/g) ?? [];
        const endsFree = taken[255] === undefined;
        expect(report.holes?.count).toBe(runs.length + (endsFree ? 0 : 1));
        expect(report.holes?.freeBytes).toBe(2 ** 45 - taken.filter((each) => each !== undefined).length * PAGE);
      }),
      { numRuns: 100 },
    );
  });

  it("names the place that the emulated kernel's next allocation gets", async () => {
    // From 6.9 on, purged areas wait in pools of nodes, which no text shows.
    const kernel = bootKernel({ cpus: 2, kernel: "6.6" });
    runOnKernel(kernel, await loadWorkload("mixed"), { operations: 400, seed: 3 });
    for (const pages of [600, 300, 2000]) {
      const live = liveFileOf("emulated", vmallocinfo(kernel.vm));
      const { fit } = spaceReport(live, VMALLOC, { sizeBytes: pages * PAGE, alignBytes: PAGE });
      expect(formatLinearAddress16(kernel.vmalloc(pages * PAGE))).toBe(fit?.address);
    }
  });

  it("knows 57-bit addresses, bases of KASLR, the module range, and hidden addresses", () => {
    const five = spaceReport(
      liveFileOf("x", linesOf([[3, 2, "f+0x1/0x2 vmap"]], 0xffa0_0000_0000_0000n)),
      VMALLOC,
      null,
    );
    expect(five.window).toMatchObject({ start: "0xffa0000000000000", end: "0xffd2000000000000" });
    const moved = liveFileOf("x", linesOf([[70_000, 2, "f+0x1/0x2 vmap"]], 0xffff_b123_4000_0000n));
    expect(spaceReport(moved, VMALLOC, null).window).toMatchObject({
      start: "0xffffb12340000000",
      end: "0xffffd12340000000",
      basis: expect.stringContaining("assumed"),
    });
    const base = 2 ** 57 - 2 ** 48 + 0xb123_0000_0000;
    expect(spaceReport(moved, { ...VMALLOC, base }, null).window).toMatchObject({
      start: "0xffffb12300000000",
      basis: "as given",
    });
    const modules = liveFileOf("x", linesOf([[5, 9, "move_module+0x1/0x2 pages=8 vmalloc"]], 0xffff_ffff_c000_0000n));
    const report = spaceReport(modules, { range: "modules" }, { sizeBytes: 2 ** 30, alignBytes: PAGE });
    expect(report).toMatchObject({
      usedBytes: 9 * PAGE,
      window: { start: "0xffffffffc0000000", end: "0xffffffffff000000" },
    });
    expect(report.fit).toMatchObject({ address: null, addressAfterPurge: null });
    const zero = "0x0000000000000000-0x0000000000000000   20480 f+0x1/0x2 pages=4 vmalloc";
    const hashed = "0x00000000a1b2c3d4-0x0000000012345678   20480 f+0x1/0x2 pages=4 vmalloc";
    for (const line of [zero, hashed]) {
      const hidden = spaceReport(liveFileOf("x", [line, line]), VMALLOC, null);
      expect(hidden).toMatchObject({ holes: null, usedBytes: 40_960 });
      expect(renderSpace(hidden, 20)).toContain("kptr_restrict");
    }
  });
});

describe("a report on a page-table dump", () => {
  it("takes the range from its markers, and counts what is mapped by page size and rights", async () => {
    const dump = fixtureLines("huge_smp2_s1").find((line) => line.startsWith('{"final_ptdump"'));
    const lines: string[] = JSON.parse(dump ?? "").final_ptdump;
    const file = join(folder.path, "page_tables");
    writeFileSync(file, `${lines.join("\n")}\n`);
    const live = await readLiveFile(file);
    const report = spaceReport(live, VMALLOC, null);
    expect(report).toMatchObject({
      format: "page_tables",
      window: { start: "0xffffc90000000000", basis: "the dump's markers" },
    });
    const units = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 } as const;
    const mapped = lines.reduce((sum, line) => {
      const match = /^0x\w+-0x\w+ +(\d+)([KMG]) .*(RW|ro) .* p(te|md|ud)$/.exec(line);
      return match === null ? sum : sum + Number(match[1]) * units[match[2] as "K"];
    }, 0);
    expect(mapped).toBeGreaterThan(0);
    expect(report.usedBytes).toBe(mapped);
    expect(report.kinds.find(({ name }) => name === "2M RW NX")?.memoryBytes).toBeGreaterThan(0);
  });

  it("is refused where a file is neither", async () => {
    await expect(readLiveFile(import.meta.filename)).rejects.toThrow(/neither \/proc\/vmallocinfo nor a dump/);
  });
});

describe("two looks at one machine", () => {
  it("are compared by caller and kind, with what is new and gone", () => {
    const before = liveFileOf(
      "before",
      linesOf([
        [0, 2, "f+0x1/0x2 pages=1 vmalloc"],
        [4, 2, "g+0x1/0x2 pages=1 vmalloc"],
      ]),
    );
    const after = liveFileOf(
      "after",
      linesOf([
        [4, 2, "g+0x1/0x2 pages=1 vmalloc"],
        [8, 9, "g+0x1/0x2 pages=8 vmalloc"],
      ]),
    );
    const report = (file: typeof before) => spaceReport(file, VMALLOC, null);
    const changes = spaceChanges([before, report(before)], [after, report(after)]);
    expect(changes).toMatchObject({ newRanges: 1, goneRanges: 1, usedBytes: 7 * PAGE });
    expect(changes.holders).toEqual([
      { name: "g", ranges: 1, addressBytes: 9 * PAGE, memoryBytes: 8 * PAGE },
      { name: "f", ranges: -1, addressBytes: -2 * PAGE, memoryBytes: -PAGE },
    ]);
    expect(renderSpaceChanges(changes, 20)).toMatch(/g +\+1 +\+36 KiB/);
  });
});
