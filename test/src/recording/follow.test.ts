/** Recordings in which CPUs ran at the same time: followed event by event, and refused where calls alone are to be replayed. */

import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { followRecording } from "../../../src/recording/follow/follow.ts";
import { replayRecording } from "../../../src/recording/replay.ts";
import { fixture, fixtureLines, temporaryFolder } from "../fixtures.ts";

const folder = temporaryFolder();
const FREE_RUNNING = "concurrent/mt_smp4_s1";
const NAMES = [FREE_RUNNING, "concurrent/7.3_helpers_smp2_s1", "concurrent/6.1_helpers_smp2_s1"];

/** Changes for which the small recordings have no event. */
const OF_BLOCKS = /vm_unmap_aliases|vmap block/;

type Line = Record<string, unknown>;

/** Follows a recording of which some lines are changed, taken away (null) or put elsewhere. */
async function followChanged(name: string, change: (lines: Line[]) => Line[]) {
  const lines = gunzipSync(readFileSync(fixture(name)))
    .toString("utf8")
    .trimEnd()
    .split("\n");
  const changed = change(lines.map((line) => JSON.parse(line) as Line)).map((line) => JSON.stringify(line));
  return await followRecording(folder.write("changed.jsonl", changed.join("\n")), { differencesMax: 2 });
}

/** The number of the event named `ev` after `from` others of that name. */
function place(lines: readonly Line[], ev: string, from = 10, fits: (line: Line) => boolean = () => true): number {
  const places = lines.flatMap((line, i) => (line.ev === ev && fits(line) ? [i] : []));
  return places[from];
}

function replaced(lines: readonly Line[], at: number, fields: Line): Line[] {
  return lines.map((line, i) => (i === at ? { ...line, ...fields } : line));
}

describe("following a recording in which CPUs ran at the same time", () => {
  it.each([...NAMES, "linux-7.3/lazy_smp2_s1"])("finds nothing that differs in %s", async (name) => {
    const result = await followRecording(fixture(name));
    expect(result).toMatchObject({
      addressMismatches: 0,
      eventMismatches: 0,
      finalStateMismatches: 0,
      differences: [],
    });
    expect(result.events).toBe(fixtureLines(name).filter((line) => line.startsWith('{"ev"')).length);
  });

  it.each<[string, (lines: Line[]) => Line[]]>([
    [
      "an address that the free tree would not have given",
      (lines) =>
        replaced(
          lines,
          place(lines, "alloc", 300, (line) => line.align === 1),
          { addr: "0xffffc90300000000" },
        ),
    ],
    ["a pool's length", (lines) => replaced(lines, place(lines, "pool_add"), { len: 77 })],
    [
      "two merges in another order",
      (lines) => {
        const at = place(lines, "merge", 10, () => true);
        const next = lines.findIndex((line, i) => i > at && line.ev === "merge");
        return lines.map((line, i) => (i === at ? lines[next] : i === next ? lines[at] : line));
      },
    ],
    [
      "a flush that is missing",
      (lines) => {
        const at = place(lines, "flush_range");
        return lines.filter((_, i) => i !== at);
      },
    ],
    [
      "a table that was made for nothing",
      (lines) => {
        const at = place(lines, "pt_alloc", 3);
        return [...lines.slice(0, at), lines[at], ...lines.slice(at)];
      },
    ],
    [
      "a decayed area too many",
      (lines) => {
        const at = place(lines, "decay_va");
        return [...lines.slice(0, at), lines[at], ...lines.slice(at)];
      },
    ],
    [
      "pages that are mapped a second time",
      (lines) => {
        const at = place(lines, "map_pages");
        return [...lines.slice(0, at + 1), lines[at], ...lines.slice(at + 1)];
      },
    ],
    [
      "an area that is freed with its pages still mapped",
      (lines) => {
        const at = place(lines, "vunmap");
        return lines.filter((_, i) => i !== at);
      },
    ],
    ["a lazy count", (lines) => replaced(lines, place(lines, "free", 50), { lazy_nr: 1 })],
    ["the range of a purge", (lines) => replaced(lines, place(lines, "purge", 3), { end: "0xffffc90300000000" })],
    ["the dirty range of vm_unmap_aliases", (lines) => replaced(lines, place(lines, "aliases", 5), { flush: 0 })],
    ["room in a vmap block", (lines) => replaced(lines, place(lines, "vb_alloc"), { free: 3 })],
  ])("notices %s", async (what, change) => {
    const { eventMismatches } = await followChanged(OF_BLOCKS.test(what) ? FREE_RUNNING : NAMES[1], change);
    expect(eventMismatches).toBeGreaterThan(0);
  });

  it("notices a call that returned something else than its events say", async () => {
    const { addressMismatches } = await followChanged(NAMES[1], (lines) => {
      const at = lines.findIndex((line) => line.call === "vmalloc");
      return replaced(lines, at, { ret: "0xffffc90300000000" });
    });
    expect(addressMismatches).toBeGreaterThan(0);
  });

  it("refuses an address that is no hexadecimal number, with the event's line", async () => {
    const changed = followChanged(FREE_RUNNING, (lines) =>
      replaced(lines, place(lines, "alloc", 300), { addr: "zzz" }),
    );
    await expect(changed).rejects.toThrow(
      /changed\.jsonl:\d+: event "alloc": "addr" is "zzz", expected a hexadecimal string/,
    );
  });

  it("notices a final state that is another", async () => {
    const { finalStateMismatches } = await followChanged(NAMES[2], (lines) =>
      replaced(
        lines,
        lines.findIndex((line) => line.final === "meta"),
        { lazy_nr: 1 },
      ),
    );
    expect(finalStateMismatches).toBe(1);
  });
});

describe("replaying such a recording call by call", () => {
  it.each([
    [
      NAMES[0],
      /:44: event "alloc" outside any call or wait: CPUs ran at the same time here, which mmulab replay --follow/,
    ],
    [NAMES[1], /the drain work runs during a call: CPUs ran at the same time/],
    [NAMES[2], /CPUs ran at the same time/],
  ])("is refused for %s in one line that names the option", async (name, line) => {
    await expect(replayRecording(fixture(name))).rejects.toThrow(line);
  });
});
