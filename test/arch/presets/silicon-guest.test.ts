/**
 * The loads of `test/silicon/dtlb-loads.txt`, which were measured in a virtual machine whose memory the host maps with pages of 4 KiB, in
 * an emulated guest: four levels in four. Where the guest's memory lay is not known, but how a kernel takes pages is: first single ones
 * that were given back and lie anywhere, from the CPU's list, then such as lie side by side, from blocks. So few pages far apart, each
 * with tables of its own, are scattered, and thousands of neighbours are not.
 */
import { expect, test } from "vitest";
import { Machine, PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_RW, PTE_USER } from "../../../arch/index.ts";
import { PCP_HIGH } from "../../../mm/frames/frame-list.ts";
import { GuestSpace } from "../../../src/guests/guest-space.ts";
import { Hypervisor } from "../../../src/guests/hypervisor.ts";
import { randomStream } from "../../../src/machine/random.ts";
import { curves, FIRST_LEVEL_NS, type Sequence, sequences } from "./silicon.ts";

const LEAF = PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED | PTE_DIRTY;
const GIGAHERTZ = 3.0;
/** From so many pages on their lines, one each, do not fit the first-level data cache, which adds this. */
const DATA_CACHED_PAGES = 1024;
const DATA_MISS_NS = 3.67;
/** Memory of the guest: 8 GiB. */
const GUEST_FRAMES = 2 ** 21;
/** Single pages that a CPU has: its list holds up to `PCP_HIGH`, half of that on average. */
const SINGLES = PCP_HIGH / 2;

/** A guest in which `pages` pages are mapped that are `stride` pages apart, on its CPU. @param seed of where its memory lies */
function guestWith(pages: number, stride: number, seed: number): Machine {
  const machine = new Machine({ preset: "sapphire-rapids", memoryBytes: 2 ** 40 });
  const hypervisor = new Hypervisor(machine, { pageSize: "4K", levels: 4 });
  const space = new GuestSpace(hypervisor, 4, { frames: GUEST_FRAMES, singles: SINGLES, random: randomStream(seed) });
  for (let i = 0; i < pages; i++) hypervisor.giveAll(space.mapPage(i * stride * 4096, 1, LEAF), 1);
  machine.cpus[0].enterGuest(space.vcpu(1));
  return machine;
}

/** Nanoseconds of a dependent load of `pages` pages in a random order. */
function loadNs(pages: number, stride: number): number {
  const machine = guestWith(pages, stride, pages + stride);
  const random = randomStream(pages);
  const [cpu] = machine.cpus;
  const order = Array.from({ length: pages }, (_, i) => i);
  for (let i = pages - 1; i > 0; i--) {
    const j = random.between(0, i);
    [order[i], order[j]] = [order[j], order[i]];
  }
  const rounds = Math.max(2, Math.ceil(1000 / pages));
  const visit = () => {
    for (let i = 0; i < rounds; i++) for (const page of order) cpu.touch(page * stride * 4096);
  };
  visit();
  const { clockCycles } = machine.loop;
  const before = clockCycles[0];
  visit();
  const cycles = (clockCycles[0] - before) / (rounds * pages) - machine.preset.costs.load.value;
  return FIRST_LEVEL_NS + (pages >= DATA_CACHED_PAGES ? DATA_MISS_NS : 0) + cycles / GIGAHERTZ;
}

/** Errors above a quarter, of the points of the curves that `isWanted` chooses; and how many points there were. */
function compare(isWanted: (stride: number, pages: number) => boolean) {
  const errors: string[] = [];
  let points = 0;
  for (const { stride, points: all } of curves("dtlb-loads.txt")) {
    for (const { pages, ns } of all) {
      if (!isWanted(stride, pages)) continue;
      points++;
      const error = loadNs(pages, stride) / ns - 1;
      if (Math.abs(error) > 0.25) errors.push(`stride ${stride}, ${pages} pages: ${(100 * error).toFixed(0)} %`);
    }
  }
  return { points, errors };
}

test("2,304 to 4,096 pages at strides up to 64: within 25 % of the core", () => {
  const { points, errors } = compare((stride, pages) => stride <= 64 && pages >= 2304);
  expect(points).toBeGreaterThan(13);
  expect(errors).toEqual([]);
});

/**
 * Pages of such a stride that one set of the second level holds. Just beyond, loads walk in part, and by what its ways hold of others:
 * that is another test.
 */
const setPages = (stride: number) => Math.max(16, 2 ** 18 / stride);

test("half as many pages again as a set holds, and more, at strides from 2,048 pages on: within 25 % of the core", () => {
  const isFar = (stride: number, pages: number) => stride >= 2048 && pages >= 1.5 * setPages(stride);
  const { points, errors } = compare(isFar);
  expect(points).toBeGreaterThan(20);
  expect(errors).toEqual([]);
});

/** What a visit of `stlb-sequences.txt` costs where the second level hits (its README), and a walk if all cost the same. */
const SETTLED_SECOND_NS = 4.3;
const ONE_WALK_NS = 20;

/** Nanoseconds a visit of a sequence: by what the emulated walks cost, and with one cost for all walks. */
function sequenceNs({ pages, visits }: Sequence, seed: number): { readonly walked: number; readonly constant: number } {
  const stride = 16_384;
  const machine = guestWith(pages, stride, 7 + seed);
  const [cpu] = machine.cpus;
  const { clockCycles } = machine.loop;
  const { load, secondLevelHit } = machine.preset.costs;
  const random = randomStream(seed);
  const visit = (page: number) => cpu.touch(page * stride * 4096);
  const run = (periods: number) => {
    for (let i = 0; i < periods; i++) for (const page of visits) visit(page);
  };
  for (let i = 0; i < 100 + 7 * seed; i++) visit(random.between(0, pages - 1));
  run(30);
  const [before, startCycles, periods] = [cpu.counters(), clockCycles[0], 24];
  run(periods);
  const after = cpu.counters();
  const counted = (name: "stlb_hit" | "walk_completed") =>
    after[`dtlb_load_misses.${name}`] - before[`dtlb_load_misses.${name}`];
  const [hits, walks, all] = [counted("stlb_hit"), counted("walk_completed"), periods * visits.length];
  const walkCycles = clockCycles[0] - startCycles - all * load.value - hits * secondLevelHit.value;
  const others = (all - hits - walks) * FIRST_LEVEL_NS + hits * SETTLED_SECOND_NS;
  return {
    walked: (others + walks * FIRST_LEVEL_NS + walkCycles / GIGAHERTZ) / all,
    constant: (others + walks * ONE_WALK_NS) / all,
  };
}

test("sequences of pages of one set of the second level: walks of both dimensions explain them better than one cost for all walks", () => {
  const squares = { walked: 0, constant: 0 };
  const all = sequences("stlb-sequences.txt");
  for (const sequence of all) {
    const found = [0, 1, 2, 3].map((seed) => sequenceNs(sequence, seed));
    for (const key of ["walked", "constant"] as const) {
      squares[key] += Math.min(...found.map((each) => (each[key] - sequence.leastNs) ** 2));
    }
  }
  const rms = (sum: number) => Math.sqrt(sum / all.length);
  expect(all).toHaveLength(50);
  expect(rms(squares.walked)).toBeLessThan(0.4);
  expect(rms(squares.walked)).toBeLessThan(0.5 * rms(squares.constant));
});
