/**
 * In whose cache the lines of each page are: that of its `struct page`, 64 bytes of vmemmap that the kernel writes whenever a page is
 * taken, mapped, unmapped or given back; and those of what is in the page, of which the kernel writes all where it zeroes it.
 *
 * A line is in the cache of the CPU that used it last until so many others have come into that cache as there is room for. So a CPU
 * counts the lines that it has fetched, and a page remembers the count at its last use: what lies further back than the core's own caches
 * hold is in the last level, and beyond that level's share of a core in memory. A page that goes round on a CPU's own list stays warm; one
 * that another CPU used last comes from that CPU's cache, by distance; one that was never used comes from memory.
 *
 * Uses are atomic operations or follow a list's links, so that nothing hides the time until a line is there. An exception are runs of
 * neighbours: the core's streamer, once it has seen two fetches in one direction within 4 KiB, fetches up to 20 lines ahead (Intel's
 * optimization manual, "Data Prefetching"), and what it has fetched takes the time of the second level.
 */
import type { Figure } from "../../arch/presets/figure.ts";
import type { CostProfile, DataCachePreset, Preset } from "../../arch/presets/preset.ts";
import type { EventLoop } from "../../arch/time/event-loop.ts";
import { DISTANCE_SOCKET } from "../../arch/time/topology.ts";
import type { PageCosts } from "../kernel/kernel-costs.ts";

const LINE_BYTES = 64;
const PAGE_LINES_SHIFT = 6;
const LINES_OF_PAGE = 1 << PAGE_LINES_SHIFT;
/** Lines that the streamer fetches ahead. */
const STREAM_LINES = 20;

/** What a zone remembers of the lines of its frames, from `startFrame` on: the CPU that used each last plus one, 0 for none, and when. */
export interface LinesOfFrames {
  readonly startFrame: number;
  readonly user: Uint16Array;
  readonly usedAt: Uint32Array;
  readonly zeroedBy: Uint16Array;
  readonly zeroedAt: Uint32Array;
}

/** The lines of all pages of a machine. */
export class PageLines {
  /** By CPU: lines of pages that came into its caches, modulo 2^32. */
  readonly fetched: Uint32Array;
  /** By CPU: the frame whose `struct page` was fetched last, and in which direction from the one before: -1, 1, or 0 for none. */
  readonly lastFrame: Uint32Array;
  readonly direction: Int32Array;
  /**
   * By CPU, for the host's sake: a frame whose `struct page` the CPU has used, and nobody else since, and when that was at the latest; 0 for none. Who
   * takes and gives back one page at a time need not look at the frame's numbers then, which at 1024 CPUs are in none of the host's caches.
   */
  private readonly ownFrame: Uint32Array;
  private readonly ownUsedAt: Uint32Array;
  /** By CPU: the frame after the one that it zeroed last. */
  readonly nextZeroed: Float64Array;
  /** What a CPU has waited for while it held the lock of a zone, which is added to the time that it holds it. */
  private heldCycles = 0;
  private heldLineCycles = 0;
  private readonly loop: EventLoop;
  private readonly pageCosts: PageCosts;
  private readonly costs: CostProfile;
  private readonly memory: Figure<"cycles">;
  private readonly lastLevel: Figure<"cycles">;
  /** What a line takes that the streamer has fetched; 0 where a core has no caches of its own. */
  private readonly streamed: { readonly value: number };
  private readonly ownLines: number;
  private readonly reachLines: number;
  /** Means nothing: it has what `ask` looks at used. */
  private expected = 0;

  constructor(loop: EventLoop, pageCosts: PageCosts, { dataCaches, memory, costs }: Preset) {
    const own = dataCaches.slice(0, -1);
    const lastLevel = dataCaches[dataCaches.length - 1];
    this.loop = loop;
    this.pageCosts = pageCosts;
    this.costs = costs;
    this.fetched = new Uint32Array(loop.cpus);
    this.lastFrame = new Uint32Array(loop.cpus);
    this.direction = new Int32Array(loop.cpus);
    this.ownFrame = new Uint32Array(loop.cpus);
    this.ownUsedAt = new Uint32Array(loop.cpus);
    this.nextZeroed = new Float64Array(loop.cpus);
    this.memory = memory;
    this.lastLevel = lastLevel?.hitCycles ?? memory;
    this.streamed = own[own.length - 1]?.hitCycles ?? { value: 0 };
    this.ownLines = own.length === 0 ? 0 : linesOf(own[own.length - 1]);
    this.reachLines = this.ownLines + (lastLevel === undefined ? 0 : linesOf(lastLevel));
  }

