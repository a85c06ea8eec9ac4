/** In whose cache the lines of pages are, and what that adds to taking, zeroing and giving back. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { presetByName } from "../../../arch/index.ts";
import { FRAME_CALLER, FRAME_VMALLOC } from "../../../mm/frames/frame-uses.ts";
import { DEFAULT_KERNEL_COSTS, GFP_KERNEL } from "../../../mm/index.ts";
import { lockStatistics } from "../../../mm/kernel/lock-stat.ts";
import { __GFP_ZERO, NUMA_NO_NODE } from "../../../mm/lib/gfp.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

const PRESET = presetByName("skylake");
const ZEN4 = presetByName("zen4");
const [, L2, LLC] = PRESET.dataCaches.map(({ hitCycles }) => hitCycles.value);
const OWN_LINES = PRESET.dataCaches[1].sizeBytes.value / 64;
const MEMORY = PRESET.memory.value;
const COSTS = DEFAULT_KERNEL_COSTS;

function machine(cpus = 2, preset = PRESET): Kernel {
  return bootKernel({ cpus, preset, topology: { sockets: cpus, coresPerSocket: 1, threadsPerCore: 1 } });
}

/** Cycles of `call` on a CPU: its own, and those waited for lines of others. */
function costOf(kernel: Kernel, cpu: number, call: () => void): { own: number; lines: number } {
  const { loop } = kernel.machine;
  loop.currentCpu = cpu;
  const [clock, waited] = [loop.clockCycles[cpu], loop.lines.waitedCycles[cpu]];
  call();
  const lines = loop.lines.waitedCycles[cpu] - waited;
  return { own: loop.clockCycles[cpu] - clock - lines, lines };
}

function take(kernel: Kernel, cpu: number, gfp = GFP_KERNEL): number {
  return kernel.pages.allocPages(cpu, 0, FRAME_CALLER, gfp);
}

/** Takes so many pages in bulk on CPU 0, out of the zone and back onto its list. */
function bulk(kernel: Kernel, count: number, gfp = GFP_KERNEL): Uint32Array {
  const frames = new Uint32Array(count);
  kernel.machine.loop.currentCpu = 0;
  expect(kernel.pages.allocBulk(0, count, FRAME_CALLER, gfp, NUMA_NO_NODE, frames, 0)).toBe(count);
  return frames;
}

describe("the struct page of a page", () => {
  it("that goes round on a CPU's own list stays warm", () => {
    const kernel = machine();
    const frame = take(kernel, 0);
    const again = () => {
      kernel.pages.freePagesOf(0, frame, 0);
      expect(take(kernel, 0)).toBe(frame);
    };
    expect(costOf(kernel, 0, again)).toEqual({ own: 0, lines: 0 });
  });

  it("that another CPU had comes from its cache, once", () => {
    const kernel = machine();
    const { loop } = kernel.machine;
    const [first, second] = bulk(kernel, 2);
    const transfer = loop.lines.transferCycles[loop.topology.distance(0, 1)];
    expect(costOf(kernel, 1, () => kernel.pages.freePagesOf(1, first, 0))).toEqual({ own: 0, lines: transfer });
    expect(costOf(kernel, 1, () => take(kernel, 1)).lines).toBe(0);
    expect(costOf(kernel, 1, () => kernel.pages.freePagesOf(1, second, 0)).lines).toBe(transfer);
  });

  it("that the CPU's own caches have lost comes from the last level, and from memory when that has too", () => {
    const kernel = machine(1);
    const kept = take(kernel, 0);
    const free = () => kernel.pages.freePagesOf(0, kept, 0);
    kernel.mm.pageLines.fetched[0] += OWN_LINES;
    expect(costOf(kernel, 0, free)).toEqual({ own: LLC, lines: 0 });
    expect(take(kernel, 0)).toBe(kept);
    kernel.mm.pageLines.fetched[0] += OWN_LINES + PRESET.dataCaches[2].sizeBytes.value / 64;
    expect(costOf(kernel, 0, free)).toEqual({ own: MEMORY, lines: 0 });
  });

  it("among others in a row is fetched ahead", () => {
    const kernel = machine(1);
    const { pages } = kernel;
    const frames = bulk(kernel, 64).sort();
    const start = frames.findIndex((frame) => frame % 64 < 50);
    kernel.mm.pageLines.fetched[0] += OWN_LINES;
    const costs = [0, 1, 2, 3].map((i) => costOf(kernel, 0, () => pages.freePagesOf(0, frames[start + i], 0)).own);
    expect(costs).toEqual([LLC, LLC, L2, L2]);
  });

  it("is what a CPU waits for under the zone's lock", () => {
    const kernel = machine(1);
    const held = () =>
      lockStatistics(kernel.machine.loop).find(({ name }) => name === "&zone->lock")?.holdTotalCycles ?? 0;
    const zone = kernel.pages.zones.length - 1;
    const before = held();
    kernel.pages.perCpu[0][zone].count = 0;
    take(kernel, 0);
    const cold = held() - before;
    expect(cold).toBeGreaterThan(63 * COSTS.pages.buddyCycles + 2 * MEMORY);
    expect(cold).toBeLessThan(63 * (COSTS.pages.buddyCycles + MEMORY) + 1000);
  });
});

