/** A kernel in a state with something of every kind in it, for tests that break one thing. */
import { expect, it } from "vitest";
import { formatLinearAddress16 } from "../../../arch/isa/linear-address.ts";
import { VM_IOREMAP } from "../../../mm/index.ts";
import { indexAt } from "../../../mm/page-tables/page-table-cursor.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

/** Addresses in a kernel made by {@link variedKernel}. */
export interface VariedKernel {
  readonly kernel: Kernel;
  /** vmalloc of 3 pages. */
  readonly small: number;
  /** Another one. */
  readonly other: number;
  /** vmalloc of 1024 pages, whose array of page pointers is an area of its own. */
  readonly large: number;
  /** vmalloc_huge of 4 MiB. */
  readonly huge: number;
  /** vmap of `frames`, 8 pages. */
  readonly vmapped: number;
  readonly frames: Uint32Array;
  /** vm_map_ram of 100 pages, an area of its own. */
  readonly whole: number;
  /** vm_map_ram of 5 pages, in a block; 3 pages before it were unmapped again. */
  readonly inBlock: number;
  /** ioremap of 64 KiB at 0xe0000000. */
  readonly device: number;
  /** get_vm_area of 2 pages: nothing is mapped. */
  readonly reserved: number;
  /** Where a vmalloc of 2 pages was, lazily freed now. */
  readonly lazy: number;
  /** Where vmallocs of 1 page were, in the pool of the current CPU's node now. */
  readonly pooled: number;
}

/** 4 CPUs, so vmap nodes and pools; areas of every kind, busy, lazily freed, pooled. */
export function variedKernel(): VariedKernel {
  const kernel = bootKernel({ cpus: 4, memoryBytes: 64 * 2 ** 20 });
  const pages = [kernel.vmalloc(4096), kernel.vmalloc(4096), kernel.vmalloc(4096)];
  const apart = kernel.vmalloc(100);
  for (const address of pages) kernel.vfree(address);
  kernel.vmUnmapAliases();
  const frames = kernel.allocFrames(100);
  const small = kernel.vmalloc(3 * 4096);
  const other = kernel.vmalloc(3 * 4096);
  const freed = kernel.vmalloc(2 * 4096);
  kernel.currentCpu = 1;
  const before = kernel.vmMapRam(frames.slice(0, 3));
  const inBlock = kernel.vmMapRam(frames.slice(0, 5));
  kernel.vmUnmapRam(before, 3);
  const state = {
    kernel,
    small,
    other,
    large: kernel.vmalloc(1024 * 4096),
    huge: kernel.vmallocHuge(4 * 2 ** 20),
    vmapped: kernel.vmap(frames.slice(0, 8)),
    frames,
    whole: kernel.vmMapRam(frames),
    inBlock,
    device: kernel.ioremap(0xe000_0000, 65536),
    reserved: kernel.getVmArea(2 * 4096, VM_IOREMAP),
    lazy: freed,
    pooled: pages[1],
  };
  kernel.vfree(freed);
  kernel.vfree(apart);
  kernel.currentCpu = 0;
  return state;
}

/** An address as findings show it. */
export function shown(address: number): string {
  return formatLinearAddress16(address);
}

/** The busy area at an address. */
export function busyArea(kernel: Kernel, address: number): number {
  for (const node of kernel.vm.nodes) {
    const area = node.busy.__findVmapArea(address);
    if (area !== 0) return area;
  }
  throw new Error(`nothing at ${shown(address)}`);
}

/** The vm_struct at an address. */
export function vmAt(kernel: Kernel, address: number): number {
  return kernel.vm.areas.vmOf(busyArea(kernel, address));
}

/** The two words of the entry for `la` at a level. */
export function readEntry(kernel: Kernel, la: number, level: number): [low: number, high: number] {
  const { tables } = kernel;
  const { cursor } = tables;
  if (cursor.seek(la, level) !== level) throw new Error(`no table of level ${level} for ${shown(la)}`);
  return [cursor.low, cursor.high];
}

/** Overwrites the entry for `la` at a level, making tables where there are none. */
export function writeEntry(kernel: Kernel, la: number, level: number, low: number, high: number): void {
  const { cursor, memory } = kernel.tables;
  if (!cursor.make(la, level)) throw new Error(`no table of level ${level} can be made for ${shown(la)}`);
  memory.writeWord(cursor.table, 2 * indexAt(la, level), low);
  memory.writeWord(cursor.table, 2 * indexAt(la, level) + 1, high);
}

/** Breaks one thing in a sound state and returns what a finding must contain. */
export type Corruption = [name: string, corrupt: (state: VariedKernel) => string];

/** One test each: the broken state is found, by a line that names the culprit. */
export function caught(corruptions: Corruption[]): void {
  it.each(corruptions)("%s", (_name, corrupt) => {
    const state = variedKernel();
    expect(state.kernel.verify()).toEqual([]);
    const culprit = corrupt(state);
    const findings = state.kernel.verify();
    expect(findings.filter((line) => line.includes(culprit))).not.toEqual([]);
    // What else contradicts the broken thing, word by word; nothing that is right may be among it.
    expect(findings).toMatchSnapshot();
  });
}
