/** What the calls of each task of a trace cost, and the flushes that they made. */
import type { FlushAccounts } from "../../mm/index.ts";
import { totalCycles } from "../report/flush-costs.ts";
import type { TaskCost } from "./ftrace-report.ts";

/** Sums of a task's calls. */
interface TaskSums {
  calls: number;
  cycles: number;
  /** Its flushes, by their place among the records. */
  readonly flushes: number[];
}

/** Sums by task. */
export class TaskCosts {
  private readonly tasks = new Map<string, TaskSums>();

  /** Adds a call. @param flushes the flushes that it made, by their place among the records */
  add(task: string, cycles: number, flushes: readonly number[]): void {
    // Of one name, whatever its number: a task that comes and goes is many.
    const name = task.replace(/[-\s]\s*\d+(?:\/\d+)?$/, "");
    let sums = this.tasks.get(name);
    if (sums === undefined) {
      sums = { calls: 0, cycles: 0, flushes: [] };
      this.tasks.set(name, sums);
    }
    sums.calls++;
    sums.cycles += cycles;
    sums.flushes.push(...flushes);
  }

  /** In the order of what they cost, the most first. */
  costs(accounts: FlushAccounts): TaskCost[] {
    return [...this.tasks]
      .map(([task, { calls, cycles, flushes }]): TaskCost => {
        const flushCycles = flushes.reduce((sum, i) => sum + totalCycles(accounts.costOf(accounts.records[i])), 0);
        return { task, calls, cycles, flushes: flushes.length, flushCycles };
      })
      .sort((a, b) => b.cycles + b.flushCycles - (a.cycles + a.flushCycles));
  }
}
