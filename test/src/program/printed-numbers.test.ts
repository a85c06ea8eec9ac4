/** Every number that replay, presets, inspect and explore print for people is in their JSON, rounded as it is printed. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { figuresOf, PRESETS } from "../../../arch/index.ts";
import { figureValue } from "../../../src/report/figures.ts";
import { ALL_USED } from "../../../src/report/preset-tables.ts";
import { temporaryFolder } from "../fixtures.ts";
import { mmulab } from "../run-cli.ts";

const ROOT = join(import.meta.dirname, "../../..");
const TRACE = join(ROOT, "test/traces/true.lackey.gz");
const folder = temporaryFolder();

/** What a command prints for people, and the objects that it prints as JSON. */
function bothOf(...args: string[]) {
  const text = mmulab(...args);
  const json = mmulab(...args, "--json");
  expect([json.status, text.status === 2, text.stdout]).toEqual([text.status, false, expect.stringContaining("\n")]);
  return {
    text: text.stdout,
    objects: json.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line)),
  };
}

/** The cells of the lines below a heading, up to an empty line; columns are two blanks or more apart. */
function rowsUnder(text: string, heading: string): string[][] {
  const at = text.indexOf(`\n${heading}`);
  expect(at, heading).toBeGreaterThan(0);
  const [, ...lines] = text
    .slice(at + 1)
    .split("\n\n")[0]
    .trimEnd()
    .split("\n");
  return lines.map((line) => line.trim().split(/ {2,}/));
}

/** All numbers of a line, in order; hexadecimal ones as they are written, without leading zeros. */
function numbersIn(line: string): (number | string)[] {
  const found = line.match(/0x[0-9a-f]+|\d[\d,]*(\.\d+)?/g) ?? [];
  return found.map((word) => (word.startsWith("0x") ? hex(word) : Number(word.replaceAll(",", ""))));
}

function hex(word: string | number): string {
  return `0x${BigInt(word).toString(16)}`;
}

/** `0.41%` of two counts. */
function percent(part: number, whole: number, digits: number): number {
  return Number(((100 * part) / whole).toFixed(digits));
}

