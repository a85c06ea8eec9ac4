/**
 * A timeline in the Chrome trace-event format (JSON), for ui.perfetto.dev: a process a machine, a track a CPU, spans for
 * operations, lock waits, handlers and whatever else the accounts of cycles name, arrows from an interrupt's sender to its
 * receivers, and a counter of lazily freed pages. Times are microseconds of the emulated machine.
 */
import { ACTIVITY_IDLE, ACTIVITY_OTHER, type ActivityObserver } from "../../arch/index.ts";
import type { IpiObserver } from "../../mm/index.ts";
import type { Kernel } from "../kernel.ts";

/** Events beyond which nothing more is recorded. */
const EVENTS_MAX = 2_000_000;

/** A span that is open on a CPU's track. */
interface OpenSpan {
  readonly activity: number;
  readonly beganCycles: number;
}

/** Collects events of one or more machines; `toJson` gives the file. */
export class ChromeTrace {
  private readonly events: string[] = [];
  private machines = 0;
  private dropped = 0;
  private readonly watches: Watch[] = [];

  /** Records a kernel from now on, as a process called `label`. */
  watch(kernel: Kernel, label: string): void {
    this.watches.push(new Watch(kernel, ++this.machines, label, (event) => this.add(event)));
  }

  /** The whole trace. Spans that are open end at their CPU's time. */
  toJson(): string {
    for (const watch of this.watches.splice(0)) watch.close();
    const note = this.dropped === 0 ? "" : `,"droppedEvents":${this.dropped}`;
    return `{"displayTimeUnit":"ns","otherData":{"source":"mmulab"${note}},"traceEvents":[\n${this.events.join(",\n")}\n]}\n`;
  }

  private add(event: object): void {
    if (this.events.length < EVENTS_MAX) this.events.push(JSON.stringify(event));
    else this.dropped++;
  }
}

class Watch implements ActivityObserver, IpiObserver {
  private readonly kernel: Kernel;
  private readonly pid: number;
  private readonly add: (event: object) => void;
  private readonly cyclesPerUsec: number;
  private readonly open: OpenSpan[][];
  private lazyPages = 0;

  constructor(kernel: Kernel, pid: number, label: string, add: (event: object) => void) {
    const { loop, preset, cpus } = kernel.machine;
    this.kernel = kernel;
    this.pid = pid;
    this.add = add;
    this.cyclesPerUsec = preset.frequencyGhz.value * 1000;
    this.open = cpus.map(() => []);
    loop.accounts.observer = this;
    kernel.vm.flushing.smp.observer = this;
    add({ ph: "M", name: "process_name", pid, args: { name: label } });
    for (const { id } of cpus) {
      add({ ph: "M", name: "thread_name", pid, tid: id, args: { name: `CPU ${id}` } });
      add({ ph: "M", name: "thread_sort_index", pid, tid: id, args: { sort_index: id } });
    }
  }

  /** An activity begins within the one before; going back to one that is open ends all within it. */
  activityChanged(cpu: number, _from: number, to: number, atCycles: number): void {
    this.countLazyPages(atCycles);
    const open = this.open[cpu];
    const depth =
      to === ACTIVITY_OTHER || to === ACTIVITY_IDLE ? -1 : open.findIndex(({ activity }) => activity === to);
    const isOutside = to === ACTIVITY_OTHER || to === ACTIVITY_IDLE;
    if (isOutside) this.endDownTo(cpu, 0, atCycles);
    else if (depth >= 0) this.endDownTo(cpu, depth + 1, atCycles);
    else open.push({ activity: to, beganCycles: atCycles });
  }

  ipiSent(id: number, from: number, _to: number, atCycles: number): void {
    this.flow("s", id, from, atCycles, {});
  }

  ipiTaken(id: number, cpu: number, atCycles: number): void {
    this.flow("f", id, cpu, atCycles, { bp: "e" });
  }

  /** Ends what is open and looks no longer. */
  close(): void {
    const { loop } = this.kernel.machine;
    for (let cpu = 0; cpu < loop.cpus; cpu++) this.endDownTo(cpu, 0, loop.clockCycles[cpu]);
    loop.accounts.observer = null;
    this.kernel.vm.flushing.smp.observer = null;
  }

  private flow(ph: "s" | "f", id: number, cpu: number, atCycles: number, more: object): void {
    const ts = this.usec(atCycles);
    this.add({ ph, name: "IPI", cat: "ipi", id: `${this.pid}.${id}`, pid: this.pid, tid: cpu, ts, ...more });
  }

  private endDownTo(cpu: number, depth: number, atCycles: number): void {
    const open = this.open[cpu];
    while (open.length > depth) {
      const span = open.pop();
      if (span === undefined || span.beganCycles === atCycles) continue;
      this.add({
        ph: "X",
        name: this.kernel.machine.loop.accounts.names[span.activity],
        pid: this.pid,
        tid: cpu,
        ts: this.usec(span.beganCycles),
        dur: this.usec(atCycles - span.beganCycles),
      });
    }
  }

  private countLazyPages(atCycles: number): void {
    const { lazyNr } = this.kernel.vm;
    if (lazyNr === this.lazyPages) return;
    this.lazyPages = lazyNr;
    this.add({ ph: "C", name: "lazily freed pages", pid: this.pid, ts: this.usec(atCycles), args: { pages: lazyNr } });
  }

  private usec(cycles: number): number {
    return Math.round((cycles / this.cyclesPerUsec) * 1e4) / 1e4;
  }
}
