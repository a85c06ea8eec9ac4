/** Makes the calls of a trace in the emulated kernel, each as kernel code that may wait. */
import { PageFault, PF_WRITE } from "../../arch/isa/faults.ts";
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { isPowerOfTwo } from "../../arch/isa/power-of-two.ts";
import { type KernelCode, PAUSE_RESCHED } from "../../arch/time/event-loop.ts";
import {
  _vmUnmapAliases,
  ADDRESS_MAX,
  type AddressRange,
  allocVmapArea,
  CACHE_MODES,
  drainVmapAreaWork,
  findUnlinkVmapArea,
  flushTlbAll,
  flushTlbKernelRange,
  freeUnmapVmapArea,
  GFP_KERNEL,
  handlePteFault,
  ioremap,
  iounmap,
  type MmStruct,
  mmap,
  mmapPopulate,
  munmap,
  NUMA_NO_NODE,
  TLB_FLUSH_ALL,
  USER_END,
  UserSpaces,
  VM_ALLOW_HUGE_VMAP,
  VM_FLUSH_RESET_PERMS,
  VM_MAP,
  VM_USERMAP,
  VMALLOC_REQUEST,
  VMALLOC_START,
  vmap,
  vmUnmapAliases,
  vrealloc,
  vunmap,
  wait,
} from "../../mm/index.ts";
import { vfree } from "../../mm/vmalloc/vfree.ts";
import { vmMapRam, vmUnmapRam } from "../../mm/vmalloc/vm-map-ram.ts";
import { __vmallocNodeRange } from "../../mm/vmalloc/vmalloc.ts";
import type { Kernel } from "../machine/kernel.ts";
import { FollowedOrder } from "./followed-order.ts";
import type { FtraceSurvey } from "./ftrace-survey.ts";
import { startsThere, VMALLOC_RANGE_BYTES_MIN, windowOf } from "./ftrace-windows.ts";
import { makeRightsChange, restoreDirectMap } from "./rights-calls.ts";
import { spinUntil } from "./spin-until.ts";
import { type Allocation, changesRights, type TracedCall } from "./traced-calls.ts";

/** Pages of an area that its allocator stores to. */
const TOUCHED_PAGES = 16;
/** How long who needs what another CPU has not allocated yet waits, busily, before it looks again. */
const LOOK_AGAIN_CYCLES = 200;
/** How long at most: CPUs of a trace are not further apart, but what it does not show may never come. */
const WAIT_CYCLES_MAX = 1_000_000;
/** Flags of vmalloc that mean something here. */
const VMALLOC_FLAGS = VM_USERMAP | VM_FLUSH_RESET_PERMS | VM_ALLOW_HUGE_VMAP;
/** Where devices of the emulated machine are, for what the traced one had where here is memory. */
const DEVICE_PHYS = 0xd000_0000;
const DEVICE_BYTES = 0x1000_0000;

/** Callers have frames for so many mappings of the largest size before those of the first are mapped again. */
const CALLERS_MAPPINGS = 16;
/** More pages are only taken when they are mapped: a trace may name any number. */
const CALLERS_FRAMES_MAX = 4096;

const MAP_ANONYMOUS = 0x20;
const MAP_POPULATE = 0x8000;

/** What a call came to. */
export type CallOutcome = "made" | "failed" | "not there";

/** Makes traced calls. */
export class CallMaker {
  /** Whether drains are made when the traced kernel made them; otherwise they come about here by themselves. */
  readonly makesDrains: boolean;
  private readonly kernel: Kernel;
  /** Where the traced kernel's vmalloc range began; null while nothing has shown it. */
  private rangeStart: bigint | null;
  private frames: Uint32Array;
  /** Where in them the next mapping's begin. */
  private nextFrame = 0;
  /** In which order calls take room, free and purge; null: as it comes. */
  private readonly order: FollowedOrder | null = null;
  private readonly mms = new Map<bigint, MmStruct>();
  /** Page faults of user mode that were made. */
  faults = 0;

  /** What calls work on without a trace's saying how it was made is there before the first one: frames that callers map, address spaces. */
  constructor(kernel: Kernel, makesDrains: boolean, { rangeStart, mappedPagesMax, tasks }: FtraceSurvey) {
    this.kernel = kernel;
    this.makesDrains = makesDrains;
    this.rangeStart = rangeStart;
    this.frames = kernel.allocFrames(Math.min(mappedPagesMax * CALLERS_MAPPINGS, CALLERS_FRAMES_MAX));
    for (const mm of tasks.spaces) this.mmOf(mm);
    // With another lazy_max_pages areas are free at other times: then the kernel's own rules place them.
    if (!makesDrains) return;
    this.order = new FollowedOrder(kernel.vm);
    kernel.vm.placement = this.order;
    kernel.vm.lazyOrder = this.order;
  }

