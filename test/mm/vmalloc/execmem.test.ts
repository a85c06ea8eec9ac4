/** The cache of executable memory of Linux 7.3: regions, pieces, what is filled, flushed and given back; and how older kernels allocate. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PageFault } from "../../../arch/index.ts";
import {
  type ExecmemType,
  execmemAlloc,
  execmemAllocRw,
  execmemFree,
  execmemIsRox,
  execmemRestoreRox,
  MODULES_VADDR,
} from "../../../mm/index.ts";
import { vmallocinfo } from "../../../mm/views/vmallocinfo.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../../../src/machine/kernel.ts";

const PAGE = 4096;
const LARGE = 2 ** 21;
const INT3 = 0xcccc_cccc | 0;

function booted(config: Partial<KernelConfig> = {}): Kernel {
  return bootKernel({ cpus: 2, memoryBytes: 2 ** 28, kernel: "7.3", ...config });
}

function allocate(kernel: Kernel, pages: number, type: ExecmemType = "module text"): number {
  return kernel.run(() => execmemAlloc(kernel.vm, type, pages * PAGE));
}

function free(kernel: Kernel, address: number): void {
  kernel.run(execmemFree(kernel.vm, address));
}

/** Frees, and lets the work items run. */
function freeAndClean(kernel: Kernel, address: number): void {
  free(kernel, address);
  kernel.runUntilIdle();
}

function pieces(kernel: Kernel, which: "busy" | "free"): [number, number][] {
  const ranges = kernel.vm.execmem?.[which];
  if (ranges === undefined) return [];
  const page = (address: number): number => (address - MODULES_VADDR) / PAGE;
  return Array.from({ length: ranges.count }, (_, i) => [page(ranges.startOf(i)), page(ranges.endOf(i))]);
}