describe("frames given back in runs", () => {
  /** What is to be seen of a zone, and of the lines of its frames. */
  function stateOf(kernel: Kernel): unknown {
    const { pages, mm } = kernel;
    const zone = pages.zones[pages.zones.length - 1];
    const blocks: [number, number][] = [];
    zone.forEachFreeBlock((frame, order) => blocks.push([frame, order]));
    const { fetched, lastFrame, direction } = mm.pageLines;
    return [blocks, zone.freeBlocks, zone.user, zone.usedAt, fetched, lastFrame, direction, mm.pageLines.takeHeld()];
  }

  it("leave lists and lines as they are left by one frame after the other, and take the same time", () => {
    const run = fc.record({ start: fc.nat(200), length: fc.integer({ min: 1, max: 70 }) });
    const cold = fc.array(fc.record({ at: fc.nat(255), isAged: fc.boolean() }), { maxLength: 12 });
    fc.assert(
      fc.property(fc.array(run, { minLength: 1, maxLength: 5 }), cold, (runs, colds) => {
        const [inRuns, oneByOne] = [machine(), machine()].map((kernel) => {
          const frames = bulk(kernel, 256).sort();
          const zone = kernel.pages.zones[kernel.pages.zones.length - 1];
          for (const { at, isAged } of colds) {
            const index = frames[at] - zone.startFrame;
            if (isAged) zone.usedAt[index] -= OWN_LINES + 1;
            else zone.user[index] = 2;
          }
          const order = new Set(runs.flatMap(({ start, length }) => [...frames.subarray(start, start + length)]));
          return { kernel, zone, freed: Uint32Array.from(order) };
        });
        inRuns.zone.freeFrames(inRuns.freed, inRuns.freed.length);
        for (const frame of oneByOne.freed) oneByOne.zone.__freeOnePage(frame, 0);
        expect(stateOf(inRuns.kernel)).toEqual(stateOf(oneByOne.kernel));
      }),
      { numRuns: 60 },
    );
  });
});

