/**
 * Replays a trace that has vmalloc's tracepoints alone: the same areas are allocated and freed, on the same CPUs at the same times.
 *
 * The tracepoints say which address space was taken and given back, not what was mapped there. An area is mapped whole but
 * for its guard page (a vmap block, whose size is its alignment, is left empty), to frames that all areas share, and the
 * CPU that allocates stores to its first pages, so that TLBs hold entries which a flush can take away. A purge that the number of
 * lazily freed pages explains is left to the emulated kernel; any other was asked for (`vm_unmap_aliases`), and is made here too.
 */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { isPowerOfTwo } from "../../arch/isa/power-of-two.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import {
  _vmUnmapAliases,
  ADDRESS_MAX,
  allocVmapArea,
  drainVmapAreaWork,
  findUnlinkVmapArea,
  freeUnmapVmapArea,
  GFP_KERNEL,
  PAGE_KERNEL,
  VMALLOC_END,
  vmapPagesRangeNoflush,
  wait,
} from "../../mm/index.ts";
import { sleepUntil } from "../../mm/kernel/jiffies.ts";
import type { Kernel } from "../machine/kernel.ts";
import type { FtraceEvent } from "./ftrace-lines.ts";
import { mappedBytes, type ReservedAreas, WITHOUT_PAGES } from "./ftrace-mapped.ts";
import type { FtraceOptions, FtraceReport } from "./ftrace-report.ts";
import type { SkipList } from "./ftrace-skips.ts";
import type { FtraceSurvey, TracedPurge } from "./ftrace-survey.ts";
import { startsThere, type WaitingFree, windowOf } from "./ftrace-windows.ts";
import { TracedKernel } from "./traced-kernel.ts";

/** Frames that all areas share. */
const SHARED_FRAMES = 512;
/** Pages of an area that its allocator stores to. */
const TOUCHED_PAGES = 16;
/** Part of the vmalloc range, at its end, where nothing else lies. */
const LAZY_WINDOW_BYTES = 2 ** 40;
/** Frees that wait for a purge at most. */
const WAITING_MAX = 64;

/** Replays a trace of areas, event by event. */
export class AreaReplay {
  private readonly subject: TracedKernel;
  readonly kernel: Kernel;
  private readonly skipped: SkipList;
  private readonly frames: Uint32Array;
  /** Allocations for which nothing is mapped. */
  private readonly reserved: ReservedAreas;
  /** Where the areas of the trace are here. */
  private readonly live = new Map<bigint, number>();
  private readonly traced: TracedKernel["traced"];
  private readonly firstSeconds: number;
  private readonly cyclesPerSecond: number;
  private readonly allocActivity: number;
  private readonly freeActivity: number;
  private readonly tracedPurges: readonly TracedPurge[];
  private readonly lazyPagesAtStart: number;
  /** How far the traced kernel's vmalloc range lies above this one's. */
  private readonly rangeOffset: number;
  /** With the traced `lazy_max_pages` the drain work runs when it ran there; with another one when it must here. */
  private readonly drainsAsTraced: boolean;
  private frees = 0;
  /** Frees that the next purge must not take. */
  private readonly waiting: WaitingFree[] = [];
  private purgesSeen = 0;
  private allocated = 0;
  private allocatedBytes = 0;
  private atTracedAddress = 0;
  private freed = 0;
  private failed = 0;
  private allocCycles = 0;
  private freeCycles = 0;

