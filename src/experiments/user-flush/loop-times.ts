/** How long the loops of threads take, each on a CPU of its own: from the end of its warm-up to the end of its last loop. */
import type { EventLoop } from "../../../arch/index.ts";
import { TimeShares } from "./time-shares.ts";

/** Part of the loops that is not counted: batches and lists are past their start then. */
const WARM_UP_SHARE = 4;

/** Times of threads, one a CPU. */
export class LoopTimes {
  /** Where the time of the loops that are counted went. */
  readonly shares: TimeShares;
  private readonly loop: EventLoop;
  private readonly warmUp: number;
  private readonly counted: number;
  private readonly beganCycles: Float64Array;
  /** A clock goes on after that, for interrupts that those send who are not done. */
  private readonly endedCycles: Float64Array;

  /** @param loops of each thread, those of the warm-up included */
  constructor(loop: EventLoop, loops: number) {
    this.loop = loop;
    this.shares = new TimeShares(loop);
    this.warmUp = Math.floor(loops / WARM_UP_SHARE);
    this.counted = loops - this.warmUp;
    this.beganCycles = new Float64Array(loop.cpus);
    this.endedCycles = new Float64Array(loop.cpus);
  }

  /** The thread of the current CPU begins its loop number `i`. */
  begins(i: number): void {
    if (i !== this.warmUp) return;
    this.beganCycles[this.loop.currentCpu] = this.loop.nowCycles();
    this.shares.begin();
  }

  /** It has come to the end of its last. */
  ends(): void {
    this.endedCycles[this.loop.currentCpu] = this.loop.nowCycles();
    this.shares.end();
  }

  /** Cycles of a loop on `cpu`. */
  cyclesOf(cpu: number): number {
    return (this.endedCycles[cpu] - this.beganCycles[cpu]) / this.counted;
  }
}
