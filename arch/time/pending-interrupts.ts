/** Interrupts on their way to CPUs, and whether each CPU takes them. */

import { LateSpans } from "./late-spans.ts";
import { stretched } from "./off-spans.ts";
import type { Thread } from "./thread.ts";

/** What an interrupt does when it is taken, on the CPU that takes it. It cannot wait. */
export type InterruptHandler = (cpu: number) => void;

/** What a CPU was doing when an interrupt came. */
export const INTERRUPTED_RUNNING = 0;
/** It was waiting busily, for a lock or for acknowledgements. */
export const INTERRUPTED_WAITING = 1;
/** It had nothing to run. */
export const INTERRUPTED_IDLE = 2;

/** What an interrupt finds a CPU doing that runs `thread` (null: nothing); one of the `INTERRUPTED_` values. */
export function interruptedState(thread: Thread | null): number {
  if (thread === null) return INTERRUPTED_IDLE;
  return thread.waiting ? INTERRUPTED_WAITING : INTERRUPTED_RUNNING;
}

/** An interrupt that is under way. */
export interface PendingInterrupt {
  readonly arrivalCycles: number;
  readonly handler: InterruptHandler;
  /** Whether it waits while interrupts are off. */
  readonly isMaskable: boolean;
  /** The CPU that sent it, and when; -1 for a timer. */
  readonly senderCpu: number;
  readonly sentCycles: number;
  /** Which handler of its sender sent it, by its number; absent when none did. */
  readonly handlerNumber?: number | undefined;
}

/** {@link PendingInterrupt.senderCpu} of what no CPU sends. */
export const NO_SENDER = -1;

const NOBODY: readonly number[] = [];

/** An interrupt at other times. Its fields are named one by one: after `...` V8 makes objects by a slow way, 8 % of `run mixed` on 1024 CPUs. */
function withTimes(
  { handler, isMaskable, senderCpu }: PendingInterrupt,
  arrivalCycles: number,
  sentCycles: number,
  handlerNumber: number | undefined,
): PendingInterrupt {
  return { arrivalCycles, handler, isMaskable, senderCpu, sentCycles, handlerNumber };
}

/** Interrupts of all CPUs. */
export class PendingInterrupts {
  /** When each CPU can take its next one at the earliest; infinity for never. Read-only for others: the event loop asks at every step. */
  readonly nextAt: Float64Array;
  private readonly queues: PendingInterrupt[][];
  /** How many times each CPU has disabled interrupts. */
  private readonly off: Int32Array;
  /** By CPU: when it did so first. */
  private readonly offSince: Float64Array;
  /** By CPU: when it took no interrupts. */
  private readonly offSpans: LateSpans;
  private runs = 0;
  /** By CPU: when it sent its last one, by its clock; 0 for never. */
  private readonly lastSentCycles: Float64Array;
  /** The CPU that runs a handler, which takes no other interrupt until its end; -1 for none. */
  private handling = -1;
  /** How many handlers have begun. */
  private handlers = 0;
  /** When the one that runs sent its last one; 0 for not yet. */
  private handlerSentCycles = 0;

  constructor(cpus: number) {
    this.queues = Array.from({ length: cpus }, () => []);
    this.off = new Int32Array(cpus);
    this.offSince = new Float64Array(cpus);
    this.offSpans = new LateSpans(cpus);
    this.lastSentCycles = new Float64Array(cpus);
    this.nextAt = new Float64Array(cpus).fill(Number.POSITIVE_INFINITY);
  }

  /** Adds one; those that arrive at the same time keep the order in which they were sent. */
  post(cpu: number, interrupt: PendingInterrupt): void {
    const { senderCpu, sentCycles } = interrupt;
    if (senderCpu >= 0 && senderCpu === this.handling) {
      this.handlerSentCycles = Math.max(this.handlerSentCycles, sentCycles);
      this.insert(cpu, withTimes(interrupt, interrupt.arrivalCycles, sentCycles, this.handlers));
    } else {
      if (senderCpu >= 0) this.lastSentCycles[senderCpu] = Math.max(this.lastSentCycles[senderCpu], sentCycles);
      this.insert(cpu, interrupt);
    }
    this.nextAt[cpu] = this.nextArrival(cpu);
  }

