/** Rights of kernel pages: what is split, what is flushed, what an alias has, and what is put together again. */
import { describe, expect, it } from "vitest";
import { PageFault } from "../../../arch/index.ts";
import {
  __vmallocNodeRange,
  GFP_KERNEL,
  setDirectMapValidNoflush,
  setMemoryNx,
  setMemoryRo,
  setMemoryRox,
  setMemoryRw,
  setMemoryX,
  VM_ALLOW_HUGE_VMAP,
  VM_FLUSH_RESET_PERMS,
  VMALLOC_REQUEST,
  vmallocToPfn,
} from "../../../mm/index.ts";
import { directMapAddress } from "../../../mm/page-tables/direct-map.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

const PAGE = 4096;
const LARGE = 2 ** 21;

function booted(version = "6.12", cpus = 2): Kernel {
  return bootKernel({ cpus, memoryBytes: 2 ** 30, kernel: version });
}

/** The size of the page that maps an address, and its rights; null for none. */
function mapping({ tables }: Kernel, la: number): string | null {
  const { cursor } = tables;
  const level = cursor.seek(la);
  if (!cursor.isLeaf) return null;
  return `${["", "4K", "2M", "1G"][level]} ${cursor.isWritable ? "rw" : "ro"} ${cursor.high < 0 ? "nx" : "x"}`;
}

function alias(kernel: Kernel, la: number): number {
  return directMapAddress(vmallocToPfn(kernel.vm, la) * PAGE);
}

function causes(kernel: Kernel, act: () => void): string[] {
  const accounts = kernel.mm.flushing.keepAccounts();
  const before = accounts.records.length;
  act();
  return accounts.records.slice(before).map(({ cause, full }) => `${cause}${full ? "" : " pages"}`);
}

describe("set_memory of what vmalloc maps", () => {
  it("changes the pages and their aliases in the direct map, which never become executable, and flushes whole TLBs", () => {
    const kernel = booted();
    const area = kernel.vmalloc(3 * PAGE);
    const second = area + PAGE;
    expect(mapping(kernel, alias(kernel, second))).toBe("1G rw nx");
    // 1 GiB of the direct map becomes pages of 2 MiB, one of those pages of 4 KiB.
    const first = causes(kernel, () => expect(kernel.run(setMemoryRox(kernel.vm, second, 1))).toBe(0));
    expect(first).toEqual(["page split", "page split", "set_memory"]);
    expect([area, second, area + 2 * PAGE].map((la) => mapping(kernel, la))).toEqual([
      "4K rw nx",
      "4K ro x",
      "4K rw nx",
    ]);
    expect(mapping(kernel, alias(kernel, second))).toBe("4K ro nx");
    expect(mapping(kernel, alias(kernel, area))).toBe("4K rw nx");
    expect(causes(kernel, () => kernel.run(setMemoryNx(kernel.vm, second, 1)))).toEqual(["set_memory"]);
    expect(causes(kernel, () => kernel.run(setMemoryRw(kernel.vm, second, 1)))).toEqual(["set_memory"]);
    expect(mapping(kernel, second)).toBe("4K rw nx");
    expect(mapping(kernel, alias(kernel, second))).toBe("4K rw nx");
    expect(kernel.verify()).toEqual([]);
  });

  it("flushes nothing where nothing changes, but purges what was lazily freed in any case", () => {
    const kernel = booted();
    const area = kernel.vmalloc(2 * PAGE);
    expect(causes(kernel, () => kernel.run(setMemoryNx(kernel.vm, area, 2)))).toEqual([]);
    kernel.vfree(kernel.vmalloc(PAGE));
    expect(kernel.vm.lazyNr).toBeGreaterThan(0);
    expect(causes(kernel, () => kernel.run(setMemoryNx(kernel.vm, area, 2)))).toEqual(["aliases pages"]);
    expect(kernel.vm.lazyNr).toBe(0);
  });

  it("is seen by every CPU: a store that was allowed faults, one that was refused goes", () => {
    const kernel = booted();
    const area = kernel.vmalloc(PAGE);
    const stores = () =>
      kernel.machine.cpus.map((cpu) => {
        try {
          cpu.store(area, 4, cpu.id);
          return "stored";
        } catch (error) {
          return error instanceof PageFault ? "fault" : error;
        }
      });
    expect(stores()).toEqual(["stored", "stored"]);
    kernel.run(setMemoryRo(kernel.vm, area, 1));
    expect(stores()).toEqual(["fault", "fault"]);
    kernel.run(setMemoryRw(kernel.vm, area, 1));
    expect(stores()).toEqual(["stored", "stored"]);
  });

  it("warns of pages that become writable and executable", () => {
    const kernel = booted();
    const area = kernel.vmalloc(PAGE);
    expect(kernel.run(setMemoryX(kernel.vm, area, 1))).toBe(0);
    expect(kernel.log.lines.join("\n")).toMatch(/CPA detected W\^X violation/);
  });

  it("answers -EFAULT where nothing is mapped, with a warning", () => {
    const kernel = booted();
    const area = kernel.vmalloc(PAGE);
    kernel.vfree(area);
    expect(kernel.run(setMemoryRo(kernel.vm, area, 1))).toBe(-14);
    expect(kernel.log.lines.join("\n")).toMatch(/CPA: called for zero pte/);
    expect(kernel.verify()).toEqual([]);
  });

  it("answers -ENOMEM when a large page cannot be split, and leaves no flush owed and no lock held", () => {
    const kernel = booted();
    const area = kernel.vmalloc(PAGE);
    kernel.faults.failAt(0, "pageTable");
    expect(kernel.run(setMemoryRo(kernel.vm, area, 1))).toBe(-12);
    expect(kernel.verify()).toEqual([]);
    expect(kernel.run(setMemoryRo(kernel.vm, area, 1))).toBe(0);
    expect(mapping(kernel, alias(kernel, area))).toBe("4K ro nx");
  });
});