  /** What a table takes that is zeroed, or another page that the core has had just before. */
  get zeroOwnCycles(): number {
    return this.pageCosts.zeroCallCycles + this.costs.zeroPage.value;
  }

  /** The current CPU uses the `struct page` of a frame of `zone`. */
  use(zone: LinesOfFrames, frame: number): void {
    this.useFor(zone, frame, this.loop.currentCpu);
  }

  /** The current CPU uses the `struct page`s of `count` frames of one zone. */
  useAll(zone: LinesOfFrames, frames: Uint32Array, offset: number, count: number): void {
    if (count === 1) {
      this.useAgain(zone, frames[offset]);
      return;
    }
    this.ask(zone, frames, offset, count);
    const { currentCpu } = this.loop;
    for (let i = offset; i < offset + count; i++) this.useFor(zone, frames[i], currentCpu);
  }

  /** For the host's sake: what is known of the frames' lines comes into the host's caches side by side, not one after the other. */
  private ask({ user, usedAt, startFrame }: LinesOfFrames, frames: Uint32Array, offset: number, count: number): void {
    const start = startFrame | 0;
    let sum = 0;
    for (let i = offset; i < offset + count; i++) {
      const index = ((frames[i] | 0) - start) | 0;
      sum = (sum + user[index] + usedAt[index]) | 0;
    }
    this.expected |= sum;
  }

  /** As `use`, of a frame that the CPU most likely used last. */
  private useAgain(zone: LinesOfFrames, frame: number): void {
    const { fetched, ownFrame, ownUsedAt } = this;
    const { currentCpu } = this.loop;
    const now = fetched[currentCpu];
    if (ownFrame[currentCpu] === frame && (now - ownUsedAt[currentCpu]) >>> 0 < this.ownLines) {
      zone.usedAt[frame - zone.startFrame] = now;
    } else {
      this.use(zone, frame);
      ownFrame[currentCpu] = frame;
    }
    ownUsedAt[currentCpu] = fetched[currentCpu];
  }

  /** The frames' numbers are others than they were, those of a saved state. */
  forgetOwnFrames(): void {
    this.ownFrame.fill(0);
  }

  /** The current CPU uses the `struct page`s of `count` neighbours. */
  useBlock(zone: LinesOfFrames, first: number, count: number): void {
    const { currentCpu } = this.loop;
    for (let i = 0; i < count; i++) this.useFor(zone, first + i, currentCpu);
  }

  /** As `use`, of the current CPU: most lines of neighbours come through the streamer, so that where they were is not looked at. */
  private useFor(zone: LinesOfFrames, frame: number, cpu: number): void {
    const { user, usedAt } = zone;
    const { fetched } = this;
    // Frame numbers are 32 bits; `| 0` keeps V8 in integers.
    const index = ((frame | 0) - (zone.startFrame | 0)) | 0;
    const now = fetched[cpu];
    if (user[index] === cpu + 1 && (now - usedAt[index]) >>> 0 < this.ownLines) usedAt[index] = now;
    else if (this.isStreamed(frame, cpu)) {
      this.take(zone, index, cpu);
      this.loop.clockCycles[cpu] += this.streamed.value;
    } else {
      const from = this.fetchUnstreamed(zone, index, cpu);
      if (from > 0) this.loop.spend(from);
      else this.loop.lines.waitFor(-from);
    }
  }

  /**
   * As `use`, while the CPU holds the zone's lock: the time is part of what `takeHeld` says.
   * @param index of the frame, from the zone's first on
   */
  useUnderLock(zone: LinesOfFrames, index: number): void {
    const { user, usedAt } = zone;
    const { currentCpu } = this.loop;
    const now = this.fetched[currentCpu];
    if (user[index] === currentCpu + 1 && (now - usedAt[index]) >>> 0 < this.ownLines) usedAt[index] = now;
    else this.fetchUnderLock(zone, index, currentCpu);
  }

  /**
   * Whether the `struct page`s of `count` neighbours are in the current CPU's own caches, so that to use them changes no clock.
   * @param index of the first, from the zone's first frame on
   */
  areOwn({ user, usedAt }: LinesOfFrames, index: number, count: number): boolean {
    const { ownLines } = this;
    const { currentCpu } = this.loop;
    const now = this.fetched[currentCpu];
    for (let i = index; i < index + count; i++)
      if (user[i] !== currentCpu + 1 || (now - usedAt[i]) >>> 0 >= ownLines) return false;
    return true;
  }

