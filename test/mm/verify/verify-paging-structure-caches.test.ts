import { describe, expect, it } from "vitest";
import { type KernelCode, PAGE_SIZE } from "../../../arch/index.ts";
import {
  __vmallocNodeRange,
  flushPolicyByName,
  type MmStruct,
  mmapPopulate,
  munmap,
  reclaimAndPurgeVmapAreas,
  UserSpaces,
  VM_ALLOW_HUGE_VMAP,
  VMALLOC_REQUEST,
  VMALLOC_START,
} from "../../../mm/index.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../../../src/machine/kernel.ts";

const PMD = 2 ** 21;
const TEXT = 0x40_0000;
/** The 2 MiB that first small areas share, then one large page has. */
const SHARED = VMALLOC_START + 4 * PMD;

interface Scene {
  readonly kernel: Kernel;
  readonly spaces: UserSpaces;
  readonly a: MmStruct;
  readonly b: MmStruct;
}

/** CPU 1 has run in address spaces `b` and `a`, and is in `a`. */
function scene(config: Partial<KernelConfig>): Scene {
  const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 28, ...config });
  const spaces = new UserSpaces(kernel.mm);
  const [a, b] = [spaces.mmAlloc(), spaces.mmAlloc()];
  for (const mm of [a, b]) kernel.run(mmapPopulate(spaces, mm, TEXT, 1), 1);
  const made = { kernel, spaces, a, b };
  switchTo(made, b);
  switchTo(made, a);
  return made;
}

function switchTo({ kernel, spaces }: Scene, mm: MmStruct): void {
  // biome-ignore lint/correctness/useYield: plain code on a CPU
  function* code(): KernelCode<void> {
    spaces.switchTo(mm);
  }
  kernel.run(code(), 1);
}

/** CPU 1 uses two small areas in the address space it is in, leaves it for `b`, and one large page takes their place. */
function replaceTableByLargePage(made: Scene): number {
  const { kernel, b } = made;
  const small = [0, 1].map((i) => {
    const range = { start: SHARED + i * 16 * PAGE_SIZE, end: SHARED + PMD };
    return kernel.run(() => __vmallocNodeRange(kernel.vm, PAGE_SIZE, { ...VMALLOC_REQUEST, range }));
  });
  for (const address of small) kernel.machine.cpus[1].store(address, 4, 1);
  switchTo(made, b);
  for (const address of small) kernel.vfree(address);
  kernel.run(reclaimAndPurgeVmapAreas(kernel.vm));
  const range = { start: SHARED, end: SHARED + 2 * PMD };
  const request = { ...VMALLOC_REQUEST, range, align: PMD, flags: VM_ALLOW_HUGE_VMAP };
  return kernel.run(() => __vmallocNodeRange(kernel.vm, PMD, request));
}

describe("verify of paging-structure caches", () => {
  it("names an entry of a PCID that is not loaded, which leads to a page table that was freed", () => {
    const made = scene({ preset: "skylake" });
    const { kernel, a } = made;
    const large = replaceTableByLargePage(made);
    expect(large).toBe(SHARED);
    const stale =
      /^CPU 1: its pde leads from 0xffffc90000800000 to the table in frame 0x[0-9a-f]+ under PCID \d+, which is/;
    expect(kernel.verify()).toEqual([expect.stringMatching(stale)]);
    switchTo(made, a);
    expect(kernel.verify()).toEqual([expect.stringContaining("but a large page is mapped there")]);
    // What the finding warns of: the freed table is read, not the large page.
    kernel.machine.cpus[0].store(large + 40 * PAGE_SIZE, 4, 77);
    expect(() => kernel.machine.cpus[1].load(large + 40 * PAGE_SIZE, 4)).toThrow();
  });

  it.each([
    ["skylake", "ipi"],
    ["icelake", "ipi"],
    ["skylake", "eager"],
    ["skylake", "deferred"],
    ["zen4", "ipi"],
    ["zen4", "invlpgb"],
    ["sapphire-rapids", "rar"],
  ])("names none where every PCID is flushed before a table is freed: %s, %s", (preset, policy) => {
    const made = scene({ preset, flushPolicy: flushPolicyByName(policy), flushFreedTables: true });
    const { kernel, a } = made;
    const accounts = kernel.mm.flushing.keepAccounts();
    const large = replaceTableByLargePage(made);
    expect(accounts.records.filter(({ cause }) => cause === "table freed").map(({ full }) => full)).toEqual([true]);
    expect(kernel.verify()).toEqual([]);
    switchTo(made, a);
    kernel.machine.cpus[0].store(large + 40 * PAGE_SIZE, 4, 77);
    expect(kernel.machine.cpus[1].load(large + 40 * PAGE_SIZE, 4)).toBe(77);
    expect(kernel.verify()).toEqual([]);
  });

  it("accepts it where the address space has changed since: the switch will flush", () => {
    const made = scene({ preset: "skylake" });
    const { kernel, spaces, a } = made;
    const large = replaceTableByLargePage(made);
    kernel.run(munmap(spaces, a, TEXT, TEXT + PAGE_SIZE));
    expect(kernel.verify()).toEqual([]);
    switchTo(made, a);
    kernel.machine.cpus[0].store(large, 4, 77);
    expect(kernel.machine.cpus[1].load(large, 4)).toBe(77);
  });

  it("accepts it with page-table isolation: other PCIDs are flushed before they are used", () => {
    const made = scene({ preset: "skylake", pageTableIsolation: true });
    const { kernel, a } = made;
    const large = replaceTableByLargePage(made);
    expect(kernel.verify()).toEqual([]);
    switchTo(made, a);
    kernel.machine.cpus[0].store(large, 4, 77);
    expect(kernel.machine.cpus[1].load(large, 4)).toBe(77);
  });

  it.each([
    ["zen4", "invlpgb"],
    ["sapphire-rapids", "rar"],
  ])("finds none where flushes of a page drop the entries of every PCID: %s, %s", (preset, policy) => {
    const made = scene({ preset, flushPolicy: flushPolicyByName(policy) });
    const { kernel, a } = made;
    const large = replaceTableByLargePage(made);
    expect(kernel.verify()).toEqual([]);
    switchTo(made, a);
    kernel.machine.cpus[0].store(large, 4, 77);
    expect(kernel.machine.cpus[1].load(large, 4)).toBe(77);
  });

  it("names translations of user addresses that nothing will flush, in every TLB", () => {
    const made = scene({ preset: "skylake" });
    const { kernel, spaces, a } = made;
    kernel.machine.cpus[1].load(TEXT, 4);
    expect(kernel.verify()).toEqual([]);
    // A CPU that ignores every request to flush.
    const cpu = kernel.machine.cpus[1];
    const { writeCr3, invlpg } = cpu;
    Object.assign(cpu, { writeCr3: () => {}, invlpg: () => {} });
    kernel.run(munmap(spaces, a, TEXT, TEXT + PAGE_SIZE), 0);
    Object.assign(cpu, { writeCr3, invlpg });
    const found = kernel.verify();
    const stale = (tlb: string) =>
      expect.stringMatching(
        new RegExp(`^CPU 1: its ${tlb} translates 0x0000000000400000 to frame .*nothing is mapped`),
      );
    expect(found).toEqual([stale("L1 dTLB 4K"), stale("L2 TLB")]);
  });
});
