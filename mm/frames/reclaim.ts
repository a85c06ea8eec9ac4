/**
 * Reclaim: what gives memory back when it runs out (`mm/vmscan.c`, `mm/shrinker.c`). Caches register a shrinker; `kswapd` asks them when an
 * allocation found no free block, and an allocation that may wait asks them itself before it gives up. There are no LRU lists
 * and no watermarks: memory is short when a zone has no free block.
 */
import type { EventLoop, KernelCode } from "../../arch/time/event-loop.ts";
import { Work } from "../kernel/work.ts";

/** Returned by a shrinker that has done what it can (`SHRINK_STOP`). */
export const SHRINK_STOP = -1;

/** A cache that can be made smaller (`struct shrinker`). */
export interface Shrinker {
  /** As debugfs shows it. */
  readonly name: string;
  /** How many objects could be freed. */
  countObjects(): number;
  /** Frees objects; how many frames that gave back, or {@link SHRINK_STOP}. */
  scanObjects(): KernelCode<number>;
}

/** Reclaim of one machine. */
export class Reclaim {
  /** Runs of `kswapd`, and reclaim by allocations themselves. */
  kswapdRuns = 0;
  directReclaims = 0;
  private readonly shrinkers: Shrinker[] = [];
  private readonly loop: EventLoop;
  private kswapd: Work | null = null;

  constructor(loop: EventLoop) {
    this.loop = loop;
  }

  /** Has a cache asked when memory is short (`shrinker_register`); the returned function takes it back (`shrinker_free`). */
  shrinkerRegister(shrinker: Shrinker): () => void {
    this.shrinkers.push(shrinker);
    return () => {
      const at = this.shrinkers.indexOf(shrinker);
      if (at >= 0) this.shrinkers.splice(at, 1);
    };
  }

  /** Has `kswapd` run on the current CPU, if there is anything that it could free (`wakeup_kswapd`). */
  wakeupKswapd(): void {
    if (this.shrinkers.some((shrinker) => shrinker.countObjects() > 0)) this.kswapdWork.schedule();
  }

  /** The work item that is `kswapd`. Made when it is first needed: machines that are never short of memory have no such activity. */
  get kswapdWork(): Work {
    this.kswapd ??= new Work("kswapd0", this.loop, () => this.balancePgdat());
    return this.kswapd;
  }

  /** Whether `kswapd` is queued and has not begun. */
  get isKswapdQueued(): boolean {
    return this.kswapd !== null && this.kswapd.queuedThread !== null;
  }

  /** What an allocation does that may wait (`try_to_free_pages`); how many frames were given back. */
  *tryToFreePages(): KernelCode<number> {
    this.directReclaims++;
    return yield* this.shrinkSlab();
  }

  private *balancePgdat(): KernelCode<void> {
    this.kswapdRuns++;
    yield* this.shrinkSlab();
  }

  /**
   * Asks every shrinker that has objects (`shrink_slab`). The kernel asks for a growing share, from a 4096th of the objects up to all,
   * until enough was freed; what comes here has found no free block, and asks for all.
   */
  private *shrinkSlab(): KernelCode<number> {
    let freed = 0;
    for (const shrinker of [...this.shrinkers]) {
      if (shrinker.countObjects() > 0) freed += Math.max(0, yield* shrinker.scanObjects());
    }
    return freed;
  }
}
