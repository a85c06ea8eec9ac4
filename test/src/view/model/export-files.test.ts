import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { vmallocinfo } from "../../../../mm/index.ts";
import { loadKernel } from "../../../../src/state/machine-state.ts";
import { openPoint } from "../../../../src/view/model/experiment-point.ts";
import { exportFile } from "../../../../src/view/model/export-files.ts";
import { openFile } from "../../../../src/view/model/open-file.ts";
import { DEFAULT_SCENARIO, type PointScenario, type Scenario } from "../../../../src/view/model/scenario.ts";
import { Session } from "../../../../src/view/model/session.ts";
import { STORIES } from "../../../../src/view/model/stories/index.ts";

/** An event of the Chrome trace-event format, as far as these tests look at it. */
interface TraceEvent {
  readonly ph: "M" | "X" | "s" | "f" | "C";
  readonly name: string;
  readonly tid: number;
  readonly id: number;
  readonly ts: number;
  readonly dur: number;
  readonly args: Readonly<Record<string, number>>;
}

const MIXED: Scenario = { ...DEFAULT_SCENARIO, operations: 300, settings: { "lazy-max": "64" } };

async function timeline(session: Session): Promise<TraceEvent[]> {
  const text = new TextDecoder().decode(await exportFile("timeline", session));
  return (JSON.parse(text) as { readonly traceEvents: TraceEvent[] }).traceEvents;
}

describe("the exported timeline of each story", () => {
  /** Calls that each makes by its own account. */
  const CALLS: Readonly<Record<string, readonly string[]>> = {
    "stale-entry": ["vmalloc", "store", "vfree", "load", "vm_unmap_aliases", "TLB flush"],
    "lazy-purge": ["vmalloc", "vfree", "purge"],
    "flush-ceiling": ["vmalloc", "vfree", "vm_unmap_aliases", "TLB flush"],
    "interrupts-off": ["vfree", "vm_unmap_aliases", "IPI wait"],
    pcids: ["mmap", "switch_mm", "munmap", "TLB flush"],
    "huge-split": ["vmalloc_huge", "load", "store", "INVLPG"],
    "vmap-blocks": ["vm_map_ram", "vm_unmap_ram", "vm_unmap_aliases"],
    "vread-flags": ["vmalloc", "ioremap", "vread", "vfree"],
    "double-free": ["vmalloc", "vfree"],
    race: ["context switch", "TLB flush"],
    "guest-walk": ["vmalloc", "store", "hypervisor", "vfree"],
  };

  it.each(STORIES.map(({ name }) => name))("has spans of what it shows: %s", async (name) => {
    const session = new Session({ kind: "story", name });
    session.runTo("end");
    const spans = (await timeline(session)).filter(({ ph }) => ph === "X");
    expect([...new Set(spans.map((span) => span.name))]).toEqual(expect.arrayContaining([...CALLS[name]]));
  });

  it("is the same after a run that was watched for a use of a stale entry", async () => {
    const plain = new Session({ kind: "story", name: "stale-entry" });
    plain.runTo("end");
    const watched = new Session({ kind: "story", name: "stale-entry" });
    watched.runTo("stale use");
    watched.runTo("end");
    expect(await timeline(watched)).toEqual(await timeline(plain));
  });

  it("has the calls of threads of workloads as well", async () => {
    const session = new Session({ ...DEFAULT_SCENARIO, name: "ioremap_driver", operations: 60 });
    session.runTo("end");
    const names = (await timeline(session)).filter(({ ph }) => ph === "X").map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(["ioremap", "iounmap", "vmalloc", "vfree"]));
  });
});