  constructor(survey: FtraceSurvey, options: FtraceOptions, skipped: SkipList) {
    this.subject = new TracedKernel(survey, options, skipped);
    const { kernel, traced } = this.subject;
    this.kernel = kernel;
    this.traced = traced;
    this.firstSeconds = survey.firstSeconds;
    this.tracedPurges = survey.purges;
    this.lazyPagesAtStart = survey.lazyPagesAtStart;
    this.rangeOffset = survey.rangeOffset;
    this.skipped = skipped;
    this.reserved = survey.reserved;
    this.cyclesPerSecond = this.subject.cyclesPerSecond;
    const { vm, machine } = kernel;
    this.drainsAsTraced = this.subject.followsTrace;
    if (this.drainsAsTraced) vm.drainWork = null;
    this.allocActivity = machine.loop.accounts.activity("alloc_vmap_area");
    this.freeActivity = machine.loop.accounts.activity("free_vmap_area_noflush");
    const shared = this.kernel.allocFrames(SHARED_FRAMES);
    this.frames = new Uint32Array(SHARED_FRAMES * 2);
    this.frames.set(shared);
    this.frames.set(shared, SHARED_FRAMES);
    this.subject.startCounting();
    if (this.lazyPagesAtStart > 0) this.kernel.run(this.freeBeforehand(this.lazyPagesAtStart));
  }

  /** Makes what an event of line `line` says. @param number which of the events it is, from 0 */
  make(event: FtraceEvent, line: number, number: number): void {
    if (event.event !== "alloc" && event.event !== "free" && event.event !== "purge") return;
    if (event.event === "purge") {
      this.traced.purges++;
      this.traced.areasPurged += event.areas;
      this.purgeAsTraced((event.seconds - this.firstSeconds) * this.cyclesPerSecond);
      return;
    }
    const { loop } = this.kernel.machine;
    const cpu = event.cpu % loop.cpus;
    const at = (event.seconds - this.firstSeconds) * this.cyclesPerSecond;
    if (event.event === "free") {
      const free = { address: event.address, atCycles: at, cpu, line, number: ++this.frees };
      if (this.isAfterNextPurge(free.number) && this.waiting.length < WAITING_MAX) this.waiting.push(free);
      else this.makeFree(free);
    } else if (event.failed) {
      this.skipped.add("is an allocation that failed in the traced kernel", line);
    } else if (event.sizeBytes % PAGE_SIZE !== 0 || event.sizeBytes === 0 || !isPowerOfTwo(event.align)) {
      this.skipped.add("has a size that is not whole 4 KiB pages, or an alignment that is no power of two", line);
    } else {
      if (this.live.delete(event.address)) {
        this.skipped.add("allocates where an area lies whose end the trace does not show; that one stays", line);
      }
      const isReserved = this.reserved.has(number);
      if (isReserved) this.skipped.add(WITHOUT_PAGES, line);
      this.kernel.run(this.alloc(event, at, isReserved ? 0 : mappedBytes(event)), cpu);
    }
  }

  private makeFree({ address: traced, atCycles, cpu, line }: WaitingFree): void {
    const address = this.live.get(traced);
    if (address === undefined) {
      this.skipped.add("frees an area whose allocation is not in the trace", line);
      return;
    }
    this.live.delete(traced);
    this.kernel.run(this.free(address, atCycles), cpu);
  }

  /** A traced address in the vmalloc range of this kernel: that of the traced one may lie elsewhere (KASLR). */
  private here(address: bigint): number {
    return Number(BigInt.asUintN(48, address)) - this.rangeOffset;
  }

  /** Whether the traced kernel's next purge had taken its lists when the free of that number was made. */
  private isAfterNextPurge(number: number): boolean {
    const next = this.tracedPurges[this.purgesSeen];
    return next !== undefined && next.afterFrees < number;
  }

  /** Makes the next purge of the traced kernel, then the frees that came too late for it. */
  private purgeAsTraced(atCycles: number): void {
    const { machine, vm } = this.kernel;
    const { isDrain, cpu, start, end } = this.tracedPurges[this.purgesSeen++];
    // The range holds dirty vmap blocks as well, which the trace does not show otherwise.
    const hasRange = start < end;
    const [from, to] = hasRange ? [this.here(start), this.here(end)] : [ADDRESS_MAX, 0];
    const purge = function* (): KernelCode<void> {
      yield* sleepUntil(machine.loop, atCycles);
      if (isDrain) yield* drainVmapAreaWork(vm);
      else yield* _vmUnmapAliases(vm, from, to, hasRange);
    };
    if (!isDrain) this.traced.explicitPurges++;
    if (!isDrain || this.drainsAsTraced) this.kernel.run(purge, cpu % machine.loop.cpus);
    while (this.waiting.length > 0 && !this.isAfterNextPurge(this.waiting[0].number)) {
      const free = this.waiting.shift();
      if (free !== undefined) this.makeFree(free);
    }
  }