  /** A call that will be made. */
  expect(call: TracedCall): void {
    this.order?.expect(call);
  }

  /** A traced address here: that of the vmalloc range lies where this kernel's does, whatever the traced one's place (KASLR). */
  here(address: bigint): number {
    if (this.rangeStart !== null && address >= this.rangeStart) {
      const behind = Number(address - this.rangeStart);
      if (behind < VMALLOC_RANGE_BYTES_MIN) return VMALLOC_START + behind;
    }
    return Number(BigInt.asUintN(48, address));
  }

  /** Makes the call on the current CPU. */
  *make(call: TracedCall): KernelCode<CallOutcome> {
    this.order?.begin(call, (address) => this.here(address));
    const outcome = yield* this.makePlaced(call);
    this.order?.end(call);
    return outcome;
  }

  private *makePlaced(call: TracedCall): KernelCode<CallOutcome> {
    const { kind } = call;
    if (changesRights(kind)) {
      yield* this.untilMade(call.allocation);
      yield* this.changeRights(call);
      return "made";
    }
    if (call.allocation === null || kind === "mmap" || kind === "munmap") {
      if (kind === "munmap") yield* this.untilMade(call.allocation);
      yield* this.makeOther(call);
      if (call.allocation !== null) call.allocation.isMade = true;
      return "made";
    }
    if (!isFree(call)) return yield* this.allocate(call);
    yield* this.untilMade(call.allocation);
    const { address, rights } = call.allocation;
    yield* this.until(() => rights.every(({ isDone }) => isDone));
    if (address === 0) return "not there";
    if (call.kind === "vrealloc") return yield* this.resize(call, address);
    yield* this.free(call, address);
    return "made";
  }

  /** Waits while the allocation is on another CPU's list and has not come to an end there. */
  *untilMade(allocation: Allocation | null): KernelCode<void> {
    if (allocation !== null && !allocation.isMade) yield* this.until(() => allocation.isMade);
  }

  private *until(isSo: () => boolean): KernelCode<void> {
    const { loop } = this.kernel.machine;
    const giveUpCycles = loop.nowCycles() + WAIT_CYCLES_MAX;
    while (!isSo() && loop.nowCycles() < giveUpCycles) {
      yield* spinUntil(loop, loop.nowCycles() + LOOK_AGAIN_CYCLES);
      // Another thread of this CPU may hold what the allocation waits for.
      if (loop.needsResched()) yield PAUSE_RESCHED;
    }
  }

  private *allocate(call: TracedCall): KernelCode<CallOutcome> {
    const { allocation, args, caller } = call;
    const { vm } = this.kernel;
    let address = 0;
    if (call.kind === "vmalloc" || call.kind === "vrealloc") {
      const sizeBytes = numberOf(args, "size");
      address = yield* wait(__vmallocNodeRange(vm, sizeBytes, this.requestOf(call), caller));
    } else if (call.kind === "vmap" || call.kind === "vm_map_ram") {
      const frames = this.framesOf(numberOf(args, "count"));
      address =
        call.kind === "vmap" ? yield* vmap(vm, frames, VM_MAP, undefined, caller) : yield* wait(vmMapRam(vm, frames));
    } else if (call.kind === "ioremap") {
      address = yield* this.mapDevice(call);
    } else {
      address = yield* this.reserve(call);
    }
    if (allocation !== null) {
      allocation.address = address;
      allocation.pages = populatedPages(call);
      allocation.isMade = true;
    }
    return address === 0 ? "failed" : "made";
  }

  private *free({ kind, args, allocation }: TracedCall, address: number): KernelCode<void> {
    const { vm } = this.kernel;
    if (allocation?.isArea) {
      const area = yield* wait(findUnlinkVmapArea(vm, address, startsThere));
      if (area !== 0) yield* wait(freeUnmapVmapArea(vm, area));
    } else if (kind === "vunmap") yield* vunmap(vm, address);
    else if (kind === "iounmap") yield* iounmap(vm, address);
    else if (kind === "vm_unmap_ram") yield* wait(vmUnmapRam(vm, address, numberOf(args, "count")));
    else {
      if (kind === "vfree" && allocation !== null && keepsRights(allocation)) yield* restoreDirectMap(vm, address);
      yield* wait(vfree(vm, address));
    }
  }

