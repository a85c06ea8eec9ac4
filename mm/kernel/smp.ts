/**
 * Running a function on other CPUs (`kernel/smp.c`: `smp_call_function_many_cond`, `on_each_cpu`, `on_each_cpu_mask`). The
 * sender puts a request on each target's queue, interrupts those whose queue was empty, does its own part, and waits until
 * it has seen every acknowledgement, one after the other. A target acts when its handler runs, not before.
 *
 * Lines that move: the sender stores to what is asked, and to its request, to lock it (`csd_lock`), which takes the targets' copies of both. Meanwhile it reads
 * the head of the target's queue, and when all its stores are done it exchanges that (`llist_add`): two transfers one after the other, of four. The target gets the
 * head (`llist_del_all`), a copy of the request, and of what is asked (which all targets read), and drops the sender's copy of the request to note that
 * it is done (`csd_unlock`), before it leaves the interrupt; a copy of each goes back to the sender, who waits.
 */
import { ACTIVITY_FLUSH, ACTIVITY_IPI_SEND, ACTIVITY_IPI_WAIT } from "../../arch/time/cycle-accounts.ts";
import {
  type EventLoop,
  INTERRUPTED_IDLE,
  type KernelCode,
  PAUSE_SPIN,
  PAUSE_TURN,
  type Thread,
} from "../../arch/time/event-loop.ts";
import { type IdleStateCycles, wakeCycles } from "./idle-states.ts";
import type { IpiCosts } from "./kernel-costs.ts";

/** Who pays for what; `FlushRecord` is one. Cycles. */
export interface CallBill {
  /** What the sender did itself: requests, interrupt commands, its own part of the work. */
  workCycles: number;
  /** What it waited. */
  waitCycles: number;
  /** What all CPUs waited for cache lines meanwhile, which is in none of the others. */
  lineCycles: number;
  /** Cycles that `cpu` was interrupted for; `found` is one of the `INTERRUPTED_` values. */
  stolen(cpu: number, cycles: number, found: number): void;
}

/** Is told of interrupts between CPUs; it changes nothing. */
export interface IpiObserver {
  /** An interrupt was sent to `to`. `id` grows by one with each. */
  ipiSent(id: number, from: number, to: number, atCycles: number): void;
  /** Its handler began. */
  ipiTaken(id: number, cpu: number, atCycles: number): void;
}

/** Acknowledgements of CPUs that a sender looks for one after the other. */
export interface Acknowledgements {
  readonly senderCpu: number;
  /** In the order in which the sender looks for them. */
  readonly targets: readonly number[];
  /** When each target was done. */
  readonly ackAtCycles: Float64Array;
  /** When the sender began to look. */
  waitsSinceCycles: number;
}

interface Request extends Acknowledgements {
  readonly sender: Thread;
  readonly handler: (cpu: number) => void;
  readonly bill: CallBill | null;
  outstanding: number;
}

/** Calls between the CPUs of one machine. */
export class Smp {
  /**
   * Called on a CPU at the begin of each handler, before any request: an interrupt enters the kernel. Returns the cycles
   * that went to flushes which were put off until then.
   */
  onKernelEntry: ((cpu: number) => number) | null = null;
  /** Called at the end of each handler: the CPU goes back to where it was. Returns the cycles that went to flushes put off. */
  onKernelExit: ((cpu: number) => number) | null = null;
  observer: IpiObserver | null = null;
  /** Called on a CPU after each of its writes of the interrupt command register: in a guest, a VM exit. */
  onIcrWrite: ((cpu: number) => void) | null = null;
  /** `HISTORICAL_BUGS.earlyAcknowledgement`. */
  acknowledgesEarly = false;
  /** Interrupts sent, and taken by each CPU (`CAL` of `/proc/interrupts`). */
  sent = 0;
  readonly taken: Float64Array;

  /** The states of idle CPUs; null: one, from which they wake in `costs.idleWakeCycles`. */
  readonly idleStates: readonly IdleStateCycles[] | null;

  private readonly loop: EventLoop;
  private readonly costs: IpiCosts;
  private readonly queues: Request[][];
  /** The interrupt under way to each CPU; 0 for none. */
  private readonly underWay: Int32Array;
  private readonly handler = (cpu: number): void => this.interrupt(cpu);
  /** By CPU: the line of the head of its queue, and that of what it asks of others (`struct flush_tlb_info`). */
  private readonly queueLines: number;
  private readonly infoLines: number;

