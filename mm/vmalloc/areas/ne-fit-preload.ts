/**
 * The area that each CPU keeps at hand for a split (`ne_fit_preload_node`): room in the middle of a gap needs one more gap, and
 * under the lock of the free tree nothing may be allocated that could wait.
 */
import type { EventLoop } from "../../../arch/time/event-loop.ts";
import type { FaultInjection } from "../../kernel/fault-injection.ts";
import { __GFP_NOFAIL } from "../../lib/gfp.ts";
import type { VmapAreas } from "./vmap-areas.ts";

/** One gap a CPU, in no tree; 0 where there is none. */
export class NeFitPreload {
  readonly objects: Int32Array;
  private readonly areas: VmapAreas;
  private readonly loop: EventLoop;
  private readonly faults: FaultInjection;

  constructor(areas: VmapAreas, loop: EventLoop, faults: FaultInjection) {
    this.areas = areas;
    this.loop = loop;
    this.faults = faults;
    this.objects = new Int32Array(loop.cpus);
  }

  /** Objects that CPUs keep at present. */
  get count(): number {
    let count = 0;
    for (const object of this.objects) if (object !== 0) count++;
    return count;
  }

  /** Gives the current CPU an object if it has none. That this fails is no error: {@link take} tries again. */
  preload(gfp: number): void {
    const { currentCpu } = this.loop;
    if (this.objects[currentCpu] !== 0) return;
    if (this.faults.isArmed && (gfp & __GFP_NOFAIL) === 0 && this.faults.fails("vmapAreaPreload")) return;
    this.objects[currentCpu] = this.allocGap();
  }

  /**
   * The current CPU's object, for a split; where it has none, one that is allocated without waiting (`GFP_NOWAIT`).
   * @returns 0 when that fails too
   */
  take(): number {
    const { currentCpu } = this.loop;
    const object = this.objects[currentCpu];
    if (object !== 0) {
      this.objects[currentCpu] = 0;
      return object;
    }
    if (this.faults.isArmed && this.faults.fails("vmapArea")) return 0;
    return this.allocGap();
  }

  private allocGap(): number {
    const { areas } = this;
    const gap = areas.makeGap(0, 0);
    if (areas.cache !== null) areas.setObject(gap, areas.cache.kmemCacheAlloc());
    return gap;
  }
}