  /** What was lazily freed before the trace begins: one area, at the end of the vmalloc range. */
  private *freeBeforehand(pages: number): KernelCode<void> {
    const { vm } = this.kernel;
    const start = VMALLOC_END + 1 - LAZY_WINDOW_BYTES;
    const request = { align: PAGE_SIZE, range: { start, end: VMALLOC_END }, gfp: GFP_KERNEL };
    const area = yield* wait(allocVmapArea(vm, pages * PAGE_SIZE, request, 0, 0));
    if (area < 0) return;
    const found = yield* wait(findUnlinkVmapArea(vm, vm.areas.startOf(area), startsThere));
    if (found !== 0) yield* wait(freeUnmapVmapArea(vm, found));
  }

  /** Makes what is left, after the last event. */
  finish(): void {
    this.kernel.runUntilIdle();
    for (const free of this.waiting.splice(0)) this.makeFree(free);
  }

  /** Reports what was made, once it is finished. */
  report(trace: string): FtraceReport {
    return {
      ...this.subject.report(trace),
      areas: {
        allocated: this.allocated,
        bytes: this.allocatedBytes,
        atTracedAddress: this.atTracedAddress,
        freed: this.freed,
        failed: this.failed,
        live: this.live.size,
      },
      allocCycles: this.allocCycles,
      freeCycles: this.freeCycles,
    };
  }

  private *alloc(event: FtraceEvent & { event: "alloc" }, atCycles: number, mapped: number): KernelCode<void> {
    const { vm, machine } = this.kernel;
    const { loop } = machine;
    yield* sleepUntil(loop, atCycles);
    const { sizeBytes, align } = event;
    const [vstart, vend] = windowOf(event);
    const since = loop.nowCycles();
    const outer = loop.enterActivity(this.allocActivity);
    const request = { align, range: { start: vstart, end: vend }, gfp: GFP_KERNEL };
    const area = yield* wait(allocVmapArea(vm, sizeBytes, request, 0, 0));
    if (area < 0) {
      loop.enterActivity(outer);
      this.failed++;
      return;
    }
    const address = vm.areas.startOf(area);
    this.map(address, mapped);
    loop.enterActivity(outer);
    this.allocCycles += loop.nowCycles() - since;
    this.live.set(event.address, address);
    this.allocated++;
    this.allocatedBytes += sizeBytes;
    if (BigInt.asUintN(48, event.address) === BigInt(address)) this.atTracedAddress++;
    const touched = Math.min(mapped, TOUCHED_PAGES * PAGE_SIZE);
    for (let la = address; la < address + touched; la += PAGE_SIZE) machine.cpus[loop.currentCpu].store(la, 4, 1);
  }

  private *free(address: number, atCycles: number): KernelCode<void> {
    const { vm, machine } = this.kernel;
    const { loop } = machine;
    yield* sleepUntil(loop, atCycles);
    const since = loop.nowCycles();
    const outer = loop.enterActivity(this.freeActivity);
    const area = yield* wait(findUnlinkVmapArea(vm, address, startsThere));
    if (area !== 0) yield* wait(freeUnmapVmapArea(vm, area));
    loop.enterActivity(outer);
    this.freeCycles += loop.nowCycles() - since;
    this.freed++;
  }

  /** Maps `sizeBytes` bytes to the shared frames, again and again. */
  private map(address: number, sizeBytes: number): void {
    const { vm } = this.kernel;
    const stepBytes = SHARED_FRAMES * PAGE_SIZE;
    for (let done = 0; done < sizeBytes; done += stepBytes) {
      const end = address + Math.min(sizeBytes, done + stepBytes);
      if (vmapPagesRangeNoflush(vm.mm, address + done, end, PAGE_KERNEL, this.frames, 0) < 0) return;
    }
  }
}