describe("executable memory in Linux 7.3", () => {
  it("lies as in the recorded kernel: text in a region of 2 MiB at the lower end of the modules, data in areas behind it", () => {
    const kernel = booted();
    expect(kernel.run(execmemAllocRw(kernel.vm, "module text", 5000))).toBe(MODULES_VADDR);
    for (const bytes of [4096, 4096, 8192]) kernel.run(execmemAllocRw(kernel.vm, "module data", bytes));
    const lines = vmallocinfo(kernel.vm).map((line) => line.replace(/ execmem_alloc\S+/, ""));
    // `init_vmallocinfo` and `init` of the recordings, without offsets of the caller.
    expect(lines).toEqual([
      "0xffffffffa0000000-0xffffffffa0201000 2101248 pages=512 vmalloc",
      "0xffffffffa0201000-0xffffffffa0203000    8192 pages=1 vmalloc",
      "0xffffffffa0203000-0xffffffffa0205000    8192 pages=1 vmalloc",
      "0xffffffffa0205000-0xffffffffa0208000   12288 pages=2 vmalloc",
    ]);
    const { areas, vms, nodes } = kernel.vm;
    const vm = areas.vmOf(nodes[0].busy.findStart(MODULES_VADDR));
    expect([vms.flags[2 * vm], vms.pageOrderOf(vm), vms.requestedSizeBytes[vm]]).toEqual([0x402, 9, LARGE]);
    expect(kernel.verify()).toEqual([]);
  });

  it("is executable, cannot be written, and traps whoever jumps into what is free", () => {
    const kernel = booted();
    const text = allocate(kernel, 3);
    const [cpu] = kernel.machine.cpus;
    expect(() => cpu.store(text, 4, 1)).toThrow(PageFault);
    for (const at of [text, text + 3 * PAGE - 4, text + LARGE - 4]) expect(cpu.fetch(at, 4)).toBe(INT3 >>> 0);
    expect(kernel.verify()).toEqual([]);
  });

  it("takes the lower end of the lowest free piece that is large enough", () => {
    const kernel = booted();
    const [first, second, third] = [4, 2, 3].map((size) => allocate(kernel, size));
    allocate(kernel, 1);
    expect(pieces(kernel, "busy")).toEqual([
      [0, 4],
      [4, 6],
      [6, 9],
      [9, 10],
    ]);
    free(kernel, second);
    free(kernel, first);
    expect(pieces(kernel, "free")).toEqual([
      [0, 6],
      [10, 512],
    ]);
    free(kernel, third);
    expect(allocate(kernel, 5)).toBe(first);
    expect(allocate(kernel, 5)).toBe(MODULES_VADDR + 10 * PAGE);
    expect(allocate(kernel, 4)).toBe(first + 5 * PAGE);
    expect(kernel.verify()).toEqual([]);
  });

  it("fills a piece with traps again when it is freed, and joins the pages that loading had split", () => {
    const kernel = booted();
    const [text, rest] = [allocate(kernel, 1), allocate(kernel, 1)];
    free(kernel, text);
    const written = kernel.run(execmemAllocRw(kernel.vm, "kprobes", PAGE));
    expect(written).toBe(text);
    const [cpu, other] = kernel.machine.cpus;
    cpu.store(written + 8, 4, 0x1234_5678);
    expect(() => cpu.fetch(written, 4)).toThrow(PageFault);
    expect(kernel.run(execmemRestoreRox(kernel.vm, written, PAGE))).toBe(0);
    expect(other.fetch(written + 8, 4)).toBe(0x1234_5678);
    expect(kernel.tables.cursor.seek(written)).toBe(2);
    free(kernel, written);
    expect(other.fetch(written + 8, 4)).toBe(INT3 >>> 0);
    expect(kernel.tables.cursor.seek(rest)).toBe(2);
    expect(kernel.verify()).toEqual([]);
  });

  it("gives a region back that is wholly free, from a work item, and its frames can be written again", () => {
    const kernel = booted();
    const [first, second] = [allocate(kernel, 2), allocate(kernel, 300)];
    const direct = kernel.vm.tables.cursor.frameAt(first);
    freeAndClean(kernel, first);
    expect(pieces(kernel, "free")).toEqual([
      [0, 2],
      [302, 512],
    ]);
    freeAndClean(kernel, second);
    expect(pieces(kernel, "free")).toEqual([]);
    expect(kernel.vm.nrVmallocPages).toBe(0);
    kernel.vmUnmapAliases();
    kernel.tables.cursor.seek(0x8880_0000_0000 + direct * PAGE);
    expect(kernel.tables.cursor.isWritable).toBe(true);
    expect(allocate(kernel, 1)).toBe(MODULES_VADDR);
    expect(kernel.verify()).toEqual([]);
  });

  it("makes another region when none has room, and one of small pages where there are no large ones", () => {
    const kernel = booted();
    allocate(kernel, 400);
    const second = allocate(kernel, 400);
    // Aligned to 2 MiB, behind the first region's guard page.
    expect(second).toBe(MODULES_VADDR + 2 * LARGE);
    const small = booted({ vmalloc: { allowHuge: false } });
    const text = allocate(small, 1);
    expect(text).toBe(MODULES_VADDR);
    // Its frames were asked for in one block and the area is aligned: set_memory_rox makes one page of 2 MiB of them all the same.
    expect(small.tables.cursor.seek(text)).toBe(2);
    expect(pieces(small, "free")).toEqual([[1, 512]]);
    const next = allocate(small, 512);
    expect(next).toBe(MODULES_VADDR + LARGE + PAGE);
    expect(small.tables.cursor.seek(next)).toBe(1);
    // Not aligned to 2 MiB: Linux never gives such a region back.
    freeAndClean(small, next);
    expect(pieces(small, "free")).toEqual([
      [1, 512],
      [513, 1025],
    ]);
    for (const each of [kernel, small]) expect(each.verify()).toEqual([]);
  });

  it("puts a free off that finds no memory to split a page, tries again after 10 ms, and only then has the piece free", () => {
    const kernel = booted();
    const [text] = [allocate(kernel, 2), allocate(kernel, 1)];
    kernel.faults.failAt(0, "pageTable", 1);
    const before = kernel.machine.loop.nowCycles();
    free(kernel, text);
    expect(kernel.vm.execmem?.pendingFree).toEqual(new Set([text]));
    expect(pieces(kernel, "busy")).toEqual([
      [0, 2],
      [2, 3],
    ]);
    expect(kernel.verify()).toEqual([]);
    kernel.runUntilIdle();
    expect(pieces(kernel, "busy")).toEqual([[2, 3]]);
    expect(kernel.vm.execmem?.pendingFree.size).toBe(0);
    const { frequencyGhz } = kernel.machine.preset;
    expect(kernel.machine.loop.clockCycles[0] - before).toBeGreaterThanOrEqual(0.01 * frequencyGhz.value * 1e9);
    expect(kernel.verify()).toEqual([]);
  });

  it("answers NULL when memory runs out, whichever allocation fails, and loses nothing", () => {
    const counted = booted();
    allocate(counted, 3);
    for (let failing = 0; failing < 12; failing++) {
      const kernel = booted();
      const freeBefore = kernel.pages.freePages;
      kernel.faults.failAt(failing, null, Number.POSITIVE_INFINITY);
      const address = kernel.run(execmemAllocRw(kernel.vm, "module text", 3 * PAGE));
      kernel.faults.disarm();
      if (address !== 0) free(kernel, address);
      kernel.runUntilIdle();
      kernel.vmUnmapAliases();
      expect(kernel.verify()).toEqual([]);
      // Tables of the direct map that was split, and of the modules' range, stay.
      const tables = kernel.tables.tablePages - booted().tables.tablePages;
      expect(freeBefore - kernel.pages.freePages).toBe(tables);
    }
  });

  it("works in a guest, whose frames are others than the machine's", () => {
    const guest = booted({ guest: { physicalCpus: 2 } });
    const text = guest.run(execmemAllocRw(guest.vm, "module text", 2 * PAGE));
    guest.machine.cpus[1].store(text + PAGE, 4, 77);
    expect(guest.run(execmemRestoreRox(guest.vm, text, 2 * PAGE))).toBe(0);
    expect(guest.machine.cpus[0].fetch(text + PAGE, 4)).toBe(77);
    expect(guest.machine.cpus[0].fetch(text + 5 * PAGE, 4)).toBe(INT3 >>> 0);
    freeAndClean(guest, text);
    expect(guest.verify()).toEqual([]);
  });

  it("leaves data and BPF to areas of their own, as on x86", () => {
    const kernel = booted();
    const types = ["module text", "kprobes", "ftrace", "BPF", "module data"] as const;
    expect(types.filter((type) => execmemIsRox(kernel.vm, type))).toEqual(["module text", "kprobes", "ftrace"]);
    const bpf = allocate(kernel, 1, "BPF");
    kernel.machine.cpus[0].store(bpf, 4, 1);
    expect(kernel.vm.execmem).toBeNull();
    freeAndClean(kernel, bpf);
    expect(kernel.verify()).toEqual([]);
  });
});