describe("replay", () => {
  it("of a recording: counts, mismatches by event, and the differences", () => {
    const lines = gunzipSync(readFileSync(join(ROOT, "test/recordings/huge_smp2_s1.jsonl.gz")))
      .toString()
      .split("\n");
    const events = [...lines.keys()].filter((i) => lines[i].startsWith('{"ev":"alloc"'));
    for (const i of events.slice(0, 3)) lines[i] = lines[i].replace('"align":', '"align":1');
    const file = folder.write("changed.jsonl", lines.join("\n"));
    const { text, objects } = bothOf("replay", file, "--differences", "2");
    const [result] = objects;
    const [, ...counts] = numbersIn(text.split("\n")[0].replace(/^\w+/, "0"));
    const byName = Object.values(result.eventMismatchesByName);
    const { calls, events: all, addressMismatches, eventMismatches, finalStateMismatches } = result;
    expect(counts).toEqual([calls, all, addressMismatches, eventMismatches, ...byName, finalStateMismatches]);
    expect(eventMismatches).toBeGreaterThan(0);
    expect(result.differences).toHaveLength(2);
    for (const { line, where, expected, actual, context } of result.differences) {
      expect(text).toContain(` differs at line ${line}, ${where}\n    expected ${expected}\n    actual   ${actual}\n`);
      for (const event of context) expect(text).toContain(`      ${event}\n`);
    }
  });

  const PARTS = ["--structures", "--top", "3", "--interval", "60000", "--limit", "150000"];
  const { text, objects } = bothOf("replay", "--lackey", TRACE, ...PARTS);
  const [report] = objects;
  const { counters, memory } = report;

  it("of references: every counter, and what it is of another", () => {
    const values: Record<string, number> = {
      ...counters,
      instructions: report.instructions,
      "page-table-bytes": memory.tableBytes,
    };
    const lines = text.split("\n").flatMap((line) => {
      const [, count, event, metric] = /^ +([\d,]+) {6}(\S+)(?: +# +([\d.]+))?/.exec(line) ?? [];
      return event === undefined ? [] : [{ event, count: Number(count.replaceAll(",", "")), metric }];
    });
    expect(lines.length).toBeGreaterThan(20);
    for (const { event, count, metric } of lines) {
      expect(count, event).toBe(Math.round(values[event]));
      if (metric === undefined) continue;
      const expected = event.endsWith("-misses")
        ? percent(values[event], values[`${event.replace(/-misses$/, "")}s`], 2)
        : Number((values[event] / report.instructions).toFixed(3));
      expect(Number(metric), event).toBe(expected);
    }
  });

  it("of references: page walks in all", () => {
    const walks = ["dtlb_load_misses", "dtlb_store_misses", "itlb_misses"];
    const sum = (what: string): number => walks.reduce((all, kind) => all + counters[`${kind}.${what}`], 0);
    const cycles = sum("walk_active");
    const line = text.split("\n").find((each) => each.includes("cycles of page walks")) ?? "";
    const seconds = Number((cycles / report.frequencyGhz / 1e9).toFixed(6));
    const each = Number((cycles / report.instructions).toFixed(4));
    expect(numbersIn(line)).toEqual([
      cycles,
      each,
      seconds,
      report.frequencyGhz,
      sum("stlb_hit"),
      counters["page-faults"],
    ]);
  });

  it("of references: structures, intervals and what is costliest", () => {
    const rows = rowsUnder(text, "TLBs and paging-structure caches").slice(1);
    const own = rows.filter(([name]) => !name.startsWith("pages of"));
    type Structure = Record<"lookups" | "hits" | "misses" | "fills" | "evictions", number> & { structure: string };
    const structures: Structure[] = report.structures;
    expect(own.map(([name]) => name)).toEqual(structures.map(({ structure }) => structure));
    structures.forEach(({ lookups, hits, misses, fills, evictions }, i) => {
      const share = lookups === 0 ? [] : [percent(misses, lookups, 2)];
      expect(numbersIn(own[i].slice(1).join("  ")), own[i][0]).toEqual([
        lookups,
        hits,
        misses,
        ...share,
        fills,
        evictions,
      ]);
    });
    const intervals = rowsUnder(text, "Misses over time").slice(1);
    expect(report.overTime.intervals).toHaveLength(intervals.length);
    report.overTime.intervals.forEach((interval: { from: number; counters: Record<string, number> }, i: number) => {
      const { from, counters: of } = interval;
      const walkCycles =
        of["dtlb_load_misses.walk_active"] + of["dtlb_store_misses.walk_active"] + of["itlb_misses.walk_active"];
      const data = of["dTLB-load-misses"] + of["dTLB-store-misses"];
      expect(numbersIn(intervals[i].join("  "))).toEqual([
        from,
        data,
        of["iTLB-load-misses"],
        walkCycles,
        of["page-faults"],
      ]);
    });
    for (const [what, heading] of [
      ["pages", "Costliest pages"],
      ["ranges", "Costliest ranges"],
      ["instructions", "Costliest instructions"],
    ]) {
      const shown = rowsUnder(text, heading).slice(1);
      const costly: { address: string; walks: number; walkCycles: number }[] = report.costliest[what];
      expect(shown.map((cells) => numbersIn(cells.slice(0, 3).join("  ")))).toEqual(
        costly.map(({ address, walks, walkCycles }) => [hex(address), walks, walkCycles]),
      );
    }
  });

  it("of references with several settings: each column is an object", () => {
    const compared = bothOf(
      "replay",
      "--lackey",
      TRACE,
      "--limit",
      "50000",
      "--against",
      "pages=2M",
      "--against",
      "costs.walk=99",
    );
    expect(compared.objects).toHaveLength(3);
    for (const line of compared.text.split("\n").slice(3)) {
      const [name, ...cells] = line.trim().split(/ {2,}/);
      const of = ({ counters: own }: { counters: Record<string, number> }): number | undefined => own[name];
      const values = compared.objects.map(of);
      if (values.includes(undefined)) continue;
      const shown = cells.filter((cell) => /^[\d,]+$/.test(cell)).map((cell) => Number(cell.replaceAll(",", "")));
      expect(shown, name).toEqual(values);
    }
  });
});

describe("presets", () => {
  it("lists entries of TLBs and counts of figures", () => {
    const { text, objects } = bothOf("presets");
    const [list] = objects;
    for (const { name, tlbEntries, figures } of list) {
      const line = text.split("\n").find((each) => each.trim().startsWith(`${name} `)) ?? "";
      const { measured, documented, assumed } = figures;
      const { firstLevel, secondLevel } = tlbEntries;
      expect(numbersIn(line.trim()).slice(-5)).toEqual([firstLevel, secondLevel, measured, documented, assumed]);
    }
  });

  it.each(["kernel", "hypervisor"])("%s: every figure with its value", (name) => {
    const { text, objects } = bothOf("presets", name);
    for (const figure of objects[0]) expectFigure(text, figure);
  });

  it.each(PRESETS.map((preset) => preset.name))("%s: every figure of what its JSON is, with its value", (name) => {
    const text = mmulab("presets", name).stdout;
    const preset = JSON.parse(mmulab("presets", name, "--json").stdout);
    for (const figure of figuresOf(preset, ALL_USED)) expectFigure(text, figure);
  });

  /** Holds that a figure stands below the name of what it belongs to, with its value. */
  function expectFigure(text: string, figure: ReturnType<typeof figuresOf>[number]): void {
    const dot = figure.name.lastIndexOf(".");
    const isGroup = (block: string): boolean =>
      dot < 0 ? block.includes("\n  frequencyGhz ") : block.split(/ {2}|\n/)[0] === figure.name.slice(0, dot);
    const group = text.split("\n\n").find(isGroup) ?? "";
    // Cells that are longer than their columns go on in the next line.
    const rows = group.split(/\n(?= {2}\S)/).map((row) => {
      const lines = row.split("\n").map((line) => line.padEnd(80));
      const cell = (from: number, to: number): string =>
        lines
          .map((line) => line.slice(from, to).trim())
          .join("")
          .replaceAll(" ", "");
      return [cell(2, 22), cell(24, 37)];
    });
    expect(rows, figure.name).toContainEqual([figure.name.slice(dot + 1), figureValue(figure).replaceAll(" ", "")]);
  }
});

describe("inspect", () => {
  const RUN = ["--ops", "300", "--cpus", "2"];
  /** Numbers of each line but headings, and those of each item of the JSON. */
  const pairs: Record<string, (result: Record<string, never>) => unknown[][]> = {
    buddyinfo: ({ zones }) =>
      (zones as { node: number; zone: string; freeBlocksByOrder: number[] }[]).map(
        ({ node, zone, freeBlocksByOrder }) => [node, ...(zone === "DMA32" ? [32] : []), ...freeBlocksByOrder],
      ),
    meminfo: ({ kib }) => Object.values(kib).map((value) => [value]),
    vmstat: ({ counters }) => Object.values(counters).map((value) => [value]),
    vmallocinfo: ({ areas }) =>
      (
        areas as {
          start: string;
          end: string;
          sizeBytes: number;
          caller: string;
          pages: number;
          physicalAddress: string | null;
        }[]
      ).map(({ start, end, sizeBytes, caller, pages, physicalAddress }) => [
        start,
        end,
        sizeBytes,
        ...(caller === "" ? [] : ["0x0", "0x0"]),
        ...(pages > 0 ? [pages] : []),
        ...(physicalAddress === null ? [] : [hex(physicalAddress)]),
      ]),
  };

  it.each(Object.keys(pairs))("%s: each line is an item", (view) => {
    const { text, objects } = bothOf("inspect", view, ...RUN);
    expect(text.trimEnd().split("\n").map(numbersIn)).toEqual(pairs[view](objects[0]));
  });

  it.each(["tlb", "psc"])("%s: each entry", (view) => {
    const { text, objects } = bothOf("inspect", view, ...RUN);
    type Entry = {
      set: number;
      way: number;
      address: string;
      frame: number;
      pcid: number | null;
      age: number;
      stale: unknown;
    };
    type Structure = { name: string; sets: number; ways: number; entries: Entry[] };
    const cpus: { cpu: number; structures: Structure[] }[] = objects[0].cpus;
    const blocks = text.split(/^(?=CPU )/m);
    const structures = cpus.flatMap(({ cpu, structures: own }) => own.map((structure) => ({ cpu, ...structure })));
    expect(blocks).toHaveLength(structures.length);
    structures.forEach(({ cpu, name, sets, ways, entries }, i) => {
      const [head, ...lines] = blocks[i].split("\n");
      const stale = entries.filter((entry) => entry.stale !== null).length;
      expect(numbersIn(head.slice(head.indexOf(`${name}: `) + name.length))).toEqual([
        sets,
        ways,
        entries.length,
        stale,
      ]);
      expect(head.startsWith(`CPU ${cpu}, ${name}: `)).toBe(true);
      const rows = lines.filter((line) => /^ *\d+ +\d+ {2}/.test(line)).map((line) => line.trim().split(/ {2,}/));
      expect(rows).toHaveLength(entries.length);
      entries.forEach(({ set, way, address, frame, pcid, age }, row) => {
        const numbers = numbersIn(rows[row].join("  "));
        expect([numbers[0], numbers[1]]).toEqual([set, way]);
        expect(numbers).toEqual(
          expect.arrayContaining([hex(address), hex(frame), age, ...(pcid === null ? [] : [pcid])]),
        );
      });
    });
  });

  it("page-tables: each run, with its size", () => {
    const { text, objects } = bothOf("inspect", "page-tables", ...RUN);
    const runs: { start: string; end: string }[] = objects[0].runs;
    const lines = text.split("\n").filter((line) => line.startsWith("0x"));
    const units: Record<string, bigint> = { K: 10n, M: 20n, G: 30n, T: 40n };
    expect(lines.map((line) => /^(0x\w+)-(0x\w+) +(\d+)([KMGT]) /.exec(line)?.slice(1))).toEqual(
      runs.map(({ start, end }) => {
        const bytes = BigInt(end) - BigInt(start);
        const unit = Object.keys(units).findLast((each) => bytes % (1n << units[each]) === 0n) ?? "K";
        return [start, end, String(bytes >> units[unit]), unit];
      }),
    );
  });

  it("walk: each entry on the way", () => {
    const { text, objects } = bothOf("inspect", "walk", "--address", "0xffffc90000068000", ...RUN);
    const levels: { index: number; entryAddress: string; entry: string }[] = objects[0].levels;
    const lines = text.split("\n").filter((line) => line.includes("] at 0x"));
    expect(lines.map((line) => numbersIn(line.slice(line.indexOf("["))).slice(0, 3))).toEqual(
      levels.map(({ index, entryAddress, entry }) => [index, hex(entryAddress), hex(entry)]),
    );
  });

  it("space: by kind, by caller and holes", () => {
    const { text, objects } = bothOf("inspect", "space", ...RUN);
    type Part = { name: string; ranges: number; addressBytes: number; memoryBytes: number };
    for (const [key, heading] of [
      ["kinds", "By kind"],
      ["holders", "By caller"],
    ]) {
      const parts: Part[] = objects[0][key];
      const rows = rowsUnder(text, heading).slice(1);
      expect(rows.map((cells) => Number(cells[1]))).toEqual([
        ...parts.map(({ ranges }) => ranges),
        parts.reduce((sum, { ranges }) => sum + ranges, 0),
      ]);
      parts.forEach(({ addressBytes, memoryBytes }, i) => {
        expectBytes(rows[i][2], addressBytes);
        if (rows[i][3] === undefined) expect(memoryBytes).toBe(0);
        else expectBytes(rows[i][3], memoryBytes);
      });
    }
  });

  /** Holds that `4.78 MiB` is so many bytes, to three digits. */
  function expectBytes(cell: string, bytes: number): void {
    const [number, unit] = cell.split(" ");
    const said = Number(number) * 1024 ** ["B", "KiB", "MiB", "GiB", "TiB"].indexOf(unit);
    expect(Math.abs(said - bytes), `${cell} for ${bytes}`).toBeLessThanOrEqual(0.005 * bytes);
  }
});

describe("explore", () => {
  it("of one test: schedules, choices and preemptions", () => {
    const { text, objects } = bothOf("explore", "switch-against-munmap", "--bug", "flushSkipsSwitchingCpus");
    const [{ found, preemptions, failure, schedule, schedulePreemptions, story }] = objects;
    const [head] = text.split("\n");
    expect(numbersIn(head)).toEqual([found.schedules, preemptions, found.choicesMax]);
    expect(text).toContain(`\n${failure.kind}: ${failure.message}\n`);
    expect(text).toContain(`\nschedule ${schedule} (${schedulePreemptions} preemptions); again: `);
    for (const step of story) expect(text).toContain(step.text);
  });

  it("of one schedule: its preemptions", () => {
    const { text, objects } = bothOf("explore", "two-purges", "--schedule", "1.1");
    expect(text).toContain(`schedule 1.1 (${objects[0].schedulePreemptions} preemption); again: `);
    expect(objects[0].schedulePreemptions).toBe(1);
  });

  it("of a search that finds nothing: schedules, and those that were left out", () => {
    const { text, objects } = bothOf("explore", "vfree-against-purge", "--preemptions", "1");
    const { found, preemptions } = objects[0];
    const leftOut = found.redundant === 0 ? [] : [found.redundant];
    expect(numbersIn(text)).toEqual([found.schedules, preemptions, found.choicesMax, ...leftOut]);
    expect(objects[0].schedulePreemptions).toBeNull();
  });
});
