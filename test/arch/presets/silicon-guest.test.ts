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
import { curves, FIRST_LEVEL_NS } from "./silicon.ts";

const LEAF = PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED | PTE_DIRTY;
const GIGAHERTZ = 3.0;
/** From so many pages on their lines, one each, do not fit the first-level data cache, which adds this. */
const DATA_CACHED_PAGES = 1024;
const DATA_MISS_NS = 3.67;
/** Memory of the guest: 8 GiB. */
const GUEST_FRAMES = 2 ** 21;
/** Single pages that a CPU has: its list holds up to `PCP_HIGH`, half of that on average. */
const SINGLES = PCP_HIGH / 2;

/** Nanoseconds of a dependent load of `pages` pages in a random order. */
function loadNs(pages: number, stride: number): number {
  const machine = new Machine({ preset: "sapphire-rapids", memoryBytes: 2 ** 40 });
  const hypervisor = new Hypervisor(machine, { pageSize: "4K", levels: 4 });
  const random = randomStream(pages);
  const space = new GuestSpace(hypervisor, 4, {
    frames: GUEST_FRAMES,
    singles: SINGLES,
    random: randomStream(pages + stride),
  });
  for (let i = 0; i < pages; i++) hypervisor.giveAll(space.mapPage(i * stride * 4096, 1, LEAF), 1);
  const [cpu] = machine.cpus;
  cpu.enterGuest(space.vcpu(1));
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