  private insert(cpu: number, interrupt: PendingInterrupt): void {
    const queue = this.queues[cpu];
    let at = queue.length;
    while (at > 0 && queue[at - 1].arrivalCycles > interrupt.arrivalCycles) at--;
    if (at === queue.length) queue.push(interrupt);
    else queue.splice(at, 0, interrupt);
  }

  /**
   * What `senderCpu` did after `fromCycles` was `cycles` later: so is the arrival of what it sent after that, if nobody has taken it yet.
   * @returns the CPUs for which such interrupts are under way
   */
  sentLater(senderCpu: number, fromCycles: number, cycles: number): readonly number[] {
    return this.sentStretched(senderCpu, fromCycles, fromCycles, cycles);
  }

  /**
   * What `senderCpu` did from `fromCycles` until `untilCycles` took `cycles` more, spread evenly over it: what it sent meanwhile, and after that, arrives
   * as much later as it was sent.
   * @returns as `sentLater`
   */
  sentStretched(senderCpu: number, fromCycles: number, untilCycles: number, cycles: number): readonly number[] {
    const { handlerSentCycles } = this;
    const isHandlerLater = senderCpu === this.handling && handlerSentCycles > fromCycles;
    if (isHandlerLater) this.handlerSentCycles = stretched(handlerSentCycles, fromCycles, untilCycles, cycles);
    const lastSent = this.lastSentCycles[senderCpu];
    if (lastSent > fromCycles) this.lastSentCycles[senderCpu] = stretched(lastSent, fromCycles, untilCycles, cycles);
    else if (!isHandlerLater) return NOBODY;
    return this.moveSent(senderCpu, fromCycles, untilCycles, cycles, 0);
  }

  /** As `sentStretched`, but for what handler `exceptHandler` (0: none) sent. */
  private moveSent(
    senderCpu: number,
    fromCycles: number,
    untilCycles: number,
    cycles: number,
    exceptHandler: number,
  ): readonly number[] {
    const isLater = (each: PendingInterrupt): boolean =>
      each.senderCpu === senderCpu && each.sentCycles > fromCycles && each.handlerNumber !== exceptHandler;
    const targets: number[] = [];
    for (let cpu = 0; cpu < this.queues.length; cpu++) {
      const queue = this.queues[cpu];
      if (queue.length === 0 || !queue.some(isLater)) continue;
      const later = queue.length === 1 ? queue : queue.filter(isLater);
      this.queues[cpu] = queue.length === 1 ? [] : queue.filter((each) => !isLater(each));
      for (const each of later) {
        const sentCycles = stretched(each.sentCycles, fromCycles, untilCycles, cycles);
        const arrivalCycles = each.arrivalCycles + sentCycles - each.sentCycles;
        this.insert(cpu, withTimes(each, arrivalCycles, sentCycles, each.handlerNumber));
      }
      this.nextAt[cpu] = this.nextArrival(cpu);
      targets.push(cpu);
    }
    return targets;
  }

  /**
   * When `cpu` can take the next one at the earliest; infinity when there is none.
   * @param areOff whether only those count that come while interrupts are off
   */
  nextArrival(cpu: number, areOff: boolean = this.off[cpu] !== 0): number {
    const queue = this.queues[cpu];
    if (queue.length === 0) return Number.POSITIVE_INFINITY;
    if (!areOff) return queue[0].arrivalCycles;
    return queue.find(({ isMaskable }) => !isMaskable)?.arrivalCycles ?? Number.POSITIVE_INFINITY;
  }

  /** Takes the next one off; see {@link nextArrival}. */
  take(cpu: number, areOff: boolean = this.off[cpu] !== 0): PendingInterrupt | undefined {
    const queue = this.queues[cpu];
    const at = areOff ? queue.findIndex(({ isMaskable }) => !isMaskable) : 0;
    const taken = at === 0 ? queue.shift() : at < 0 ? undefined : queue.splice(at, 1)[0];
    this.nextAt[cpu] = this.nextArrival(cpu);
    return taken;
  }

