/**
 * Replays ftrace text of `vmalloc:*` events: the same areas are allocated and freed, on the same CPUs at the same times, in
 * an emulated kernel of another size, microarchitecture or flush policy, and what that costs is counted.
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
  type FlushCost,
  findUnlinkVmapArea,
  freeUnmapVmapArea,
  GFP_KERNEL,
  PAGE_KERNEL,
  VMALLOC_END,
  vmapPagesRangeNoflush,
  wait,
} from "../../mm/index.ts";
import { sleepUntil } from "../../mm/kernel/jiffies.ts";
import { EventCounter } from "../events/event-counter.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../machine/kernel.ts";
import { type FigureCounts, figureCounts, figuresOfMachine } from "../report/figures.ts";
import { costParts } from "../report/flush-costs.ts";
import { describeSettings, kernelSettings, type MachineSettings } from "../settings/machine-settings.ts";
import type { FtraceEvent } from "./ftrace-lines.ts";
import { mappedBytes, type ReservedAreas, WITHOUT_PAGES } from "./ftrace-mapped.ts";
import type { LostEvents, SkipList, SkippedLines } from "./ftrace-skips.ts";
import type { FtraceSurvey, TracedPurge } from "./ftrace-survey.ts";
import { startsThere, type WaitingFree, windowOf } from "./ftrace-windows.ts";

/** Frames that all areas share. */
const SHARED_FRAMES = 512;
/** Pages of an area that its allocator stores to. */
const TOUCHED_PAGES = 16;
/** Part of the vmalloc range, at its end, where nothing else lies. */
const LAZY_WINDOW_BYTES = 2 ** 40;
/** How a trace is replayed. */
export interface FtraceOptions {
  readonly preset: KernelConfig["preset"];
  readonly memoryBytes: number;
  /** CPUs of the emulated machine; those of the trace are dealt out over them. Absent: as many as the trace names. */
  readonly cpus?: number;
  /** Settings of the kernel; `lazyMax` absent: the trace's own, or with `cpus` the kernel's default for so many. */
  readonly settings?: MachineSettings;
  /** Told how many bytes of the file have been read, and how many events replayed. */
  readonly onProgress?: (bytes: number, events: number) => void;
}

/** What a replay did and cost. Cycles are of the emulated CPUs. */
export interface FtraceReport {
  readonly trace: string;
  readonly machine: {
    readonly preset: string;
    readonly frequencyGhz: number;
    readonly cpus: number;
    readonly figures: FigureCounts;
    /** Settings that were given, as words by name; absent when there are none. */
    readonly settings?: Readonly<Record<string, string | number>>;
  };
  readonly policy: string;
  readonly lazyMaxPages: number;
  readonly traced: {
    readonly cpus: number;
    readonly seconds: number;
    readonly lazyMaxPages: number;
    readonly purges: number;
    /** Those that the number of lazily freed pages does not explain: somebody asked for them (`vm_unmap_aliases`). */
    readonly explicitPurges: number;
    readonly areasPurged: number;
  };
  readonly areas: {
    readonly allocated: number;
    readonly bytes: number;
    /** Those that got the address that the traced kernel gave them. */
    readonly atTracedAddress: number;
    readonly freed: number;
    readonly failed: number;
    readonly live: number;
  };
  readonly purges: number;
  readonly areasPurged: number;
  readonly fullFlushes: number;
  readonly rangeFlushes: number;
  /** Cycles of the CPUs that allocated and freed, waiting included. */
  readonly allocCycles: number;
  readonly freeCycles: number;
  /** The parts of all flushes. */
  readonly flushCost: FlushCost;
  /** All CPUs' cycles by activity. */
  readonly cyclesByActivity: Readonly<Record<string, number>>;
  readonly skipped: readonly SkippedLines[];
  /** What the tracer lost, by CPU; `events` null where it does not say how many. */
  readonly lost: readonly LostEvents[];
}

/** Frees that wait for a purge at most. */
const WAITING_MAX = 64;

