/** `struct rw_semaphore` as its writers take it; who uses it counts its readers (`kernel/locking/rwsem.c`). */
import { Mutex } from "./lock.ts";

/** A lock whose writers wait for readers, too. */
export class RwSemaphore extends Mutex {
  /** What its holder had waited when it took it; 0 for not at all. */
  private waitCycles = 0;

  override tryTake(): boolean {
    this.waitCycles = 0;
    return super.tryTake();
  }

  override takeFree(): boolean {
    this.waitCycles = 0;
    return super.takeFree();
  }

  protected override hasWaited(cycles: number, bounced: boolean): void {
    this.waitCycles = cycles;
    super.hasWaited(cycles, bounced);
  }

  /** The last reader has gone, for whom the holder has waited since it kept new ones away: it has waited, and not held it (`lock_contended`, `lock_acquired`). */
  readersHaveGone(): void {
    const now = this.loop.nowCycles();
    const { waitCycles } = this;
    this.waitCycles += now - this.takenAtCycles;
    this.class.waitsLonger(waitCycles, this.waitCycles);
    this.takenAtCycles = now;
  }
}
