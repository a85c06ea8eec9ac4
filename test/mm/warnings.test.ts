/** What the kernel says of its callers' mistakes, word by word: the emulated program sees these lines in the kernel's log. */
import { describe, expect, it } from "vitest";
import { PAGE_KERNEL, pcpuGetVmAreas, VMALLOC_START, vmAreaMapPages, vmap, vmapPfn } from "../../mm/index.ts";
import { PercpuAllocator } from "../../mm/percpu/percpu.ts";
import { VM_FLUSH_RESET_PERMS, VM_IOREMAP, VM_MAP, VM_NO_GUARD } from "../../mm/vmalloc/areas/vm-structs.ts";
import { bootKernel, type Kernel } from "../../src/machine/kernel.ts";

const PAGE = 4096;
const DEVICE = 0xe000_0000;
const FREE = VMALLOC_START + 2 ** 32;

/** What the log has after a call, and what the call returned. */
function said(call: (kernel: Kernel) => unknown): { readonly returned: unknown; readonly log: readonly string[] } {
  const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 26 });
  const returned = call(kernel);
  return { returned, log: [...kernel.log.lines] };
}

/** Mistakes by name: the call, and what it returns (undefined: nothing). */
const MISTAKES: Readonly<Record<string, (kernel: Kernel) => unknown>> = {
  "vmalloc of nothing": (kernel) => kernel.vmalloc(0),
  "vmalloc of more than there is": (kernel) => kernel.vmalloc(2 ** 30, "driver_init+0x10/0x20"),
  "vmalloc where there is no room": (kernel) =>
    kernel.vmallocRange(4 * PAGE, { start: FREE, end: FREE + 2 * PAGE }, undefined, "driver_init+0x10/0x20"),
  "vfree of an address that is none of vmalloc's": (kernel) => kernel.vfree(0x1000),
  "vfree twice": (kernel) => {
    const address = kernel.vmalloc(PAGE);
    kernel.vfree(address);
    kernel.vfree(address);
  },
  "vfree within a page": (kernel) => kernel.vfree(kernel.vmalloc(PAGE) + 8),
  "vfree of a reservation": (kernel) => kernel.vfree(kernel.getVmArea(PAGE, VM_IOREMAP)),
  "vunmap of nothing there": (kernel) => kernel.vunmap(FREE),
  "vrealloc of nothing there": (kernel) => kernel.vrealloc(FREE, PAGE),
  "vmap of no frame": (kernel) => kernel.vmap([0]),
  "vmap of a frame that is no memory": (kernel) => kernel.vmap([DEVICE / PAGE]),
  "vmap with permissions to reset": (kernel) =>
    kernel.run(() => vmap(kernel.vm, kernel.allocFrames(1), VM_MAP | VM_FLUSH_RESET_PERMS)),
  "vmap without a guard page": (kernel) =>
    kernel.run(() => vmap(kernel.vm, kernel.allocFrames(1), VM_MAP | VM_NO_GUARD)),
  "vm_map_ram of no pages": (kernel) => kernel.vmMapRam([]),
  "vm_unmap_ram outside of the vmalloc range": (kernel) => kernel.vmUnmapRam(PAGE, 1),
  "vm_unmap_ram of no pages": (kernel) => kernel.vmUnmapRam(kernel.vmMapRam(kernel.allocFrames(1)), 0),
  "vm_unmap_ram where no block is": (kernel) => kernel.vmUnmapRam(FREE, 1),
  "vm_unmap_ram of pages that are not mapped": (kernel) =>
    kernel.vmUnmapRam(kernel.vmMapRam(kernel.allocFrames(1)) + PAGE, 1),
  "vm_unmap_ram of more pages than were mapped": (kernel) =>
    kernel.vmUnmapRam(kernel.vmMapRam(kernel.allocFrames(2)), 3),
  "vm_unmap_ram of fewer pages than were mapped": (kernel) =>
    kernel.vmUnmapRam(kernel.vmMapRam(kernel.allocFrames(4)), 3),
  "vm_unmap_ram where no area is": (kernel) => kernel.vmUnmapRam(FREE, 65),
  "vmap_pfn of memory": (kernel) =>
    kernel.run(() => vmapPfn(kernel.vm, Float64Array.of(DEVICE / PAGE, 300), PAGE_KERNEL)),
  "free_vm_area of nothing there": (kernel) => kernel.freeVmArea(FREE),
  "pages in an area that is not sparse": (kernel) => {
    const [area] = [kernel.vm.vms.make(VM_MAP, PAGE, "")];
    return vmAreaMapPages(kernel.vm, area, FREE, FREE + PAGE, Uint32Array.of(300));
  },
  "ioremap beyond the CPU's addresses": (kernel) => kernel.ioremap(2 ** 46, PAGE),
  "ioremap of memory": (kernel) => kernel.ioremap(2 ** 20, PAGE),
  "ioremap with two cache modes": (kernel) => [
    kernel.ioremap(DEVICE, PAGE, "uc") > 0,
    kernel.ioremap(DEVICE, PAGE, "wc"),
  ],
  "iounmap outside of the vmalloc range": (kernel) => kernel.iounmap(PAGE),
  "iounmap of nothing there": (kernel) => kernel.iounmap(FREE),
  "iounmap of vmalloc'ed memory": (kernel) => kernel.iounmap(kernel.vmalloc(PAGE)),
  "per-CPU memory of no size, too much of it, aligned to more than a page": (kernel) => {
    const percpu = new PercpuAllocator(kernel.vm);
    return [
      kernel.run(() => percpu.alloc(0, 8)),
      kernel.run(() => percpu.alloc(32 * 1024 + 4, 8)),
      kernel.run(() => percpu.alloc(8, 2 * PAGE)),
    ];
  },
  "per-CPU memory freed twice": (kernel) => {
    const percpu = new PercpuAllocator(kernel.vm);
    const address = kernel.run(() => percpu.alloc(8, 8));
    kernel.run(() => percpu.free(address));
    kernel.run(() => percpu.free(address));
    kernel.run(() => percpu.free(PAGE));
  },
  "per-CPU areas that do not fit": (kernel) =>
    kernel.run(() => pcpuGetVmAreas(kernel.vm, [0, 2 ** 46], [2 ** 21, 2 ** 21], 2 ** 21)),
};

describe("a caller's mistake", () => {
  it.each(Object.keys(MISTAKES))("is said in the log, and nothing stops: %s", (name) => {
    expect(said(MISTAKES[name])).toMatchSnapshot();
  });
});