/** The machine on which a trace is replayed, event by event. */
export class FtraceReplay {
  readonly kernel: Kernel;
  private readonly skipped: SkipList;
  private readonly counter = new EventCounter();
  private readonly frames: Uint32Array;
  /** Allocations for which nothing is mapped. */
  private readonly reserved: ReservedAreas;
  /** Where the areas of the trace are here. */
  private readonly live = new Map<bigint, number>();
  private readonly traced: { -readonly [Field in keyof FtraceReport["traced"]]: number };
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

  private readonly settings: Readonly<Record<string, string | number>>;

  constructor(survey: FtraceSurvey, options: FtraceOptions, skipped: SkipList) {
    const { cpus, lazyMaxPages } = survey;
    this.firstSeconds = survey.firstSeconds;
    this.tracedPurges = survey.purges;
    this.lazyPagesAtStart = survey.lazyPagesAtStart;
    this.rangeOffset = survey.rangeOffset;
    this.skipped = skipped;
    this.reserved = survey.reserved;
    this.settings = describeSettings(options.settings ?? {});
    const ownLazyMax = options.cpus === undefined && lazyMaxPages > 0 ? lazyMaxPages : undefined;
    const lazyMax = options.settings?.lazyMax ?? ownLazyMax;
    this.kernel = bootKernel({
      ...kernelSettings({ ...options.settings, ...(lazyMax === undefined ? {} : { lazyMax }) }, options.cpus ?? cpus),
      memoryBytes: options.memoryBytes,
      preset: options.preset,
    });
    const { vm, machine } = this.kernel;
    const hertz = machine.preset.frequencyGhz.value * 1e9;
    // What a clock counts is taken for cycles.
    this.cyclesPerSecond = survey.isTicks ? 1 : hertz;
    const seconds = ((survey.lastSeconds - this.firstSeconds) * this.cyclesPerSecond) / hertz;
    this.traced = { cpus, seconds, lazyMaxPages, purges: 0, explicitPurges: 0, areasPurged: 0 };
    vm.events = this.counter;
    vm.flushing.keepAccounts();
    this.drainsAsTraced = vm.config.lazyMaxPages === lazyMaxPages;
    if (this.drainsAsTraced) vm.drainWork = null;
    this.allocActivity = machine.loop.accounts.activity("alloc_vmap_area");
    this.freeActivity = machine.loop.accounts.activity("free_vmap_area_noflush");
    const shared = this.kernel.allocFrames(SHARED_FRAMES);
    this.frames = new Uint32Array(SHARED_FRAMES * 2);
    this.frames.set(shared);
    this.frames.set(shared, SHARED_FRAMES);
    if (this.lazyPagesAtStart > 0) this.kernel.run(this.freeBeforehand(this.lazyPagesAtStart));
  }

  /** Makes what an event of line `line` says. @param number which of the events it is, from 0 */
  make(event: FtraceEvent, line: number, number: number): void {
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

  report(trace: string): FtraceReport {
    const { kernel, counter } = this;
    kernel.runUntilIdle();
    for (const free of this.waiting.splice(0)) this.makeFree(free);
    const { machine, vm } = kernel;
    return {
      trace,
      machine: {
        preset: machine.preset.name,
        frequencyGhz: machine.preset.frequencyGhz.value,
        figures: figureCounts(figuresOfMachine(machine.preset, kernel.mm.costs)),
        ...(Object.keys(this.settings).length === 0 ? {} : { settings: this.settings }),
        cpus: machine.loop.cpus,
      },
      policy: vm.flushing.policy.name,
      lazyMaxPages: vm.config.lazyMaxPages,
      traced: this.traced,
      areas: {
        allocated: this.allocated,
        bytes: this.allocatedBytes,
        atTracedAddress: this.atTracedAddress,
        freed: this.freed,
        failed: this.failed,
        live: this.live.size,
      },
      purges: counter.purges,
      areasPurged: counter.areasPurged,
      fullFlushes: counter.fullFlushes,
      rangeFlushes: counter.rangeFlushes,
      allocCycles: this.allocCycles,
      freeCycles: this.freeCycles,
      flushCost: costParts(vm.flushing.keepAccounts().total()),
      cyclesByActivity: Object.fromEntries(machine.loop.accounts.total()),
      skipped: this.skipped.list(),
      lost: this.skipped.lost(),
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