  constructor(loop: EventLoop, costs: IpiCosts, idleStates: readonly IdleStateCycles[] | null = null) {
    this.loop = loop;
    this.costs = costs;
    this.idleStates = idleStates;
    this.taken = new Float64Array(loop.cpus);
    this.queues = Array.from({ length: loop.cpus }, () => []);
    this.underWay = new Int32Array(loop.cpus);
    this.queueLines = loop.lines.make(loop.cpus);
    this.infoLines = loop.lines.make(loop.cpus);
  }

  /** Runs `handler` on every CPU, the current one included, and waits (`on_each_cpu`). */
  onEachCpu(handler: (cpu: number) => void, bill: CallBill | null = null): KernelCode<void> {
    return this.callFunctionMany(allCpus(this.loop.cpus), handler, true, bill);
  }

  /** Runs `handler` on the CPUs `mask` (ascending, the current one perhaps among them) and waits (`on_each_cpu_mask`). */
  onEachCpuMask(
    mask: readonly number[],
    handler: (cpu: number) => void,
    bill: CallBill | null = null,
  ): KernelCode<void> {
    return this.callFunctionMany(mask, handler, mask.includes(this.loop.currentCpu), bill);
  }

  /**
   * Runs `handler` on the CPUs `mask` but the current one, by interrupt, and here too if `local`; returns when all have.
   * @throws Error outside any thread when there is somebody to wait for
   */
  *callFunctionMany(
    mask: readonly number[],
    handler: (cpu: number) => void,
    local: boolean,
    bill: CallBill | null = null,
  ): KernelCode<void> {
    const { loop } = this;
    while (loop.mustYield()) yield PAUSE_TURN;
    const self = loop.currentCpu;
    const began = loop.lines.ownCycles(self);
    const lined = loop.lines.waitedCycles[self];
    const targets = mask.length > 1 || mask[0] !== self ? mask.filter((cpu) => cpu !== self) : [];
    const request = targets.length > 0 ? this.send(self, targets, handler, bill) : null;
    if (local) {
      const activity = loop.enterActivity(ACTIVITY_FLUSH);
      const offSince = loop.nowCycles();
      handler(self);
      loop.interruptsWereOff(offSince);
      loop.enterActivity(activity);
    }
    if (bill !== null) {
      bill.workCycles += loop.lines.ownCycles(self) - began;
      bill.lineCycles += loop.lines.waitedCycles[self] - lined;
    }
    if (request === null) return;
    request.waitsSinceCycles = loop.nowCycles();
    const { accounts } = loop;
    const waited = accounts.cycles(self, ACTIVITY_IPI_WAIT);
    const activity = loop.enterActivity(ACTIVITY_IPI_WAIT);
    // Where a scheduler chooses the steps, all may have run it already: beside this CPU's own part, or for an earlier interrupt.
    if (request.outstanding > 0) yield PAUSE_SPIN;
    loop.enterActivity(activity);
    if (bill !== null) bill.waitCycles += accounts.cycles(self, ACTIVITY_IPI_WAIT) - waited;
  }

  private send(
    self: number,
    targets: readonly number[],
    handler: (cpu: number) => void,
    bill: CallBill | null,
  ): Request {
    const { loop, queues, underWay } = this;
    const sender = loop.currentThread;
    if (sender === null) throw new Error("other CPUs were called from outside any thread");
    const activity = loop.enterActivity(ACTIVITY_IPI_SEND);
    const request: Request = {
      sender,
      senderCpu: self,
      handler,
      bill,
      ackAtCycles: new Float64Array(targets.length),
      targets,
      outstanding: targets.length,
      waitsSinceCycles: 0,
    };
    const toInterrupt: number[] = [];
    loop.lines.store(this.infoLines + self);
    for (const cpu of targets) {
      // The request (`call_single_data`), of which the sender has a copy since its last call, as has the target.
      loop.lines.storeTakenOver(cpu);
      this.llistAdd(cpu);
      queues[cpu].push(request);
      if (underWay[cpu] === 0) toInterrupt.push(cpu);
    }
    loop.point("smp_call_function_many_cond: calls are queued");
    this.sendInterrupts(self, toInterrupt);
    loop.enterActivity(activity);
    return request;
  }

  /** The current CPU adds to `cpu`'s queue what it has stored: it reads the head meanwhile, and exchanges it when all its stores are done. */
  private llistAdd(cpu: number): void {
    const { lines } = this.loop;
    lines.read(this.queueLines + cpu);
    lines.drainStores();
    lines.write(this.queueLines + cpu);
  }

  private sendInterrupts(self: number, targets: readonly number[]): void {
    const { loop, costs, underWay } = this;
    const { topology } = loop;
    this.writeIcr(targets, (cpu, at) => {
      const id = ++this.sent;
      underWay[cpu] = id;
      this.observer?.ipiSent(id, self, cpu, at);
      loop.sendInterrupt(cpu, at, costs.latencyCycles[topology.distance(self, cpu)], this.handler);
    });
  }

