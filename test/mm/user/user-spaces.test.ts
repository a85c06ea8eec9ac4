import { describe, expect, it } from "vitest";
import { cachedTranslations } from "../../../arch/cpu/cached-translations.ts";
import { type KernelCode, PAGE_SIZE, PageFault, PTE_PRESENT } from "../../../arch/index.ts";
import {
  __vmallocNodeRange,
  DYNAMIC_ASIDS,
  exitMmap,
  type MmStruct,
  MODULES_END,
  MODULES_VADDR,
  mmapPopulate,
  mprotect,
  munmap,
  TLB_FLUSH_ON_TASK_SWITCH,
  TLB_LOCAL_MM_SHOOTDOWN,
  TLB_REMOTE_SEND_IPI,
  TLB_REMOTE_SHOOTDOWN,
  UserSpaces,
  VMALLOC_REQUEST,
  VMALLOC_START,
} from "../../../mm/index.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../../../src/machine/kernel.ts";

const TEXT = 0x40_0000;

interface Machine {
  readonly kernel: Kernel;
  readonly spaces: UserSpaces;
  /** reason/pages by CPU, as `tlb:tlb_flush` tells them. */
  readonly flushes: string[];
}

function boot(config: Partial<KernelConfig> = {}): Machine {
  const kernel = bootKernel({ cpus: 3, memoryBytes: 2 ** 28, ...config });
  const spaces = new UserSpaces(kernel.mm);
  const flushes: string[] = [];
  kernel.mm.flushing.tlbFlushObserver = { tlbFlush: (cpu, reason, pages) => flushes.push(`${cpu}:${reason}/${pages}`) };
  return { kernel, spaces, flushes };
}

function on<T>({ kernel }: Machine, cpu: number, body: () => T): T {
  // biome-ignore lint/correctness/useYield: plain code on a CPU
  function* code(): KernelCode<T> {
    return body();
  }
  return kernel.run(code(), cpu);
}

function newSpace(machine: Machine, pages: number): MmStruct {
  const mm = machine.spaces.mmAlloc();
  expect(machine.kernel.run(mmapPopulate(machine.spaces, mm, TEXT, pages))).toBe(0);
  return mm;
}

function touchAll(machine: Machine, cpu: number, pages: number): void {
  for (let page = 0; page < pages; page++) machine.kernel.machine.cpus[cpu].touch(TEXT + page * PAGE_SIZE);
}

function userEntries(machine: Machine, cpu: number): number[] {
  const entries = cachedTranslations(machine.kernel.machine.cpus[cpu]).filter(({ la }) => la < 2 ** 47);
  return [...new Set(entries.map(({ la }) => la))].sort((a, b) => a - b);
}

describe("the kernel half of an address space", () => {
  it("has the top-level entry of every kernel range from the beginning, with every policy of page tables", () => {
    for (const pageTableIsolation of [false, true]) {
      const { kernel, spaces } = boot({ pageTableIsolation });
      const { memory } = kernel.machine;
      const topEntries = (root: number) => Array.from({ length: 512 }, (_, word) => memory.readWord(root, 512 + word));
      const mm = spaces.mmAlloc();
      const before = topEntries(mm.tables.rootFrame);
      for (const start of [VMALLOC_START, MODULES_VADDR, MODULES_END - 2 ** 21]) {
        expect(before[2 * (Math.floor(start / 2 ** 39) - 256)] & PTE_PRESENT, start.toString(16)).not.toBe(0);
      }
      const range = { start: MODULES_VADDR, end: MODULES_END };
      expect(kernel.run(() => __vmallocNodeRange(kernel.vm, 4096, { ...VMALLOC_REQUEST, range }))).not.toBe(0);
      expect(kernel.vmalloc(2 ** 20)).not.toBe(0);
      expect(topEntries(kernel.tables.rootFrame)).toEqual(before);
    }
  });

  it("reaches memory of a module that was loaded after the CPU switched to the address space", () => {
    const machine = boot();
    const { kernel, spaces } = machine;
    const mm = newSpace(machine, 1);
    on(machine, 0, () => spaces.switchTo(mm));
    const range = { start: MODULES_VADDR, end: MODULES_END };
    const module = kernel.run(() => __vmallocNodeRange(kernel.vm, 4096, { ...VMALLOC_REQUEST, range }), 0);
    kernel.machine.cpus[1].store(module, 4, 7);
    expect(kernel.machine.cpus[0].load(module, 4)).toBe(7);
    expect(kernel.verify()).toEqual([]);
  });
});