  private *resize({ args, allocation, caller }: TracedCall, address: number): KernelCode<CallOutcome> {
    const gfp = numberOf(args, "gfp", GFP_KERNEL);
    const now = yield* vrealloc(this.kernel.vm, address, numberOf(args, "size"), gfp, caller);
    if (now === 0) return "failed";
    if (allocation !== null) allocation.address = now;
    return "made";
  }

  private *changeRights(call: TracedCall): KernelCode<void> {
    const { rights } = call;
    if (rights !== undefined) yield* this.until(() => rights.after.every(({ isDone }) => isDone));
    yield* makeRightsChange(this.kernel.vm, call);
    if (rights !== undefined) rights.isDone = true;
  }

  /** What neither allocates nor frees. */
  private *makeOther(call: TracedCall): KernelCode<void> {
    const { kind, args } = call;
    const { vm } = this.kernel;
    const { flushing } = vm;
    if (kind === "vm_unmap_aliases") yield* vmUnmapAliases(vm);
    else if (kind === "drain" && this.makesDrains) yield* drainVmapAreaWork(vm);
    // A purge in no call that is known: an allocation of other kernel code found no room.
    else if (kind === "purge") yield* _vmUnmapAliases(vm, ADDRESS_MAX, 0, false);
    else if (kind === "flush_tlb_all") yield* flushTlbAll(flushing);
    else if (kind === "flush_tlb_kernel_range") {
      const [start, end] = [args.get("start") ?? 0n, args.get("end") ?? 0n];
      if (start < end) yield* flushTlbKernelRange(flushing, this.here(start), this.here(end), "call");
    } else if (kind === "cpa_flush") {
      const start = this.here(args.get("addr") ?? 0n);
      yield* flushTlbKernelRange(flushing, start, start + numberOf(args, "pages") * PAGE_SIZE, "call");
    } else if (kind === "switch_mm") {
      UserSpaces.of(vm.mm).switchTo(this.mmOf(args.get("next")));
    } else if (kind === "lazy_tlb") {
      UserSpaces.of(vm.mm).switchTo(null);
    } else if (kind === "mmap" || kind === "munmap") {
      yield* this.changeMemory(kind, args, call.address);
    } else if (kind === "flush_tlb_mm_range") {
      const end = args.get("end") ?? 0n;
      const isWhole = end > BigInt(USER_END);
      const start = isWhole ? 0 : Number(args.get("start") ?? 0n);
      const range: [number, number] = [start, isWhole ? TLB_FLUSH_ALL : Number(end)];
      yield* UserSpaces.of(vm.mm).flushTlbMmRange(this.mmOf(args.get("mm")), ...range, numberOf(args, "freed") !== 0);
    }
  }

  /**
   * Maps and unmaps memory of the process that the CPU runs. Memory that is not populated at once comes with its faults. A file's pages have numbers that
   * the trace does not show: a mapping of one is a mapping of its own, whatever is beside it.
   */
  private *changeMemory(kind: "mmap" | "munmap", args: ReadonlyMap<string, bigint>, at: bigint): KernelCode<void> {
    const spaces = UserSpaces.of(this.kernel.mm);
    const mm = spaces.loaded[this.kernel.machine.loop.currentCpu];
    if (mm === spaces.initMm) return;
    const start = Number(at);
    const pages = Math.ceil(numberOf(args, "size") / PAGE_SIZE);
    if (kind === "munmap") {
      yield* munmap(spaces, mm, start, start + pages * PAGE_SIZE);
      return;
    }
    const flags = numberOf(args, "flags", MAP_ANONYMOUS);
    const pgoff = (flags & MAP_ANONYMOUS) !== 0 ? [] : [0];
    if ((flags & MAP_POPULATE) !== 0) yield* mmapPopulate(spaces, mm, start, pages, ...pgoff);
    else yield* mmap(spaces, mm, start, start + pages * PAGE_SIZE, ...pgoff);
  }

  /**
   * A page fault of user mode in the address space that the CPU runs; none where no process is known to run. One that fetches is made as a read: what
   * is mapped for it is not written.
   * @param errorCode as the CPU pushed it: bits of `PF_WRITE` and its neighbours
   */
  *fault(address: number, errorCode: number): KernelCode<void> {
    const spaces = UserSpaces.of(this.kernel.mm);
    const mm = spaces.loaded[this.kernel.machine.loop.currentCpu];
    if (mm === spaces.initMm) return;
    if ((yield* handlePteFault(spaces, mm, address, (errorCode & PF_WRITE) !== 0)) === 0) this.faults++;
  }

