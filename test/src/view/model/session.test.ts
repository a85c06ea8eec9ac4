import { describe, expect, it } from "vitest";
import { cachedTranslations } from "../../../../arch/cpu/cached-translations.ts";
import { PageFault } from "../../../../arch/index.ts";
import { vmallocinfo } from "../../../../mm/index.ts";
import { tlbView } from "../../../../src/inspect/tlb-view.ts";
import { TranslationTruth } from "../../../../src/inspect/translation-truth.ts";
import { bootKernel } from "../../../../src/machine/kernel.ts";
import { runOnKernel } from "../../../../src/runs/run.ts";
import { steppedWorkloads } from "../../../../src/view/model/begin.ts";
import { costView } from "../../../../src/view/model/cost-view.ts";
import { DEFAULT_SCENARIO, type Scenario } from "../../../../src/view/model/scenario.ts";
import { Session } from "../../../../src/view/model/session.ts";
import { spaceView } from "../../../../src/view/model/space-view.ts";
import { STORIES } from "../../../../src/view/model/stories/index.ts";
import { BREAKPOINTS, type Breakpoint, STRIDES } from "../../../../src/view/model/strides.ts";
import { tableViews } from "../../../../src/view/model/table-view.ts";
import { walkView } from "../../../../src/view/model/walk-view.ts";
import { findWorkload, WORKLOADS } from "../../../../src/workloads/all-workloads.ts";

const MIXED: Scenario = { ...DEFAULT_SCENARIO, operations: 200, settings: { "lazy-max": "64" } };

/** All that the page can show of a machine, as text. */
function shown({ kernel, tracks, told }: Session): string {
  const space = spaceView(kernel);
  const [area] = space.areas;
  const address = area?.start ?? space.rangeStart;
  const cpus = kernel.machine.cpus.map(({ id }) => [tlbView(kernel, id), walkView(kernel, id, address)]);
  const happened = [
    tracks.spansSince(0, 1e6),
    tracks.ipis.items,
    tracks.events.items,
    tracks.callPositions.items,
    costView(kernel, tracks),
  ];
  return JSON.stringify([space, cpus, tableViews(kernel, 0, address), happened, told]);
}