describe("the address spaces of a kernel", () => {
  it("are those that were made and have not ended, and verify looks at all of them", () => {
    const machine = boot();
    const { kernel, spaces } = machine;
    const [first, second] = [newSpace(machine, 3), newSpace(machine, 5)];
    expect([...spaces.mms]).toEqual([first, second]);
    expect(kernel.verify()).toEqual([]);
    // No CPU has loaded it, and somebody takes a page away behind the back of its tables.
    const { memory } = kernel.machine;
    expect(second.tables.cursor.seek(TEXT)).toBe(1);
    const { frame } = second.tables.cursor;
    const before = kernel.pages.references.furtherOf(frame);
    kernel.pages.references.get(frame);
    expect(kernel.verify()).toEqual([
      `frame 0x${frame.toString(16)} has ${before + 2} references, but ${before + 1} holders`,
    ]);
    kernel.pages.references.put(frame);
    memory.writeWord(second.tables.rootFrame, 0, 0);
    expect(kernel.verify()).toContain("user address space 3: 5 leaves were set and not cleared, but 0 are there");
  });

  it("stay until the last CPU that borrows one has gone on", () => {
    const machine = boot();
    const { kernel, spaces } = machine;
    const mm = newSpace(machine, 1);
    const other = newSpace(machine, 1);
    on(machine, 1, () => spaces.switchTo(mm));
    on(machine, 1, () => spaces.switchTo(null));
    kernel.run(exitMmap(spaces, mm), 0);
    on(machine, 1, () => spaces.switchTo(other));
    expect([...spaces.mms]).toEqual([other]);
    expect(kernel.verify()).toEqual([]);
  });
});

describe("context switches", () => {
  it("keep what is cached of the last six address spaces, and flush the seventh's predecessor", () => {
    const machine = boot();
    const mms = Array.from({ length: DYNAMIC_ASIDS + 1 }, () => newSpace(machine, 2));
    const walks = (): number => machine.kernel.machine.cpus[0].counters()["dtlb_load_misses.walk_completed"];
    const visit = (mm: MmStruct): number => {
      const before = walks();
      on(machine, 0, () => machine.spaces.switchTo(mm));
      touchAll(machine, 0, 2);
      return walks() - before;
    };
    // The first-level TLBs are small, but the second level of this preset holds four PCIDs (TLB;DR).
    expect(mms.slice(0, 3).map(visit)).toEqual([2, 2, 2]);
    expect(mms.slice(0, 3).map(visit)).toEqual([0, 0, 0]);
    mms.slice(3).map(visit);
    expect(visit(mms[0])).toBe(2);
    expect(machine.flushes.filter((flush) => flush === `0:${TLB_FLUSH_ON_TASK_SWITCH}/-1`)).toHaveLength(8);
  });

  it("flush at every switch without PCIDs", () => {
    const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 28 });
    const machine = { kernel, spaces: new UserSpaces(kernel.mm, false), flushes: [] };
    const [a, b] = [newSpace(machine, 2), newSpace(machine, 2)];
    on(machine, 0, () => machine.spaces.switchTo(a));
    touchAll(machine, 0, 2);
    on(machine, 0, () => machine.spaces.switchTo(b));
    expect(userEntries(machine, 0)).toEqual([]);
  });

  it("send no flush for a munmap of what is not mapped", () => {
    const machine = boot();
    const mm = newSpace(machine, 4);
    for (const cpu of [0, 1]) {
      on(machine, cpu, () => machine.spaces.switchTo(mm));
      touchAll(machine, cpu, 4);
    }
    machine.flushes.length = 0;
    machine.kernel.run(munmap(machine.spaces, mm, TEXT + 2 ** 30, TEXT + 2 ** 30 + PAGE_SIZE), 0);
    expect(machine.flushes).toEqual([]);
    expect(machine.kernel.vm.flushing.smp.taken[1]).toBe(0);
  });

  it("leave a lazy CPU alone for munmap of pages, and make it catch up when the process comes back", () => {
    const machine = boot();
    const mm = newSpace(machine, 4);
    for (const cpu of [0, 1]) {
      on(machine, cpu, () => machine.spaces.switchTo(mm));
      touchAll(machine, cpu, 4);
    }
    on(machine, 1, () => machine.spaces.switchTo(null));
    machine.flushes.length = 0;
    machine.kernel.run(munmap(machine.spaces, mm, TEXT, TEXT + PAGE_SIZE), 0);
    expect(machine.kernel.vm.flushing.smp.taken[1]).toBe(0);
    expect(userEntries(machine, 1)).toHaveLength(4);
    on(machine, 1, () => machine.spaces.switchTo(mm));
    expect(userEntries(machine, 1)).toHaveLength(0);
    expect(() => touchAll(machine, 1, 1)).toThrow(PageFault);
  });
});

describe("the kernel half of top tables", () => {
  it("has what the kernel maps later, also on a CPU that has another address space loaded", () => {
    const machine = boot();
    const { kernel } = machine;
    const mm = newSpace(machine, 1);
    on(machine, 1, () => machine.spaces.switchTo(mm));
    // The modules' range has an entry of the top table of its own.
    const request = { ...VMALLOC_REQUEST, range: { start: MODULES_VADDR, end: MODULES_END } };
    const call = () => __vmallocNodeRange(kernel.vm, PAGE_SIZE, request, "a test");
    const address = kernel.run(call, 0);
    kernel.machine.cpus[1].store(address, 4, 7);
    expect(kernel.machine.cpus[1].load(address, 4)).toBe(7);
  });
});

