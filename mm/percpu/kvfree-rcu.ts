/**
 * `kvfree_rcu` for vmalloc'ed memory (`kernel/rcu/tree.c`): pointers are collected per CPU and freed in batches after a
 * grace period. A batch starts one jiffy after a page of pointers is full, else after five seconds; each CPU has two
 * batches that can wait for their grace periods at a time.
 */
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { afterLock, type Blocking, DONE, wait } from "../kernel/blocking.ts";
import { HZ, sleepUntil } from "../kernel/jiffies.ts";
import type { SpinLock } from "../kernel/lock.ts";
import { newSpinLock } from "../kernel/spinlocks.ts";
import { vfree } from "../vmalloc/vfree.ts";
import type { Vmalloc } from "../vmalloc/vmalloc-state.ts";

/** Pointers in a page of them: 4096 bytes less the header (`KVFREE_BULK_MAX_ENTR`). */
export const KVFREE_BULK_MAX_ENTRIES = 507;
/** Batches of a CPU that can be under way (`KFREE_N_BATCHES`). */
const BATCHES_MAX = 2;
/** What a collection that never fills waits (`KFREE_DRAIN_JIFFIES`), in seconds. */
const DRAIN_SECONDS = 5;

/** Times that the model does not derive. */
export interface RcuTimes {
  /** Timer ticks a second (`CONFIG_HZ`). */
  readonly ticksPerSecond: number;
  /** Ticks from a callback's registration to the end of its grace period on a busy machine. */
  readonly gracePeriodTicks: number;
}

/** {@link HZ}, and grace periods of three ticks (12 ms), which is assumed. */
const DEFAULT_RCU_TIMES: RcuTimes = { ticksPerSecond: HZ, gracePeriodTicks: 3 };

interface CpuBatch {
  readonly lock: SpinLock;
  pending: number[];
  /** When the monitor will next run; infinite when it is not scheduled. */
  monitorAtCycles: number;
  underWay: number;
}

/** Memory that waits for a grace period, per CPU. */
export class KvfreeRcu {
  /** Batches freed so far. */
  batches = 0;
  private readonly state: Vmalloc;
  private readonly tickCycles: number;
  private readonly times: RcuTimes;
  private readonly cpus: CpuBatch[];

  /** @param cyclesPerSecond of the machine's clocks */
  constructor(state: Vmalloc, cyclesPerSecond: number, times: RcuTimes = DEFAULT_RCU_TIMES) {
    this.state = state;
    this.times = times;
    this.tickCycles = cyclesPerSecond / times.ticksPerSecond;
    this.cpus = Array.from({ length: state.loop.cpus }, () => ({
      lock: newSpinLock("krcp->lock", state.loop, state.costs.lock),
      pending: [],
      monitorAtCycles: Number.POSITIVE_INFINITY,
      underWay: 0,
    }));
  }

  /** `kvfree_rcu`: frees the area at `address` once a grace period has passed. Waits for no more than a lock. */
  free(address: number): Blocking<void> {
    const { loop, costs } = this.state;
    const batch = this.cpus[loop.currentCpu];
    loop.spend(costs.callCycles);
    return afterLock(batch.lock, this.add, batch, address);
  }

  /** Adds a pointer with the batch's lock held, and releases the lock (`kvfree_call_rcu`). */
  private readonly add = (batch: CpuBatch, address: number): Blocking<void> => {
    const { loop } = this.state;
    this.state.mm.lockdep?.assertHeld(batch.lock, "krcp");
    batch.pending.push(address);
    const isFull = batch.pending.length >= KVFREE_BULK_MAX_ENTRIES;
    const delayTicks = isFull ? 1 : DRAIN_SECONDS * this.times.ticksPerSecond;
    const at = loop.nowCycles() + delayTicks * this.tickCycles;
    if (at < batch.monitorAtCycles) this.scheduleMonitor(batch, loop.currentCpu, at);
    batch.lock.release();
    return DONE;
  };

  private scheduleMonitor(batch: CpuBatch, cpu: number, atCycles: number): void {
    batch.monitorAtCycles = atCycles;
    this.state.loop.spawn(`kworker/${cpu}:kfree_rcu`, cpu, this.monitor(batch, cpu, atCycles));
  }

  /** `kfree_rcu_monitor`: hands what is collected to a batch, if one is free, and comes back otherwise. */
  private *monitor(batch: CpuBatch, cpu: number, atCycles: number): KernelCode<void> {
    const { loop } = this.state;
    yield* sleepUntil(loop, atCycles);
    // A later call may have brought the monitor forward, or an earlier one have run already.
    if (batch.monitorAtCycles !== atCycles) return;
    batch.monitorAtCycles = Number.POSITIVE_INFINITY;
    if (batch.pending.length === 0) return;
    if (!batch.lock.tryTake()) yield* batch.lock.take();
    if (batch.underWay >= BATCHES_MAX) {
      this.scheduleMonitor(batch, cpu, loop.nowCycles() + this.tickCycles);
      batch.lock.release();
      return;
    }
    this.state.mm.lockdep?.assertHeld(batch.lock, "krcp");
    const taken = batch.pending;
    batch.pending = [];
    batch.underWay++;
    batch.lock.release();
    yield* sleepUntil(loop, loop.nowCycles() + this.times.gracePeriodTicks * this.tickCycles);
    for (const address of taken) yield* wait(vfree(this.state, address));
    this.batches++;
    batch.underWay--;
  }
}