describe("the exported timeline", () => {
  const session = new Session(MIXED);
  session.goTo(200);
  let events: TraceEvent[];
  beforeAll(async () => {
    events = await timeline(session);
  });
  const of = (ph: TraceEvent["ph"]): TraceEvent[] => events.filter((event) => event.ph === ph);

  it("has a track for each CPU, on which no span begins before the last has ended", () => {
    const names = of("M").filter(({ name }) => name === "thread_name");
    expect(names.map(({ tid }) => tid)).toEqual(session.kernel.machine.cpus.map(({ id }) => id));
    for (const { tid } of names) {
      const spans = of("X").filter((span) => span.tid === tid);
      expect(spans.length).toBeGreaterThan(0);
      let end = 0;
      for (const { ts, dur } of spans) {
        expect(ts).toBeGreaterThanOrEqual(end - 1e-6);
        end = ts + dur;
      }
    }
  });

  it("has the time that each CPU spent with each activity, to a nanosecond a span", () => {
    const { preset } = session.kernel.machine;
    const spans = session.tracks
      .spansSince(0, Number.POSITIVE_INFINITY)
      .filter(({ activity }) => activity === "flush" || activity === "IPI handler");
    const names = new Set(spans.map(({ activity }) => activity));
    const cycles = spans.reduce((sum, { fromCycles, toCycles }) => sum + toCycles - fromCycles, 0);
    const exported = of("X").filter(({ name }) => [...names].some((each) => each === name));
    const usec = exported.reduce((sum, { dur }) => sum + dur, 0);
    expect(Math.abs(usec * 1000 - cycles / preset.frequencyGhz.value)).toBeLessThanOrEqual(spans.length);
    const all = session.tracks.spansSince(0, Number.POSITIVE_INFINITY);
    expect(new Set(of("X").map(({ name }) => name))).toEqual(
      new Set(all.map(({ activity }) => activity).filter((name) => name !== "idle" && name !== "other")),
    );
  });

  it("has an arrow for each interrupt that was taken, forwards in time", () => {
    const taken = session.tracks.ipis.items.filter(({ takenCycles }) => takenCycles !== null);
    expect(taken.length).toBeGreaterThan(0);
    const [begins, ends] = [of("s"), of("f")];
    expect(begins.map(({ id, tid }) => [id, tid])).toEqual(taken.map(({ id, from }) => [id, from]));
    expect(ends.map(({ id, tid }) => [id, tid])).toEqual(taken.map(({ id, to }) => [id, to]));
    begins.forEach(({ ts }, i) => {
      expect(ends[i].ts).toBeGreaterThanOrEqual(ts);
    });
  });

  it("ends its counters with what the machine has now", () => {
    const last = of("C").findLast(({ name }) => name === "lazily freed pages");
    expect(last?.args.pages).toBe(session.kernel.vm.lazyNr);
  });

  it("is the same again after a step back and forward", async () => {
    session.back("step");
    expect(await timeline(session)).not.toEqual(events);
    session.forward("step");
    expect(await timeline(session)).toEqual(events);
  });
});

describe("the exported state", () => {
  const folder = mkdtempSync(join(tmpdir(), "mmulab-export-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each([
    ["a story", { kind: "story", name: "lazy-purge" }, 2],
    ["a workload at its end", MIXED, 1e6],
  ] as const)("is a machine that mmulab loads, and the page opens: %s", async (_what, scenario, position) => {
    const session = new Session(scenario);
    session.goTo(position);
    // As after a step back, where the machine itself is further than what is shown.
    session.back("step");
    session.forward("step");
    const bytes = await exportFile("state", session);
    const file = join(folder, "exported.state");
    writeFileSync(file, bytes);
    const { kernel } = loadKernel(file);
    expect(vmallocinfo(kernel.vm)).toEqual(vmallocinfo(session.kernel.vm));
    expect([...kernel.machine.loop.clockCycles]).toEqual([...session.kernel.machine.loop.clockCycles]);
    expect(kernel.verify()).toEqual([]);
    const opened = new Session({ kind: "file", name: "exported.state" }, await openFile("exported.state", bytes));
    expect(opened.told?.text).toBe(`A saved state: ${scenario.name}, step ${session.position} of the page.`);
    expect(vmallocinfo(opened.kernel.vm)).toEqual(vmallocinfo(session.kernel.vm));
  });

  it("is refused where code is under way", async () => {
    const session = new Session(MIXED);
    session.goTo(200);
    await expect(exportFile("state", session)).rejects.toThrow(
      /^the state cannot be saved: thread [\w/:]+: is in the middle of its code$/,
    );
    const point: PointScenario = {
      kind: "experiment",
      name: "user-flush",
      point: "0.0",
      seed: 1,
      preset: "skylake",
      parameters: ["pages=1", "cpus=1", "rounds=1"],
      settings: {},
    };
    await expect(exportFile("state", new Session(point, openPoint(point)))).rejects.toThrow(
      "the state cannot be saved: an experiment is under way",
    );
  });
});
