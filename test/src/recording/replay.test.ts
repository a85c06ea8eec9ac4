import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { InputFileError } from "../../../src/input/errors.ts";
import { compareFinalState } from "../../../src/recording/final-state.ts";
import { readRecording } from "../../../src/recording/recording-reader.ts";
import { type ReplayResult, replayRecording } from "../../../src/recording/replay.ts";
import { bootRecordedKernel, captureState } from "../../../src/recording/replay-kernel.ts";
import { fixture, fixtureLines, temporaryFolder } from "../fixtures.ts";

/** Recordings of 6.12; those of other versions are in folders of their own. */
const FIXTURES = namesIn(".");
const OLDER_AND_NEWER = ["linux-6.1", "linux-7.3"].flatMap((folderName) =>
  namesIn(folderName).map((name) => `${folderName}/${name}`),
);

function namesIn(folderName: string): string[] {
  return readdirSync(join(import.meta.dirname, "../../recordings", folderName))
    .filter((file) => file.endsWith(".jsonl.gz"))
    .map((file) => file.slice(0, -".jsonl.gz".length));
}

const folder = temporaryFolder();

/** Replays a recording given as lines. */
function replayLines(lines: readonly string[], differencesMax = 1): Promise<ReplayResult> {
  return replayRecording(folder.write("changed.jsonl", lines.join("\n")), { differencesMax });
}

describe("replaying a recording of a real kernel", () => {
  it("has a fixture of each scenario", () => {
    const scenarios = new Set(FIXTURES.map((name) => name.split("_")[0]));
    expect([...scenarios].sort()).toEqual([
      "align",
      "fix",
      "frag",
      "huge",
      "lazy",
      "mapram",
      "migrate",
      "mixed",
      "random",
      "range",
    ]);
  });

  it.each([...FIXTURES, ...OLDER_AND_NEWER])(
    "reproduces every address, every event and the final state of %s",
    async (name) => {
      const lines = fixtureLines(name);
      const result = await replayRecording(fixture(name));
      expect(result).toMatchObject({
        recording: name.split("/").at(-1),
        calls: lines.filter((line) => line.startsWith('{"call"')).length,
        events: lines.filter((line) => line.startsWith('{"ev"')).length,
        differences: [],
        addressMismatches: 0,
        eventMismatches: 0,
        finalStateMismatches: 0,
      });
      expect(result.calls).toBeGreaterThan(2000);
    },
  );

  it.each(["fix_smp1_s1", "mixed_smp4_s1"])("starts from exactly the recorded state of %s", async (name) => {
    for await (const item of readRecording(fixture(name))) {
      if (item.kind !== "start") break;
      const kernel = bootRecordedKernel(item.header, item.state);
      expect(compareFinalState(item.state, captureState(kernel), kernel.mm.version)).toEqual([]);
    }
  });

  it("takes the version of the kernel from the header, and refuses one that is not emulated", async () => {
    const lines = fixtureLines("linux-6.1/range_smp2_s1");
    const replayed = async (kernel: string) => {
      const changed = JSON.stringify({ ...(JSON.parse(lines[0]) as object), kernel });
      return (await replayLines([changed, ...lines.slice(1)])).eventMismatches;
    };
    expect(await replayed("6.1.1")).toBe(0);
    expect(await replayed("Linux host 6.1.192-gt #2 SMP")).toBe(0);
    await expect(replayed("Linux host 5.15.2 #1 SMP")).rejects.toThrow(
      /changed.jsonl:1: header: "kernel" is "Linux host 5.15.2 #1 SMP": expected a release of 6.1, 6.6, 6.12, 6.15, 7.3/,
    );
    // The purge threshold of 6.1 is no constant of 6.12.
    await expect(replayed("6.12.117")).rejects.toThrow(/"vmap_purge_threshold" is 0: expected 256/);
  });

  it("starts from a recorded end as well, with pools, lazy areas and vmap blocks", async () => {
    for (const name of ["mapram_smp1_s1", "migrate_smp2_s1", "mixed_smp4_s1"]) {
      let header = null;
      for await (const item of readRecording(fixture(name))) {
        if (item.kind === "start") header = item.header;
        if (item.kind !== "end" || header === null) continue;
        const kernel = bootRecordedKernel(header, item.state);
        expect(compareFinalState(item.state, captureState(kernel), kernel.mm.version)).toEqual([]);
      }
    }
  });

  it("gives the same result again", async () => {
    const first = await replayRecording(fixture("huge_smp2_s1"));
    expect(await replayRecording(fixture("huge_smp2_s1"))).toEqual(first);
  });

  it("tells how far it is", async () => {
    const calls: number[] = [];
    await replayRecording(fixture("range_smp4_s1"), { onProgress: (count) => calls.push(count) });
    expect(calls.length).toBeGreaterThan(3);
    expect(calls).toEqual([...calls].sort((a, b) => a - b));
  });
});