  /** A thread or a call from outside begins: what was before it is forgotten. A run that stops and goes on is one, and a state that is loaded begins another. */
  beginRun(): void {
    this.runs++;
  }

  /** How many runs have begun. */
  get run(): number {
    return this.runs;
  }

  /** `cpu`, whose clock is at `clockCycles`, acts at `atCycles`: nothing arrives before that any more. */
  forgetBefore(cpu: number, atCycles: number, clockCycles: number): void {
    this.offSpans.forgetBefore(cpu, atCycles, clockCycles);
  }

  /** `cpu` could take no interrupt from `sinceCycles` until `untilCycles`, which is after all that was said of it before. */
  wereOff(cpu: number, sinceCycles: number, untilCycles: number, includesBegin = false): void {
    if (untilCycles > sinceCycles && cpu !== this.handling)
      this.offSpans.of(cpu, this.runs).add(sinceCycles, untilCycles, includesBegin);
  }

  /** When `cpu`, whose code may have run past that time already, takes an interrupt that arrives at `arrivalCycles`: then, or once interrupts are on. */
  takenAt(cpu: number, arrivalCycles: number, isMaskable = true): number {
    return isMaskable ? this.offSpans.of(cpu, this.runs).takenAt(arrivalCycles) : arrivalCycles;
  }

  /** A handler begins on `cpu`. Until {@link handled} says how long it took, nothing more is to be said of that time. */
  handles(cpu: number): void {
    this.handling = cpu;
    this.handlers++;
    this.handlerSentCycles = 0;
  }

  /**
   * A handler ran on `cpu` from `fromCycles` for `cycles`: what the CPU did after that is so much later, and nothing came in between.
   * @param isLate whether the CPU had gone past that time already, so that what it sent after that is later too, though not what the handler itself sent
   * @returns the CPUs for which such interrupts are under way
   */
  handled(cpu: number, fromCycles: number, cycles: number, isLate: boolean): readonly number[] {
    this.handling = -1;
    this.wasLater(cpu, fromCycles, cycles);
    const lastSent = this.lastSentCycles[cpu];
    const isMoved = isLate && lastSent > fromCycles;
    this.lastSentCycles[cpu] = Math.max(this.handlerSentCycles, isMoved ? lastSent + cycles : lastSent);
    return isMoved ? this.moveSent(cpu, fromCycles, fromCycles, cycles, this.handlers) : NOBODY;
  }

  /** What `cpu` did after `fromCycles` was `cycles` later; it took no interrupt in between. */
  wasLater(cpu: number, fromCycles: number, cycles: number): void {
    if (cycles > 0) this.offSpans.insert(cpu, fromCycles, cycles, this.runs);
  }

  /** What `cpu` did from `fromCycles` until `untilCycles` took `cycles` more; interrupts that came then are taken as they were. */
  stretch(cpu: number, fromCycles: number, untilCycles: number, cycles: number): void {
    this.offSpans.stretch(cpu, fromCycles, untilCycles, cycles, this.runs);
  }

  /** Disables interrupts of `cpu`, whose clock is at `nowCycles`; nests. */
  disable(cpu: number, nowCycles: number): void {
    if (this.off[cpu]++ === 0) this.offSince[cpu] = nowCycles;
    this.nextAt[cpu] = this.nextArrival(cpu);
  }

  /** Undoes one `disable`. @throws RangeError when interrupts are on */
  enable(cpu: number, nowCycles: number): void {
    if (this.off[cpu] === 0) throw new RangeError(`interrupts of CPU ${cpu} are on already`);
    if (--this.off[cpu] === 0) this.wereOff(cpu, this.offSince[cpu], nowCycles);
    this.nextAt[cpu] = this.nextArrival(cpu);
  }

  /** Interrupts that `cpu` has yet to take, also while they are off. */
  count(cpu: number): number {
    return this.queues[cpu].length;
  }

  /** What those interrupts do, in the order of their arrival. */
  handlersOf(cpu: number): readonly InterruptHandler[] {
    return this.queues[cpu].map(({ handler }) => handler);
  }

  /** How often interrupts of each CPU were disabled and not enabled again. Read-only for others than saved states. */
  get disabled(): Int32Array {
    return this.off;
  }
}