describe("a page that is zeroed", () => {
  it("costs by where what was in it is: the core's own caches, the last level, memory or another CPU", () => {
    const kernel = machine();
    const gfp = GFP_KERNEL | __GFP_ZERO;
    const frame = take(kernel, 0, gfp);
    const zeroed = () => {
      kernel.pages.freePagesOf(0, frame, 0);
      return costOf(kernel, 0, () => expect(take(kernel, 0, gfp)).toBe(frame)).own;
    };
    const { zeroPage, zeroPageLastLevel, zeroPageMemory } = kernel.machine.preset.costs;
    const beside = COSTS.pages.zeroCallCycles;
    expect(zeroed()).toBe(beside + zeroPage.value);
    kernel.mm.pageLines.fetched[0] += OWN_LINES - 64;
    const aged = () => (kernel.mm.pageLines.fetched[0] += OWN_LINES);
    expect(zeroed()).toBe(beside + zeroPage.value);
    aged();
    kernel.machine.loop.currentCpu = 0;
    expect(zeroed()).toBe(beside + zeroPageLastLevel.value);
    kernel.mm.pageLines.fetched[0] += 10 * OWN_LINES;
    expect(zeroed()).toBe(beside + zeroPageMemory.value);
    kernel.machine.loop.currentCpu = 1;
    kernel.pages.freePagesOf(1, frame, 0);
    expect(costOf(kernel, 1, () => expect(take(kernel, 1, gfp)).toBe(frame)).own).toBe(beside + zeroPageMemory.value);
  });

  it("is cheaper from memory after the page below it, where the preset says so, and only then", () => {
    const kernel = machine(1, ZEN4);
    const { pageLines, loop } = kernel.mm;
    const zone = kernel.pages.zones[kernel.pages.zones.length - 1];
    const first = zone.startFrame + 4096;
    const zeroed = (frame: number): number => costOf(kernel, 0, () => pageLines.zero(zone, frame)).own;
    loop.currentCpu = 0;
    const { zeroPageMemory, zeroPageNext } = ZEN4.costs;
    expect(zeroPageNext.value).toBeLessThan(zeroPageMemory.value);
    const others = [2, 3, 5, 4, 8].map((page) => zeroed(first + page) - COSTS.pages.zeroCallCycles);
    const [alone, next] = [zeroPageMemory.value, zeroPageNext.value];
    expect(others).toEqual([alone, next, alone, alone, alone]);
  });

  it("leaves no room for what was there before: more pages than fit make each other cold", () => {
    const kernel = machine(1);
    const pages = (2 * OWN_LINES) / 64;
    const zeroAll = () => {
      const frames = bulk(kernel, pages, GFP_KERNEL | __GFP_ZERO);
      kernel.pages.freeBulk(0, frames, 0, pages);
    };
    zeroAll();
    expect(costOf(kernel, 0, zeroAll).own).toBeGreaterThanOrEqual(
      pages * kernel.machine.preset.costs.zeroPageLastLevel.value,
    );
  });
});

/** Frames taken and given back, by whom, how many at once, and which; or a page used by another than its holder. */
const frameSteps = fc.array(
  fc.record({
    kind: fc.constantFrom("take", "free", "use"),
    cpu: fc.nat(2),
    count: fc.integer({ min: 1, max: 2 }),
    at: fc.nat(),
  }),
  { minLength: 20, maxLength: 200 },
);
type FrameSteps = typeof frameSteps extends fc.Arbitrary<infer Steps> ? Steps : never;

/** Frames taken one after the other, and what the CPUs' clocks show in the end; `between` is called after each step. */
function outcomeOf(steps: FrameSteps, between: (kernel: Kernel) => void): readonly number[] {
  const kernel = machine(3);
  const { pages } = kernel;
  const { loop } = kernel.machine;
  const live: Uint32Array[] = [];
  const taken: number[] = [];
  for (const { kind, cpu, count, at } of steps) {
    loop.currentCpu = cpu;
    if (kind === "take") {
      const frames = new Uint32Array(count);
      pages.allocBulk(cpu, count, FRAME_VMALLOC, GFP_KERNEL, NUMA_NO_NODE, frames, 0);
      live.push(frames);
      taken.push(...frames);
    } else if (live.length > 0 && kind === "free") {
      const [frames] = live.splice(at % live.length, 1);
      pages.freeAreaFrames(cpu, frames, 0, frames.length, true);
    } else if (live.length > 0) {
      const [frame] = live[at % live.length];
      pages.lines?.use(pages.zoneOf(frame), frame);
    }
    between(kernel);
  }
  return [...taken, ...loop.clockCycles, ...loop.lines.waitedCycles];
}

describe("what a CPU remembers of the page that it used last", () => {
  it("makes no difference to which pages are taken and what that costs", () => {
    const nothing = (): void => undefined;
    const forget = ({ pages }: Kernel): void => {
      pages.lines?.forgetOwnFrames();
      // A list whose length is set, to what it is, is looked at anew.
      for (const list of pages.perCpu.flat()) list.count = Number(list.count);
    };
    fc.assert(
      fc.property(frameSteps, (steps) => {
        expect(outcomeOf(steps, nothing)).toEqual(outcomeOf(steps, forget));
      }),
      { numRuns: 150 },
    );
  });

  it("is forgotten where others take that page off the CPU's list", () => {
    const kernel = machine();
    const { pages } = kernel;
    const [first, second] = [bulk(kernel, 1), bulk(kernel, 1)];
    pages.freeBulk(0, second, 0, 1);
    pages.freeAreaFrames(0, first, 0, 1, true);
    const list = pages.perCpu[0].find(({ frames, count }) => frames[count - 1] === first[0]);
    if (list !== undefined) list.count--;
    expect(bulk(kernel, 1)).toEqual(second);
  });
});
