/** Counters laid out as `perf stat` lays them out, for people and (`-x`) for programs. */

/** One line of `perf stat`. */
export interface PerfStatLine {
  readonly event: string;
  readonly count: number;
  /** Shown behind a `#`: a percentage, or a rate in a unit of its own. */
  readonly metric?: { readonly value: number; readonly unit: string; readonly isPercentage: boolean };
}

const COUNT_WIDTH = 18;
const EVENT_WIDTH = 40;

/** The block that `perf stat` prints for `what`, with a few words on the machine. */
export function renderPerfStat(what: string, machine: string, lines: readonly PerfStatLine[]): string {
  const rows = lines.map(({ event, count, metric }) => {
    const number = Math.round(count).toLocaleString("en-US").padStart(COUNT_WIDTH);
    if (metric === undefined) return `${number}      ${event}`;
    const value = metric.isPercentage
      ? `${metric.value.toFixed(2).padStart(7)}% ${metric.unit}`
      : `${metric.value.toFixed(3).padStart(8)} ${metric.unit}`;
    return `${number}      ${event.padEnd(EVENT_WIDTH)} # ${value}`;
  });
  return `\n Performance counter stats for '${what}' (${machine}):\n\n${rows.map((row) => `${row}\n`).join("")}`;
}

/** The lines that `perf stat -x SEPARATOR` prints: value, unit, event, run time, percentage of it, metric, its unit. */
export function renderPerfStatCsv(lines: readonly PerfStatLine[], separator: string): string {
  return lines
    .map(({ event, count, metric }) => {
      const rest = metric === undefined ? ["", ""] : [metric.value.toFixed(2), csvUnit(metric)];
      return `${[String(Math.round(count)), "", event, "0", "100.00", ...rest].join(separator)}\n`;
    })
    .join("");
}

function csvUnit(metric: { readonly unit: string; readonly isPercentage: boolean }): string {
  return metric.isPercentage ? `% ${metric.unit}` : metric.unit;
}
