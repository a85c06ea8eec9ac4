import { describe, expect, it } from "vitest";
import { type KernelCode, PAGE_SIZE } from "../../../arch/index.ts";
import {
  doWpPage,
  dupMm,
  exitMmap,
  FLUSH_POLICIES,
  type FlushPolicy,
  IPI_POLICY,
  type MmStruct,
  mmapPopulate,
  mprotect,
  UserSpaces,
} from "../../../mm/index.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../../../src/machine/kernel.ts";
import { featuresFor } from "../flush/policy-features.ts";

const TEXT = 0x40_0000;
const PAGES = 12;

interface Scene {
  readonly kernel: Kernel;
  readonly spaces: UserSpaces;
  readonly mm: MmStruct;
}

/** A process of 12 pages, each with its number in it, that runs on all three CPUs. */
function scene(flushPolicy: FlushPolicy = IPI_POLICY, config: Partial<KernelConfig> = {}): Scene {
  const kernel = bootKernel({
    cpus: 3,
    memoryBytes: 2 ** 28,
    flushPolicy,
    features: featuresFor(flushPolicy),
    ...config,
  });
  const spaces = new UserSpaces(kernel.mm);
  const mm = spaces.mmAlloc();
  kernel.run(mmapPopulate(spaces, mm, TEXT, PAGES));
  const made = { kernel, spaces, mm };
  for (let cpu = 0; cpu < 3; cpu++) on(made, cpu, () => spaces.switchTo(mm));
  for (let page = 0; page < PAGES; page++) kernel.machine.cpus[0].store(TEXT + page * PAGE_SIZE, 4, page);
  for (const cpu of kernel.machine.cpus) for (let page = 0; page < PAGES; page++) cpu.load(TEXT + page * PAGE_SIZE, 4);
  return made;
}

function on({ kernel }: Scene, cpu: number, body: () => void): void {
  // biome-ignore lint/correctness/useYield: plain code on a CPU
  function* code(): KernelCode<void> {
    body();
  }
  kernel.run(code(), cpu);
}

function forked({ kernel, spaces, mm }: Scene): MmStruct {
  const child = kernel.run(dupMm(spaces, mm));
  if (child === null) throw new Error("no memory");
  return child;
}

describe("fork", () => {
  it("keeps pages of both read-only when mprotect lets the mapping be written again", () => {
    const made = scene();
    const { kernel, spaces, mm } = made;
    const [cpu] = kernel.machine.cpus;
    const child = forked(made);
    const end = TEXT + PAGES * PAGE_SIZE;
    kernel.run(mprotect(spaces, mm, TEXT, end, false));
    kernel.run(mprotect(spaces, mm, TEXT, end, true));
    for (let page = 0; page < PAGES; page++) {
      const la = TEXT + page * PAGE_SIZE;
      expect(() => cpu.store(la, 4, 99)).toThrow("#PF(P|W)");
      expect(kernel.run(doWpPage(spaces, mm, la))).toBe(0);
      cpu.store(la, 4, 99);
    }
    on(made, 0, () => spaces.switchTo(child));
    for (let page = 0; page < PAGES; page++) expect(cpu.load(TEXT + page * PAGE_SIZE, 4)).toBe(page);
    expect(kernel.verify()).toEqual([]);
  });

  it("is over for pages that nobody else has any more: mprotect makes them writable", () => {
    const made = scene();
    const { kernel, spaces, mm } = made;
    const child = forked(made);
    kernel.run(exitMmap(spaces, child));
    kernel.run(mprotect(spaces, mm, TEXT, TEXT + PAGE_SIZE, true));
    kernel.machine.cpus[0].store(TEXT, 4, 99);
    expect(kernel.machine.cpus[0].load(TEXT, 4)).toBe(99);
  });

  it.each([...FLUSH_POLICIES])(
    "under $name: nobody writes what both have, and who writes gets a copy of its own",
    (policy) => {
      const made = scene(policy);
      const { kernel, spaces, mm } = made;
      const [first, second] = kernel.machine.cpus;
      const child = forked(made);
      for (const cpu of kernel.machine.cpus) expect(() => cpu.store(TEXT, 4, 99), `CPU ${cpu.id}`).toThrow("#PF(P|W)");
      expect(kernel.run(doWpPage(spaces, mm, TEXT + 8))).toBe(0);
      first.store(TEXT, 4, 1000);
      // The other CPU had the shared page cached: it was flushed.
      expect(second.load(TEXT, 4)).toBe(1000);
      on(made, 2, () => spaces.switchTo(child));
      expect(kernel.machine.cpus[2].load(TEXT, 4)).toBe(0);
      expect(kernel.machine.cpus[2].load(TEXT + PAGE_SIZE, 4)).toBe(1);
      expect(kernel.verify()).toEqual([]);
      // The parent has copied the page, so that the child's is its own: no further copy.
      const { allocatedPages } = kernel.pages;
      expect(kernel.run(doWpPage(spaces, child, TEXT), 2)).toBe(0);
      expect(kernel.pages.allocatedPages).toBe(allocatedPages);
      kernel.machine.cpus[2].store(TEXT, 4, 2000);
      expect(first.load(TEXT, 4)).toBe(1000);
      expect(kernel.verify()).toEqual([]);
    },
  );

  it("gives every frame back when both have ended, and a second write finds that the page is writable", () => {
    const made = scene();
    const { kernel, spaces, mm } = made;
    const { freePages } = kernel.pages;
    const child = forked(made);
    for (let page = 0; page < PAGES; page += 2) kernel.run(doWpPage(spaces, mm, TEXT + page * PAGE_SIZE));
    kernel.run(exitMmap(spaces, child));
    expect(kernel.pages.freePages).toBe(freePages);
    expect(kernel.verify()).toEqual([]);
    expect(kernel.run(doWpPage(spaces, mm, TEXT))).toBe(0);
    expect(kernel.run(doWpPage(spaces, mm, 2 ** 30))).toBeLessThan(0);
    expect(kernel.pages.references.isEmpty).toBe(true);
  });

  it("interrupts the process's other CPUs once, and those alone for each page that is copied", () => {
    const made = scene();
    const { kernel, spaces, mm } = made;
    const accounts = kernel.mm.flushing.keepAccounts();
    forked(made);
    kernel.run(doWpPage(spaces, mm, TEXT));
    const causes = accounts.records.map(({ cause, full, pages, interrupted }) => ({ cause, full, pages, interrupted }));
    expect(causes).toMatchObject([
      { cause: "fork", full: true, interrupted: 2 },
      { cause: "copy", full: false, pages: 1, interrupted: 2 },
    ]);
  });

  it("leaves nothing behind when memory runs out on the way", () => {
    const made = scene();
    const { kernel, spaces, mm } = made;
    const { freePages } = kernel.pages;
    // The top table is there; the next table is not.
    kernel.faults.failAt(2, "frame");
    expect(kernel.run(dupMm(spaces, mm))).toBeNull();
    expect(kernel.pages.freePages).toBe(freePages);
    expect(kernel.pages.references.isEmpty).toBe(true);
    expect(kernel.verify()).toEqual([]);
    expect(kernel.run(doWpPage(spaces, mm, TEXT))).toBe(0);
    kernel.machine.cpus[0].store(TEXT, 4, 5);
  });
});