  /** The current CPU uses `count` neighbours that are in its own caches. */
  useOwn({ usedAt }: LinesOfFrames, index: number, count: number): void {
    const now = this.fetched[this.loop.currentCpu];
    for (let i = index; i < index + count; i++) usedAt[i] = now;
  }

  private fetchUnderLock(zone: LinesOfFrames, index: number, cpu: number): void {
    if (this.isStreamed((zone.startFrame + index) | 0, cpu)) {
      this.take(zone, index, cpu);
      this.heldCycles += this.streamed.value;
      return;
    }
    const from = this.fetchUnstreamed(zone, index, cpu);
    if (from > 0) this.heldCycles += from;
    else this.heldLineCycles -= from;
  }

  /** Hands over what was waited for under a zone's lock: for memory and the last level, and for lines of other CPUs. */
  takeHeld(): { readonly cycles: number; readonly lineCycles: number } {
    const held = { cycles: this.heldCycles, lineCycles: this.heldLineCycles };
    this.heldCycles = 0;
    this.heldLineCycles = 0;
    return held;
  }

  /**
   * The current CPU fills a page with zeros (`clear_page`), as quickly as its lines are near. Those of the page after the one that it filled last
   * are on their way where they come from memory: prefetchers of some parts go on in the next page (the preset's `costs.zeroPageNext`).
   */
  zero(zone: LinesOfFrames, frame: number): void {
    const { currentCpu } = this.loop;
    const index = frame - zone.startFrame;
    const age = (this.fetched[currentCpu] - zone.zeroedAt[index]) >>> 0;
    const isOwn = zone.zeroedBy[index] === currentCpu + 1;
    if (!isOwn || age >= this.ownLines) this.fetched[currentCpu] += LINES_OF_PAGE;
    zone.zeroedBy[index] = currentCpu + 1;
    zone.zeroedAt[index] = this.fetched[currentCpu];
    const isNext = this.nextZeroed[currentCpu] === frame;
    this.nextZeroed[currentCpu] = frame + 1;
    if (isOwn && age < this.ownLines) {
      this.loop.spend(this.zeroOwnCycles);
      return;
    }
    const { zeroPageLastLevel, zeroPageNext, zeroPageMemory } = this.costs;
    const figure = isOwn && age < this.reachLines ? zeroPageLastLevel : isNext ? zeroPageNext : zeroPageMemory;
    this.loop.spend(this.pageCosts.zeroCallCycles + figure.value);
  }

  /** Fetches a line that neither the CPU's own caches nor the streamer have; what that takes: more than 0 from a level or memory, less from another CPU. */
  private fetchUnstreamed(zone: LinesOfFrames, index: number, cpu: number): number {
    const owner = zone.user[index] - 1;
    const age = owner < 0 ? this.reachLines : (this.fetched[owner] - zone.usedAt[index]) >>> 0;
    this.take(zone, index, cpu);
    if (age >= this.reachLines) return this.memory.value;
    const distance = owner === cpu ? 0 : this.loop.topology.distance(owner, cpu);
    // In another's cache, or in the last level of another socket.
    const isFar = owner !== cpu && (age < this.ownLines || distance > DISTANCE_SOCKET);
    return isFar ? -this.loop.lines.transferCycles[distance] : this.lastLevel.value;
  }

  /** A line comes into the CPU's caches, and leaves those that it was in. */
  private take(zone: LinesOfFrames, index: number, cpu: number): void {
    const { user, usedAt, startFrame } = zone;
    const owner = user[index] - 1;
    if (owner >= 0 && this.ownFrame[owner] === startFrame + index) this.ownFrame[owner] = 0;
    user[index] = cpu + 1;
    usedAt[index] = ++this.fetched[cpu];
  }

  /** Whether the streamer has fetched the line of a frame by now, which is the one that the CPU fetches next. */
  private isStreamed(frame: number, cpu: number): boolean {
    const { lastFrame, direction } = this;
    const last = lastFrame[cpu] | 0;
    const step = ((frame | 0) - last) | 0;
    const isNear = (frame ^ last) >>> PAGE_LINES_SHIFT === 0;
    const towards = !isNear || step === 0 ? 0 : step > 0 ? 1 : -1;
    const isStreamed = towards !== 0 && towards === direction[cpu] && step * towards <= STREAM_LINES;
    direction[cpu] = towards;
    lastFrame[cpu] = frame;
    return isStreamed;
  }
}

function linesOf({ sizeBytes }: DataCachePreset): number {
  return Math.floor(sizeBytes.value / LINE_BYTES);
}