describe("large pages", () => {
  const largeArea = (kernel: Kernel): number => {
    const request = { ...VMALLOC_REQUEST, gfp: GFP_KERNEL, flags: VM_ALLOW_HUGE_VMAP };
    return kernel.run(() => __vmallocNodeRange(kernel.vm, LARGE, request));
  };

  it("stay whole where all of them changes, in the direct map too", () => {
    const kernel = booted();
    const area = largeArea(kernel);
    expect(mapping(kernel, area)).toBe("2M rw nx");
    expect(causes(kernel, () => kernel.run(setMemoryRox(kernel.vm, area, 512)))).toEqual(["page split", "set_memory"]);
    expect(mapping(kernel, area + 17 * PAGE)).toBe("2M ro x");
    expect(mapping(kernel, alias(kernel, area))).toBe("2M ro nx");
    expect(kernel.verify()).toEqual([]);
  });

  it.each([
    ["6.1", ["set_memory", "set_memory"], "4K ro x", 0],
    ["6.6", ["set_memory"], "4K ro x", 0],
    ["6.12", ["set_memory"], "4K ro x", 0],
    ["7.3", ["set_memory", "pages joined"], "2M ro x", 1],
  ] as const)(
    "are split for a part, and put together again by set_memory_rox in 7.3: %s",
    (version, flushes, after, freed) => {
      const kernel = booted(version);
      const area = largeArea(kernel);
      kernel.run(setMemoryRox(kernel.vm, area, 512));
      for (const call of [setMemoryNx, setMemoryRw]) expect(kernel.run(call(kernel.vm, area + PAGE, 3))).toBe(0);
      expect([0, 1, 3, 4].map((page) => mapping(kernel, area + page * PAGE))).toEqual([
        "4K ro x",
        "4K rw nx",
        "4K rw nx",
        "4K ro x",
      ]);
      const [, pteTables] = kernel.tables.tables;
      expect(causes(kernel, () => kernel.run(setMemoryRox(kernel.vm, area + PAGE, 3)))).toEqual(flushes);
      expect(mapping(kernel, area + 2 * PAGE)).toBe(after);
      expect(kernel.tables.tables[1]).toBe(pteTables - freed);
      // The direct map stays split: only what was asked for is put together.
      expect(mapping(kernel, alias(kernel, area))).toBe("4K ro nx");
      expect(kernel.verify()).toEqual([]);
      kernel.vfree(area);
      kernel.vmUnmapAliases();
      expect(kernel.verify()).toEqual([]);
    },
  );
});

describe("an area with VM_FLUSH_RESET_PERMS", () => {
  it.each(["6.1", "6.12", "7.3"])("leaves the direct map writable when it is freed in %s", (version) => {
    const kernel = booted(version);
    const request = { ...VMALLOC_REQUEST, flags: VM_FLUSH_RESET_PERMS };
    const area = kernel.run(() => __vmallocNodeRange(kernel.vm, 2 * PAGE, request));
    kernel.run(setMemoryRox(kernel.vm, area, 2));
    const direct = [alias(kernel, area), alias(kernel, area + PAGE)];
    expect(direct.map((la) => mapping(kernel, la))).toEqual(["4K ro nx", "4K ro nx"]);
    // CPU 1 has the read-only alias in its TLB, and writes there once the area is gone.
    kernel.machine.cpus[1].load(direct[0], 4);
    kernel.vfree(area);
    expect(direct.map((la) => mapping(kernel, la))).toEqual(["4K rw nx", "4K rw nx"]);
    kernel.machine.cpus[1].store(direct[0], 4, 1);
    expect(kernel.verify()).toEqual([]);
  });

  it("keeps its addresses out of the direct map until the flush", () => {
    const kernel = booted();
    const area = kernel.vmalloc(PAGE);
    const direct = alias(kernel, area);
    expect(kernel.run(setDirectMapValidNoflush(kernel.vm, vmallocToPfn(kernel.vm, area), 1, false))).toBe(0);
    expect(mapping(kernel, direct)).toBeNull();
    expect(() => kernel.machine.cpus[0].load(direct, 4)).toThrow(PageFault);
    expect(kernel.run(setDirectMapValidNoflush(kernel.vm, vmallocToPfn(kernel.vm, area), 1, true))).toBe(0);
    expect(mapping(kernel, direct)).toBe("4K rw nx");
    expect(kernel.verify()).toEqual([]);
  });
});
