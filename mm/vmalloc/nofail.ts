/** Waiting between the tries of an allocation that must not fail (`__GFP_NOFAIL`). */
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { isAlone, scheduleTimeoutUninterruptible } from "../kernel/jiffies.ts";
import type { KernelMm } from "../kernel-mm.ts";
import { NotEnoughMemory } from "../lib/not-enough-memory.ts";

/** Tries after which nobody is expected to help any more: 40 seconds of the emulated machine. The kernel has no such end. */
const TRIES_MAX = 10_000;
/** Of these, tries while nothing else could happen on the machine: only fault injection lets one of them succeed. */
const TRIES_ALONE_MAX = 16;

/** The tries of one allocation. */
export class NofailTries {
  private readonly mm: KernelMm;
  private readonly what: string;
  private tries = 0;
  private triesAlone = 0;

  /** @param what is waited for, for the message when it cannot come */
  constructor(mm: KernelMm, what: string) {
    this.mm = mm;
    this.what = what;
  }

  /**
   * Sleeps for a jiffy, so that others can give something back.
   * @throws NotEnoughMemory when nothing else can happen on the machine. The kernel panics there for want of frames ("System is
   *   deadlocked on memory"), and for want of addresses goes on for ever
   */
  *next(): KernelCode<void> {
    const { loop, machine, log } = this.mm;
    if (isAlone(loop)) this.triesAlone++;
    if (++this.tries > TRIES_MAX || this.triesAlone > TRIES_ALONE_MAX) {
      const line = `System is deadlocked on memory: ${this.what} is waited for with __GFP_NOFAIL, and nobody gives any back`;
      log.print(`Kernel panic - not syncing: ${line}`);
      throw new NotEnoughMemory(line);
    }
    yield* scheduleTimeoutUninterruptible(loop, machine.preset.frequencyGhz.value);
  }
}
