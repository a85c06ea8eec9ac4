/** How long parts of a run take on the host. Only for people: nothing of it goes into a report. */
import type { PhaseObserver } from "../workloads/base/workload.ts";

interface Phase {
  readonly name: string;
  readonly loops: number;
  readonly msec: number;
}

/** Measures phases by the host's monotonic clock. */
export class WallClock implements PhaseObserver {
  private readonly start = performance.now();
  private readonly begun = new Map<string, number>();
  private readonly phases: Phase[] = [];

  begin(name: string): void {
    this.begun.set(name, performance.now());
  }

  end(name: string, loops: number): void {
    this.phases.push({ name, loops, msec: performance.now() - (this.begun.get(name) ?? this.start) });
  }

  /** One line a phase and one for everything. */
  report(): string {
    const lines = this.phases.map(({ name, loops, msec }) => {
      const perLoop = ((msec * 1000) / loops).toFixed(3);
      return `wall: ${name} ${(msec / 1000).toFixed(3)} s, ${loops} loops, ${perLoop} usec per loop\n`;
    });
    return `${lines.join("")}wall: ${((performance.now() - this.start) / 1000).toFixed(3)} s in all\n`;
  }
}