  /**
   * Writes the interrupt command register, once for each group of targets that one write can name.
   * @param sent called for each target with the time of the write that names it
   */
  writeIcr(targets: readonly number[], sent: (cpu: number, atCycles: number) => void): void {
    const { loop } = this;
    const { topology } = loop;
    const { destinationMode, sendCycles } = this.costs;
    const toAll = destinationMode === "shorthand" && targets.length === loop.cpus - 1;
    const sentAtCycles = new Map<number, number>();
    for (const cpu of targets) {
      const group = toAll ? 0 : destinationMode === "cluster" ? topology.apicClusterOf(cpu) : cpu;
      let at = sentAtCycles.get(group);
      if (at === undefined) {
        loop.spend(sendCycles);
        this.onIcrWrite?.(loop.currentCpu);
        at = loop.nowCycles();
        sentAtCycles.set(group, at);
      }
      sent(cpu, at);
    }
  }

  /** A CPU that an interrupt finds idle wakes up. */
  wakeUp(cpu: number): void {
    const { loop, costs, idleStates } = this;
    loop.stall(idleStates === null ? costs.idleWakeCycles : wakeCycles(idleStates, loop.idleCycles[cpu]));
  }

  /** The handler: runs everything on the CPU's queue (`generic_smp_call_function_single_interrupt`). */
  private interrupt(cpu: number): void {
    const { loop, costs, underWay } = this;
    const { lines } = loop;
    const found = loop.stateOf(cpu);
    let began = lines.ownCycles(cpu);
    let lined = lines.waitedCycles[cpu];
    this.taken[cpu]++;
    this.observer?.ipiTaken(underWay[cpu], cpu, loop.nowCycles());
    underWay[cpu] = 0;
    if (found === INTERRUPTED_IDLE) this.wakeUp(cpu);
    loop.spend(costs.entryCycles);
    if (this.onKernelEntry !== null) {
      // Flushes that were put off until now are not this interrupt's doing.
      began += this.onKernelEntry(cpu);
    }
    const requests = this.queues[cpu].splice(0);
    lines.write(this.queueLines + cpu);
    for (let i = 0; i < requests.length; i++) {
      const request = requests[i];
      lines.takeOver(request.senderCpu, 1);
      lines.read(this.infoLines + request.senderCpu);
      if (this.acknowledgesEarly) this.acknowledge(request, cpu);
      if (this.acknowledgesEarly) loop.pointIrqsOff("call function: acknowledged before it is done");
      request.handler(cpu);
      if (!this.acknowledgesEarly) this.acknowledge(request, cpu);
      if (i === requests.length - 1) {
        began += this.onKernelExit?.(cpu) ?? 0;
        loop.spend(costs.exitCycles);
      }
      if (request.bill !== null) {
        request.bill.stolen(cpu, lines.ownCycles(cpu) - began, found);
        request.bill.lineCycles += lines.waitedCycles[cpu] - lined;
      }
      began = lines.ownCycles(cpu);
      lined = lines.waitedCycles[cpu];
    }
  }

  private acknowledge(request: Request, cpu: number): void {
    const { loop } = this;
    const { targets, ackAtCycles } = request;
    loop.lines.takeOver(request.senderCpu, 1);
    loop.settleSharedCore();
    ackAtCycles[indexOf(targets, cpu)] = loop.nowCycles();
    if (--request.outstanding === 0) loop.wake(request.sender, seenByCycles(loop, request));
  }
}

/** When the sender has seen all acknowledgements: each is a line that comes from its target. */
export function seenByCycles(loop: EventLoop, of: Acknowledgements): number {
  const { senderCpu, targets, ackAtCycles } = of;
  let seen = of.waitsSinceCycles;
  for (let i = 0; i < targets.length; i++) {
    const distance = loop.topology.distance(senderCpu, targets[i]);
    seen = Math.max(seen, ackAtCycles[i]) + loop.lines.transferCycles[distance];
  }
  return seen;
}

const everyCpu = new Map<number, readonly number[]>();

/** The numbers of `cpus` CPUs. */
export function allCpus(cpus: number): readonly number[] {
  let list = everyCpu.get(cpus);
  if (list === undefined) {
    list = Array.from({ length: cpus }, (_, cpu) => cpu);
    everyCpu.set(cpus, list);
  }
  return list;
}

/** Where `cpu` is in an ascending list that contains it. */
function indexOf(list: readonly number[], cpu: number): number {
  let low = 0;
  let high = list.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] < cpu) low = middle + 1;
    else high = middle;
  }
  return low;
}
