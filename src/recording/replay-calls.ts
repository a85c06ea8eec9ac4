/** Makes the calls of a recording in an emulated kernel. */
import { GFP_KERNEL, GFP_NOWAIT, VMALLOC_END, VMALLOC_START } from "../../mm/index.ts";
import type { Kernel } from "../machine/kernel.ts";
import { replayedCaller } from "./final-state.ts";
import type { RecordedCall } from "./line-schemas.ts";
import { alignClocks } from "./replay-kernel.ts";

/** Frames added to the pool of pages at a time. */
const POOL_STEP = 1024;

/** Calls on one kernel; remembers where what the recording allocated lies here. */
export class ReplayCalls {
  private readonly kernel: Kernel;
  private readonly pool: PagePool;
  /** Where the emulator put what the recorded kernel put at an address, as long as it is live and elsewhere. */
  private readonly moved = new Map<number, number>();

  constructor(kernel: Kernel) {
    this.kernel = kernel;
    this.pool = new PagePool(kernel);
  }

  /** Makes a call; the address it returned (0 for NULL), or null for one that returns nothing. */
  make(call: RecordedCall): number | null {
    alignClocks(this.kernel);
    const address = this.dispatch(call);
    if (!("ret" in call)) return null;
    if (address !== call.ret && call.ret !== 0) this.moved.set(call.ret, address);
    return address;
  }

  private dispatch(call: RecordedCall): number {
    const { kernel, pool } = this;
    const caller = replayedCaller(call.call);
    switch (call.call) {
      case "vmalloc":
        return kernel.vmalloc(call.size, caller);
      case "vzalloc":
        return kernel.vzalloc(call.size, caller);
      case "vmalloc_huge":
        return kernel.vmallocHuge(call.size, caller);
      case "vmalloc_align":
        return kernel.vmallocAlign(call.size, call.align, caller);
      case "vmalloc_range":
        return this.vmallocRange(call);
      case "vrealloc":
        return this.vrealloc(call.addr, call.size, caller);
      case "vmap":
        return kernel.vmap(pool.frames(call.page_off, call.count), caller);
      case "vm_map_ram":
        return kernel.vmMapRam(pool.frames(call.page_off, call.count));
      case "get_vm_area":
        return kernel.getVmArea(call.size, call.vm_flags, caller);
      case "get_vm_area_range":
        return kernel.getVmAreaRange(call.size, call.vm_flags, call.start, call.end, caller);
      case "ioremap":
        return kernel.ioremap(call.phys, call.size, undefined, caller);
      case "vfree":
        kernel.vfree(this.take(call.addr));
        return 0;
      case "vunmap":
        kernel.vunmap(this.take(call.addr));
        return 0;
      case "iounmap":
        kernel.iounmap(this.take(call.addr));
        return 0;
      case "free_vm_area":
        kernel.freeVmArea(this.take(call.addr));
        return 0;
      case "vm_unmap_ram":
        kernel.vmUnmapRam(this.take(call.addr), call.count);
        return 0;
      case "vm_unmap_aliases":
        kernel.vmUnmapAliases();
        return 0;
    }
  }

  /** The recording's driver asks for the whole vmalloc range at one place, and for windows of it at another: two callers. */
  private vmallocRange({ call, size, nowait, start, end }: RecordedCall & { call: "vmalloc_range" }): number {
    const isWhole = start === VMALLOC_START && end === VMALLOC_END;
    const caller = replayedCaller(isWhole ? `${call}_whole` : call);
    return this.kernel.vmallocRange(size, { start, end }, nowait === 1 ? GFP_NOWAIT : GFP_KERNEL, caller);
  }

  /** Another size for what lies at `recorded` in the recorded kernel. One that moves is gone from there. */
  private vrealloc(recorded: number, sizeBytes: number, caller: string): number {
    const here = this.moved.get(recorded) ?? recorded;
    const address = this.kernel.vrealloc(here, sizeBytes, caller);
    if (address !== here && address !== 0) this.moved.delete(recorded);
    return address;
  }

  /** Where the area that the recorded kernel had at `recorded` is here; it is about to go. */
  private take(recorded: number): number {
    const here = this.moved.get(recorded);
    if (here === undefined) return recorded;
    this.moved.delete(recorded);
    return here;
  }
}

/** The pages that the recording's driver maps: frames of its own, taken once and kept. */
class PagePool {
  private readonly kernel: Kernel;
  private all = new Uint32Array(0);

  constructor(kernel: Kernel) {
    this.kernel = kernel;
  }

  /** Pages `first` to `first + count - 1`. */
  frames(first: number, count: number): Uint32Array {
    while (first + count > this.all.length) {
      const grown = new Uint32Array(this.all.length + POOL_STEP);
      grown.set(this.all);
      grown.set(this.kernel.allocFrames(POOL_STEP), this.all.length);
      this.all = grown;
    }
    return this.all.subarray(first, first + count);
  }
}
