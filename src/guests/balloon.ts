/**
 * The balloon of a guest, as `drivers/virtio/virtio_balloon.c` has it: pages that the guest's kernel has allocated for nobody, which the host
 * may have meanwhile. Here the host changes its mind about the balloon's size again and again: each time after a period the guest's
 * driver inflates it (`fill_balloon`) or, if it is inflated, empties it (`leak_balloon`), in a work item (`update_balloon_size_func`). Pages
 * that are given back to the guest's allocator get memory of the host when the guest next uses them.
 */
import type { KernelCode, Machine } from "../../arch/index.ts";
import { FRAME_CALLER, GFP_KERNEL, type KernelMm, NUMA_NO_NODE, Work } from "../../mm/index.ts";
import type { HostUnmap } from "./host-unmap.ts";

/** What the host wants of the balloon. */
export interface BalloonConfig {
  /** Pages of 4 KiB in the balloon while it is inflated (`num_pages`). */
  readonly pages: number;
  /** Between two changes of its size. */
  readonly periodUsec: number;
}

/** Pages that the driver names to the host at a time (`VIRTIO_BALLOON_ARRAY_PFNS_MAX`). */
const ARRAY_PFNS_MAX = 256;

/** The balloon of one guest. */
export class Balloon {
  /** How often it was inflated and emptied, and pages that it gave to the host so far. */
  inflations = 0;
  deflations = 0;
  pagesGiven = 0;
  private readonly machine: Machine;
  private readonly mm: KernelMm;
  private readonly unmapping: HostUnmap;
  private readonly config: BalloonConfig;
  private readonly work: Work;
  /** Guest-physical frames in the balloon. */
  private held = new Uint32Array(0);
  /** Whether the host's next change is under way to a vCPU, or the driver still works on one. */
  private isArmed = false;

  constructor(machine: Machine, mm: KernelMm, unmapping: HostUnmap, config: BalloonConfig) {
    this.machine = machine;
    this.mm = mm;
    this.unmapping = unmapping;
    this.config = config;
    this.work = new Work("update_balloon_size", machine.loop, () => this.updateBalloonSizeFunc());
  }

  /** Guest-physical frames in the balloon now. */
  get frames(): Uint32Array {
    return this.held;
  }

  /** A vCPU is about to be entered: the host's next change will find it, unless it has nothing to do. */
  arm(cpu: number): void {
    const { loop, preset } = this.machine;
    if (this.isArmed || loop.running[cpu] === null) return;
    this.isArmed = true;
    const period = this.config.periodUsec * 1000 * preset.frequencyGhz.value;
    loop.postInterrupt(cpu, loop.clockCycles[cpu] + period, () => this.work.scheduleOn(cpu));
  }

  /** What is wrong with it, one line a finding. No call may be under way. */
  verify(): string[] {
    const { pages } = this.mm;
    return [...this.held]
      .filter((frame) => pages.useOf(frame) !== FRAME_CALLER)
      .map((frame) => `balloon: frame 0x${frame.toString(16)} is in it and not allocated`);
  }

  private *updateBalloonSizeFunc(): KernelCode<void> {
    if (this.held.length === 0) yield* this.fillBalloon();
    else this.leakBalloon();
    this.isArmed = false;
  }

  /** `fill_balloon`: as many pages as there are, up to what the host wants. */
  private *fillBalloon(): KernelCode<void> {
    const { mm, unmapping, config } = this;
    const { pages, loop } = mm;
    const frames = new Uint32Array(Math.min(config.pages, pages.freePages));
    let filled = 0;
    while (filled < frames.length) {
      const wanted = Math.min(ARRAY_PFNS_MAX, frames.length - filled);
      // `balloon_page_alloc`: nothing is reclaimed for it.
      const got = pages.allocBulk(loop.currentCpu, wanted, FRAME_CALLER, GFP_KERNEL, NUMA_NO_NODE, frames, filled);
      mm.spendOnPages(got);
      // They are the balloon's from now on, whatever comes between.
      this.held = frames.slice(0, filled + got);
      if (got > 0) yield* unmapping.inflate([...frames.subarray(filled, filled + got)]);
      filled += got;
      if (got < wanted) break;
    }
    this.inflations++;
    this.pagesGiven += filled;
  }

  /** `leak_balloon`: the pages are the allocator's again. */
  private leakBalloon(): void {
    const { mm, held } = this;
    this.held = new Uint32Array(0);
    mm.pages.freeBulk(mm.loop.currentCpu, held, 0, held.length);
    mm.spendOnFreedPages(held.length);
    this.deflations++;
  }
}