describe("a session", () => {
  it("has the same state at a position, whichever way it came there", () => {
    const session = new Session(MIXED);
    const states: string[] = [];
    const positions = [0, 1, 2, 7, 30, 31, 90, 150];
    for (const position of positions) {
      session.goTo(position);
      expect(session.position).toBe(position);
      states.push(shown(session));
    }
    expect(new Set(states).size).toBe(states.length);
    for (let i = positions.length - 1; i >= 0; i--) {
      session.goTo(positions[i]);
      expect(shown(session) === states[i], `position ${positions[i]}`).toBe(true);
    }
  });

  it("shows spans of each CPU that make up all of its time, once each, interrupts among them", () => {
    const session = new Session({ ...DEFAULT_SCENARIO, name: "user_processes", cpus: 4, operations: 300 });
    const began = [...session.kernel.machine.loop.clockCycles];
    session.runTo("end");
    const spans = session.tracks.spansSince(0, 1e6);
    expect(spans.filter(({ activity }) => activity === "interrupts").length).toBeGreaterThan(10);
    const passed = began.map((cycles, cpu) => session.kernel.machine.loop.clockCycles[cpu] - cycles);
    const shownCycles = began.map((_, of) =>
      spans.reduce((sum, { cpu, fromCycles, toCycles }) => sum + (cpu === of ? toCycles - fromCycles : 0), 0),
    );
    expect(shownCycles).toEqual(passed);
  });

  it("ends with the machine that the workload, run in one go, leaves", () => {
    for (const name of steppedWorkloads()) {
      const workload = findWorkload(name);
      const session = new Session({ ...DEFAULT_SCENARIO, name, operations: 80 });
      session.runTo("end");
      const kernel = bootKernel({ cpus: 4, memoryBytes: 2 ** 30 });
      runOnKernel(kernel, workload, { operations: 80, seed: 1 });
      // The drain work that the workload's end has queued, if any.
      kernel.runUntilIdle();
      expect(vmallocinfo(session.kernel.vm), name).toEqual(vmallocinfo(kernel.vm));
      expect([...session.kernel.machine.loop.clockCycles]).toEqual([...kernel.machine.loop.clockCycles]);
      expect(session.isOver && session.length === session.position).toBe(true);
    }
    expect(WORKLOADS.length - steppedWorkloads().length).toBe(1);
  });

  it("goes to the next of each kind, and back to before the last", () => {
    for (const stride of STRIDES) {
      const session = new Session(MIXED);
      const stops: number[] = [];
      for (let i = 0; i < 4; i++) {
        session.forward(stride);
        stops.push(session.position);
      }
      expect(stops, stride).toEqual([...new Set(stops)].sort((a, b) => a - b));
      for (const stop of stops.reverse()) {
        expect(session.position).toBeGreaterThanOrEqual(stop - 1);
        session.back(stride);
        expect(session.position, stride).toBe(stop - 1);
      }
    }
  });

  it("runs to what it is told to stop at", () => {
    for (const breakpoint of BREAKPOINTS) {
      const session = new Session(MIXED);
      session.runTo(breakpoint);
      const here = session.tracks.events.items
        .filter(({ position }) => position === session.position)
        .map(({ name }) => name);
      if (breakpoint === "purge") expect(here).toContain("purge");
      else if (breakpoint === "flush") expect(here.some((name) => name.startsWith("flush"))).toBe(true);
      else if (breakpoint === "touch") continue;
      // This workload makes no mistake.
      else expect(session.isOver && session.stoppedAt === null).toBe(true);
    }
    const processes = new Session({ ...DEFAULT_SCENARIO, name: "user_processes", operations: 60 });
    processes.runTo("flush");
    expect(processes.stoppedAt).toMatch(/^CPU \d: tlb_flush pages=-?\d+ reason=/);
    const mistake = new Session({ kind: "story", name: "double-free" });
    mistake.runTo("warning");
    expect([mistake.position, mistake.kernel.log.warnings]).toEqual([3, 1]);
  });

  it("stops at faults, stale uses and accesses to a page, in whichever step they are", () => {
    const run = (name: string, from: number, breakpoint: Breakpoint, address?: number) => {
      const session = new Session({ kind: "story", name });
      session.goTo(from);
      session.runTo(breakpoint, address);
      return [session.position, session.stoppedAt];
    };
    expect(run("stale-entry", 0, "fault")).toEqual([4, expect.stringMatching(/^CPU 1: #PF\(0\)/)]);
    const stale = /^CPU 0 loads from 0x[0-9a-f]+ through a stale entry of its L1 dTLB 4K: nothing is mapped there$/;
    expect(run("stale-entry", 0, "stale use")).toEqual([4, expect.stringMatching(stale)]);
    const session = new Session({ kind: "story", name: "stale-entry" });
    session.goTo(1);
    const { address = 0 } = session.told?.look ?? {};
    expect(run("stale-entry", 1, "touch", address + 100)).toEqual([2, expect.stringMatching(/^CPU 0 stores to 0x/)]);
    expect(run("stale-entry", 1, "touch", address + 4096)).toEqual([5, null]);
    expect(run("stale-entry", 4, "fault")).toEqual([5, expect.stringMatching(/^CPU 0: #PF/)]);
  });

  it("is not changed by being watched", () => {
    const watched = new Session(MIXED);
    watched.runTo("stale use");
    const plain = new Session(MIXED);
    plain.goTo(watched.position);
    expect(shown(watched) === shown(plain)).toBe(true);
    watched.forward("ipi");
    plain.forward("ipi");
    expect(shown(watched) === shown(plain)).toBe(true);
  });

  it("knows for whatever is stale at any step which flush is owed, in the middle of calls as well", () => {
    for (const name of ["mixed", "fs_buffer_cache", "user_processes"]) {
      const session = new Session({ ...DEFAULT_SCENARIO, name, operations: 40, settings: { "lazy-max": "16" } });
      const owed = new Set<string>();
      while (!session.isOver) {
        session.forward("step");
        const truth = new TranslationTruth(session.kernel);
        for (const { id } of session.kernel.machine.cpus) {
          for (const { slots } of tlbView(session.kernel, id, truth).structures) {
            for (const { stale, owedBy, la } of slots) {
              if (stale === null) continue;
              expect(owedBy, `${name}, step ${session.position}: ${la.toString(16)} ${stale}`).not.toBe("");
              owed.add(owedBy.replace(/\(.*/, ""));
            }
          }
        }
      }
      if (name === "mixed") expect([...owed]).toContain("the purge that is under way");
    }
  });

  it.each([
    [{ name: "mixd" }, /unknown workload 'mixd'.*mixed/],
    [{ name: "test_vmalloc" }, /unknown workload/],
    [{ cpus: 65 }, /cpus.*1 to 64/],
    [{ operations: 0 }, /ops/],
    [{ preset: "skylakes" }, /unknown preset/],
    [{ settings: { "lazy-max": "x" } }, /x/],
    [{ settings: { lazy: "1" } as object }, /unknown setting 'lazy'/],
    [{ parameters: ["live=1"] }, /live/],
  ])("refuses %j in one line", (change, message) => {
    expect(() => new Session({ ...DEFAULT_SCENARIO, ...change })).toThrow(message);
  });
});

describe("the views", () => {
  const session = new Session({ ...MIXED, operations: 600 });
  // No call is under way then.
  session.runTo("end");
  const { kernel } = session;
  // Whatever was purged last: a lazily freed area, and a translation of it that is stale.
  const freed = kernel.vmalloc(8192);
  kernel.machine.cpus[kernel.currentCpu].load(freed, 4);
  kernel.vfree(freed);
  const space = spaceView(kernel);

  it("show the areas of /proc/vmallocinfo, by address", () => {
    expect(space.areas).toHaveLength(vmallocinfo(kernel.vm).length);
    expect(space.areas.length).toBeGreaterThan(5);
    const starts = space.areas.map(({ start }) => start);
    expect(starts).toEqual([...starts].sort((a, b) => a - b));
    expect(space.lazyPages).toBe(kernel.vm.lazyNr);
    expect(new Set(space.areas.map(({ kind }) => kind)).size).toBeGreaterThan(3);
    expect(space.areas.reduce((sum, { pages }) => sum + pages, 0)).toBe(kernel.vm.nrVmallocPages);
  });

  it("show the pages of each block as its counts have them", () => {
    const blocks = space.areas.filter(({ kind }) => kind === "block");
    expect(blocks.length).toBeGreaterThan(0);
    for (const { pageMap, used } of blocks) expect(pageMap.match(/u/g) ?? []).toHaveLength(used);
  });

  it("show every translation that a CPU has, in its set and way", () => {
    let stale = 0;
    for (const cpu of kernel.machine.cpus) {
      const view = tlbView(kernel, cpu.id);
      const slots = view.structures.flatMap(({ name, slots }) => slots.map((slot) => ({ name, ...slot })));
      const ours = slots.filter(({ tableLevel }) => tableLevel === 0).map(({ name, la }) => `${name} ${la}`);
      const own = cachedTranslations(cpu).map(({ tlb, la }) => `${tlb} ${la}`);
      expect(ours.sort()).toEqual(own.sort());
      expect(view.staleCount).toBe(slots.filter((slot) => slot.stale !== null).length);
      stale += view.staleCount;
      // What is stale without a flush that is owed would be an error of the kernel, and verify() finds none.
      for (const slot of slots) if (slot.stale !== null) expect(slot.owedBy, `${slot.name} ${slot.la}`).not.toBe("");
    }
    expect(stale).toBeGreaterThan(0);
  });

  it("say of an access what the CPU then does", () => {
    const addresses = [...space.areas.slice(0, 12).flatMap(({ start, end }) => [start, end - 4096]), 0x1000];
    for (const address of addresses) {
      const [cpu] = kernel.machine.cpus;
      cpu.flushTlbAll();
      const view = walkView(kernel, 0, address);
      expect(view.levels.map(({ entryAddress }) => entryAddress)).toEqual(
        cpu.probe(address).levels.map(({ entryAddress }) => entryAddress),
      );
      for (const { access, errorCode } of view.outcomes) {
        let got: number | null = null;
        try {
          if (access === "load") cpu.load(address, 1);
          else if (access === "store") cpu.store(address, 1, 0);
          else cpu.fetch(address, 1);
        } catch (fault) {
          if (!(fault instanceof PageFault)) throw fault;
          got = fault.errorCode;
        }
        expect(errorCode, `${access} of ${address.toString(16)}`).toBe(got);
      }
    }
  });

  it("unfold the tables on the way of an address", () => {
    const start = space.areas.find(({ kind }) => kind === "vmalloc")?.start ?? 0;
    const tables = tableViews(kernel, 0, start);
    expect(tables.map(({ level }) => level)).toEqual([4, 3, 2, 1]);
    for (const { entries, walkedIndex, level } of tables) {
      const entry = entries.find(({ index }) => index === walkedIndex);
      expect(entry?.entry).toBe(walkView(kernel, 0, start).levels.find((each) => each.level === level)?.entry);
    }
  });
});

describe.each(STORIES.map((story) => [story.name] as const))("the story %s", (name) => {
  it("is told to its end, and back, with a machine that is sound or wrong on purpose", () => {
    const provokes = STORIES.find((story) => story.name === name)?.provokes;
    const provoked: string[] = [];
    const session = new Session({ kind: "story", name });
    const states = [shown(session)];
    while (!session.isOver) {
      session.forward("step");
      const findings = session.verify();
      provoked.push(...findings);
      if (provokes === undefined) expect(findings).toEqual([]);
      for (const finding of findings) expect(finding).toMatch(provokes ?? /^$/);
      states.push(shown(session));
    }
    expect(session.position).toBe(session.length);
    expect(provoked.length > 0).toBe(provokes !== undefined);
    for (let position = session.position - 1; position >= 0; position--) {
      session.back("step");
      expect(shown(session) === states[position], `step ${position}`).toBe(true);
    }
  });
});

describe("stories find what they tell", () => {
  const found = (name: string, step: number): string => {
    const session = new Session({ kind: "story", name });
    session.goTo(step);
    return session.told?.found ?? "";
  };

  it("of one stale entry", () => {
    expect(found("stale-entry", 4)).toMatch(/^CPU 0 loads 42; CPU 1 faults: #PF\(0\)/);
    expect(found("stale-entry", 5)).toMatch(/^CPU 0 faults/);
  });

  it("of a purge that the fifth vfree brings about", () => {
    for (const step of [2, 3, 4, 5]) expect(found("lazy-purge", step)).toContain(`${16 * (step - 1)} pages are lazily`);
    for (const step of [2, 3, 4, 5]) expect(found("lazy-purge", step)).toContain("; 0 interrupts");
    expect(found("lazy-purge", 6)).toMatch(/^0 pages.*; 3 interrupts/);
  });

  it("of 33 pages, which spare a bystander, and of 34, which do not", () => {
    expect(found("flush-ceiling", 3)).toContain("still hits");
    expect(found("flush-ceiling", 5)).toContain("walked again");
  });

  it("of a purge that waits for a CPU with interrupts off", () => {
    const cycles = (step: number): number => Number(/(\d+) cycles/.exec(found("interrupts-off", step))?.[1]);
    expect(cycles(2)).toBeGreaterThan(50_000);
    expect(cycles(3)).toBeLessThan(20_000);
  });

  it("of PCIDs: a switch that flushes nothing, a munmap that interrupts nobody, and a switch that catches up", () => {
    expect([found("pcids", 1), found("pcids", 2)]).toEqual(["CPU 0 loads 11; PCID 2", "CPU 0 loads 22; PCID 3"]);
    expect(found("pcids", 3)).toBe("CPU 0 loads 11; 0 cycles of page walks");
    expect(found("pcids", 4)).toBe("A's tlb_gen is 2; CPU 0 got 0 interrupts");
    expect(found("pcids", 5)).toMatch(/^CPU 0 faults: #PF\(0\)/);
    const session = new Session({ kind: "story", name: "pcids" });
    session.goTo(4);
    const slots = tlbView(session.kernel, 0).structures.flatMap((structure) => structure.slots);
    const stale = slots.filter((slot) => slot.stale !== null);
    expect(stale.length).toBeGreaterThan(0);
    for (const { owedBy } of stale) expect(owedBy).toBe("the switch to its address space (tlb_gen 1 of 2)");
  });

  it("of a large page: a store that should be refused, and a walk through memory that is no table any more", () => {
    expect(found("huge-split", 2)).toMatch(/^CPU 0 stores 7; CPU 1 faults: #PF\(P\|W\)/);
    expect(found("huge-split", 3)).toMatch(/^CPU 0 faults: #PF\(P\|W\).*; CPU 0 loads 7$/);
    expect(found("huge-split", 4)).toBe("CPU 0 loads 666; CPU 1 loads 43");
    expect(found("huge-split", 5)).toBe("CPU 0 loads 43");
  });

  it("of vread: bytes only where the flags allow it", () => {
    expect(found("vread-flags", 1)).toBe("across its end: 0x1111 0x0");
    expect(found("vread-flags", 2)).toMatch(/: 0x0$/);
    expect(found("vread-flags", 3)).toMatch(/: 0x2222$/);
    expect(found("vread-flags", 4)).toBe("vread: 0x0; a load: 0x2222");
    expect(found("vread-flags", 5)).toMatch(/: 0x0$/);
  });

  it("of a guest: violations at the first touch only, 24 entries, caches of both dimensions, a flush without an exit", () => {
    expect(found("guest-walk", 2)).toMatch(/^CPU 0 stores 42; [1-9] EPT violations$/);
    expect(found("guest-walk", 3)).toBe("24 entries");
    const [, first, beside] = /^(\d+) cycles of page walks, (\d+) for/.exec(found("guest-walk", 4)) ?? [];
    expect(Number(beside)).toBeLessThan(Number(first));
    expect(found("guest-walk", 5)).toMatch(/^CPU 0 faults: #PF\(0\).*; 0 EPT violations$/);
    const session = new Session({ kind: "story", name: "guest-walk" });
    session.goTo(2);
    const address = session.told?.look.address ?? 0;
    const { levels, secondStage, tlbs } = walkView(session.kernel, 0, address);
    expect([...levels.map((level) => level.secondStage.length), secondStage.length]).toEqual([5, 5, 5, 5, 5]);
    const { physical } = session.kernel.machine.cpus[0].probe(address);
    expect(tlbs.length).toBeGreaterThan(0);
    for (const { frame } of tlbs) expect(frame).toBe(Math.floor((physical ?? 0) / 4096));
    // The guest takes the page away and has not flushed yet: what is cached is stale.
    session.kernel.vfree(address);
    const stale = tlbView(session.kernel, 0).structures.flatMap(({ slots }) =>
      slots.filter((slot) => slot.stale !== null),
    );
    expect(stale.map(({ stale: why }) => why)).toContain("nothing is mapped there");
    for (const { owedBy } of stale) expect(owedBy).toBe("the purge of its lazily freed area");
  });

  it("of a race that the explorer finds, as the command does, and that the mended kernel does not have", () => {
    expect(found("race", 2)).toBe("nothing is wrong");
    expect(found("race", 3)).toBe("schedule number 35 fails");
    expect(found("race", 4)).toMatch(/^1\.1-4\.1: check: .*no page can be read once munmap has returned$/);
    expect(found("race", 5)).toMatch(/^\d+ schedules, all there are: none fails$/);
  });
});