describe("flush_tlb_mm_range", () => {
  it("interrupts the CPUs of the address space and no others, and tells why as the tracepoint does", () => {
    const machine = boot();
    const mm = newSpace(machine, 8);
    for (const cpu of [0, 1]) {
      on(machine, cpu, () => machine.spaces.switchTo(mm));
      touchAll(machine, cpu, 8);
    }
    machine.flushes.length = 0;
    machine.kernel.run(munmap(machine.spaces, mm, TEXT, TEXT + 2 * PAGE_SIZE), 0);
    expect(machine.flushes).toEqual([
      `0:${TLB_REMOTE_SEND_IPI}/2`,
      `0:${TLB_LOCAL_MM_SHOOTDOWN}/2`,
      `1:${TLB_REMOTE_SHOOTDOWN}/2`,
    ]);
    expect([...machine.kernel.vm.flushing.smp.taken]).toEqual([0, 1, 0]);
    for (const cpu of [0, 1]) expect(userEntries(machine, cpu)).toHaveLength(6);
  });

  it("flushes everything of the address space above the ceiling, and nothing of another", () => {
    const machine = boot();
    const [mm, other] = [newSpace(machine, 40), newSpace(machine, 3)];
    on(machine, 0, () => machine.spaces.switchTo(other));
    touchAll(machine, 0, 3);
    on(machine, 0, () => machine.spaces.switchTo(mm));
    touchAll(machine, 0, 40);
    machine.flushes.length = 0;
    machine.kernel.run(munmap(machine.spaces, mm, TEXT, TEXT + 34 * PAGE_SIZE), 0);
    expect(machine.flushes).toEqual([`0:${TLB_LOCAL_MM_SHOOTDOWN}/-1`]);
    expect(userEntries(machine, 0)).toHaveLength(3);
  });

  it("is made when a right is taken away, and when one is given, as Linux does (pte_flags_need_flush)", () => {
    const machine = boot();
    const mm = newSpace(machine, 1);
    on(machine, 0, () => machine.spaces.switchTo(mm));
    const [cpu] = machine.kernel.machine.cpus;
    cpu.store(TEXT, 4, 7);
    machine.flushes.length = 0;
    machine.kernel.run(mprotect(machine.spaces, mm, TEXT, TEXT + PAGE_SIZE, false), 0);
    expect(() => cpu.store(TEXT, 4, 8)).toThrow(PageFault);
    expect(machine.flushes).toHaveLength(1);
    machine.kernel.run(mprotect(machine.spaces, mm, TEXT, TEXT + PAGE_SIZE, true), 0);
    cpu.store(TEXT, 4, 9);
    expect(cpu.load(TEXT, 4)).toBe(9);
    expect(machine.flushes).toHaveLength(2);
    machine.kernel.run(munmap(machine.spaces, mm, TEXT, TEXT + 2 ** 21), 0);
    machine.kernel.run(munmap(machine.spaces, mm, TEXT, TEXT + 2 ** 21), 0);
    expect(mm.tables.owed.count).toBe(0);
  });
});

describe("page-table isolation", () => {
  it("user mode cannot see the kernel, and the kernel's pages are not global", () => {
    const machine = boot({ pageTableIsolation: true });
    const { kernel, spaces } = machine;
    const mm = newSpace(machine, 1);
    const address = kernel.vmalloc(PAGE_SIZE);
    const { userMode } = kernel.vm.flushing;
    on(machine, 0, () => {
      spaces.switchTo(mm);
      kernel.machine.cpus[0].store(address, 4, 1);
      userMode.enterUser();
      kernel.machine.cpus[0].touch(TEXT);
      expect(() => kernel.machine.cpus[0].touch(address)).toThrow("#PF(U)");
      userMode.enterKernel();
      expect(kernel.machine.cpus[0].load(address, 4)).toBe(1);
    });
    const entry = cachedTranslations(kernel.machine.cpus[0]).find(({ la }) => la === address);
    expect(entry?.pcid).toBe(2);
  });

  it("a kernel page flushed in one ASID is not used from another, and the user PCID is flushed too", () => {
    const machine = boot({ pageTableIsolation: true, cpus: 2 });
    const { kernel, spaces } = machine;
    const [a, b] = [newSpace(machine, 1), newSpace(machine, 1)];
    const address = kernel.vmalloc(PAGE_SIZE);
    for (const mm of [a, b]) {
      on(machine, 1, () => spaces.switchTo(mm));
      kernel.machine.cpus[1].touch(address);
    }
    kernel.vfree(address);
    kernel.vmUnmapAliases();
    on(machine, 1, () => spaces.switchTo(a));
    expect(() => kernel.machine.cpus[1].touch(address)).toThrow(PageFault);
  });
});