describe("a recording that was changed on purpose", () => {
  const lines = fixtureLines("mixed_smp4_s1");
  /** The number of the first line at or after `from` that starts so. */
  const find = (prefix: string, from = 0): number => {
    const at = lines.findIndex((line, i) => i >= from && line.startsWith(prefix));
    if (at < 0) throw new Error(`no line starts with ${prefix}`);
    return at;
  };
  const middle = 20_000;

  it("shows another address as one mismatch, with the call and its arguments", async () => {
    const at = find('{"call":"vmalloc"', middle);
    const { n, size, ret } = JSON.parse(lines[at]);
    const elsewhere = "0xffffc90012345000";
    const freed = lines.findIndex(
      (line, i) => i > at && line.startsWith('{"call"') && line.includes(`"addr":"${ret}"`),
    );
    const changed = lines.map((line, i) => (i === at || i === freed ? line.replace(ret, elsewhere) : line));
    const result = await replayLines(changed);
    expect(result).toMatchObject({ addressMismatches: 1, eventMismatches: 0, finalStateMismatches: 0 });
    expect(result.differences).toMatchObject([
      {
        kind: "address",
        line: at + 1,
        where: `call ${n}: vmalloc size=${size}`,
        expected: "0xffffc90012345000",
        actual: ret,
      },
    ]);
    expect(result.differences[0].context.length).toBeGreaterThan(0);
  });

  it("is refused where a call frees by an address that no call returned, be it in an area or in none", async () => {
    const at = lines.findIndex((line, i) => i > middle && line.startsWith('{"call":"vfree"'));
    const { addr } = JSON.parse(lines[at]);
    const inner = addr.replace(/000$/, "800");
    for (const other of [inner, "0xffffc90012345000"]) {
      const message = `:${at + 1}: call "vfree": "addr" is ${other}, where no area begins`;
      await expect(replayLines(lines.with(at, lines[at].replace(addr, other)))).rejects.toThrow(message);
    }
    // The same once more: it is gone.
    const { n } = JSON.parse(lines[at]);
    const numbered = lines.slice(at + 1).map((line) => line.replace(/"n":(\d+)/, (_, i) => `"n":${Number(i) + 1}`));
    const twice = [...lines.slice(0, at + 1), lines[at].replace(`"n":${n}`, `"n":${n + 1}`), ...numbered];
    await expect(replayLines(twice)).rejects.toThrow(
      `:${at + 2}: call "vfree": "addr" is ${addr}, where no area begins`,
    );
  });

  it("shows a changed event as one mismatch, with the events around it", async () => {
    const at = find('{"ev":"alloc"', middle);
    const changed = lines[at].replace(/"align":\d+/, '"align":77');
    const result = await replayLines(lines.with(at, changed));
    expect(result).toMatchObject({ addressMismatches: 0, eventMismatches: 1, finalStateMismatches: 0 });
    expect(result.eventMismatchesByName).toEqual({ alloc: 1 });
    const [difference] = result.differences;
    expect(difference).toMatchObject({ kind: "event", expected: changed, actual: lines[at] });
    expect(difference.context).toContain(`- ${changed}`);
    expect(difference.context).toContain(`+ ${lines[at]}`);
  });

  it("shows a missing and an extra event as one mismatch each", async () => {
    const at = find('{"ev":"alloc"', middle);
    const missing = await replayLines(lines.toSpliced(at, 1));
    expect(missing).toMatchObject({ addressMismatches: 0, eventMismatches: 1, finalStateMismatches: 0 });
    expect(missing.differences[0]).toMatchObject({ expected: "nothing", actual: lines[at] });
    const extra = await replayLines(lines.toSpliced(at, 0, '{"ev":"flush_all"}'));
    expect(extra).toMatchObject({ addressMismatches: 0, eventMismatches: 1, finalStateMismatches: 0 });
    expect(extra.differences[0]).toMatchObject({ expected: '{"ev":"flush_all"}', actual: "nothing" });
  });

  it("shows two events in another order", async () => {
    const at = find('{"ev":"vunmap"', middle);
    const swapped = lines.with(at, lines[at + 1]).with(at + 1, lines[at]);
    expect(await replayLines(swapped)).toMatchObject({ eventMismatches: 2 });
  });

  it("shows an event of the drain work that is claimed to be the caller's", async () => {
    const at = find('{"ev":"purge"', find('{"wait"'));
    const result = await replayLines(lines.with(at, lines[at].replace(',"ctx":"other"', "")));
    expect(result).toMatchObject({ eventMismatches: 1 });
    expect(result.differences[0].where).toMatch(/^drain after call \d+$/);
  });

  it("passes over frame numbers", async () => {
    const at = find('{"ev":"map_pages"', middle);
    const result = await replayLines(lines.with(at, lines[at].replace(/"pfn0":"0x[0-9a-f]+"/, '"pfn0":"0x1"')));
    expect(result).toMatchObject({ addressMismatches: 0, eventMismatches: 0, finalStateMismatches: 0 });
  });

  it.each([
    ["the size of a gap", '{"final":"free"', /"end":"0x[0-9a-f]+"/, '"end":"0xffffc90040000000"', "free"],
    ["the colour of a gap", '{"final":"free"', /"black":1/, '"black":0', "free"],
    ["a subtree_max that spans the hole", '{"final":"free"', /"0xffffc8ffffffffff"/, '"0xffffc8fffffffffe"', "free"],
    ["a requested size", '{"final":"busy"', /"requested_size":\d+/, '"requested_size":5', "busy"],
    ["a lazy area's flags", '{"final":"lazy"', /"va_flags":\d+/, '"va_flags":9', "lazy"],
    ["a pool's length", '{"final":"pool"', /"len":\d+/, '"len":999', "pool"],
    ["a block's dirty range", '{"final":"vb"', /"dirty_min":\d+/, '"dirty_min":3', "vb"],
    ["the free pages of a block on a list", '{"final":"vbfree"', /"free":\d+/, '"free":3', "vbfree"],
    ["the lazy count", '{"final":"meta"', /"lazy_nr":\d+/, '"lazy_nr":1', "meta"],
    [
      "a word of vmallocinfo",
      '{"final_vmallocinfo"',
      /phys=0x00000000bffe1000 ioremap/,
      "phys=0x00000000bffe1000 vmap",
      "vmallocinfo",
    ],
    [
      "an unpurged area",
      '{"final_vmallocinfo"',
      /\d+ unpurged vm_area/,
      '$&","0xffffe8fffffff000-0xffffe90000000000    4096 unpurged vm_area',
      "vmallocinfo",
    ],
    [
      "a flag in the page tables",
      '{"final_ptdump"',
      /RW {17}GLB NX pte/,
      "ro                 GLB NX pte",
      "page tables",
    ],
    ["what vmalloc uses", '{"final_meminfo"', /VmallocUsed: +\d+ kB/, "VmallocUsed:           1 kB", "meminfo"],
  ])("shows %s in the final state", async (_, prefix, pattern, replacement, part) => {
    const at = find(prefix);
    expect(lines[at]).toMatch(pattern);
    const result = await replayLines(lines.with(at, lines[at].replace(pattern, replacement)));
    expect(result).toMatchObject({ addressMismatches: 0, eventMismatches: 0, finalStateMismatches: 1 });
    expect(result.finalStateMismatchesByPart).toEqual({ [part]: 1 });
    expect(result.differences).toMatchObject([{ kind: "final state", where: expect.stringContaining(part) }]);
  });

  it("shows an area whose caller is not that of the others of its kind", async () => {
    const at = find('{"final_vmallocinfo"');
    const callers = [...lines[at].matchAll(/do_alloc\+0x96\/0x370/g)];
    expect(callers.length).toBeGreaterThan(2);
    const last = callers[callers.length - 1].index;
    const changed = `${lines[at].slice(0, last)}do_alloc+0x97/0x370${lines[at].slice(last + 19)}`;
    expect(await replayLines(lines.with(at, changed))).toMatchObject({ finalStateMismatches: 1 });
  });

  it("is replayed to its end although nothing fits any more", async () => {
    const at = find('{"call":"vmalloc"', middle);
    const result = await replayLines(lines.with(at, lines[at].replace(/"size":\d+/, '"size":999424')), 5);
    expect(result.calls).toBe(lines.filter((line) => line.startsWith('{"call"')).length);
    expect(result.addressMismatches).toBeGreaterThan(0);
    expect(result.eventMismatches).toBeGreaterThan(result.addressMismatches);
    expect(result.differences).toHaveLength(5);
    expect(result.differences[0].line).toBe(at + 1);
  });

  it("contradicts itself: an error with the file's name", async () => {
    const at = find('{"init":"free"');
    const broken = lines.with(at, lines[at].replace('"kids":3', '"kids":0'));
    await expect(replayLines(broken)).rejects.toThrow(InputFileError);
  });
});
