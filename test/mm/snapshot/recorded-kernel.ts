/** A kernel in which every part of a recorded state occurs, and kernels brought into its state. */
import {
  dumpPageTables,
  type PageTableRun,
  type RestoredArea,
  restoreVmalloc,
  snapshotVmalloc,
  VM_MAP,
  VMALLOC_DUMP_END,
  VMALLOC_START,
  type VmallocSnapshot,
  vmallocinfo,
} from "../../../mm/index.ts";
import { parseAddressMarker, parsePageTableRun } from "../../../mm/views/page-table-run.ts";
import { parseVmallocinfoLine } from "../../../mm/views/vmallocinfo-line.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

const MIB = 2 ** 20;
const PAGE = 4096;

/** What a recording has of a state. */
export interface Recorded {
  readonly snapshot: VmallocSnapshot;
  readonly details: RestoredArea[];
  readonly runs: PageTableRun[];
}

/** A freshly booted kernel of a version. */
export function freshKernel(version: string): Kernel {
  return bootKernel({
    cpus: 2,
    kernel: version,
    memoryBytes: 512 * MIB,
    vmalloc: { lazyMaxPages: 4096 },
  });
}

/** Areas of every kind: mapped by small and large pages, of devices, without pages, in vmap blocks; freed lazily; in pools. */
export function busyKernel(version: string): Kernel {
  const kernel = freshKernel(version);
  const frames = kernel.allocFrames(100);
  const pooled = Array.from({ length: 12 }, (_, i) => kernel.vmalloc((1 + (i % 3)) * PAGE, "pooled+0x1/0x2"));
  for (const address of pooled) kernel.vfree(address);
  kernel.vmUnmapAliases();
  const kept = [1, 2, 3, 5, 8, 13, 700].map((pages) => kernel.vmalloc(pages * PAGE - 100, `caller_${pages}+0x10/0x20`));
  kernel.vmallocHuge(4 * MIB, "large+0x1/0x2");
  kernel.ioremap(0xfe00_0000, 5 * PAGE, undefined, "device+0x1/0x2");
  kernel.ioremap(0x1_0000_0000, 2 * MIB, "wc", "frame_buffer+0x1/0x2");
  kernel.vmap(frames.subarray(0, 7), "vmap+0x1/0x2");
  kernel.getVmArea(3 * PAGE, VM_MAP, "reserved+0x1/0x2");
  kernel.vmMapRam(frames.subarray(0, 70));
  const ram = [4, 1, 16, 3, 8].map((pages) => [kernel.vmMapRam(frames.subarray(0, pages)), pages] as const);
  kernel.currentCpu = 1;
  for (let i = 0; i < 17; i++) kernel.vmMapRam(frames.subarray(0, 64));
  kernel.vmMapRam(frames.subarray(0, 5));
  kernel.vmUnmapRam(...ram[1]);
  kernel.vmUnmapRam(...ram[3]);
  kernel.currentCpu = 0;
  for (const i of [1, 4]) kernel.vfree(kept[i]);
  return kernel;
}

/** The state of a kernel as a recording has it. */
export function record({ vm, tables }: Kernel): Recorded {
  const details = vmallocinfo(vm).flatMap((text) => {
    const { start, caller, pages, phys, words, vmMapRam, unpurged } = parseVmallocinfoLine(text);
    return vmMapRam || unpurged
      ? []
      : [{ start, caller, pages, physAddr: phys, hasArrayArea: words.includes("vpages") }];
  });
  const lines = dumpPageTables(tables, VMALLOC_START, VMALLOC_DUMP_END);
  const runs = lines.filter((text) => parseAddressMarker(text) === null).map(parsePageTableRun);
  return { snapshot: snapshotVmalloc(vm), details, runs };
}

/** A kernel brought into a recorded state. */
export function restored(version: string, { snapshot, details, runs }: Recorded): Kernel {
  const kernel = freshKernel(version);
  restoreVmalloc(kernel.vm, snapshot, details, runs);
  return kernel;
}