  private requestOf({ args }: TracedCall) {
    const align = numberOf(args, "align", 1);
    const node = numberOf(args, "node", NUMA_NO_NODE);
    return {
      ...VMALLOC_REQUEST,
      align: isPowerOfTwo(align) ? align : 1,
      range: this.rangeOf(args),
      gfp: numberOf(args, "gfp", GFP_KERNEL),
      flags: numberOf(args, "flags") & VMALLOC_FLAGS,
      node: node >= 0 && node < this.kernel.pages.numaNodes ? node : NUMA_NO_NODE,
    };
  }

  private rangeOf(args: ReadonlyMap<string, bigint>): AddressRange {
    const [vstart, vend] = [args.get("start") ?? 0n, args.get("end") ?? 0n];
    if (vend <= vstart) return VMALLOC_REQUEST.range;
    const isWhole = vend - vstart >= BigInt(VMALLOC_RANGE_BYTES_MIN);
    if (isWhole) this.rangeStart ??= vstart;
    const [start, end] = isWhole ? windowOf({ vstart, vend }) : [this.here(vstart), this.here(vend)];
    return { start, end };
  }

  private *reserve({ args }: TracedCall): KernelCode<number> {
    const { vm } = this.kernel;
    const [sizeBytes, align] = [numberOf(args, "size"), numberOf(args, "align", 1)];
    if (sizeBytes % PAGE_SIZE !== 0 || sizeBytes === 0) return 0;
    const request = { align: isPowerOfTwo(align) ? align : 1, range: this.rangeOf(args), gfp: GFP_KERNEL };
    const area = yield* wait(allocVmapArea(vm, sizeBytes, request, 0, 0));
    return area < 0 ? 0 : vm.areas.startOf(area);
  }

  private mapDevice({ args, caller }: TracedCall): KernelCode<number> {
    const { vm, machine } = this.kernel;
    const phys = numberOf(args, "phys");
    const sizeBytes = numberOf(args, "size");
    const isMemory = phys < machine.memory.sizeBytes && machine.memory.has(Math.floor(phys / PAGE_SIZE));
    const mode = CACHE_MODES[numberOf(args, "mode", 2)] ?? "uc-";
    return ioremap(vm, isMemory ? DEVICE_PHYS + (phys % DEVICE_BYTES) : phys, sizeBytes, mode, caller);
  }

  /**
   * Frames for a mapping. The trace does not say whose they are: each mapping has others than those before it, as what is mapped again at an
   * address seldom is the same memory.
   */
  private framesOf(count: number): Uint32Array {
    if (this.frames.length < count) this.frames = this.kernel.allocFrames(count);
    if (this.nextFrame + count > this.frames.length) this.nextFrame = 0;
    const first = this.nextFrame;
    this.nextFrame += count;
    return this.frames.subarray(first, first + count);
  }

  /** Stores to the first pages of what a call has allocated, as whoever asks for memory does. */
  touch({ allocation }: TracedCall): void {
    const { machine } = this.kernel;
    const cpu = machine.cpus[machine.loop.currentCpu];
    if (allocation === null || allocation.address === 0) return;
    try {
      for (let page = 0; page < Math.min(allocation.pages, TOUCHED_PAGES); page++) {
        cpu.store(allocation.address + page * PAGE_SIZE, 4, 1);
      }
    } catch (error) {
      // Another CPU has made it read-only meanwhile, or freed it: there whoever stores was done by then.
      if (!(error instanceof PageFault)) throw error;
    }
  }

  private mmOf(address: bigint | undefined): MmStruct {
    let mm = this.mms.get(address ?? 0n);
    if (mm === undefined) {
      mm = UserSpaces.of(this.kernel.mm).mmAlloc();
      this.mms.set(address ?? 0n, mm);
    }
    return mm;
  }
}

/** Whether rights of its pages have been changed that vfree does not reset. */
function keepsRights({ rights, flags }: Allocation): boolean {
  return rights.length > 0 && (flags & VM_FLUSH_RESET_PERMS) === 0;
}

/** Whether the call needs what another one allocated. */
export function isFree({ kind, args }: TracedCall): boolean {
  if (kind === "vrealloc") return (args.get("addr") ?? 0n) !== 0n;
  return kind === "vfree" || kind === "vunmap" || kind === "vm_unmap_ram" || kind === "iounmap" || kind === "free area";
}

/** Pages that a call has mapped, and that are memory. */
function populatedPages({ kind, args }: TracedCall): number {
  if (kind === "vmalloc") return Math.ceil(numberOf(args, "size") / PAGE_SIZE);
  return kind === "vmap" || kind === "vm_map_ram" ? numberOf(args, "count") : 0;
}

function numberOf(args: ReadonlyMap<string, bigint>, name: string, absent = 0): number {
  const value = args.get(name);
  return value === undefined ? absent : Number(value);
}