describe("executable memory before there was a cache", () => {
  it.each(["6.1", "6.6", "6.12"])("is an area for each: %s", (version) => {
    const kernel = booted({ kernel: version });
    const texts = [1, 2].map((pages) => kernel.run(execmemAllocRw(kernel.vm, "module text", pages * PAGE)));
    expect(texts).toEqual([MODULES_VADDR, MODULES_VADDR + 2 * PAGE]);
    kernel.machine.cpus[0].store(texts[1], 4, 1);
    expect(kernel.vm.execmem).toBeNull();
    for (const text of texts) freeAndClean(kernel, text);
    expect(kernel.vm.nrVmallocPages).toBe(0);
    expect(kernel.verify()).toEqual([]);
  });
});

/** A cache as a list of free intervals, lowest first, and the regions that they are of: nothing else. */
class Model {
  readonly regions: number[] = [];
  intervals: [number, number][] = [];

  allocate(pages: number): number {
    let found = this.intervals.find(([start, end]) => end - start >= pages);
    if (found === undefined) {
      // Regions lie on multiples of 2 MiB, and a guard page lies behind each: every other one.
      let region = 0;
      while (this.regions.includes(region)) region += 2;
      this.regions.push(region);
      found = [region * 512, region * 512 + 512];
      this.put(found);
      found = this.intervals.find(([start, end]) => end - start >= pages) as [number, number];
    }
    const [start, end] = found;
    this.intervals = this.intervals.filter((each) => each !== found);
    if (end - start > pages) this.put([start + pages, end]);
    return start;
  }

  free(start: number, pages: number): void {
    this.put([start, start + pages]);
    const whole = this.intervals.filter(([from, to]) => to - from === 512 && from % 512 === 0);
    for (const [from] of whole) this.regions.splice(this.regions.indexOf(from / 512), 1);
    this.intervals = this.intervals.filter((each) => !whole.includes(each));
  }

  private put(added: [number, number]): void {
    let [start, end] = added;
    const apart = this.intervals.filter(([from, to]) => {
      if (to === start) start = from;
      else if (from === end) end = to;
      else return true;
      return false;
    });
    this.intervals = [...apart, [start, end] as [number, number]].sort(([a], [b]) => a - b);
  }
}

describe("the cache against a list of free intervals", () => {
  it("hands out the same addresses and has the same pieces free, whatever is allocated and freed", () => {
    const step = fc.oneof(
      fc.record({ pages: fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 100, max: 512 })) }),
      fc.record({ which: fc.nat(1000) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
        const kernel = booted();
        const model = new Model();
        const live: [address: number, pages: number][] = [];
        for (const each of steps) {
          if ("pages" in each) {
            const address = allocate(kernel, each.pages);
            expect((address - MODULES_VADDR) / PAGE).toBe(model.allocate(each.pages));
            live.push([address, each.pages]);
          } else if (live.length > 0) {
            const [[address, pages]] = live.splice(each.which % live.length, 1);
            freeAndClean(kernel, address);
            // The addresses of regions that were given back are free for others only once they are purged.
            kernel.vmUnmapAliases();
            model.free((address - MODULES_VADDR) / PAGE, pages);
          }
          expect(pieces(kernel, "free")).toEqual(model.intervals);
        }
        expect(kernel.verify()).toEqual([]);
      }),
      { numRuns: 30 },
    );
  });

  it("is sound when CPUs load and free at the same time", () => {
    const kernel = booted({ cpus: 3 });
    function* loader(size: number) {
      for (let round = 0; round < 6; round++) {
        const text = yield* execmemAllocRw(kernel.vm, "module text", size * PAGE);
        kernel.machine.cpus[kernel.machine.loop.currentCpu].store(text, 4, text | 0);
        yield* execmemRestoreRox(kernel.vm, text, size * PAGE);
        expect(kernel.machine.cpus[kernel.machine.loop.currentCpu].load(text, 4) | 0).toBe(text | 0);
        yield* execmemFree(kernel.vm, text);
      }
    }
    for (const cpu of [0, 1, 2]) kernel.spawn(`loader/${cpu}`, cpu, loader(1 + 90 * cpu));
    kernel.runUntilIdle();
    expect(pieces(kernel, "busy")).toEqual([]);
    kernel.vmUnmapAliases();
    expect(kernel.vm.nrVmallocPages).toBe(0);
    expect(kernel.verify()).toEqual([]);
  });
});
