/** The shootdowns that a traced kernel made and took, beside those of the emulated one. */
import { TLB_FLUSH_REASONS, type TlbFlushObserver } from "../../mm/index.ts";
import type { FtraceMoment } from "./ftrace-lines.ts";
import type { ShootdownEvent } from "./shootdown-lines.ts";

/** Flushes of TLBs for one reason. */
export interface ReasonCount {
  /** In the words of `tlb:tlb_flush`. */
  readonly reason: string;
  readonly whole: number;
  readonly pageByPage: number;
  /** Pages of those that went page by page. */
  readonly pages: number;
}

/** Interrupts between CPUs. */
export interface InterruptCount {
  readonly sent: number;
  /** Handlers that ran, and the seconds that they took. */
  readonly handlers: number;
  readonly handlerSeconds: number;
}

/** Both kernels side by side; each part only where the trace has such events. */
export interface ShootdownComparison {
  readonly flushes?: { readonly traced: readonly ReasonCount[]; readonly emulated: readonly ReasonCount[] };
  readonly interrupts?: { readonly traced: InterruptCount; readonly emulated: InterruptCount };
}

/** Counts `tlb:tlb_flush` by reason. */
export class ReasonCounter implements TlbFlushObserver {
  private readonly counts = TLB_FLUSH_REASONS.map(() => ({ whole: 0, pageByPage: 0, pages: 0 }));

  tlbFlush(_cpu: number, reason: number, pages: number): void {
    const count = this.counts[reason];
    if (pages < 0) {
      count.whole++;
      return;
    }
    count.pageByPage++;
    count.pages += pages;
  }

  /** Those that there were. */
  list(): ReasonCount[] {
    return this.counts
      .map((count, reason) => ({ reason: TLB_FLUSH_REASONS[reason], ...count }))
      .filter(({ whole, pageByPage }) => whole + pageByPage > 0);
  }
}

/** Gathers a trace's events of shootdowns. */
export class TracedShootdowns {
  private hasFlushes = false;
  private hasInterrupts = false;
  private readonly reasons = new ReasonCounter();
  private readonly interrupts = { sent: 0, handlers: 0, handlerSeconds: 0 };
  /** When the handler that runs on each CPU began. */
  private readonly began = new Map<number, number>();

  /** Counts an event; those of a trace come in its order. */
  add(event: FtraceMoment & ShootdownEvent): void {
    if (event.event === "tlb") {
      this.hasFlushes = true;
      this.reasons.tlbFlush(event.cpu, event.reason, event.pages);
      return;
    }
    this.hasInterrupts = true;
    if (event.event === "ipi") this.interrupts.sent += event.targets;
    else if (!event.isEnd) this.began.set(event.cpu, event.seconds);
    else this.end(event);
  }

  private end({ cpu, seconds }: FtraceMoment): void {
    const began = this.began.get(cpu);
    if (began === undefined) return;
    this.began.delete(cpu);
    this.interrupts.handlers++;
    this.interrupts.handlerSeconds += seconds - began;
  }

  /** Beside what the emulated kernel did; undefined when the trace has no such events. */
  compare(emulated: ReasonCounter, interrupts: InterruptCount): ShootdownComparison | undefined {
    if (!this.hasFlushes && !this.hasInterrupts) return undefined;
    return {
      ...(this.hasFlushes ? { flushes: { traced: this.reasons.list(), emulated: emulated.list() } } : {}),
      ...(this.hasInterrupts ? { interrupts: { traced: { ...this.interrupts }, emulated: interrupts } } : {}),
    };
  }
}
