/** Locks that lie in memory which is mapped and unmapped: unmapping one that is held is a mistake (`debug_check_no_locks_freed`). */

import { formatLinearAddress } from "../../arch/isa/linear-address.ts";
import type { EventLoop } from "../../arch/time/event-loop.ts";
import { formatRange, type KernelLog } from "../lib/kernel-log.ts";
import { currentComm } from "./current-comm.ts";
import type { Lock } from "./lock.ts";

/** Bytes of a lock with what `CONFIG_DEBUG_LOCK_ALLOC` adds to it: assumed, it depends on the configuration. */
const LOCK_BYTES = 64;

interface PlacedLock {
  readonly lock: Lock;
  readonly address: number;
}

/** The locks of one machine that have an address. The kernel's own have none here: nobody unmaps them. */
export class LocksInMemory {
  private placed: PlacedLock[] = [];
  private readonly loop: EventLoop;
  private readonly log: KernelLog;

  constructor(loop: EventLoop, log: KernelLog) {
    this.loop = loop;
    this.log = log;
  }

  /** Whether there is none, as in nearly all machines. */
  get isEmpty(): boolean {
    return this.placed.length === 0;
  }

  /** `lock` lies at `address` from now on, until the memory there is unmapped. */
  place(lock: Lock, address: number): void {
    this.placed.push({ lock, address });
  }

  /**
   * [start, end) is about to be unmapped: a lock in it that the current thread holds is warned of, by name and address, once. As in
   * the kernel, only the thread's own locks are looked at.
   */
  debugCheckNoLocksFreed(start: number, end: number): void {
    const { currentThread } = this.loop;
    const isIn = ({ address }: PlacedLock): boolean => address < end && address + LOCK_BYTES > start;
    for (const { lock, address } of this.placed.filter(isIn)) {
      if (!lock.isHeld || lock.owner !== currentThread) continue;
      const who = currentComm(this.loop);
      const where = `${lock.name} at ${formatLinearAddress(address)}`;
      const line = `held lock freed! ${who} is freeing memory ${formatRange(start, end - 1)}, with a lock still held there: ${where}`;
      this.log.warnOnce("debug_check_no_locks_freed", line);
      break;
    }
    this.placed = this.placed.filter((each) => !isIn(each));
  }
}
